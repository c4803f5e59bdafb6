//! [`Unreadable`]: large files that a disk couldn't read to their end, or that somebody is writing into. Their head is fine, so that each client would be
//! cut off in the middle again; passed over for a while, they are fetched anew instead.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::FileKey;

/// How long a file is passed over that the disk couldn't read: it may have been at fault for a moment only.
pub(super) const PASSED_OVER: Duration = Duration::from_secs(60);
/// A disk on which so many fail has nothing to offer; the oldest memories are not what matters then.
const MOST: usize = 10_000;

/// The files, and until when each is passed over.
#[derive(Default)]
pub(super) struct Unreadable(Mutex<HashMap<FileKey, Instant>>);

impl Unreadable {
    pub(super) fn add(&self, key: FileKey, until: Instant) {
        let mut failed = self.lock();
        if failed.len() >= MOST {
            failed.clear();
        }
        failed.insert(key, until);
    }

    /// Another file has taken its place.
    pub(super) fn remove(&self, key: &FileKey) {
        self.lock().remove(key);
    }

    pub(super) fn contains(&self, key: &FileKey, now: Instant) -> bool {
        let failed = self.lock().get(key).copied();
        failed.is_some_and(|until| now < until)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
