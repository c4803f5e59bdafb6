//! [`Unreadable`]: large files that a disk couldn't read to their end. Their head is fine, so that each client would be cut off in the middle again;
//! passed over for a while, they are fetched anew instead.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::CrateKey;

/// How long a file is passed over: the disk may have been at fault for a moment only.
const PASSED_OVER: Duration = Duration::from_secs(60);
/// A disk on which so many fail has nothing to offer; the oldest memories are not what matters then.
const MOST: usize = 10_000;

/// The files, and when each failed.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<HashMap<CrateKey, Instant>>);

impl Unreadable {
    pub(super) fn add(&self, key: CrateKey, now: Instant) {
        let mut failed = self.lock();
        if failed.len() >= MOST {
            failed.clear();
        }
        failed.insert(key, now);
    }

    /// Another file has taken its place.
    pub(super) fn remove(&self, key: &CrateKey) {
        self.lock().remove(key);
    }

    pub(super) fn contains(&self, key: &CrateKey, now: Instant) -> bool {
        let failed = self.lock().get(key).copied();
        failed.is_some_and(|at| now.duration_since(at) < PASSED_OVER)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CrateKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
