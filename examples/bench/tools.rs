//! [`Bench`]: what this run has at hand: the program to measure, the tools that are installed, and how thorough to be.

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Result, certificate::Certificate};

/// The packages that the tools come in, as Debian and Ubuntu call them.
pub(crate) const INSTALL: &str = "apt-get install nginx-light wrk nghttp2-client";
/// How this is run.
pub(crate) const RUN: &str = "cargo run --release --example bench";

/// How thorough to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Everything, three rounds.
    Full,
    /// The most telling rows, one round, short runs.
    Quick,
}

impl Pace {
    /// One of two values.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// Which processors servers and load have.
#[derive(Clone, Debug)]
pub(crate) enum Cores {
    /// All of them, both: so many.
    Shared(usize),
    /// The servers these, and the load those.
    Apart(Vec<usize>, Vec<usize>),
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(cores) => write!(
                f,
                "{cores} cores shared by the servers, the load generators and the origin"
            ),
            Self::Apart(servers, load) => write!(
                f,
                "cores {} for the servers and the origin, {} for the load generators",
                list(servers),
                list(load)
            ),
        }
    }
}

/// As taskset wants it.
fn list(cores: &[usize]) -> String {
    let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
    cores.join(",")
}

/// The processors that this program may run on, by `/proc/self/status`.
fn allowed() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = line.unwrap_or_default().trim().split(',');
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    ranges.filter_map(range).flatten().collect()
}

impl Cores {
    /// All there are, or half of them for each.
    fn of(apart: bool) -> Result<Self> {
        if !apart {
            let all = std::thread::available_parallelism();
            return Ok(Self::Shared(all.map_or(1, usize::from)));
        }
        let mut servers = allowed();
        let load = servers.split_off(servers.len().div_ceil(2));
        match load.is_empty() || installed("taskset").is_none() {
            true => Err("`--apart` needs two cores, and taskset".to_owned()),
            false => Ok(Self::Apart(servers, load)),
        }
    }

    /// How many a server has, and so worker threads.
    pub(crate) fn of_servers(&self) -> usize {
        match self {
            Self::Shared(cores) => *cores,
            Self::Apart(servers, _) => servers.len(),
        }
    }

    /// How many threads a load generator has. On cores that it shares one for every two, so that the server gets more than it.
    pub(crate) fn load_threads(&self) -> usize {
        match self {
            Self::Shared(cores) => (cores / 2).max(1),
            Self::Apart(_, load) => load.len(),
        }
    }
}

/// A program that runs on these cores only.
fn pinned(cores: &[usize], program: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("taskset");
    command.arg("-c").arg(list(cores)).arg(program);
    command
}

/// What this run has at hand.
pub(crate) struct Bench {
    pub(crate) pace: Pace,
    pub(crate) rounds: usize,
    only: Option<String>,
    /// The program to measure.
    pub(crate) mirror: PathBuf,
    /// This program, for its other roles.
    pub(crate) me: PathBuf,
    pub(crate) nginx: Option<PathBuf>,
    pub(crate) wrk: Option<PathBuf>,
    pub(crate) h2load: Option<PathBuf>,
    pub(crate) cores: Cores,
    /// What every server shows over TLS.
    pub(crate) certificate: Certificate,
    /// Goes when the run ends.
    pub(crate) folder: TempDir,
}

impl Bench {
    /// Looks around.
    pub(crate) async fn new(
        pace: Pace,
        rounds: Option<usize>,
        only: Option<String>,
        apart: bool,
        mirror: PathBuf,
    ) -> Result<Self> {
        // A client of ours may be built before an upstream client has chosen how to do TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            pace,
            rounds: rounds.unwrap_or(pace.pick(3, 1)).max(1),
            only,
            mirror,
            me: env::current_exe().map_err(|e| format!("where this program is: {e}"))?,
            nginx: installed("nginx"),
            wrk: installed("wrk"),
            h2load: installed("h2load"),
            cores: Cores::of(apart)?,
            certificate: Certificate::new()?,
            folder: tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?,
        })
    }

    /// Whether something of this name is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// A server, on its cores.
    pub(crate) fn server(&self, program: &Path) -> tokio::process::Command {
        match &self.cores {
            Cores::Shared(_) => tokio::process::Command::new(program),
            Cores::Apart(servers, _) => pinned(servers, program),
        }
    }

    /// What loads one, on its cores.
    pub(crate) fn load(&self, program: &Path) -> tokio::process::Command {
        match &self.cores {
            Cores::Shared(_) => tokio::process::Command::new(program),
            Cores::Apart(_, load) => pinned(load, program),
        }
    }

    /// How long a server is loaded at a time.
    pub(crate) fn shot(&self) -> Duration {
        self.pace
            .pick(Duration::from_secs(2), Duration::from_millis(500))
    }

    /// The tools that would be needed for everything and aren't there.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let tools = [
            ("nginx", &self.nginx),
            ("wrk", &self.wrk),
            ("h2load", &self.h2load),
        ];
        let missing = tools.into_iter().filter(|(_, path)| path.is_none());
        missing.map(|(name, _)| name).collect()
    }
}

/// Where a program is. Servers are often where only root looks.
fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// What a program says of its version.
pub(crate) fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let said = output
        .map(|o| [o.stdout, o.stderr].concat())
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or_default().trim().to_owned()
}

/// Builds the program: cargo builds none for an example, and an old one would pass for the new.
pub(crate) fn build_mirror() -> Result<PathBuf> {
    let me = env::current_exe().map_err(|e| format!("where this program is: {e}"))?;
    // …/target/release/examples/bench
    let profile = me.ancestors().nth(2).unwrap_or(Path::new("."));
    let target = profile.parent().unwrap_or(Path::new("."));
    if cfg!(debug_assertions) {
        return Err(format!("a debug build measures nothing; run `{RUN}`"));
    }
    let mut command = Command::new(cargo());
    command
        .args([
            "build",
            "--release",
            "--bin",
            "crate-mirror",
            "--manifest-path",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    // What cargo tells of this example would have it build some dependencies again, each time.
    let told = |name: &&OsString| {
        let name = name.to_string_lossy();
        [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_CRATE_",
            "CARGO_BIN_",
        ]
        .iter()
        .any(|start| name.starts_with(start))
    };
    let names: Vec<_> = env::vars_os().map(|(name, _)| name).collect();
    for name in names.iter().filter(told) {
        command.env_remove(name);
    }
    let built = command.status().is_ok_and(|status| status.success());
    let mirror = profile.join(format!("crate-mirror{}", env::consts::EXE_SUFFIX));
    match built && mirror.exists() {
        true => Ok(mirror),
        false => Err("crate-mirror can't be built; name one that is there with --mirror".into()),
    }
}

/// The real cargo: rustup's stand-in would add its own time to every run.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
