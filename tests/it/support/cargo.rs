//! Cargo: the real one, in a home of its own, with crates.io replaced by a mirror.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

/// Enough for a build on a busy machine; a run that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// A cargo home and a project, both in a folder that goes when this is dropped.
pub struct Cargo {
    program: PathBuf,
    dir: TempDir,
    config: String,
    env: BTreeMap<String, String>,
}

impl Cargo {
    /// `mirror_index_url` is the sparse index's URL, with or without `sparse+`.
    pub fn new(mirror_index_url: &str) -> Cargo {
        let mut cargo = Cargo::unconfigured();
        cargo.config = format!(
            "[source.crates-io]\nreplace-with = \"mirror\"\n\n[registries.mirror]\nindex = \"{}\"\n",
            sparse(mirror_index_url)
        );
        cargo.fresh_home();
        cargo
    }

    /// Without a replacement for crates.io: say what stands there with `registry` and `config`.
    pub fn unconfigured() -> Cargo {
        let cargo = Cargo {
            program: "cargo".into(),
            dir: tempfile::tempdir().expect("a folder for cargo"),
            config: String::new(),
            env: BTreeMap::new(),
        };
        cargo.fresh_home();
        cargo.project(&[])
    }

    /// Another cargo than the one on the path.
    pub fn program(mut self, path: &Path) -> Cargo {
        self.program = path.to_owned();
        self
    }

    /// Another registry by name: `[registries.NAME] index = "sparse+URL"`.
    pub fn registry(self, name: &str, index_url: &str) -> Cargo {
        let index = sparse(index_url);
        self.config(&format!("[registries.{name}]\nindex = \"{index}\"\n"))
    }

    /// More lines for `config.toml`.
    pub fn config(mut self, toml: &str) -> Cargo {
        self.config.push('\n');
        self.config.push_str(toml);
        self.write_config();
        self
    }

    /// One more variable for every run, for instance `CARGO_NET_RETRY`.
    pub fn env(mut self, name: &str, value: &str) -> Cargo {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A project with these dependencies in place of the one before.
    pub fn project(self, deps: &[(&str, &str)]) -> Cargo {
        let deps: String = deps
            .iter()
            .map(|(name, req)| format!("{name} = \"{req}\"\n"))
            .collect();
        self.project_toml(&format!("[dependencies]\n{deps}"))
    }

    /// A project whose manifest goes on with this after its `[package]`.
    pub fn project_toml(self, toml: &str) -> Cargo {
        self.manifest(toml);
        self.write("src/main.rs", "fn main() {}\n");
        self
    }

    /// Only the manifest: what follows `[package]`.
    pub fn manifest(&self, toml: &str) {
        let package = "[package]\nname = \"project\"\nversion = \"0.0.0\"\nedition = \"2021\"\n";
        // Its own workspace: cargo looks for one in every folder above.
        self.write("Cargo.toml", &format!("{package}\n{toml}\n[workspace]\n"));
    }

    /// A file of the project.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.project_dir().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the project's folder");
        fs::write(path, content).expect("a file of the project");
    }

    /// An empty CARGO_HOME with the same configuration; the project stays as it is.
    pub fn fresh_home(&self) {
        let home = self.home();
        if home.exists() {
            fs::remove_dir_all(&home).expect("remove cargo's home");
        }
        fs::create_dir_all(&home).expect("cargo's home");
        self.write_config();
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn project_dir(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub fn lockfile(&self) -> String {
        fs::read_to_string(self.project_dir().join("Cargo.lock")).expect("Cargo.lock")
    }

    pub fn remove_lockfile(&self) {
        fs::remove_file(self.project_dir().join("Cargo.lock")).expect("Cargo.lock");
    }

    /// Runs cargo in the project.
    pub async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command();
        command.args(args);
        let ran = tokio::time::timeout(LIMIT, command.output()).await;
        let Ok(output) = ran else {
            panic!("cargo {} took longer than {LIMIT:?}", args.join(" "));
        };
        let output = output.expect("cargo runs");
        Output::of(format!("cargo {}", args.join(" ")), &output)
    }

    /// A clean environment: the cargo that runs these tests leaves `CARGO_*` behind, and the
    /// machine may have a proxy.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.project_dir())
            .env_clear()
            .envs(inherited())
            .env("HOME", self.dir.path())
            .env("CARGO_HOME", self.home())
            .env("CARGO_TERM_COLOR", "never")
            .env("RUSTUP_AUTO_INSTALL", "0")
            .envs(&self.env)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn write_config(&self) {
        fs::write(self.home().join("config.toml"), &self.config).expect("cargo's configuration");
    }
}

/// What cargo, rustup and the linker need from outside.
pub(super) fn inherited() -> BTreeMap<&'static str, OsString> {
    let kept = [
        "PATH",
        "TMPDIR",
        "RUSTUP_TOOLCHAIN",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    let mut env: BTreeMap<_, _> = kept
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
        .collect();
    // rustup looks for its toolchains below HOME, which is another one here.
    let below_home = std::env::home_dir().map(|home| home.join(".rustup").into_os_string());
    let rustup = std::env::var_os("RUSTUP_HOME").or(below_home);
    if let Some(rustup) = rustup.filter(|path| Path::new(path).exists()) {
        env.insert("RUSTUP_HOME", rustup);
    }
    env
}

fn sparse(index_url: &str) -> String {
    assert!(index_url.ends_with('/'), "{index_url} needs its last slash");
    let url = index_url.strip_prefix("sparse+").unwrap_or(index_url);
    format!("sparse+{url}")
}

/// What a run of cargo, or of another command, left.
#[derive(Clone, Debug)]
#[must_use = "say success() or failure()"]
pub struct Output {
    what: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub(super) fn of(what: String, output: &std::process::Output) -> Output {
        Output {
            what,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn code(&self, expected: i32) -> &Output {
        assert_eq!(self.status.code(), Some(expected), "{self}");
        self
    }

    #[track_caller]
    pub fn success(&self) -> &Output {
        assert!(self.status.success(), "failed, {self}");
        self
    }

    #[track_caller]
    pub fn failure(&self) -> &Output {
        assert!(!self.status.success(), "did not fail, {self}");
        self
    }

    #[track_caller]
    pub fn stderr_contains(&self, text: &str) -> &Output {
        assert!(self.stderr.contains(text), "no {text:?} on stderr, {self}");
        self
    }

    #[track_caller]
    pub fn stderr_lacks(&self, text: &str) -> &Output {
        assert!(!self.stderr.contains(text), "{text:?} on stderr, {self}");
        self
    }

    #[track_caller]
    pub fn stdout_contains(&self, text: &str) -> &Output {
        assert!(self.stdout.contains(text), "no {text:?} on stdout, {self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output {
            what,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{what}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}
