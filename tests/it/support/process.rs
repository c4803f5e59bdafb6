//! [`Process`]: the real program in a process of its own, for what can only be seen from outside: its death and its memory.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{Output, Reply, Upstream, client, program};

/// A running `crate-mirror`. Dropping it kills it.
pub struct Process {
    child: Child,
    addr: SocketAddr,
    log: PathBuf,
    /// Kept open, because the program goes on writing to it.
    stdout: Lines<BufReader<ChildStdout>>,
    /// Its settings and its log.
    folder: TempDir,
}

/// Runs one of the program's commands on that store, with these settings, to its end.
pub async fn command(args: &[&str], store: &Path, settings: &str) -> Output {
    run(Command::new(program::binary()), args, store, settings).await
}

/// The same as a user who isn't root, because root may read and write whatever the modes of files say. `None`, and a line that says so, where the tool for
/// that is missing.
pub async fn command_held_by_modes(args: &[&str], store: &Path) -> Option<Output> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return Some(command(args, store, "").await);
    }
    let mut setpriv = Command::new("/usr/bin/setpriv");
    if !Path::new("/usr/bin/setpriv").exists() {
        let why = "a test that needs setpriv (of util-linux) can't run";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("skipped: {why}");
        return None;
    }
    setpriv
        .arg("--bounding-set=-dac_override,-dac_read_search")
        .arg(program::binary());
    Some(run(setpriv, args, store, "").await)
}

async fn run(mut command: Command, args: &[&str], store: &Path, settings: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("mirror.toml");
    fs::write(&config, settings).expect("write the settings");
    command
        .args(args)
        .args(["--log", "warn", "--store"])
        .arg(store)
        .arg("--config")
        .arg(&config)
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(Duration::from_secs(60), command.output()).await;
    let output = ended.expect("it ends").expect("the program starts");
    Output::of(format!("crate-mirror {}", args.join(" ")), &output)
}

impl Process {
    /// Starts it in front of `upstream` and on that store, and waits until it listens.
    pub async fn start(upstream: &Upstream, store: &Path, settings: &str) -> Process {
        Process::start_at(&upstream.index_url(), store, settings, &[]).await
    }

    /// The same of an upstream whose index is there, in an environment with these variables.
    pub async fn start_at(
        index: &str,
        store: &Path,
        settings: &str,
        env: &[(&str, String)],
    ) -> Process {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("mirror.toml");
        let toml = format!("[registries.crates-io]\nindex = \"{index}\"\n{settings}\n");
        fs::write(&config, toml).expect("write the settings");
        let log = folder.path().join("log");
        let mut child = Command::new(program::binary())
            .args(["--listen", "127.0.0.1:0", "--log", "warn", "--store"])
            .arg(store)
            .arg("--config")
            .arg(&config)
            .current_dir(folder.path())
            // The machine may have a proxy, or settings for a mirror of its own.
            .env_clear()
            .envs(env.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("its standard output");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(Duration::from_secs(30), lines.next_line()).await;
        let line = line.expect("a line in time").expect("a line");
        let addr = line
            .as_deref()
            .and_then(|line| line.split_once("listens on http://")?.1.parse().ok());
        let Some(addr) = addr else {
            let log = fs::read_to_string(&log).unwrap_or_default();
            panic!("it doesn't listen: {line:?}\n{log}");
        };
        Process {
            child,
            addr,
            log,
            stdout: lines,
            folder,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it speaks TLS, when that is a port of its own. It reads on in what the program prints, so it works once.
    pub async fn tls_addr(&mut self) -> SocketAddr {
        let line = timeout(Duration::from_secs(30), self.stdout.next_line()).await;
        let line = line.expect("a line in time").expect("text");
        let address = line
            .as_deref()
            .and_then(|line| line.strip_prefix("It speaks TLS on https://"));
        let address = address.and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("it speaks no TLS: {line:?}"))
    }

    pub async fn get(&self, path: &str) -> Reply {
        client::get(self.addr, path, &[]).await
    }

    /// What it has logged so far, warnings and errors.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    /// Ends it as a signal does and returns all that it has logged.
    pub async fn stop(mut self) -> String {
        let id = self.child.id().expect("a running process").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("kill runs").success(), "no signal sent");
        let ended = timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = ended.expect("it ends in time").expect("its status");
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }

    /// Ends it at once, as a power cut would; it gets no chance to tidy up.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("SIGKILL");
    }

    /// The most memory it ever had, in bytes.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory it has now, in bytes.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// A line of what the system says of it, in bytes.
    #[cfg(target_os = "linux")]
    fn status(&self, name: &str) -> u64 {
        let id = self.child.id().expect("a running process");
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes = kilobytes.expect("such a line");
        kilobytes.parse::<u64>().expect("a number") * 1024
    }
}

/// Shows its log when a test fails.
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            let lines = log.unwrap_or_default();
            let last: Vec<_> = lines.lines().rev().take(10).collect();
            let ended = self.child.try_wait();
            eprintln!("has the process ended? {ended:?}; its log, latest first: {last:#?}");
        }
    }
}
