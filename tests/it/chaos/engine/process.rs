//! The process: the real program, started with settings of one life and killed without warning.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{World, common::Common};

/// A start takes milliseconds; on a machine that builds something else meanwhile, more.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Where the program is and where its lives leave their things.
pub(super) struct Program {
    world: Arc<World>,
    binary: PathBuf,
    folder: TempDir,
}

/// What one life is started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The store is smaller than what is asked for.
    pub(super) evicting: bool,
    /// The memory budget in MiB.
    budget: u64,
    sync: bool,
}

impl Settings {
    pub(super) fn some(evicting: bool, rng: &mut Rng) -> Settings {
        Settings {
            evicting,
            // With little memory most crates go over the disk.
            budget: [1, 4, 32][rng.usize(0..3)],
            sync: rng.bool(),
        }
    }

    /// What it may hold in memory, in bytes.
    pub(super) fn budget(self) -> u64 {
        self.budget << 20
    }

    /// Every wait is short, so that a run of minutes sees what else takes days.
    fn toml(self, world: &World) -> String {
        let Settings {
            evicting,
            budget,
            sync,
        } = self;
        let index = match world.outside {
            true => "http://registry.example/index/".to_owned(),
            false => world.upstream.index_url(),
        };
        let max_size = if evicting { "8MiB" } else { "50GiB" };
        let common = world.common.as_ref();
        let bucket = common.map_or(String::new(), Common::settings);
        format!(
            "[store]\nmax_size = \"{max_size}\"\nsync = {sync}\n{bucket}\
             [memory]\nbudget = \"{budget}MiB\"\n\
             [freshness]\nfresh_for = \"200ms\"\nabsent_for = \"200ms\"\npatience = \"100ms\"\n\
             [upstream]\nconnect_timeout = \"500ms\"\nfirst_byte_timeout = \"500ms\"\nstall_timeout = \"500ms\"\nretries = 1\nmax_crate_size = \"16MiB\"\n\
             [registries.crates-io]\nindex = \"{index}\"\n"
        )
    }
}

/// A mirror that is alive. Dropping it kills it too.
pub(super) struct Running {
    child: Child,
    pub(super) addr: SocketAddr,
    readers: [JoinHandle<()>; 2],
}

impl Program {
    pub(super) fn new(world: Arc<World>, binary: &Path) -> Program {
        Program {
            world,
            binary: binary.to_owned(),
            folder: tempfile::tempdir().expect("a folder for the store"),
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(super) async fn start(&self, settings: Settings) -> Running {
        let toml = settings.toml(&self.world);
        std::fs::write(self.settings(), toml).expect("the settings");
        let started = Instant::now();
        let mut child = self
            .command(&["--listen", "127.0.0.1:0", "--log", "warn"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mirror starts");
        let mut said = lines(child.stdout.take());
        let log = lines(child.stderr.take());
        let log = tokio::spawn(watch_log(self.world.clone(), log));
        let first = timeout(STARTS_WITHIN, said.next_line()).await;
        let first = first.expect("the mirror says where it listens");
        let first = first.expect("its output").unwrap_or_default();
        self.world.figures.started(started.elapsed());
        let (_, addr) = first
            .rsplit_once("http://")
            .unwrap_or_else(|| panic!("the mirror said {first:?}"));
        // Its output is read on: a pipe that nobody reads would end it.
        let rest = async move { while let Ok(Some(_)) = said.next_line().await {} };
        Running {
            child,
            addr: addr.parse().expect("an address"),
            readers: [log, tokio::spawn(rest)],
        }
    }

    /// Runs `crate-mirror verify`: whether it found nothing wrong, and what it said.
    pub(super) async fn verify(&self) -> (bool, String) {
        let output = self.command(&["verify"]).output().await;
        let output = output.expect("verify runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said + &complaint)
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("mirror.toml")
    }

    /// A clean environment: neither this machine's proxy nor its settings for another mirror.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .arg("--config")
            .arg(self.settings())
            .arg("--store")
            .arg(self.store())
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(common) = &self.world.common {
            command.envs(common.bucket.env());
        }
        if self.world.outside {
            // As a proxy upstream stands in for every host.
            command.env("HTTP_PROXY", self.world.upstream.url());
        }
        command
    }
}

impl Running {
    /// SIGKILL. Returns when the process is gone and all it wrote has been read, with the most memory it ever had.
    pub(super) async fn kill(mut self) -> Option<u64> {
        let peak = self.child.id().and_then(peak_memory);
        self.child.kill().await.expect("the mirror was alive");
        for reader in self.readers {
            reader.await.expect("the mirror's output");
        }
        peak
    }
}

/// The most memory that a process ever had, in bytes; only Linux says so of one that is still there.
fn peak_memory(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn lines<R: AsyncRead + Unpin>(output: Option<R>) -> Lines<BufReader<R>> {
    BufReader::new(output.expect("a pipe")).lines()
}

/// A mirror that panics, or finds something on its disk corrupt that it wrote itself, has a fault even if no client notices.
async fn watch_log(world: Arc<World>, mut log: Lines<BufReader<impl AsyncRead + Unpin>>) {
    while let Ok(Some(line)) = log.next_line().await {
        // A bucket that fails is said to, and that is what happens here, also at the start, when nobody can say how it is laid out.
        let told = ["the store has failed", "what is in it is served"];
        let is_told = world.common.is_some() && told.iter().any(|told| line.contains(told));
        if (line.contains(" ERROR ") && !is_told)
            || (world.common.is_none() && line.contains("is corrupt and dropped"))
        {
            world
                .figures
                .violation(format!("the mirror logged: {line}"));
        }
    }
}
