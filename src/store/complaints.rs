//! [`Complaints`]: a broken disk fails with every request, which is said once in a while.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// When the store's failures were last spoken of.
#[derive(Default)]
pub(super) struct Complaints(Mutex<Option<Instant>>);

impl Complaints {
    const EVERY: Duration = Duration::from_secs(60);

    /// Whether it is time to speak of it again; if so, it counts as done.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= Self::EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}
