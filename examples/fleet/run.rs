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
    population::{IndexFiles, Number, Popularity, name, some_version},
};

/// What a mirror has, before scale: memory as the default is, and a folder as the default is.
const MEMORY: u64 = 256 << 20;
const FOLDER: u64 = 50 << 30;
/// How long an index file isn't due: the default, in seconds of simulated time.
const FRESH_FOR: u64 = 60;
/// So many requests are under way at once for each of so many who ask.
const AT_ONCE: usize = 16;
const ASKERS: usize = 8;
/// So many times in a second of real time builds come.
const STEPS: u64 = 10;

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
    /// How many processors all of it kept busy on average.
    pub(crate) busy: f64,
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
    let (world, mirrors) = (Arc::new(World::new(options, fleet).await?), fleet.mirrors);
    let popularity = Popularity::zipf(options.crates, options.exponent);
    let mut rng = Rng::with_seed(7);
    let (begun, busy) = (Instant::now(), cpu());
    let (mut due, mut builds, mut late) = (0.0, 0_usize, Duration::ZERO);
    let mut minutes = Vec::new();
    // A step is a tenth of a second of real time, and so many of simulated time.
    let step = f64::from(options.times) / STEPS as f64;
    let steps = (options.minutes as f64 * 60.0 / step).round() as u64;
    for number in 0..steps {
        let second = (number as f64 * step) as u64;
        world.crates_io.now.store(second, Relaxed);
        due += options.builds as f64 / 86_400.0 * step;
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
        let at = begun + Duration::from_secs(number) / STEPS as u32;
        late = late.max(at.elapsed());
        tokio::time::sleep_until(at.into()).await;
        world.clone().ask_for(needs, second).await;
        let simulated = (number + 1) as f64 * step / 60.0;
        if simulated + 1e-9 >= (minutes.len() + 1) as f64 {
            minutes.push(world.snapshot());
            eprintln!(
                "{fleet:?}, minute {}: {:?}, {:.1} s behind at most",
                minutes.len(),
                started.elapsed(),
                late.as_secs_f64(),
            );
        }
    }
    let busy = cpu().saturating_sub(busy).as_secs_f64() / begun.elapsed().as_secs_f64();
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
        busy,
        took: started.elapsed(),
    };
    for mirror in &world.mirrors {
        mirror.close(Duration::from_secs(1)).await;
    }
    Ok(outcomes)
}

impl World {
    async fn new(options: &Options, fleet: Fleet) -> Result<World, Box<dyn std::error::Error>> {
        let files = Arc::new(IndexFiles::new(options.crates, options.scale));
        let crates_io = CratesIo::start(files.clone(), options.scale).await?;
        let bucket = Arc::new(match options.full {
            true => Bucket::full(options.scale, files, options.times),
            false => Bucket::new(options.scale),
        });
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

    /// Has some ask for all of it at once.
    async fn ask_for(self: Arc<Self>, needs: Vec<Need>, second: u64) {
        let (mut askers, share) = (JoinSet::new(), needs.len().div_ceil(ASKERS).max(1));
        let mut needs = needs.into_iter().peekable();
        while needs.peek().is_some() {
            let (world, mine) = (self.clone(), needs.by_ref().take(share).collect::<Vec<_>>());
            askers.spawn(async move {
                let asking = futures_util::stream::iter(mine);
                asking
                    .for_each_concurrent(AT_ONCE, |need| world.ask(need, second, SystemTime::now()))
                    .await;
            });
        }
        askers.join_all().await;
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
            ("note_bytes", &b.note_bytes),
        ]
        .map(|(name, counter)| (name, counter.load(Relaxed)))
        .into_iter()
        .chain([
            (
                "waiting",
                self.metrics
                    .iter()
                    .map(|m| m.bucket_waiting.get() as u64)
                    .sum(),
            ),
            (
                "lost",
                self.metrics.iter().map(|m| m.bucket_lost.get()).sum(),
            ),
        ])
        .collect()
    }
}

fn settings(
    options: &Options,
    crates_io: &CratesIo,
    folder: &std::path::Path,
) -> crate_mirror::error::Result<Config> {
    let (memory, disk) = (MEMORY / options.scale, FOLDER / options.scale);
    let fresh_for = FRESH_FOR * 1_000 / u64::from(options.times);
    config::parse(&format!(
        "[store]\npath = {folder:?}\nsync = false\nmax_size = \"{disk}B\"\n\
         [memory]\nbudget = \"{memory}B\"\n[read_ahead]\nenabled = false\n\
         [freshness]\nfresh_for = \"{fresh_for}ms\"\n\
         [registries.crates-io]\nindex = \"http://{}/index/\"\n",
        crates_io.addr
    ))
}

/// The processor time that this process has taken.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    // Proc(5): 14 and 15 are the times in user and system mode, in hundredths of a second; after the name comes field 3.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// The most memory this process ever had, in bytes; 0 where the system doesn't say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
