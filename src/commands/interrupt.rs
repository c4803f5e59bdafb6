//! Ctrl-C and SIGTERM, for commands that have something to clean up or to say before they end. A second one ends a command at once.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{say, terminal::Terminal};
use crate::error::{Error, Result};

/// What became of a command's work.
pub(super) enum Completion<T> {
    /// It came to its end.
    Done(T),
    /// Somebody ended it before.
    Interrupted(T),
}

/// Both signals. While this listens, neither ends the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen. Nothing may be asked of somebody at a terminal from now on: they couldn't break it off.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the system has no room for it.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|e| Error::internal("signals can't be received").caused_by(e))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What a SIGHUP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// Files are to be read again: somebody has sent it.
    Told,
    /// The terminal that the program was started on has been closed.
    Closed,
}

/// SIGHUP. While this listens, it doesn't end the process.
pub(super) struct Hangups {
    signal: Signal,
    terminal: Terminal,
}

impl Hangups {
    /// How often a terminal is looked at. Whoever is still there when it is long gone was made to outlive it (`disown`), and is told nothing by its end.
    const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// Begins to listen, as a program that was started on this terminal.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the system has no room for it.
    pub(super) fn listen(terminal: Terminal) -> Result<Self> {
        let failed = |e| Error::internal("signals can't be received").caused_by(e);
        let signal = signal(SignalKind::hangup()).map_err(failed)?;
        Ok(Self { signal, terminal })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Hangup {
        let outlived = outlived(self.terminal);
        tokio::select! {
            biased;
            _ = self.signal.recv() => {}
            () = outlived => {
                self.terminal = Terminal::default();
                let _ = self.signal.recv().await;
            }
        }
        match self.terminal.is_gone() {
            true => Hangup::Closed,
            false => Hangup::Told,
        }
    }
}

/// Waits until this terminal has been gone for a while.
async fn outlived(terminal: Terminal) {
    if !terminal.is_one() {
        return std::future::pending().await;
    }
    let mut looks = 0;
    while looks < 2 {
        tokio::time::sleep(Hangups::LOOK_EVERY).await;
        looks = if terminal.is_gone() { looks + 1 } else { 0 };
    }
}

/// Whether work that blocks is to end. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work`, which blocks, to its end, which comes soon once its [`Stop`] is set.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when it panics, [`Kind::Cancelled`](crate::error::Kind::Cancelled) when somebody doesn't wait for its
/// end.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(Stop) -> T + Send + 'static,
) -> Result<Completion<T>> {
    let mut signals = Signals::listen()?;
    let stop = Stop::default();
    let working = stop.clone();
    let mut working = tokio::task::spawn_blocking(move || work(working));
    let early = |e| Error::ended_early("it", e);
    tokio::select! {
        done = &mut working => return done.map(Completion::Done).map_err(early),
        () = signals.next() => stop.set(),
    }
    tokio::select! {
        done = working => done.map(Completion::Interrupted).map_err(early),
        () = signals.next() => Err(at_once()),
    }
}

/// Runs `work`, which has nothing to clean up, until it is done or a signal comes; `None` then. It may block.
///
/// # Errors
/// Those of `work`, and [`Kind::Internal`](crate::error::Kind::Internal) when it panics.
pub(super) async fn until_told<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Option<T>> {
    let mut signals = Signals::listen()?;
    let mut working = tokio::spawn(work);
    tokio::select! {
        done = &mut working => match done {
            Ok(done) => done.map(Some),
            Err(e) => Err(Error::ended_early("it", e)),
        },
        () = signals.next() => {
            working.abort();
            Ok(None)
        }
    }
}

/// What is said to who ends a command for the second time.
pub(super) fn at_once() -> Error {
    Error::cancelled("told twice, it has ended at once, and may have left something behind")
}

/// Says that a command was interrupted and how to go on.
pub(super) fn told(how_to_go_on: &str) -> ExitCode {
    say::aside(format_args!("crate-mirror: interrupted; {how_to_go_on}"));
    ExitCode::FAILURE
}
