//! Real cargo: a lock file made and its crates fetched by a machine that has nothing, straight from the origin, through nginx, and through the mirror.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde::Serialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    Result,
    child::Child,
    nginx::Nginx,
    record::{PROJECT, Recording},
    report::Report,
    servers::{Mirror, Origin, wire},
    stats::Sample,
    tools::{Bench, Pace, cargo},
};

/// No run takes longer, not even over two connections with a slow origin.
const LIMIT: Duration = Duration::from_secs(300);

/// Where cargo unpacks what it fetches, if there is such a place: a disk would be what is measured.
const IN_MEMORY: &str = "/dev/shm";

/// How far away a mirror is that isn't on the same machine, there and back: in the same company, not in the same room.
pub(crate) const AFAR_MS: u64 = 10;

/// What cargo is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Verb {
    /// `generate-lockfile`: index files, level by level.
    Lock,
    /// `fetch`: the index files and crates that the lock file names.
    Fetch,
}

impl Verb {
    /// The command.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Lock => "generate-lockfile",
            Self::Fetch => "fetch",
        }
    }
}

/// Through what cargo asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Way {
    /// The origin itself.
    Direct,
    /// nginx `proxy_cache`, which keeps upstream's gzip: its better form.
    Nginx,
    /// This product.
    Mirror,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Nginx, Self::Mirror];

    /// What tables call it, with what it speaks to cargo.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "the origin itself (HTTP/2)",
            Self::Nginx => "nginx (HTTP/1.1, two connections)",
            Self::Mirror => "mirror (HTTP/2)",
        }
    }
}

/// Whether what is between cargo and the origin has seen the requests before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Cache {
    /// It hasn't, or there is nothing in between.
    Cold,
    /// It has.
    Warm,
    /// It has, and is on another machine, so that a question takes [`AFAR_MS`] there and back.
    WarmAfar,
}

/// The times of one thing that cargo did.
#[derive(Serialize)]
pub(crate) struct Trip {
    pub(crate) verb: Verb,
    pub(crate) cache: Cache,
    pub(crate) way: Way,
    pub(crate) delay_ms: u64,
    pub(crate) seconds: Sample,
}

/// A project and an empty home for cargo, in a folder that goes when this is dropped.
pub(crate) struct Project(TempDir);

