//! [`Patience`]: when to ask again for what couldn't be had, and when to give up.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::error::{Error, Kind, Result};

/// How often one thing is asked for again when upstream fails for reasons that pass; the first wait is a second, and each one is twice as long.
const REPETITIONS: u32 = 4;
/// The longest wait, whatever upstream wishes.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// When so many things in a row couldn't be had, upstream is down, and waiting for each one in turn would take hours.
const HOPELESS: u32 = 16;

/// What one run has left of it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How many things in a row couldn't be had although they may exist.
    failures: AtomicU32,
}

impl Patience {
    /// Waits until it is worth to ask again after `error`; false when it isn't.
    pub(super) async fn again(&self, tries: &mut u32, error: &Error) -> bool {
        let hopeless = self.failures.load(Ordering::Relaxed) >= HOPELESS;
        if !passes(error) || *tries == REPETITIONS || hopeless {
            return false;
        }
        let wish = match error.kind() {
            Kind::UpstreamUnavailable { retry_after } => retry_after,
            Kind::UpstreamResting { retry_after } => Some(retry_after),
            _ => None,
        };
        let wait = wish.unwrap_or(Duration::from_secs(1 << *tries));
        *tries += 1;
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        true
    }

    /// Keeps count of what fails in a row for reasons that pass.
    pub(super) fn noted<T>(&self, done: Result<T>) -> Result<T> {
        match &done {
            Err(e) if passes(e) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => self.failures.store(0, Ordering::Relaxed),
        }
        done
    }
}

/// Whether the same question may get another answer a moment later.
fn passes(error: &Error) -> bool {
    match error.kind() {
        Kind::UpstreamUnavailable { .. }
        | Kind::UpstreamResting { .. }
        | Kind::UpstreamTimeout
        | Kind::Overloaded
        | Kind::Store
        | Kind::Corrupt => true,
        Kind::UpstreamFault
        | Kind::Absent
        | Kind::Offline
        | Kind::BadRequest
        | Kind::MethodNotAllowed
        | Kind::TooManyRequests { .. }
        | Kind::NotFound
        | Kind::Config
        | Kind::Internal => false,
    }
}
