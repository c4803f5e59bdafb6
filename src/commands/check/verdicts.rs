//! [`Verdicts`]: what is said of each part, one line each, and what they come to.

use std::{fmt::Display, process::ExitCode};

use crate::{
    commands::say::Lines,
    error::{Error, Kind},
};

/// The lines that are said.
#[derive(Default)]
pub(super) struct Verdicts {
    lines: Lines,
    worst: Worst,
}

/// The worst that was said.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
enum Worst {
    #[default]
    Fine,
    /// Something can't be used as things are.
    Failed,
    /// A mirror wouldn't start with these settings.
    Impossible,
}

impl Verdicts {
    /// A part can be used.
    pub(super) fn ok(&mut self, part: impl Display) {
        self.lines.say(format_args!("ok      {part}"));
    }

    /// It can't.
    pub(super) fn failed(&mut self, part: impl Display) {
        self.note(Worst::Failed);
        self.lines.say(format_args!("failed  {part}"));
    }

    /// It can't, for a reason that may keep a mirror from starting.
    pub(super) fn refused(&mut self, why: &Error) {
        if why.kind() == Kind::Config {
            self.note(Worst::Impossible);
        }
        self.failed(why);
    }

    fn note(&mut self, what: Worst) {
        if what > self.worst {
            self.worst = what;
        }
    }

    /// The exit code.
    pub(super) fn end(self) -> ExitCode {
        self.lines.end(match self.worst {
            Worst::Fine => ExitCode::SUCCESS,
            Worst::Failed => ExitCode::FAILURE,
            Worst::Impossible => ExitCode::from(2),
        })
    }
}
