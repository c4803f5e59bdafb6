//! What a command prints: run without a shell, with limits on its time and its output, and ended with its process group.

use std::{
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::BufMut;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};
use zeroize::Zeroizing;

use super::form::LONGEST;
use crate::{
    config::credential::CommandLine,
    error::{Error, Result},
};

/// How long it may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// How long what it has printed is still read when it has ended, and what it has left running holds the pipe open.
const GRACE: Duration = Duration::from_millis(100);

/// Runs `command` and returns what it has printed on standard output.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config), for the log: it has nothing in it of what the command prints, on standard error either, where a secret
/// may be as well.
pub(super) async fn run(command: &CommandLine) -> Result<Zeroizing<Vec<u8>>> {
    let program = &command.program;
    let mut child = Command::new(program)
        .args(&command.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| {
            Error::config(format!("the command {program} can't be started")).caused_by(e)
        })?;
    let group = Group::of(&child);
    let ended = tokio::time::timeout(LIMIT, finish(&mut child)).await;
    let Ok(ended) = ended else {
        drop(group);
        // Reaped by the runtime, which it leaves to when it is dropped.
        return Err(Error::config(format!(
            "the command {program} has taken more than {}, and is ended",
            humantime::format_duration(LIMIT)
        )));
    };
    let Finished { status, printed } = ended.map_err(|e| {
        Error::config(format!("the command {program} can't be waited for")).caused_by(e)
    })?;
    if printed.len() > LONGEST {
        return Err(Error::config(format!(
            "the command {program} prints more than 16 KiB"
        )));
    }
    if !status.success() {
        return Err(Error::config(format!(
            "the command {program} failed ({status}); what it says on standard error isn't shown, because there may be secrets in it: run it by hand to see that"
        )));
    }
    group.leave();
    Ok(printed)
}

/// A command that has come to its end, or has printed too much.
struct Finished {
    status: ExitStatus,
    printed: Zeroizing<Vec<u8>>,
}

/// Waits for its end, which needn't be that of its output: a helper may leave an agent behind, who has the pipe too.
async fn finish(child: &mut Child) -> std::io::Result<Finished> {
    let mut printed = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let status = {
        let mut reading = pin!(beginning(child.stdout.take(), &mut printed));
        tokio::select! {
            read = &mut reading => {
                read?;
                child.wait().await?
            }
            status = child.wait() => {
                if let Ok(read) = tokio::time::timeout(GRACE, reading).await {
                    read?;
                }
                status?
            }
        }
    };
    Ok(Finished { status, printed })
}

/// As much of a stream as `kept` has room for, which doesn't grow, so that no copy is left behind. The rest is read and thrown away, so that nobody waits
/// for room in a pipe.
async fn beginning(
    stream: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
) -> std::io::Result<()> {
    let Some(mut stream) = stream else {
        return Ok(());
    };
    while kept.len() < kept.capacity() {
        let room = kept.capacity() - kept.len();
        if stream.read_buf(&mut (&mut *kept).limit(room)).await? == 0 {
            return Ok(());
        }
    }
    let mut rest = Zeroizing::new([0; 1 << 10]);
    while stream.read(&mut *rest).await? > 0 {}
    Ok(())
}

/// The processes of a command. They are ended when this is dropped, unless it has done well: then what it has left running was meant to.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails when none of them is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> CommandLine {
        CommandLine {
            program: "/bin/sh".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        }
    }

    async fn said(script: &str) -> Result<String, String> {
        let printed = run(&shell(script)).await.map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    /// The last line of standard error went into the log, and with `set -x` or a program that says what it was given that is the secret.
    #[tokio::test]
    async fn what_it_prints_is_what_comes_and_what_it_complains_of_is_for_nobody() {
        assert_eq!(
            said("echo token; echo noise >&2").await,
            Ok("token\n".to_owned())
        );
        for script in [
            "echo 'no account for hunter2' >&2; exit 3",
            "echo hunter2; echo 'not hunter2 again' >&2; exit 3",
            "set -x; true hunter2; exit 3",
        ] {
            let failed = said(script).await.expect_err("it failed");
            assert!(failed.contains("exit status: 3"), "{failed}");
            assert!(failed.contains("run it by hand"), "{failed}");
            assert!(!failed.contains("hunter2"), "{failed}");
        }
    }

    /// It was waited for until the pipe was closed, and "has taken more than 10s".
    #[tokio::test]
    async fn one_that_leaves_something_running_is_not_waited_for() {
        let printed = said("echo token; sleep 15 &").await;
        assert_eq!(printed, Ok("token\n".to_owned()));
    }

    #[tokio::test]
    async fn arguments_reach_it_as_they_are_written() {
        let command = CommandLine {
            program: "printf".to_owned(),
            arguments: vec!["%s".to_owned(), "$HOME `id`; a\"b".to_owned()],
        };
        let printed = run(&command).await.expect("printed");
        assert_eq!(&printed[..], b"$HOME `id`; a\"b");
    }

    #[tokio::test]
    async fn what_cannot_be_started_or_prints_too_much_is_told() {
        let missing = CommandLine {
            program: "/nonexistent/get-token".to_owned(),
            arguments: Vec::new(),
        };
        let why = run(&missing).await.expect_err("there is none");
        let source = std::error::Error::source(&why).expect("the system's word");
        let source = source.downcast_ref::<std::io::Error>();
        assert!(source.is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound));
        let why = why.to_string();
        assert!(
            why.contains("/nonexistent/get-token can't be started"),
            "{why}"
        );
        let why = said("head -c 1000000 /dev/zero")
            .await
            .expect_err("too much");
        assert!(why.contains("prints more than 16 KiB"), "{why}");
    }

    /// A script that waits for something leaves what it waits for behind when only the shell is killed.
    #[tokio::test(start_paused = true)]
    async fn one_that_takes_too_long_is_ended_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let started = Instant::now();
        // Time is paused: ten seconds pass as soon as nothing else is to be done.
        let running = tokio::spawn(async move { said(&script).await });
        while !std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')) {
            std::thread::sleep(Duration::from_millis(5));
            tokio::task::yield_now().await;
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it never began"
            );
        }
        let why = running.await.expect("it ends").expect_err("it is ended");
        assert!(why.contains("more than 10s"), "{why}");
        let pid = std::fs::read_to_string(&file).expect("its id");
        let status = format!("/proc/{}/status", pid.trim());
        let lives = || std::fs::read_to_string(&status).is_ok_and(|s| !s.contains("State:\tZ"));
        while lives() {
            std::thread::sleep(Duration::from_millis(5));
            assert!(started.elapsed() < Duration::from_secs(20), "it lives on");
        }
    }
}
