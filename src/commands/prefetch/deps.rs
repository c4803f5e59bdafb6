//! What a crate depends on, found out by the cargo that is installed: it resolves a project with that one dependency against this mirror.

use std::{
    collections::VecDeque,
    fmt::Write,
    fs, io,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    config::Config,
    domain::{Lockfile, RegistryName},
    error::{Error, Kind, Result},
    mirror::prefetch::{Missing, Needed},
};

/// So many cargos run at once, each in a home of its own: of those that share one, all but one wait.
const AT_ONCE: usize = 4;

/// What is to be resolved, each with its place among all.
type Queue = Mutex<VecDeque<(usize, Needed)>>;

/// What something depends on, or why cargo can't tell.
type Resolved = Result<Lockfile, String>;

/// What cargo says that each of these depends on, in their order; those it can't resolve are missing.
///
/// # Errors
/// [`Kind::Config`] when there is no cargo, [`Kind::Internal`] when its files can't be written or read.
pub(super) async fn resolve(
    config: Config,
    base: String,
    needed: Vec<Needed>,
) -> Result<(Vec<(Arc<str>, Lockfile)>, Vec<Missing>)> {
    let mut cargos = JoinSet::new();
    let at_once = AT_ONCE.min(needed.len());
    let queue = needed.into_iter().enumerate().collect();
    let shared = Arc::new((config, base, Queue::new(queue)));
    for _ in 0..at_once {
        let shared = shared.clone();
        cargos.spawn_blocking(move || {
            let (config, base, queue) = &*shared;
            let resolver = Resolver::new(config, base)?;
            // Nothing more is begun when one has failed.
            work_off(queue, &resolver).inspect_err(|_| lock(queue).clear())
        });
    }
    let mut all = Vec::new();
    while let Some(done) = cargos.join_next().await {
        let done = done.map_err(|e| Error::internal(format!("resolving ended early: {e}")))?;
        all.extend(done?);
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
fn work_off(queue: &Queue, resolver: &Resolver) -> Result<Vec<(usize, String, Resolved)>> {
    let mut done = Vec::new();
    loop {
        let Some((at, needed)) = lock(queue).pop_front() else {
            return Ok(done);
        };
        let resolved = match resolver.resolve(&needed) {
            Ok(lockfile) => Ok(lockfile),
            Err(e) if e.kind() == Kind::Absent => Err(e.to_string()),
            Err(e) => return Err(e),
        };
        done.push((at, needed.label(), resolved));
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<(usize, Needed)>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A home and a project for cargo, in a folder that goes when this is dropped.
struct Resolver {
    folder: TempDir,
}

impl Resolver {
    /// One for which every registry of `config` is the mirror at `base`, a URL without a final slash.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when its files can't be written.
    fn new(config: &Config, base: &str) -> Result<Self> {
        let made = || -> io::Result<Self> {
            let folder = tempfile::tempdir()?;
            fs::create_dir(folder.path().join("home"))?;
            fs::create_dir_all(folder.path().join("project/.cargo"))?;
            fs::write(folder.path().join("project/lib.rs"), "")?;
            fs::write(
                folder.path().join("project/.cargo/config.toml"),
                sources(config, base),
            )?;
            Ok(Self { folder })
        };
        made().map_err(|e| no_project(&e))
    }

    /// What a project needs that depends on this one version, its default features on, whatever the platform.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when there is no cargo, [`Kind::Absent`](crate::error::Kind::Absent) with cargo's own words when it
    /// finds no solution.
    fn resolve(&self, needed: &Needed) -> Result<Lockfile> {
        let project = self.folder.path().join("project");
        let lockfile = project.join("Cargo.lock");
        fs::write(project.join("Cargo.toml"), manifest(needed)).map_err(|e| no_project(&e))?;
        match fs::remove_file(&lockfile) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(no_project(&e)),
            _ => {}
        }
        let ran = self.cargo(&project).output().map_err(|e| {
            Error::config(format!(
                "--deps needs cargo, which can't be run: {e}; install it or put it on the PATH"
            ))
        })?;
        if !ran.status.success() {
            return Err(Error::absent(format!(
                "cargo can't tell its dependencies: {}",
                complaint(&ran)
            )));
        }
        let text = fs::read_to_string(&lockfile).map_err(|e| no_project(&e))?;
        Lockfile::parse(&text).map_err(|e| Error::internal(format!("cargo's own Cargo.lock: {e}")))
    }

    /// Nothing of the machine's settings for cargo counts: they may name a proxy or another mirror.
    fn cargo(&self, project: &Path) -> Command {
        let mut command = Command::new("cargo");
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("CARGO_")) {
            command.env_remove(name);
        }
        command
            .arg("generate-lockfile")
            .current_dir(project)
            .env("CARGO_HOME", self.folder.path().join("home"))
            .env("CARGO_TERM_COLOR", "never")
            .stdin(Stdio::null());
        command
    }
}

/// cargo's settings: every registry is replaced by the mirror's, under its own URL, so that dependencies from one to the other are found too.
fn sources(config: &Config, base: &str) -> String {
    let crates_io = RegistryName::crates_io();
    // An empty proxy is none, whatever the environment says.
    let mut toml = String::from("[http]\nproxy = \"\"\n");
    for (name, registry) in &config.registries {
        let index = registry.index.as_url().as_str();
        let source = match *name == crates_io {
            true => "[source.crates-io]\n".to_owned(),
            false => format!(
                "[registries.{name}]\nindex = \"sparse+{index}\"\n[source.{name}-itself]\nregistry = \"sparse+{index}\"\n"
            ),
        };
        let _ = write!(
            toml,
            "{source}replace-with = \"{name}-mirror\"\n[source.{name}-mirror]\nregistry = \"sparse+{base}/registries/{name}/index/\"\n"
        );
    }
    toml
}

fn manifest(needed: &Needed) -> String {
    let Needed { registry, id, .. } = needed;
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
fn complaint(ran: &Output) -> String {
    let said = String::from_utf8_lossy(&ran.stderr);
    let from = said.find("error:").map_or(0, |at| at + "error:".len());
    let lines = said[from..].lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(8).collect();
    lines.join(" ")
}

fn no_project(error: &io::Error) -> Error {
    Error::internal(format!(
        "the project for cargo to resolve can't be made: {error}"
    ))
}
