//! What a crate depends on, found out by the cargo that is installed: it resolves a project with that one dependency against this mirror.

use std::{
    fmt::Write,
    fs, io,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    config::Config,
    domain::{Lockfile, RegistryName},
    error::{Error, Result},
    mirror::prefetch::Needed,
};

/// A home and a project for cargo, in a folder that goes when this is dropped.
pub(super) struct Resolver {
    folder: TempDir,
}

impl Resolver {
    /// One for which every registry of `config` is the mirror at `base`, a URL without a final slash.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when its files can't be written.
    pub(super) fn new(config: &Config, base: &str) -> Result<Self> {
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
    pub(super) fn resolve(&self, needed: &Needed) -> Result<Lockfile> {
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
