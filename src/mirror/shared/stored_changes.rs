//! [`StoredChanges`]: which index records have been written lately, for who keeps something that is made of all of them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::{IndexKey, RegistryName};

/// So many are remembered. Who comes later than that looks through the store.
const REMEMBERED: usize = 4_096;

/// Which index records this process has written lately. Nobody waits for anybody here.
#[derive(Default)]
pub(in crate::mirror) struct StoredChanges(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    /// How many there have been.
    count: u64,
    /// The last of them.
    keys: VecDeque<IndexKey>,
    /// How many there had been when nobody could say any more which.
    unknown: u64,
}

/// What has changed since somebody looked.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mirror) enum ChangedRecords {
    /// These.
    These(Vec<IndexKey>),
    /// More than are remembered.
    Any,
}

impl StoredChanges {
    /// Notes that a record has been written.
    pub(in crate::mirror) fn note(&self, key: IndexKey) {
        let mut recent = self.lock();
        recent.count += 1;
        recent.keys.push_back(key);
        if recent.keys.len() > REMEMBERED {
            recent.keys.pop_front();
        }
    }

    /// Notes that records are gone, or that others may be there.
    pub(in crate::mirror) fn note_any(&self) {
        let mut recent = self.lock();
        recent.count += 1;
        recent.unknown = recent.count;
        recent.keys.clear();
    }

    /// How many there have been so far.
    pub(in crate::mirror) fn count(&self) -> u64 {
        self.lock().count
    }

    /// What has changed of a registry since there had been so many.
    pub(in crate::mirror) fn since(&self, count: u64, registry: RegistryName) -> ChangedRecords {
        let recent = self.lock();
        let missed = usize::try_from(recent.count.saturating_sub(count)).unwrap_or(usize::MAX);
        if missed > recent.keys.len() || recent.unknown > count {
            return ChangedRecords::Any;
        }
        let keys = recent.keys.iter().skip(recent.keys.len() - missed);
        let mut keys: Vec<_> = keys
            .filter(|key| key.registry == registry)
            .copied()
            .collect();
        keys.sort_unstable_by_key(IndexKey::name);
        keys.dedup();
        ChangedRecords::These(keys)
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CrateName;

    #[test]
    fn who_looks_is_told_what_has_changed_since_or_that_it_was_too_much() {
        let (changes, registry) = (StoredChanges::default(), RegistryName::crates_io());
        let key = |name: &str| IndexKey::new(registry, CrateName::parse(name).expect("a name"));
        changes.note(key("b"));
        let seen = changes.count();
        assert_eq!(changes.since(seen, registry), ChangedRecords::These(vec![]));
        for name in ["d", "c", "d"] {
            changes.note(key(name));
        }
        let these = ChangedRecords::These(vec![key("c"), key("d")]);
        assert_eq!(changes.since(seen, registry), these);
        let other = RegistryName::parse("other").expect("a name");
        assert_eq!(changes.since(seen, other), ChangedRecords::These(vec![]));
        changes.note_any();
        assert_eq!(changes.since(seen, registry), ChangedRecords::Any);
        let seen = changes.count();
        changes.note(key("e"));
        let these = ChangedRecords::These(vec![key("e")]);
        assert_eq!(changes.since(seen, registry), these);
        (0..=REMEMBERED).for_each(|_| changes.note(key("f")));
        assert_eq!(changes.since(seen, registry), ChangedRecords::Any);
    }
}
