//! [`Terminal`]: the terminal that `serve` was started on, and whether it is still there.
//!
//! One that is closed sends SIGHUP, by which a program is told to read its files again as well. What tells the two apart is the terminal: one that is gone is none any more. Who runs under
//! nohup(1) or setsid(1) was started on none: its streams lead elsewhere, or to one that isn't its own.

use std::{io, os::fd::AsFd};

use rustix::termios::{isatty, tcgetsid};

/// Those of the three standard streams that led to the controlling terminal at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    streams: [bool; 3],
}

impl Terminal {
    /// The one that the process is on now.
    pub fn of_process() -> Self {
        Self {
            // Only of its own can a process have the session.
            streams: streams(|stream| isatty(stream) && tcgetsid(stream).is_ok()),
        }
    }

    /// Whether there was one, and it has been closed since.
    pub(super) fn is_gone(self) -> bool {
        let there = streams(|stream| isatty(stream));
        let mut before = self.streams.iter().zip(there);
        self.is_one() && before.all(|(was, is)| !was || !is)
    }

    /// Whether there was one.
    pub(super) fn is_one(self) -> bool {
        self.streams.contains(&true)
    }
}

fn streams(is: impl Fn(&dyn AsFd) -> bool) -> [bool; 3] {
    [is(&io::stdin()), is(&io::stdout()), is(&io::stderr())]
}
