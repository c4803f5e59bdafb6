//! The chaos engine: a world in which everything fails at once, and a judge who knows what is right.
//!
//! ```text
//! clients (load) -> crate-mirror, killed and restarted (reign, process) -> Upstream
//!        |                          |                                         ^        ^
//!      judge <---- truth <----------|------------- publisher -----------------+     weather
//!                                 shelf (what a dead mirror left on its disk)
//! ```
//!
//! Several mirrors over one bucket are several reigns, each with a folder of its own, and a bucket whose way is as bad as upstream's (`common`,
//! `bucket_weather`).
//!
//! Every actor draws from a generator of its own, seeded by the plan's seed and its number, so the same seed makes the same decisions; only how they
//! fall in time differs from run to run. All traffic stays on 127.0.0.1, and all that is killed is what was started here.

mod audit;
mod bucket_weather;
mod common;
mod connection;
mod hostile;
mod judge;
mod load;
mod process;
mod publisher;
mod reign;
mod report;
mod shelf;
mod truth;
mod weather;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{Upstream, UpstreamBuilder};

pub(crate) use report::Report;

use bucket_weather::BucketWeather;
use common::Common;
use hostile::Trap;
use load::Client;
use publisher::Publisher;
use reign::Reign;
use report::Figures;
use truth::Truth;
use weather::Weather;

/// How much longer than planned a run may take: for the last fetches, and for looking through all that was stored.
const OVERTIME: Duration = Duration::from_secs(180);

/// What a run is to be.
pub(crate) struct Plan {
    /// Decides what every actor does.
    pub(crate) seed: u64,
    /// How long the load lasts; looking through what is left comes on top.
    pub(crate) length: Duration,
    /// How many clients ask at once.
    pub(crate) clients: u64,
    /// The program.
    pub(crate) mirror: PathBuf,
    /// How many of it there are, and what they have in common.
    pub(crate) fleet: Fleet,
}

/// Which mirrors there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fleet {
    /// One, whose store is its folder.
    Alone,
    /// So many, whose store is a bucket.
    OverBucket(u64),
}

impl Fleet {
    fn mirrors(self) -> u64 {
        match self {
            Fleet::Alone => 1,
            Fleet::OverBucket(mirrors) => mirrors,
        }
    }
}

/// What all actors have in common.
struct World {
    upstream: Upstream,
    truth: Truth,
    figures: Figures,
    /// Whether upstream is at a public name, and reached through a proxy, or on this machine.
    outside: bool,
    /// What mirrors have in common, if there are several.
    common: Option<Common>,
    trap: Trap,
    /// Held by who decides at the moment whether upstream is there and how it fails.
    sky: tokio::sync::Mutex<()>,
}

/// The generator of one actor.
fn rng(seed: u64, actor: u64) -> Rng {
    // Numbers close together are mixed, so that neighbours don't decide alike.
    Rng::with_seed((seed ^ actor.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The actors' numbers; clients count on from the last.
const SITE: u64 = 0;
const PUBLISHER: u64 = 1;
const WEATHER: u64 = 2;
const REIGN: u64 = 3;
const BUCKET_WEATHER: u64 = 4;
/// The first mirror's is `REIGN`; the others count on from here.
const REIGNS: u64 = 1 << 20;
const CLIENTS: u64 = 16;

/// Runs a plan to its end.
pub(crate) async fn run(plan: Plan) -> Report {
    let (seed, length) = (plan.seed, plan.length);
    println!("chaos with seed {seed} for {length:?}");
    timeout(length + OVERTIME, run_to_the_end(plan))
        .await
        .unwrap_or_else(|_| panic!("chaos with seed {seed} didn't end"))
}

async fn run_to_the_end(plan: Plan) -> Report {
    let started = Instant::now();
    let (world, publisher) = found(plan.seed, plan.fleet).await;
    let end = CancellationToken::new();
    let mut actors = JoinSet::new();
    let weather = Weather::new(world.clone(), rng(plan.seed, WEATHER));
    actors.spawn(publisher.run(end.clone()));
    actors.spawn(weather.run(end.clone()));
    let (trapped, until) = (world.clone(), end.clone());
    actors.spawn(async move { trapped.watch_trap(until).await });
    if world.common.is_some() {
        let weather = BucketWeather::new(world.clone(), rng(plan.seed, BUCKET_WEATHER));
        actors.spawn(weather.run(end.clone()));
        let (watched, until) = (world.clone(), end.clone());
        actors.spawn(async move { watched.watch_bucket(until).await });
    }
    let (mut reigns, mut lives) = (JoinSet::new(), Vec::new());
    for number in 0..plan.fleet.mirrors() {
        let actor = if number == 0 { REIGN } else { REIGNS + number };
        let reign = Reign::new(world.clone(), &plan.mirror, rng(plan.seed, actor));
        let mut reign = match number {
            0 => reign,
            _ => reign.beside_another(),
        };
        let (announce, life) = watch::channel(None);
        lives.push(life);
        reigns.spawn(async move {
            reign.last(plan.length, &announce).await;
            reign
        });
    }
    for number in 0..plan.clients {
        let client = Client::new(world.clone(), number, rng(plan.seed, CLIENTS + number));
        let asking = client.run(lives.clone());
        let asking = end.clone().run_until_cancelled_owned(asking);
        actors.spawn(async move { asking.await.unwrap_or_default() });
    }
    let mut reigns = reigns.join_all().await;
    end.cancel();
    while let Some(ended) = actors.join_next().await {
        if let Err(e) = ended {
            world.figures.violation(format!("an actor broke off: {e}"));
        }
    }
    if let Some(common) = &world.common {
        common.way.heal();
    }
    for reign in &mut reigns {
        reign.settle().await;
    }
    if world.common.is_some() {
        let newcomer = rng(plan.seed, REIGNS);
        let mut newcomer = Reign::new(world.clone(), &plan.mirror, newcomer);
        newcomer.settle_on_bucket().await;
    }
    world.figures.report(plan.seed, started.elapsed())
}

/// A world at its beginning: a registry with something in it.
async fn found(seed: u64, fleet: Fleet) -> (Arc<World>, Publisher) {
    let mut draft = rng(seed, SITE);
    let mut builder = Upstream::new();
    // What upstreams differ in; each has its own ways through the mirror.
    for (wanted, choose) in [
        (
            draft.bool(),
            UpstreamBuilder::gzip as fn(UpstreamBuilder) -> UpstreamBuilder,
        ),
        (draft.bool(), UpstreamBuilder::chunked),
        (draft.bool(), UpstreamBuilder::ranges),
    ] {
        if wanted {
            builder = choose(builder);
        }
    }
    let builder = match draft.u8(0..5) {
        0 => builder.weak_etag(),
        1 => builder.strong_etag(),
        2 => builder.last_modified(),
        3 => builder.no_validators(),
        _ => builder,
    };
    let outside = draft.bool();
    println!(
        "upstream is {}",
        match outside {
            true => "outside, behind a proxy",
            false => "on this machine",
        }
    );
    let builder = match outside {
        true => builder.dl("http://files.example/dl"),
        false => builder,
    };
    let world = Arc::new(World {
        upstream: builder.start().await,
        outside,
        common: match fleet {
            Fleet::Alone => None,
            Fleet::OverBucket(_) => Some(Common::new().await),
        },
        trap: Trap::new().await,
        truth: Truth::default(),
        figures: Figures::default(),
        sky: tokio::sync::Mutex::default(),
    });
    let mut publisher = Publisher::new(world.clone(), rng(seed, PUBLISHER));
    publisher.found().await;
    (world, publisher)
}
