//! [`StaleServed`]: the oldest copy that was served lately although it was due, because upstream failed or dawdled.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    domain::{IndexKey, RegistryName},
    mirror::kept::IndexEntry,
};

/// So long a copy counts as served lately. While it is asked for and upstream fails, it is noted every few seconds.
const LATELY: Duration = Duration::from_secs(300);
/// So many are remembered. There are more only if copies come in the order of their age, and then the youngest of them don't matter.
const MOST: usize = 64;

/// The oldest of the stale copies that were served lately. Noted by who asks upstream in vain, not by hits.
#[derive(Default)]
pub(in crate::mirror) struct StaleServed(Mutex<VecDeque<StaleCopy>>);

/// An index file that was served although it was due.
#[derive(Clone, Copy, Debug)]
pub struct StaleCopy {
    /// Whose.
    pub key: IndexKey,
    /// When upstream last said that it is current.
    pub checked_at: SystemTime,
    /// When it was served.
    pub served_at: SystemTime,
}

impl StaleServed {
    /// Notes that this entry is served now, although it is due.
    pub(in crate::mirror) fn served(&self, key: IndexKey, entry: &IndexEntry, now: SystemTime) {
        self.note(StaleCopy {
            key,
            checked_at: entry.checked_at,
            served_at: now,
        });
    }

    fn note(&self, copy: StaleCopy) {
        let mut copies = self.lock();
        // A younger one that was served before can't be the oldest any more.
        while copies
            .back()
            .is_some_and(|last| last.checked_at >= copy.checked_at)
        {
            copies.pop_back();
        }
        if copies.len() < MOST {
            copies.push_back(copy);
        }
    }

    /// The oldest that was served within the five minutes before `now`, of the registries that `is_meant` accepts.
    pub(in crate::mirror) fn oldest(
        &self,
        is_meant: impl Fn(RegistryName) -> bool,
        now: SystemTime,
    ) -> Option<StaleCopy> {
        let mut copies = self.lock();
        let is_past = |copy: &StaleCopy| {
            let since = now.duration_since(copy.served_at);
            since.is_ok_and(|since| since > LATELY)
        };
        while copies.front().is_some_and(is_past) {
            copies.pop_front();
        }
        let mut of_them = copies.iter().filter(|copy| is_meant(copy.key.registry));
        of_them.next().copied()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<StaleCopy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CrateName;

    fn time(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn copy(checked: u64, served: u64) -> StaleCopy {
        let name = CrateName::parse("a").expect("a name");
        StaleCopy {
            key: IndexKey::new(RegistryName::crates_io(), name),
            checked_at: time(checked),
            served_at: time(served),
        }
    }

    #[test]
    fn the_oldest_is_known_as_long_as_it_was_served_lately() {
        let stale = StaleServed::default();
        let oldest = |now| {
            stale
                .oldest(|_| true, time(now))
                .map(|copy| copy.checked_at)
        };
        assert_eq!(oldest(0), None);
        stale.note(copy(20, 100));
        stale.note(copy(10, 110));
        stale.note(copy(30, 200));
        assert_eq!(oldest(210), Some(time(10)));
        assert_eq!(oldest(411), Some(time(30)));
        assert_eq!(oldest(600), None);
        for age in 0..1_000 {
            stale.note(copy(age, 1_000));
        }
        assert_eq!(oldest(1_000), Some(time(0)));
        assert_eq!(stale.lock().len(), MOST);
    }
}
