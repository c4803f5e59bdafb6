//! The weather: what upstream does wrong, for how long, and to whom.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    World, hostile,
    publisher::{FIRST, PILLARS},
};
use crate::support::{Rule, Upstream, When};

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ServerError,
    RateLimit,
    Reset,
    ResetInBody,
    Hang,
    HangInBody,
    Cut,
    CutUnframed,
    Html,
    Corrupt,
    WrongCrate,
    Late,
    Trickle,
    Garbage,
    Bomb,
    Endless,
    InCircles,
    Inside,
    LongRateLimit,
    LongUnavailable,
}

impl Fault {
    const ALL: [Fault; 20] = [
        Fault::ServerError,
        Fault::RateLimit,
        Fault::Reset,
        Fault::ResetInBody,
        Fault::Hang,
        Fault::HangInBody,
        Fault::Cut,
        Fault::CutUnframed,
        Fault::Html,
        Fault::Corrupt,
        Fault::WrongCrate,
        Fault::Late,
        Fault::Trickle,
        Fault::Garbage,
        Fault::Bomb,
        Fault::Endless,
        Fault::InCircles,
        Fault::Inside,
        Fault::LongRateLimit,
        Fault::LongUnavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Fault::ServerError => "5xx",
            Fault::RateLimit => "429 with Retry-After",
            Fault::Reset => "reset",
            Fault::ResetInBody => "reset in mid-body",
            Fault::Hang => "hang",
            Fault::HangInBody => "hang in mid-body",
            Fault::Cut => "truncated",
            Fault::CutUnframed => "truncated unframed",
            Fault::Html => "HTML under 200",
            Fault::Corrupt => "corrupt bytes",
            Fault::WrongCrate => "wrong crate",
            Fault::Late => "late first byte",
            Fault::Trickle => "trickle",
            Fault::Garbage => "not HTTP",
            Fault::Bomb => "gzip bomb",
            Fault::Endless => "endless body",
            Fault::InCircles => "redirect in circles",
            Fault::Inside => "redirect inside",
            Fault::LongRateLimit => "429 for a day",
            Fault::LongUnavailable => "503 for an hour",
        }
    }
}

/// Whose requests fail.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Indexes,
    Crates,
    Config,
    /// One pillar's index file.
    Index(&'static str),
}

pub(super) struct Weather {
    world: Arc<World>,
    rng: Rng,
    /// The pillars whose index files answer 429 and 503 with a `Retry-After`. Always the same two: when three objects fail, the circuit takes it for the whole host.
    grudges: [&'static str; 2],
    /// The faults that are in force.
    rules: Vec<(Fault, Rule)>,
}

impl Weather {
    pub(super) fn new(world: Arc<World>, mut rng: Rng) -> Weather {
        let first = rng.usize(0..PILLARS.len());
        Weather {
            world,
            grudges: [PILLARS[first], PILLARS[(first + 1) % PILLARS.len()]],
            rng,
            rules: Vec::new(),
        }
    }

    /// One spell after the other until the end. After the last one nothing fails.
    pub(super) async fn run(mut self, end: CancellationToken) {
        while !end.is_cancelled() {
            let world = self.world.clone();
            let _sky = world.sky.lock().await;
            match self.rng.u8(0..20) {
                0..=2 => self.pass(150..600).await,
                3..=16 => self.showers().await,
                17..=18 => self.storm().await,
                _ => self.outage().await,
            }
        }
    }

    /// Some requests fail, each in its own way.
    async fn showers(&mut self) {
        for _ in 0..self.rng.u8(8..24) {
            let (fault, victim) = (self.some_fault(), self.some_victim());
            let (after, times) = (self.rng.usize(0..4), self.rng.usize(1..4));
            // A redirect in circles is several requests; each of them counts.
            let times = match fault == Fault::InCircles {
                true => 6 * times,
                false => times,
            };
            self.set(fault, victim, |when| when.after(after).times(times));
        }
        self.pass(200..900).await;
    }

