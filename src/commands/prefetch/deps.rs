//! What a crate depends on, found out by the cargo that is installed: it resolves a project with that one dependency against this mirror.

use std::{
    collections::VecDeque,
    fmt::Write,
    fs, io,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{ChildStderr, Command},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::{Lockfile, RegistryName, Selected},
    error::{Error, Kind, Result},
    prefetch::Missing,
};

/// So many cargos run at once, each in a home of its own: of those that share one, all but one wait.
const AT_ONCE: usize = 4;
/// More of what a cargo says is not kept.
const MOST_SAID: u64 = 64 << 10;

/// What is to be resolved, each with its place among all.
type Queue = Mutex<VecDeque<(usize, Selected)>>;

/// What something depends on, or why cargo can't tell.
type Resolved = Result<Lockfile, String>;

/// What cargo says that each of these depends on, in their order; those it can't resolve are missing.
///
/// # Errors
/// [`Kind::Config`] when there is no cargo, [`Kind::Internal`](crate::error::Kind::Internal) when its files can't be
/// written or read, [`Kind::Cancelled`](crate::error::Kind::Cancelled) when `stop` is cancelled; no cargo is left then.
pub(super) async fn resolve(
    config: &Config,
    base: &str,
    selected: Vec<Selected>,
    stop: &CancellationToken,
) -> Result<(Vec<(Arc<str>, Lockfile)>, Vec<Missing>)> {
    let at_once = AT_ONCE.min(selected.len());
    let queue = selected.into_iter().enumerate().collect();
    let queue = Arc::new(Queue::new(queue));
    let toolchain = toolchain().await;
    let mut cargos = JoinSet::new();
    for _ in 0..at_once {
        let resolver = CargoResolver::new(config, base, toolchain.clone(), stop.clone())?;
        let queue = queue.clone();
        cargos.spawn(async move {
            let done = work_off(&queue, &resolver).await;
            // Nothing more is begun when one has failed.
            done.inspect_err(|_| lock(&queue).clear())
        });
    }
    let (mut all, mut failed) = (Vec::new(), None);
    // All are waited for, also when one has failed: a cargo that is left would write into a folder that is removed.
    while let Some(done) = cargos.join_next().await {
        let early = |e| Error::ended_early("resolving", e);
        match done.map_err(early).flatten() {
            Ok(done) => all.extend(done),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    if let Some(e) = failed {
        return Err(e);
    }
    all.sort_by_key(|(at, ..)| *at);
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (_, what, resolved) in all {
        match resolved {
            Ok(lockfile) => found.push((format!("for {what}").into(), lockfile)),
            Err(why) => missing.push(Missing {
                what,
                why,
                by: Vec::new(),
            }),
        }
    }
    Ok((found, missing))
}

/// Resolves one after the other until none is left: each with its place and its label.
async fn work_off(
    queue: &Queue,
    resolver: &CargoResolver,
) -> Result<Vec<(usize, String, Resolved)>> {
    let mut done = Vec::new();
    loop {
        let next = lock(queue).pop_front();
        let Some((at, selected)) = next else {
            return Ok(done);
        };
        let resolved = match resolver.resolve(&selected).await {
            Ok(lockfile) => Ok(lockfile),
            Err(e) if e.kind() == Kind::Absent => Err(e.to_string()),
            Err(e) => return Err(e),
        };
        done.push((at, selected.label(), resolved));
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<(usize, Selected)>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The toolchain that is used where no file and no folder says another: rustup would look for a rust-toolchain.toml in all folders above.
/// `None` where rustup isn't what runs cargo.
async fn toolchain() -> Option<String> {
    let said = std::env::var("RUSTUP_TOOLCHAIN").ok();
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        return Some(said);
    }
    let mut rustup = Command::new("rustup");
    rustup.arg("default").stdin(Stdio::null());
    let ran = rustup.kill_on_drop(true).output().await.ok()?;
    let said = String::from_utf8(ran.stdout).ok()?;
    let named = said.split_whitespace().next().map(str::to_owned);
    named.filter(|_| ran.status.success())
}

/// A home and a project for cargo, in a folder that goes when this is dropped.
struct CargoResolver {
    folder: TempDir,
    toolchain: Option<String>,
    stop: CancellationToken,
}

impl CargoResolver {
    /// One for which every registry of `config` is the mirror at `base`, a URL without a final slash.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when its files can't be written.
    fn new(
        config: &Config,
        base: &str,
        toolchain: Option<String>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let made = || -> io::Result<Self> {
            let folder = tempfile::tempdir()?;
            fs::create_dir(folder.path().join("home"))?;
            fs::create_dir_all(folder.path().join("project/.cargo"))?;
            fs::write(folder.path().join("project/lib.rs"), "")?;
            fs::write(
                folder.path().join("project/.cargo/config.toml"),
                sources(config, base),
            )?;
            Ok(Self {
                folder,
                toolchain,
                stop,
            })
        };
        made().map_err(|e| no_project(&e))
    }

    /// What a project needs that depends on this one version, its default features on, whatever the platform.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when there is no cargo, [`Kind::Absent`](crate::error::Kind::Absent) with cargo's own words when it
    /// finds no solution.
    async fn resolve(&self, selected: &Selected) -> Result<Lockfile> {
        let project = self.folder.path().join("project");
        let lockfile = project.join("Cargo.lock");
        fs::write(project.join("Cargo.toml"), manifest(selected)).map_err(|e| no_project(&e))?;
        match fs::remove_file(&lockfile) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(no_project(&e)),
            _ => {}
        }
        let unusable = |e: io::Error| {
            Error::config(format!(
                "--deps needs cargo, which can't be run: {e}; install it or put it on the PATH"
            ))
            .with_source(e)
        };
        let mut cargo = self.cargo(&project).map_err(|e| no_project(&e))?;
        let mut running = cargo.spawn().map_err(unusable)?;
        let said = said(running.stderr.take());
        let Some(said) = self.stop.run_until_cancelled(said).await else {
            let _ = running.kill().await;
            return Err(Error::cancelled("resolving was ended"));
        };
        let status = running.wait().await.map_err(unusable)?;
        if !status.success() {
            return Err(Error::absent(format!(
                "cargo can't tell its dependencies: {}",
                complaint(&said)
            )));
        }
        let text = fs::read_to_string(&lockfile).map_err(|e| no_project(&e))?;
        Lockfile::parse(&text).map_err(|e| Error::internal("cargo's own Cargo.lock").caused_by(e))
    }

    /// Nothing of the machine's settings for cargo counts, neither from variables nor from folders above: they may name a proxy, another mirror or
    /// another compiler, or be broken.
    fn cargo(&self, project: &Path) -> io::Result<Command> {
        let mut command = Command::new("cargo");
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| is_cargo_s(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        if let Some(toolchain) = &self.toolchain {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command
            .arg("generate-lockfile")
            .current_dir(project)
            .env("CARGO_HOME", self.folder.path().join("home"))
            // cargo looks no further up for settings; it compares with where it is, which has no links in it.
            .env("__CARGO_TEST_ROOT", self.folder.path().canonicalize()?)
            .env("CARGO_TERM_COLOR", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// Whether a variable tells cargo, rustup or the compiler something, other than where rustup has its toolchains.
fn is_cargo_s(variable: &str) -> bool {
    let tells = ["CARGO", "__CARGO", "RUST"];
    tells.iter().any(|start| variable.starts_with(start)) && variable != "RUSTUP_HOME"
}

/// The beginning of what a cargo says, when it has said all.
async fn said(stderr: Option<ChildStderr>) -> String {
    let mut kept = Vec::new();
    if let Some(mut stderr) = stderr {
        // What can't be read is not said.
        let _ = (&mut stderr).take(MOST_SAID).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// cargo's settings: every registry is replaced by the mirror's, under its own URL, so that dependencies from one to the other are found too. crates.io
/// is, also where it isn't mirrored: what depends on it is told so, and nobody is asked instead.
fn sources(config: &Config, base: &str) -> String {
    let crates_io = RegistryName::crates_io();
    // An empty proxy is none, whatever the environment says.
    let mut toml = String::from("[http]\nproxy = \"\"\n");
    toml += "[source.crates-io]\n";
    toml += &replacement(&crates_io, base);
    for (name, registry) in &config.registries {
        if *name == crates_io {
            continue;
        }
        // Index lines and Cargo.lock files name it without anybody's password.
        let mut index = registry.index.as_url().clone();
        let _ = (index.set_password(None), index.set_username(""));
        let _ = write!(
            toml,
            "[registries.{name}]\nindex = \"sparse+{index}\"\n[source.{name}-itself]\nregistry = \"sparse+{index}\"\n"
        );
        toml += &replacement(name, base);
    }
    toml
}

/// What ends a source's table: that it is the mirror's `registry`.
fn replacement(registry: &RegistryName, base: &str) -> String {
    format!(
        "replace-with = \"{registry}-mirror\"\n[source.{registry}-mirror]\nregistry = \"sparse+{base}/registries/{registry}/index/\"\n"
    )
}

fn manifest(selected: &Selected) -> String {
    let Selected { registry, id, .. } = selected;
    let registry = match *registry == RegistryName::crates_io() {
        true => String::new(),
        false => format!(", registry = \"{registry}\""),
    };
    format!(
        "[package]\nname = \"crate-mirror-prefetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n[dependencies]\nwanted = {{ package = \"{}\", version = \"={}\"{registry} }}\n",
        id.name, id.version
    )
}

/// What cargo says is wrong, in one line.
fn complaint(said: &str) -> String {
    let from = said.find("error:").map_or(0, |at| at + "error:".len());
    let lines = said[from..].lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(8).collect();
    lines.join(" ")
}

fn no_project(error: &io::Error) -> Error {
    Error::internal(format!(
        "the project for cargo to resolve can't be made: {error}"
    ))
    .with_io_source(error)
}
