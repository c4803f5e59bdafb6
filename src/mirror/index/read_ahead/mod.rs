//! [`ReadAhead`]: index files asked for before cargo does.
//!
//! Cargo learns of dependencies level by level: only with one index file in hand does it know whom to ask for next, so that a resolve takes as many
//! round trips to upstream as its graph is deep. The mirror is nearer and may know more: a stale copy, which is most often still right, names all the
//! levels below it at once. So when a client's request has to go upstream, its dependencies are followed from here, breadth first.
//!
//! One task follows for everybody. It never takes a place in the line for upstream that a client waits for, joins what clients have asked for and is
//! joined by them, and gives up where upstream fails.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};

use super::{IndexEntry, Inner, entry::Due, memory::Resident, refresh::Asker};
use crate::{
    config::sections,
    domain::{CrateVersion, Dependency, IndexKey, RegistryName},
    error::{Kind, Result},
    upstream::Upstream,
};

/// So many dependencies wait to be followed, at most; no known graph is a tenth as large.
const MOST_WAITING: usize = 20_000;

/// What there is to follow, for all clients.
pub(super) struct ReadAhead {
    settings: sections::ReadAhead,
    waiting: Mutex<Waiting>,
    /// Told when there is more to follow.
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    steps: VecDeque<Step>,
    /// Whether a task is following.
    followed: bool,
}

/// One dependency to follow.
#[derive(Clone)]
struct Step {
    upstream: Arc<Upstream>,
    want: Dependency,
    depth: u32,
    /// How many more files may be asked for because of the client's request that this goes back to.
    files_left: Arc<AtomicU32>,
}

/// What was followed already: the same version with the same features has the same dependencies.
struct Followed {
    steps: HashSet<(RegistryName, Dependency, CrateVersion)>,
    since: SystemTime,
}

/// Steps whose index files have been asked for, each with what came.
type UnderWay = FuturesUnordered<BoxFuture<'static, (Step, Result<Arc<IndexEntry>>)>>;

/// Whether all steps could be begun.
#[derive(PartialEq, Eq)]
enum Begun {
    All,
    /// All places in the line for this registry are taken.
    NoPlace(RegistryName),
}

impl Followed {
    /// What is followed once is followed again after a while: index files are due for a check then.
    const FOR: Duration = Duration::from_secs(10);

    fn new(now: SystemTime) -> Self {
        Self {
            steps: HashSet::new(),
            since: now,
        }
    }

    fn forget_old(&mut self, now: SystemTime) {
        if now
            .duration_since(self.since)
            .is_ok_and(|age| age < Self::FOR)
        {
            return;
        }
        *self = Self::new(now);
    }

    /// Notes a step; false if it was followed already.
    fn add(&mut self, step: (RegistryName, Dependency, CrateVersion)) -> bool {
        self.steps.len() < MOST_WAITING && self.steps.insert(step)
    }
}

