//! [`Verdicts`]: what is said of each part, one line each, and what they come to.

use std::{fmt::Display, process::ExitCode};

use crate::commands::say::Lines;

/// The lines that are said.
#[derive(Default)]
pub(super) struct Verdicts {
    lines: Lines,
    has_failed: bool,
}

impl Verdicts {
    /// A part can be used.
    pub(super) fn ok(&mut self, part: impl Display) {
        self.lines.say(format_args!("ok      {part}"));
    }

    /// It can't.
    pub(super) fn failed(&mut self, part: impl Display) {
        self.has_failed = true;
        self.lines.say(format_args!("failed  {part}"));
    }

    /// The exit code.
    pub(super) fn end(self) -> ExitCode {
        self.lines.end(match self.has_failed {
            false => ExitCode::SUCCESS,
            true => ExitCode::FAILURE,
        })
    }
}
