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

/// The attempts made for one thing.
#[derive(Default)]
pub(super) struct Tries {
    made: u32,
    /// What upstream really answered last; that it is left alone for a while since says nothing to whoever asks why.
    cause: Option<Error>,
}

impl Patience {
    /// Waits until it is worth to ask again after `error`; false when it isn't.
    pub(super) async fn again(&self, tries: &mut Tries, error: &Error) -> bool {
        let resting = match error.kind() {
            Kind::UpstreamResting { retry_after } => Some(retry_after),
            _ => None,
        };
        if resting.is_none() {
            tries.cause = Some(error.clone());
        }
        let hopeless = self.failures.load(Ordering::Relaxed) >= HOPELESS;
        if !passes(error) || tries.made == REPETITIONS || hopeless {
            return false;
        }
        let usual = Duration::from_secs(1 << tries.made);
        let wait = match error.kind() {
            Kind::UpstreamUnavailable { retry_after } => retry_after.unwrap_or(usual),
            _ => resting.unwrap_or(usual),
        };
        tries.made += 1;
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        true
    }

    /// What came of it in the end; keeps count of what fails in a row for reasons that pass.
    pub(super) fn settle<T>(&self, tries: Tries, done: Result<T>) -> Result<T> {
        match &done {
            Err(e) if passes(e) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => self.failures.store(0, Ordering::Relaxed),
        }
        done.map_err(|e| match e.kind() {
            Kind::UpstreamResting { .. } => tries.cause.unwrap_or(e),
            _ => e,
        })
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
        | Kind::UpstreamRefused
        | Kind::Absent
        | Kind::Offline
        | Kind::BadRequest
        | Kind::UrlTooLong
        | Kind::HeadersTooLarge
        | Kind::MethodNotAllowed
        | Kind::TooManyRequests { .. }
        | Kind::NotFound
        | Kind::Config
        | Kind::Internal => false,
    }
}