impl ReadAhead {
    pub(super) fn new(settings: sections::ReadAhead) -> Self {
        Self {
            settings,
            waiting: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Adds steps; true when nobody follows yet, so that the caller has to.
    fn add(&self, steps: impl IntoIterator<Item = Step>) -> bool {
        let mut waiting = self.waiting();
        let room = MOST_WAITING.saturating_sub(waiting.steps.len());
        waiting.steps.extend(steps.into_iter().take(room));
        self.more.notify_one();
        !std::mem::replace(&mut waiting.followed, true)
    }

    fn next(&self) -> Option<Step> {
        self.waiting().steps.pop_front()
    }

    fn put_back(&self, step: Step) {
        self.waiting().steps.push_front(step);
    }

    /// Whether there is nothing left; if so, whoever adds something has to follow it.
    fn is_over(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.followed = !waiting.steps.is_empty();
        !waiting.followed
    }

    /// Leaves what waits for this registry to cargo.
    fn give_up(&self, registry: RegistryName) {
        let mut waiting = self.waiting();
        waiting
            .steps
            .retain(|step| step.upstream.registry() != registry);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Follows the dependencies of what a client has asked for, beside its answer.
    pub(super) fn read_ahead(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        entry: &IndexEntry,
        now: SystemTime,
    ) {
        let settings = &self.read_ahead.settings;
        if !settings.enabled || entry.gone {
            return;
        }
        let root = Step {
            upstream: upstream.clone(),
            want: Dependency::any(entry.file().name()),
            depth: 0,
            files_left: Arc::new(AtomicU32::new(settings.max_files.get())),
        };
        let steps = root.next(entry, &mut Followed::new(now), settings);
        if self.read_ahead.add(steps) {
            let inner = self.clone();
            let work = self.stopping.clone();
            let work = work.run_until_cancelled_owned(async move { inner.follow(now).await });
            self.detach(async move {
                work.await;
            });
        }
    }

    /// Follows until there is nothing left to follow.
    async fn follow(self: Arc<Self>, began: SystemTime) {
        let (ahead, started) = (&self.read_ahead, Instant::now());
        let mut following = Following(Some(ahead));
        let (mut followed, mut under_way) = (Followed::new(began), UnderWay::new());
        loop {
            let now = began + started.elapsed();
            followed.forget_old(now);
            let begun = self.begin_steps(&mut followed, &mut under_way, now).await;
            if under_way.is_empty() {
                if let Begun::NoPlace(registry) = begun {
                    // They are taken by clients, who come first; cargo asks for the rest itself.
                    ahead.give_up(registry);
                }
                if ahead.is_over() {
                    following.0 = None;
                    return;
                }
                continue;
            }
            tokio::select! {
                Some((step, came)) = under_way.next() => match came {
                    Ok(entry) => {
                        ahead.add(step.next(&entry, &mut followed, &ahead.settings));
                    }
                    // It isn't asked at all at the moment.
                    Err(e) if matches!(e.kind(), Kind::CircuitOpen { .. }) => {
                        ahead.give_up(step.upstream.registry());
                    }
                    Err(_) => {}
                },
                () = ahead.more.notified(), if begun == Begun::All => {}
            }
        }
    }

    /// Takes the steps that wait, one after the other, until there are none or no place for another request.
    async fn begin_steps(
        self: &Arc<Self>,
        followed: &mut Followed,
        under_way: &mut UnderWay,
        now: SystemTime,
    ) -> Begun {
        let ahead = &self.read_ahead;
        while let Some(step) = ahead.next() {
            let key = IndexKey::new(step.upstream.registry(), step.want.name);
            match self.known_index(&key, now).await {
                Ok(Some(Resident::Index(entry))) => {
                    // A stale copy, too: most often it is still right, and then all levels below are asked for at once.
                    ahead.add(step.next(&entry, followed, &ahead.settings));
                    match entry.due(&self.freshness, now) {
                        Due::Nothing | Due::NotYet => continue,
                        Due::Refresh | Due::Replace => {}
                    }
                }
                Ok(Some(Resident::Absent(since))) if self.still_absent(since, now) => continue,
                Ok(Some(Resident::Absent(_) | Resident::Crate(_)) | None) | Err(_) => {}
            }
            if !step.has_files_left() {
                continue;
            }
            let flight = match self.refreshes.join_existing(&key) {
                Some(flight) => flight,
                None => {
                    let Some(place) = step.upstream.spare_permit() else {
                        let registry = step.upstream.registry();
                        ahead.put_back(step);
                        return Begun::NoPlace(registry);
                    };
                    self.refreshes.join(key, &self.tasks, |_| {
                        step.files_left.fetch_sub(1, Ordering::Relaxed);
                        let (inner, upstream) = (self.clone(), step.upstream.clone());
                        async move {
                            inner
                                .refresh(&upstream, key, now, Asker::Ahead(place))
                                .await
                        }
                    })
                }
            };
            under_way.push(Box::pin(async move {
                let found = flight.result.clone().await;
                (step, found.map(|found| found.value))
            }));
        }
        Begun::All
    }
}

/// The one who follows. Should that end early, whoever adds something next follows.
struct Following<'a>(Option<&'a ReadAhead>);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        if let Some(ahead) = self.0 {
            let mut waiting = ahead.waiting();
            waiting.steps.clear();
            waiting.followed = false;
        }
    }
}

impl Step {
    /// The steps that follow this one: the dependencies of the version that a resolver would pick of `entry`.
    fn next(
        &self,
        entry: &IndexEntry,
        followed: &mut Followed,
        settings: &sections::ReadAhead,
    ) -> Vec<Self> {
        let Some(version) = self.want.resolve(entry.file()) else {
            return Vec::new();
        };
        let step = (
            self.upstream.registry(),
            self.want.clone(),
            *version.version(),
        );
        if self.depth >= settings.depth.get() || entry.gone || !followed.add(step) {
            return Vec::new();
        }
        let wants = self.want.next(entry.file(), version).into_iter();
        let step = |want| Self {
            want,
            depth: self.depth + 1,
            ..self.clone()
        };
        wants.map(step).collect()
    }

    fn has_files_left(&self) -> bool {
        self.files_left.load(Ordering::Relaxed) > 0
    }
}
