//! [`Patience`]: when to ask again for what couldn't be had, and when to give up.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::error::{Class, Error, Kind, Result};

/// How often one thing is asked for again when upstream fails for reasons that pass; the first wait is a second, and each one is twice as long.
const REPETITIONS: u32 = 4;
/// The longest wait, whatever upstream's `Retry-After` says.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// When so many things in a row couldn't be had, upstream is down, and waiting for each one in turn would take hours.
const HOPELESS: u32 = 16;

/// What one run has left of it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How many things in a row couldn't be had although they may exist.
    failures: AtomicU32,
}

/// The attempts made for one thing.
#[derive(Default)]
pub(super) struct Tries {
    made: u32,
    /// What upstream answered last. That its circuit is open since then doesn't explain anything to whoever asks why.
    cause: Option<Error>,
}

impl Patience {
    /// Waits until it is worth to ask again after `error`; false when it isn't.
    pub(super) async fn again(&self, tries: &mut Tries, error: &Error) -> bool {
        if !is_circuit(error) {
            tries.cause = Some(error.clone());
        }
        let hopeless = self.failures.load(Ordering::Relaxed) >= HOPELESS;
        if !error.kind().may_pass() || tries.made == REPETITIONS || hopeless {
            return false;
        }
        let usual = Duration::from_secs(1 << tries.made);
        let is_upstreams = matches!(error.kind().class(), Class::Upstream(_));
        let asked_for = error.kind().retry_after().filter(|_| is_upstreams);
        let wait = asked_for.unwrap_or(usual);
        tries.made += 1;
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        true
    }

    /// What came of it in the end; keeps count of what fails in a row for reasons that pass.
    pub(super) fn settle<T>(&self, tries: Tries, done: Result<T>) -> Result<T> {
        match &done {
            Err(e) if e.kind().may_pass() => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => self.failures.store(0, Ordering::Relaxed),
        }
        done.map_err(|e| match is_circuit(&e) {
            true => tries.cause.unwrap_or(e),
            false => e,
        })
    }
}

/// Whether upstream wasn't asked at all, because its circuit is open.
fn is_circuit(error: &Error) -> bool {
    matches!(error.kind(), Kind::CircuitOpen { .. })
}
