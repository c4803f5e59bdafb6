//! git: the real one, in a folder of its own, with no configuration but its own.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::Output;

/// Nothing that git does here takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder in which git works.
pub struct Git {
    folder: TempDir,
}

/// What tells a command of git nothing about this machine.
pub fn environment(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("no_proxy", "*")
        .stdin(Stdio::null())
        .kill_on_drop(true);
}

impl Git {
    pub fn new() -> Git {
        Git {
            folder: TempDir::new().expect("a folder"),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The clone of a repository in a folder of this name.
    pub async fn cloned(&self, url: &str, name: &str, options: &[&str]) -> PathBuf {
        let args = [&["clone", "--quiet"], options, &[url, name]].concat();
        self.run(self.folder(), &args).await.success();
        self.folder().join(name)
    }

    /// Runs git there.
    pub async fn run<A: AsRef<OsStr>>(&self, folder: &Path, args: &[A]) -> Output {
        let mut command = Command::new("git");
        environment(&mut command, self.folder());
        command.current_dir(folder).args(args);
        let shown: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        let what = format!("git {}", shown.join(" "));
        let ran = tokio::time::timeout(LIMIT, command.output()).await;
        let output = ran.unwrap_or_else(|_| panic!("{what} took longer than {LIMIT:?}"));
        Output::of(what, &output.expect("git runs"))
    }

    /// What git says there, without the last line feed.
    pub async fn says(&self, folder: &Path, args: &[&str]) -> String {
        let said = self.run(folder, args).await;
        said.success();
        said.stdout.trim_end().to_owned()
    }

    /// Has git look at all objects there.
    pub async fn check(&self, folder: &Path) {
        let args = ["fsck", "--full", "--strict", "--no-dangling"];
        let said = self.run(folder, &args).await;
        said.success();
        assert!(said.stderr.is_empty(), "{said}");
    }
}
