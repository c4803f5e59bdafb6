//! The weather on the way to the bucket: what goes wrong there, for how long, and with what.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::World;
use crate::support::{Relay, Rule, When};

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    SlowDown,
    ServerError,
    Refused,
    Reset,
    ResetInBody,
    Cut,
    Hang,
    HangInBody,
    Late,
    Garbage,
    Corrupt,
    AnswerLost,
}

impl Fault {
    const ALL: [Fault; 12] = [
        Fault::SlowDown,
        Fault::ServerError,
        Fault::Refused,
        Fault::Reset,
        Fault::ResetInBody,
        Fault::Cut,
        Fault::Hang,
        Fault::HangInBody,
        Fault::Late,
        Fault::Garbage,
        Fault::Corrupt,
        Fault::AnswerLost,
    ];

    fn name(self) -> &'static str {
        match self {
            Fault::SlowDown => "bucket: 503 SlowDown",
            Fault::ServerError => "bucket: 500",
            Fault::Refused => "bucket: 403",
            Fault::Reset => "bucket: reset",
            Fault::ResetInBody => "bucket: reset in the body",
            Fault::Cut => "bucket: cut off",
            Fault::Hang => "bucket: silence",
            Fault::HangInBody => "bucket: silence in the body",
            Fault::Late => "bucket: late",
            Fault::Garbage => "bucket: not HTTP",
            Fault::Corrupt => "bucket: changed bytes",
            Fault::AnswerLost => "bucket: answer lost",
        }
    }
}

pub(super) struct BucketWeather {
    world: Arc<World>,
    rng: Rng,
    /// The faults that are in force.
    rules: Vec<(Fault, Rule)>,
}

impl BucketWeather {
    pub(super) fn new(world: Arc<World>, rng: Rng) -> BucketWeather {
        BucketWeather {
            world,
            rng,
            rules: Vec::new(),
        }
    }

    /// One spell after the other until the end. After the last one nothing fails.
    pub(super) async fn run(mut self, end: CancellationToken) {
        let world = self.world.clone();
        let Some(common) = &world.common else { return };
        let way = &common.way;
        while !end.is_cancelled() {
            match self.rng.u8(0..10) {
                0..=3 => self.pass(way, 300..900).await,
                4..=7 => self.showers(way).await,
                8 => self.storm(way).await,
                _ => self.outage(way).await,
            }
        }
    }

    /// Some requests fail, each in its own way.
    async fn showers(&mut self, way: &Relay) {
        for _ in 0..self.rng.u8(2..8) {
            let (after, times) = (self.rng.usize(0..4), self.rng.usize(1..3));
            self.set(way, |when| when.after(after).times(times));
        }
        self.pass(way, 200..900).await;
    }

    /// All of them fail, in one way.
    async fn storm(&mut self, way: &Relay) {
        self.set(way, |when| when);
        self.pass(way, 100..900).await;
    }

    /// Nobody is there.
    async fn outage(&mut self, way: &Relay) {
        way.stop().await;
        self.world.figures.fault("bucket: refused connections", 1);
        self.pass(way, 100..900).await;
        way.restart().await;
    }

    /// Waits for a while, then heals the way and counts the faults that requests met.
    async fn pass(&mut self, way: &Relay, millis: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.rng.u64(millis))).await;
        way.heal();
        let mut met: BTreeMap<Fault, usize> = BTreeMap::new();
        for (fault, rule) in self.rules.drain(..) {
            *met.entry(fault).or_default() += rule.hits();
        }
        for (fault, hits) in met {
            self.world.figures.fault(fault.name(), hits as u64);
        }
        way.clear_log();
    }

    fn set(&mut self, way: &Relay, narrow: impl FnOnce(When<'_>) -> When<'_>) {
        let fault = Fault::ALL[self.rng.usize(0..Fault::ALL.len())];
        let when = narrow(match self.rng.u8(0..4) {
            0 => way.on_everything(),
            1 => way.on_writes(""),
            2 => way.on_reads(".crate"),
            _ => way.on_reads(""),
        });
        let rule = self.apply(fault, when);
        self.rules.push((fault, rule));
    }

    fn apply(&mut self, fault: Fault, when: When<'_>) -> Rule {
        let some = match self.rng.bool() {
            true => self.rng.usize(0..200_000),
            false => self.rng.usize(0..2_000),
        };
        match fault {
            Fault::SlowDown => failed(when, 503, "SlowDown"),
            Fault::ServerError => failed(when, 500, "InternalError"),
            Fault::Refused => failed(when, 403, "AccessDenied"),
            Fault::Reset => when.reset(),
            Fault::ResetInBody => when.reset_after(some),
            Fault::Cut => when.truncate(some),
            Fault::Hang => when.hang(),
            Fault::HangInBody => when.hang_after(some),
            Fault::Late => when.slow(Duration::from_millis(self.rng.u64(50..900))),
            Fault::Garbage => when.garbage(),
            Fault::Corrupt => when.corrupt(),
            Fault::AnswerLost => when.lose_answer(),
        }
    }
}

/// An error as S3 words it.
fn failed(when: When<'_>, status: u16, code: &str) -> Rule {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>made to fail</Message></Error>"
    );
    when.fail_with(status, &[("content-type", "application/xml")], body)
}
