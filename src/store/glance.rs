//! [`Glance`]: the last look at a store's mark of change, for as long as it holds.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::mark::Mark;

/// For so long a look at what others have announced holds: at ten thousand requests a second, one in a hundred looks, and the others save a microsecond.
pub const GLANCE: Duration = Duration::from_millis(10);

/// The last look at the mark.
pub(super) struct Glance {
    opened: Instant,
    /// Until when it holds, in microseconds after `opened`.
    holds_until: AtomicU64,
    mark: AtomicU64,
    /// Held while another look takes its place, so that an older one never does.
    changing: Mutex<()>,
}

impl Default for Glance {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            holds_until: AtomicU64::new(0),
            mark: AtomicU64::new(Mark::NONE.number()),
            changing: Mutex::default(),
        }
    }
}

impl Glance {
    /// The time, as [`take`](Self::take) wants it.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// What was seen, if that is no longer ago than it holds.
    pub(super) fn current(&self) -> Option<Mark> {
        let holds = self.now() < self.holds_until.load(Ordering::Acquire);
        holds.then(|| self.last())
    }

    fn last(&self) -> Mark {
        Mark::numbered(self.mark.load(Ordering::Relaxed))
    }

    /// Takes what a look that began `then` saw, if there was no later one; gives the latest.
    pub(super) fn take(&self, then: u64, seen: Option<Mark>) -> Mark {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let until = then + GLANCE.as_micros() as u64;
        if until > self.holds_until.load(Ordering::Relaxed) {
            // A storage that can't say has not changed for all we know.
            let seen = seen.unwrap_or(self.last());
            self.mark.store(seen.number(), Ordering::Relaxed);
            self.holds_until.store(until, Ordering::Release);
        }
        self.last()
    }

    pub(super) fn forget(&self) {
        self.holds_until.store(0, Ordering::Release);
    }
}