impl Project {
    /// A project with that manifest, of which crates.io stands at `index`.
    pub(crate) fn new(index: &str, manifest: &str) -> Result<Self> {
        let folder = match Path::new(IN_MEMORY).is_dir() {
            true => tempfile::tempdir_in(IN_MEMORY),
            false => tempfile::tempdir(),
        };
        let folder = folder.map_err(|e| format!("no temporary folder: {e}"))?;
        let project = Self(folder);
        let config = format!(
            "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{index}\"\n"
        );
        project.write("home/config.toml", &config)?;
        project.write("project/Cargo.toml", manifest)?;
        project.write("project/src/main.rs", "fn main() {}\n")?;
        Ok(project)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.0.path().join(path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        written.map_err(|e| format!("{} can't be written: {e}", path.display()))
    }

    fn lockfile(&self) -> PathBuf {
        self.0.path().join("project/Cargo.lock")
    }

    /// Runs cargo to its end and says how long it took.
    pub(crate) async fn run(&self, verb: Verb) -> Result<Duration> {
        let mut command = Command::new(cargo());
        command
            .arg(verb.command())
            .arg("--quiet")
            .current_dir(self.0.path().join("project"))
            .env_clear()
            .envs(inherited())
            .env("HOME", self.0.path())
            .env("CARGO_HOME", self.0.path().join("home"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let ended = tokio::time::timeout(LIMIT, command.output()).await;
        let took = started.elapsed();
        let output = ended
            .map_err(|_| format!("cargo {} took longer than {LIMIT:?}", verb.command()))?
            .map_err(|e| format!("cargo can't be run: {e}"))?;
        match output.status.success() {
            true => Ok(took),
            false => Err(format!(
                "cargo {}: {}",
                verb.command(),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }
}

/// What cargo needs from outside; the machine may have a proxy, and the cargo that runs this leaves variables of its own behind. The compiler is named, because
/// rustup's stand-in for it would take time of its own.
fn inherited() -> BTreeMap<&'static str, OsString> {
    let mut kept: BTreeMap<_, _> = ["PATH", "TMPDIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"]
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
        .collect();
    let rustc = cargo().with_file_name("rustc");
    if rustc.is_file() {
        kept.insert("RUSTC", rustc.into());
    }
    if let (None, Some(home)) = (kept.get("RUSTUP_HOME"), env::home_dir()) {
        kept.insert("RUSTUP_HOME", home.join(".rustup").into());
    }
    kept
}

/// Measures what is wanted of cargo.
pub(crate) async fn run(bench: &Bench, recording: &Recording, report: &mut Report) -> Result<()> {
    let mut delays = bench.pace.pick(vec![0, 20, 80], vec![20]);
    delays.retain(|ms| bench.wants(&format!("cargo: {ms} ms")));
    if delays.is_empty() {
        return Ok(());
    }
    let origin = Origin::start(bench, &recording.www).await?;
    for round in 1..=bench.rounds {
        for &ms in &delays {
            eprintln!(
                "round {round} of {}: cargo, origin at {ms} ms",
                bench.rounds
            );
            origin.delay(ms).await?;
            for way in Way::ALL {
                let first = delays.first() == Some(&ms);
                travel(bench, recording, &origin, way, (ms, first), report).await?;
            }
        }
    }
    report.packages = packages(&origin).await?;
    Ok(())
}

/// Goes one way with everything new, for each of the two things cargo does.
async fn travel(
    bench: &Bench,
    recording: &Recording,
    origin: &Origin,
    way: Way,
    (delay_ms, first): (u64, bool),
    report: &mut Report,
) -> Result<()> {
    let mut lockfile = None;
    for &verb in bench
        .pace
        .pick(&[Verb::Lock, Verb::Fetch][..], &[Verb::Lock])
    {
        let (_mirror, _nginx);
        let address = match way {
            Way::Direct => origin.address(),
            Way::Nginx => {
                _nginx = Nginx::start(bench, origin.address(), &recording.www).await?;
                match &_nginx {
                    Some(nginx) => nginx.keeping.http1,
                    None => return Ok(()),
                }
            }
            Way::Mirror => {
                _mirror = Mirror::start(bench, origin.address()).await?;
                _mirror.address()
            }
        };
        let caches: &[Cache] = match way {
            Way::Direct => &[Cache::Cold],
            // How far the origin is makes no difference to what is warm.
            Way::Nginx | Way::Mirror if first && bench.pace == Pace::Full => {
                &[Cache::Cold, Cache::Warm, Cache::WarmAfar]
            }
            Way::Nginx | Way::Mirror => &[Cache::Cold, Cache::Warm],
        };
        for &cache in caches {
            let wire = match cache {
                Cache::Cold | Cache::Warm => None,
                Cache::WarmAfar => Some(wire(bench, address, AFAR_MS / 2).await?),
            };
            let address = wire.as_ref().map_or(address, Child::address);
            let (took, made) = errand(address, verb, lockfile.as_deref()).await?;
            lockfile = Some(made);
            report.trip(verb, cache, way, delay_ms, took.as_secs_f64());
        }
    }
    Ok(())
}

/// One run by a machine that has nothing, but for the lock file when there is something to fetch. Gives the lock file.
async fn errand(
    address: SocketAddr,
    verb: Verb,
    lockfile: Option<&str>,
) -> Result<(Duration, String)> {
    let project = Project::new(&format!("http://{address}/index/"), PROJECT)?;
    if let (Verb::Fetch, Some(text)) = (verb, lockfile) {
        project.write("project/Cargo.lock", text)?;
    }
    let took = project.run(verb).await?;
    let made = fs::read_to_string(project.lockfile()).map_err(|e| format!("Cargo.lock: {e}"))?;
    Ok((took, made))
}

/// How many packages the project's lock file has.
async fn packages(origin: &Origin) -> Result<usize> {
    origin.delay(0).await?;
    let (_, lockfile) = errand(origin.address(), Verb::Lock, None).await?;
    Ok(lockfile.matches("[[package]]").count())
}
