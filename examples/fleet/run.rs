//! A run: so many mirrors over one bucket, asked by builds at the rate of a day with a million of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use crate_mirror::{
    app,
    config::{self, Config},
    domain::{BucketUrl, CrateId, CrateName, Outcome, View},
    metrics::Metrics,
    mirror::{GzipVariants, Mirror},
    store::{BucketSettings, FolderSettings, Store},
};
use fastrand::Rng;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    Fleet, Options,
    bucket::Bucket,
    crates_io::CratesIo,
    population::{Number, Popularity, name, some_version},
};

/// What a mirror has, before scale: memory as the default is, and a folder as the default is.
const MEMORY: u64 = 256 << 20;
const FOLDER: u64 = 50 << 30;
/// How long an index file isn't due: the default.
const FRESH_FOR: u64 = 60;
/// So many requests are under way at once.
const AT_ONCE: usize = 64;

/// Where answers came from.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) index_memory: AtomicU64,
    /// From the folder or the bucket, and not due.
    pub(crate) index_stored: AtomicU64,
    pub(crate) index_revalidated: AtomicU64,
    pub(crate) index_fetched: AtomicU64,
    pub(crate) index_other: AtomicU64,
    /// Of those that upstream was asked for: what another mirror had asked for within the last minute.
    pub(crate) index_asked_twice: AtomicU64,
    pub(crate) crate_memory: AtomicU64,
    pub(crate) crate_stored: AtomicU64,
    pub(crate) crate_fetched: AtomicU64,
    pub(crate) crate_other: AtomicU64,
}

/// Counters at one moment, by name.
pub(crate) type Snapshot = HashMap<&'static str, u64>;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcomes {
    pub(crate) fleet: Fleet,
    /// At the end of each minute.
    pub(crate) minutes: Vec<Snapshot>,
    /// Memory that the mirrors' caches take in the end, each on average, in bytes without scale.
    pub(crate) cached: f64,
    /// The process's memory at its peak so far, in bytes.
    pub(crate) resident: u64,
    /// How far behind the clock it was at most: more than a few seconds, and this machine is too slow for these figures to mean anything.
    pub(crate) late: Duration,
    pub(crate) took: Duration,
}

struct World {
    mirrors: Vec<Mirror>,
    metrics: Vec<Arc<Metrics>>,
    answers: Answers,
    crates_io: CratesIo,
    bucket: Arc<Bucket>,
    /// What goes on beside; it ends with this.
    _beside: JoinSet<()>,
    /// When a crate's index file was asked for upstream last, and by whom.
    asked: Mutex<HashMap<Number, (u64, usize)>>,
    _folder: TempDir,
}

/// A request for a crate and its index file by a build.
struct Need {
    mirror: usize,
    number: Number,
    version: &'static str,
}

pub(crate) async fn run(
    options: &Options,
    fleet: Fleet,
) -> Result<Outcomes, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let (world, mirrors) = (World::new(options, fleet).await?, fleet.mirrors);
    let popularity = Popularity::zipf(options.crates, options.exponent);
    let mut rng = Rng::with_seed(7);
    let (begun, mut due, mut builds) = (Instant::now(), 0.0, 0_usize);
    let mut late = Duration::ZERO;
    let mut minutes = Vec::new();
    for second in 0..options.minutes * 60 {
        world.crates_io.now.store(second, Relaxed);
        due += options.builds as f64 / 86_400.0;
        let mut needs = Vec::new();
        while due >= 1.0 {
            due -= 1.0;
            builds += 1;
            needs.extend((0..options.needs).map(|_| Need {
                mirror: builds % mirrors,
                number: popularity.some(&mut rng),
                version: some_version(&mut rng),
            }));
        }
        let at = begun + Duration::from_secs(second);
        late = late.max(at.elapsed());
        tokio::time::sleep_until(at.into()).await;
        let now = SystemTime::now();
        let asking = futures_util::stream::iter(needs);
        asking
            .for_each_concurrent(AT_ONCE, |need| world.ask(need, second, now))
            .await;
        if second % 60 == 59 {
            world.settled().await;
            minutes.push(world.snapshot());
            eprintln!(
                "{fleet:?}, minute {}: {:?}",
                minutes.len(),
                started.elapsed()
            );
        }
    }
    let cached: i64 = world
        .mirrors
        .iter()
        .map(|m| m.metrics().memory_bytes.get())
        .sum();
    let outcomes = Outcomes {
        fleet,
        minutes,
        cached: cached as f64 / mirrors as f64,
        resident: resident(),
        late,
        took: started.elapsed(),
    };
    for mirror in &world.mirrors {
        mirror.close(Duration::from_secs(1)).await;
    }
    Ok(outcomes)
}

