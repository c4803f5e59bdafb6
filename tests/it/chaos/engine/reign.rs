//! The reign: one life of the mirror after the other on the same store, each ended by SIGKILL, and what is looked at between two of them.

use std::{collections::HashSet, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};

use super::{
    World,
    process::{Program, Running, Settings},
    publisher::PILLARS,
    shelf::Shelf,
};
use crate::support::{client, index_path};

/// One life in so many evicts, and one in so many begins without upstream.
const EVICTING: u32 = 4;
const ALONE: u32 = 3;
/// One life in so many, and which of them, begins with an object for which upstream sends 429.
const GRUDGING: u32 = 5;
const FIRST_GRUDGING: u32 = 2;
/// How long other objects may take to be asked for while one has a 429. It must not stop them, so this is only what a busy machine needs; a whole host may be left
/// alone for 60 s.
const ASKED_WITHIN: Duration = Duration::from_secs(20);
/// So many stored crates are asked for when a life begins without upstream.
const SAMPLE: usize = 12;

/// One life of the mirror, as its clients know it.
pub(super) struct Life {
    pub(super) addr: SocketAddr,
    /// What was on the disk when it began and stays there; nothing when this life evicts.
    kept: Option<Arc<Shelf>>,
}

impl Life {
    pub(super) fn has_index(&self, name: &str) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|shelf| shelf.indexes.contains_key(&name.to_ascii_lowercase()))
    }

    pub(super) fn has_crate(&self, name: &str, version: &str) -> bool {
        let key = (name.to_ascii_lowercase(), version.to_owned());
        let kept = self.kept.as_ref();
        kept.is_some_and(|shelf| shelf.crates.contains_key(&key))
    }
}

pub(super) struct Reign {
    pub(super) world: Arc<World>,
    pub(super) program: Program,
    pub(super) rng: Rng,
    pub(super) shelf: Arc<Shelf>,
    /// Crate files that have been looked into.
    known: HashSet<String>,
    /// Whether it takes upstream away for some of its lives.
    decides: bool,
}

impl Reign {
    pub(super) fn new(world: Arc<World>, binary: &Path, rng: Rng) -> Reign {
        Reign {
            program: Program::new(world.clone(), binary),
            world,
            rng,
            shelf: Arc::default(),
            known: HashSet::new(),
            decides: true,
        }
    }

    /// The same beside another one, which takes upstream away.
    pub(super) fn beside_another(self) -> Reign {
        Reign {
            decides: false,
            ..self
        }
    }

    /// Starts one life after the other for that long, and tells the clients of each.
    pub(super) async fn last(
        &mut self,
        length: Duration,
        announce: &watch::Sender<Option<Arc<Life>>>,
    ) {
        let end = tokio::time::Instant::now() + length;
        for number in 1.. {
            let evicting = number % EVICTING == 0;
            let settings = Settings::some(evicting, &mut self.rng);
            // Among several, one is enough to decide what upstream does.
            let decides = self.decides;
            let running = match decides && number % ALONE == 0 && !evicting {
                true => self.begin_alone(settings, announce).await,
                false if decides && number % GRUDGING == FIRST_GRUDGING => {
                    self.begin_with_a_grudge(settings, announce).await
                }
                false => self.begin(settings, announce).await,
            };
            let killed_at = tokio::time::Instant::now() + self.some_lifetime();
            sleep_until(killed_at.min(end)).await;
            // The clients learn of it when their connections break.
            self.end(running, settings).await;
            announce.send_replace(None);
            if tokio::time::Instant::now() >= end {
                return;
            }
        }
    }

    /// How long a life lasts: a few seconds, and now and then hardly any time at all.
    fn some_lifetime(&mut self) -> Duration {
        Duration::from_millis(match self.rng.u8(0..6) {
            0 => self.rng.u64(1..300),
            _ => self.rng.u64(500..3_500),
        })
    }

    async fn begin(
        &mut self,
        settings: Settings,
        announce: &watch::Sender<Option<Arc<Life>>>,
    ) -> Running {
        let running = self.program.start(settings).await;
        announce.send_replace(Some(Arc::new(Life {
            addr: running.addr,
            kept: (!settings.evicting).then(|| self.shelf.clone()),
        })));
        running
    }

    /// Begins without upstream. Checks that what is stored is served all the same.
    async fn begin_alone(
        &mut self,
        settings: Settings,
        announce: &watch::Sender<Option<Arc<Life>>>,
    ) -> Running {
        let world = self.world.clone();
        let _sky = world.sky.lock().await;
        world.upstream.stop().await;
        let running = self.begin(settings, announce).await;
        self.ask_for_stored(running.addr, SAMPLE).await;
        world.upstream.restart().await;
        running
    }

    /// Begins with one index file for which upstream sends 429 and asks for a day's pause. Checks that the others are asked for all the same.
    async fn begin_with_a_grudge(
        &mut self,
        settings: Settings,
        announce: &watch::Sender<Option<Arc<Life>>>,
    ) -> Running {
        let world = self.world.clone();
        let _sky = world.sky.lock().await;
        let grudge = PILLARS[self.rng.usize(0..PILLARS.len())];
        let path = world.upstream.index_path(grudge);
        let rule = super::weather::for_a_day(world.upstream.on(&path));
        let running = self.begin(settings, announce).await;
        if !self.is_asked_for(running.addr, grudge).await {
            let what = format!("{grudge}'s index file was never asked for");
            world.figures.violation(what);
        }
        for other in PILLARS.iter().filter(|name| **name != grudge) {
            if !self.is_asked_for(running.addr, other).await {
                let what = format!("a 429 for {grudge} stopped {other}");
                world.figures.violation(what);
            }
        }
        rule.lift();
        world
            .figures
            .fault("429 for a day", u64::try_from(rule.hits()).unwrap_or(0));
        running
    }

    /// Whether upstream is asked for that index file when the mirror is.
    async fn is_asked_for(&self, mirror: SocketAddr, name: &str) -> bool {
        let upstream = &self.world.upstream;
        let there = upstream.index_path(name);
        let here = format!("/index/{}", index_path(name));
        let before = upstream.count(&there);
        let asked = async || {
            client::get(mirror, &here, &[]).await;
            upstream.count(&there) > before
        };
        eventually(ASKED_WITHIN, asked).await
    }

    /// Kills the mirror and looks at what it left.
    pub(super) async fn end(&mut self, running: Running, settings: Settings) {
        if let Some(peak) = running.kill().await {
            self.world.figures.needed(peak, settings.budget());
        }
        self.world.figures.killed();
        let (folder, mut known) = (self.program.store(), std::mem::take(&mut self.known));
        let reading =
            tokio::task::spawn_blocking(move || (Shelf::read(&folder, &mut known), known));
        let (shelf, known) = reading.await.expect("the store is read");
        self.known = known;
        if !settings.evicting {
            for path in shelf.lacks(&self.shelf) {
                let lost = format!("{path} was stored and is gone");
                self.world.figures.lost(lost);
            }
        }
        for damage in &shelf.damaged {
            self.world
                .figures
                .violation(format!("after a kill, {damage}"));
        }
        self.judge_stored(&shelf).await;
        self.shelf = Arc::new(shelf);
    }
}

/// Whether `done` comes true in that time; it is asked again and again.
pub(super) async fn eventually<F: Future<Output = bool>>(
    limit: Duration,
    mut done: impl FnMut() -> F,
) -> bool {
    let trying = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(limit, trying).await.is_ok()
}
