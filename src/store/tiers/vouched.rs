//! [`Vouched`]: what of the bucket this process has found good, or has written there itself.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use moka::sync::Cache;

/// So many objects are remembered, those used last.
const MOST: u64 = 100_000;

/// Which objects are known to be good in the bucket.
pub(super) struct Vouched {
    known: Cache<u64, ()>,
    /// Nobody can choose a path that is taken for another one.
    hashes: RandomState,
}

impl Default for Vouched {
    fn default() -> Self {
        Self {
            known: Cache::new(MOST),
            hashes: RandomState::new(),
        }
    }
}

impl Vouched {
    /// One that forgets each after a while.
    pub(super) fn forgetting_after(time: Duration) -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(time);
        Self {
            known: known.build(),
            hashes: RandomState::new(),
        }
    }

    /// Whether it wasn't there; from now on it is.
    pub(super) fn is_first(&self, path: &str) -> bool {
        let first = !self.contains(path);
        if first {
            self.add(path);
        }
        first
    }

    pub(super) fn add(&self, path: &str) {
        self.known.insert(self.hashes.hash_one(path), ());
    }

    pub(super) fn forget(&self, path: &str) {
        self.known.invalidate(&self.hashes.hash_one(path));
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.known.contains_key(&self.hashes.hash_one(path))
    }
}