impl World {
    async fn new(options: &Options, fleet: Fleet) -> Result<World, Box<dyn std::error::Error>> {
        let crates_io = CratesIo::start(options.scale).await?;
        let bucket = Arc::new(Bucket::new(options.scale));
        let folder = TempDir::new()?;
        let (mut mirrors, mut metrics, mut beside) = (Vec::new(), Vec::new(), JoinSet::new());
        for number in 0..fleet.mirrors {
            let path = folder.path().join(number.to_string());
            let config = settings(options, &crates_io, &path)?;
            let counts = Arc::new(Metrics::new());
            let settings = BucketSettings {
                at: BucketUrl::parse("s3://fleet/mirror").ok_or("a bucket")?,
                endpoint: None,
                stall_timeout: Duration::from_secs(5),
                authorities: Vec::new(),
                signing: None,
            };
            let near = Some(FolderSettings::new(&path, false));
            let store = Store::over_objects(near, &settings, bucket.clone(), counts.clone());
            let store = match fleet.telling {
                true => store.await?,
                false => store.await?.silent(),
            };
            let (max_size, max_age) = (config.store.max_size.get(), None);
            let mirror = app::mirror(config, store, counts.clone(), GzipVariants::Made)?;
            let (listener, keeper) = (mirror.clone(), mirror.clone());
            beside.spawn(async move { listener.hear_siblings().await });
            beside.spawn(async move { keeper.keep_within(max_size, max_age).await });
            mirrors.push(mirror);
            metrics.push(counts);
        }
        Ok(World {
            mirrors,
            metrics,
            answers: Answers::default(),
            crates_io,
            bucket,
            _beside: beside,
            asked: Mutex::default(),
            _folder: folder,
        })
    }

    async fn ask(&self, need: Need, second: u64, now: SystemTime) {
        let Need {
            mirror: zone,
            number,
            version,
        } = need;
        let mirror = &self.mirrors[zone];
        let name = name(number);
        let (Ok(registry), Ok(crate_name), Ok(id)) = (
            mirror.registry(None),
            CrateName::parse(&name),
            CrateId::parse(&name, version),
        ) else {
            return;
        };
        let answers = &self.answers;
        let counter = match mirror.index_at_once(registry, crate_name, View::Usual, now) {
            Some(Ok(_)) => &answers.index_memory,
            Some(Err(_)) => &answers.index_other,
            None => match mirror
                .index(registry, crate_name, &View::Usual, now)
                .await
                .map(|f| f.outcome)
            {
                Ok(Outcome::Hit) => &answers.index_stored,
                Ok(Outcome::Revalidated) => {
                    self.asked_upstream(number, zone, second);
                    &answers.index_revalidated
                }
                Ok(Outcome::Miss) => {
                    self.asked_upstream(number, zone, second);
                    &answers.index_fetched
                }
                Ok(_) | Err(_) => &answers.index_other,
            },
        };
        counter.fetch_add(1, Relaxed);
        let counter = match mirror.crate_at_once(registry, &id, View::Usual, now) {
            Some(Ok(_)) => &answers.crate_memory,
            Some(Err(_)) => &answers.crate_other,
            None => match mirror.crate_file(registry, &id, View::Usual, now).await {
                Ok(mut found) => {
                    while let Some(Ok(_)) = found.value.next().await {}
                    match found.outcome {
                        Outcome::Hit => &answers.crate_stored,
                        Outcome::Miss => &answers.crate_fetched,
                        _ => &answers.crate_other,
                    }
                }
                Err(_) => &answers.crate_other,
            },
        };
        counter.fetch_add(1, Relaxed);
    }

    fn asked_upstream(&self, number: Number, zone: usize, second: u64) {
        let mut asked = self.asked.lock().expect("who asked");
        let before = asked.insert(number, (second, zone));
        let twice = |(at, by): (u64, usize)| by != zone && second < at + FRESH_FOR;
        if before.is_some_and(twice) {
            self.answers.index_asked_twice.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything is in the bucket.
    async fn settled(&self) {
        let waits = |metrics: &Arc<Metrics>| metrics.bucket_waiting.get() > 0;
        while self.metrics.iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn snapshot(&self) -> Snapshot {
        let (a, u, b) = (&self.answers, &*self.crates_io.asked, &*self.bucket.asked);
        [
            ("index_memory", &a.index_memory),
            ("index_stored", &a.index_stored),
            ("index_revalidated", &a.index_revalidated),
            ("index_fetched", &a.index_fetched),
            ("index_other", &a.index_other),
            ("index_asked_twice", &a.index_asked_twice),
            ("crate_memory", &a.crate_memory),
            ("crate_stored", &a.crate_stored),
            ("crate_fetched", &a.crate_fetched),
            ("crate_other", &a.crate_other),
            ("upstream_index", &u.index),
            ("upstream_not_modified", &u.not_modified),
            ("upstream_crates", &u.crates),
            ("bucket_crates_read", &b.crates_read),
            ("bucket_crates_missed", &b.crates_missed),
            ("bucket_crates_written", &b.crates_written),
            ("bucket_index_read", &b.index_read),
            ("bucket_index_missed", &b.index_missed),
            ("bucket_index_written", &b.index_written),
            ("bucket_other_reads", &b.other_reads),
            ("bucket_other_writes", &b.other_writes),
            ("bucket_stored", &b.stored),
        ]
        .map(|(name, counter)| (name, counter.load(Relaxed)))
        .into()
    }
}

fn settings(
    options: &Options,
    crates_io: &CratesIo,
    folder: &std::path::Path,
) -> crate_mirror::error::Result<Config> {
    let (memory, disk) = (MEMORY / options.scale, FOLDER / options.scale);
    config::parse(&format!(
        "[store]\npath = {folder:?}\nsync = false\nmax_size = \"{disk}B\"\n\
         [memory]\nbudget = \"{memory}B\"\n[read_ahead]\nenabled = false\n\
         [registries.crates-io]\nindex = \"http://{}/index/\"\n",
        crates_io.addr
    ))
}

/// The most memory this process ever had, in bytes; 0 where the system doesn't say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