    /// All of them fail, in one way.
    async fn storm(&mut self) {
        let fault = self.some_fault();
        for victim in [Victim::Indexes, Victim::Crates, Victim::Config] {
            self.set(fault, victim, |when| when);
        }
        self.pass(100..700).await;
    }

    /// Nobody is there.
    async fn outage(&mut self) {
        self.world.upstream.stop().await;
        self.world.figures.fault("refused connections", 1);
        self.pass(100..700).await;
        self.world.upstream.restart().await;
    }

    /// Waits for a while, then heals upstream and counts the faults that requests met.
    async fn pass(&mut self, millis: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.rng.u64(millis))).await;
        self.world.upstream.heal();
        self.world.judge_asked();
        let mut met: BTreeMap<Fault, usize> = BTreeMap::new();
        for (fault, rule) in self.rules.drain(..) {
            *met.entry(fault).or_default() += rule.hits();
        }
        for (fault, hits) in met {
            self.world.figures.fault(fault.name(), hits as u64);
        }
        let asked = self.world.upstream.requests().len();
        self.world.figures.asked_upstream(asked as u64);
        self.world.upstream.clear_log();
    }

    /// Faults that open a host's circuit are drawn less often than others: while it is open nothing is asked, and no other fault is met.
    fn some_fault(&mut self) -> Fault {
        loop {
            let fault = Fault::ALL[self.rng.usize(0..Fault::ALL.len())];
            let share = match fault {
                Fault::RateLimit | Fault::LongRateLimit | Fault::LongUnavailable => 4,
                Fault::ServerError
                | Fault::Reset
                | Fault::Hang
                | Fault::Garbage
                | Fault::ResetInBody
                | Fault::HangInBody
                | Fault::Cut
                | Fault::Endless => 3,
                Fault::Late | Fault::Bomb => 2,
                Fault::CutUnframed
                | Fault::Html
                | Fault::Corrupt
                | Fault::WrongCrate
                | Fault::Trickle
                | Fault::InCircles
                | Fault::Inside => 1,
            };
            if self.rng.u8(0..share) == 0 {
                return fault;
            }
        }
    }

    fn some_victim(&mut self) -> Victim {
        match self.rng.u8(0..10) {
            0..=3 => Victim::Indexes,
            4..=7 => Victim::Crates,
            8 => Victim::Config,
            _ => Victim::Index(PILLARS[self.rng.usize(0..PILLARS.len())]),
        }
    }

    fn set(&mut self, fault: Fault, victim: Victim, narrow: impl FnOnce(When<'_>) -> When<'_>) {
        // An index file that is cut between two lines looks like an older one. So this fault picks one file, and a place within a line.
        let victim = match (fault, victim) {
            (Fault::CutUnframed, Victim::Indexes) => {
                Victim::Index(PILLARS[self.rng.usize(0..PILLARS.len())])
            }
            // A crate is checked by its checksum, whatever Content-Encoding is claimed.
            (Fault::Bomb, Victim::Crates) => Victim::Indexes,
            // An upstream on this machine may lead anywhere with what is hashed.
            (Fault::Inside, Victim::Crates) if !self.world.outside => Victim::Indexes,
            (Fault::LongRateLimit, _) => Victim::Index(self.grudges[0]),
            (Fault::LongUnavailable, _) => Victim::Index(self.grudges[1]),
            (_, victim) => victim,
        };
        let world = self.world.clone();
        let upstream = &world.upstream;
        let when = narrow(match victim {
            Victim::Indexes => upstream.on_index_files(),
            Victim::Crates => upstream.on_crate_files(),
            Victim::Config => upstream.on("/index/config.json"),
            Victim::Index(name) => upstream.on(&upstream.index_path(name)),
        });
        let rule = self.apply(fault, victim, when, upstream);
        self.rules.push((fault, rule));
    }

    fn apply(&mut self, fault: Fault, victim: Victim, when: When<'_>, upstream: &Upstream) -> Rule {
        let some = self.some_bytes(victim);
        match fault {
            Fault::ServerError => when.fail([500, 502, 503, 504][self.rng.usize(0..4)]),
            Fault::RateLimit => {
                let wait = ["0", "1", "2"][self.rng.usize(0..3)];
                when.fail_with(429, &[("retry-after", wait)], "slow down\n")
            }
            Fault::Reset => when.reset(),
            Fault::ResetInBody => when.reset_after(some),
            Fault::Hang => when.hang(),
            Fault::HangInBody => when.hang_after(some),
            Fault::Cut => when.truncate(some),
            Fault::CutUnframed => match victim {
                Victim::Index(name) => when.truncate_unframed(self.within_a_line(name, upstream)),
                Victim::Indexes | Victim::Crates | Victim::Config => when.truncate_unframed(some),
            },
            Fault::Html => {
                let page =
                    "<!DOCTYPE html><html><body>Please log in to the guest network</body></html>\n";
                when.fail_with(200, &[("content-type", "text/html")], page)
            }
            Fault::Corrupt => when.corrupt(),
            Fault::WrongCrate => {
                let other = PILLARS[self.rng.usize(0..PILLARS.len())];
                match victim {
                    Victim::Crates => when.body_of(&upstream.crate_path(other, FIRST)),
                    Victim::Indexes | Victim::Config | Victim::Index(_) => {
                        when.body_of(&upstream.index_path(other))
                    }
                }
            }
            Fault::Late => when.slow(Duration::from_millis(self.rng.u64(50..900))),
            // Never silent for as long as counts as a stall, and over within seconds.
            Fault::Trickle => {
                let least = match victim {
                    Victim::Crates => 16_000,
                    Victim::Indexes | Victim::Index(_) | Victim::Config => 64,
                };
                let pause = Duration::from_millis(self.rng.u64(5..60));
                when.trickle(some.max(least), pause)
            }
            Fault::Garbage => when.garbage(),
            Fault::Bomb => {
                let bombs = hostile::bombs();
                let bomb = bombs[self.rng.usize(0..bombs.len())].clone();
                when.fail_with(200, &[("content-encoding", "gzip")], bomb)
            }
            Fault::Endless => when.endless(),
            Fault::InCircles => when.redirect(""),
            Fault::Inside => {
                let there = self.world.somewhere_inside(self.rng.usize(0..2));
                when.redirect(&there)
            }
            Fault::LongRateLimit => for_a_day(when),
            Fault::LongUnavailable => when.fail_with(503, &[("retry-after", "3600")], "not now\n"),
        }
    }

    /// A number of bytes that is within most bodies of that kind.
    fn some_bytes(&mut self, victim: Victim) -> usize {
        match victim {
            Victim::Crates if self.rng.bool() => self.rng.usize(0..200_000),
            Victim::Crates => self.rng.usize(0..2_000),
            Victim::Indexes | Victim::Index(_) => self.rng.usize(0..1_500),
            Victim::Config => self.rng.usize(0..40),
        }
    }

    /// The middle of one of the first lines. A yank moves it by one byte, a deletion doesn't move it.
    fn within_a_line(&mut self, name: &str, upstream: &Upstream) -> usize {
        let body = upstream.index_file(name);
        let lines: Vec<&str> = body.split_inclusive('\n').collect();
        let chosen = self.rng.usize(0..lines.len().div_ceil(2));
        let before: usize = lines[..chosen].iter().map(|line| line.len()).sum();
        before + lines[chosen].len() / 2
    }
}

/// 429 with a `Retry-After` that is too long for any mirror to follow.
pub(super) fn for_a_day(when: When<'_>) -> Rule {
    when.fail_with(429, &[("retry-after", "86400")], "not today\n")
}
