//! What a command says. `println!` and `eprintln!` panic when nobody reads, which is no reason for a panic.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

/// Lines on standard output that are a command's result: when one of them is lost, the command has failed.
#[derive(Default)]
pub(super) struct Lines {
    /// Why the first that was lost was.
    lost: Option<io::Error>,
}

impl Lines {
    pub(super) fn say(&mut self, line: impl Display) {
        let lost = writeln!(io::stdout(), "{line}").err();
        self.lost = self.lost.take().or(lost);
    }

    /// Whether somebody reads them still.
    pub(super) fn are_read(&self) -> bool {
        self.lost.is_none()
    }

    /// The exit code: `otherwise`, unless something was lost. Why is said, unless it is that the reader has gone.
    pub(super) fn end(self, otherwise: ExitCode) -> ExitCode {
        match self.lost.or_else(|| io::stdout().flush().err()) {
            None => otherwise,
            Some(e) => {
                if e.kind() != ErrorKind::BrokenPipe {
                    aside(format_args!(
                        "crate-mirror: standard output can't be written: {e}"
                    ));
                }
                ExitCode::FAILURE
            }
        }
    }
}

/// A line on standard error, for who reads it.
pub(crate) fn aside(line: impl Display) {
    // In one piece: others write there, too.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
