//! curl, as this machine has it.

use std::{ffi::OsStr, process::Stdio};

use tokio::process::Command;

/// What curl has to say of one transfer, or of several.
pub struct Curled {
    /// What it was asked to write out.
    pub written: String,
    /// The body of the one that named no file for it.
    pub body: Vec<u8>,
}

/// Has curl ask for `url` with these arguments, through no proxy, and write out that.
///
/// # Panics
/// When it fails; a status such as 404 is no failure without `--fail`.
#[track_caller]
pub fn curl<A: AsRef<OsStr>>(
    write_out: &str,
    args: impl IntoIterator<Item = A>,
    url: &str,
) -> impl Future<Output = Curled> {
    let folder = tempfile::tempdir().expect("a folder");
    let body = folder.path().join("body");
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(["--max-time", "60", "--write-out", write_out, "--output"])
        .arg(&body)
        .args(args)
        .arg(url)
        .stdin(Stdio::null());
    let caller = std::panic::Location::caller();
    async move {
        let _folder = folder;
        let output = command.output().await.expect("curl runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        assert!(
            status.success(),
            "{caller}: {command:?}: {status}: {stderr}"
        );
        Curled {
            written: String::from_utf8_lossy(&output.stdout).into_owned(),
            body: std::fs::read(&body).unwrap_or_default(),
        }
    }
}
