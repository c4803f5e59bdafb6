//! [`Pulse`]: the sign of life of an operation.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The sign of life of an operation that takes many steps.
pub struct Pulse {
    from: Instant,
    /// In microseconds after `from`.
    last: AtomicU64,
}

impl Pulse {
    pub(super) fn new(from: Instant) -> Self {
        Self {
            from,
            last: AtomicU64::new(0),
        }
    }

    /// Notes that the operation gets on.
    pub fn beat(&self) {
        let since = u64::try_from(self.from.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.from + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }
}
