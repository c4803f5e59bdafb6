//! [`LastServed`]: which state of each index file was served last, in a few bytes: what memory has let go of must not come back older from a store that others
//! write into, or that lost what was to be written.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use crate::{domain::IndexKey, mirror::kept::IndexEntry};

/// So many index files are remembered, in 2 MB; of those that fall into one group, the ones that were confirmed last.
const GROUPS: usize = 1 << 15;
const IN_GROUP: usize = 4;

/// What was served of index files. Nothing is taken for it before the first is noted.
#[derive(Default)]
pub(super) struct LastServed {
    groups: OnceLock<Mutex<Box<[Group]>>>,
    /// Nobody can choose a crate that pushes out another one.
    hashes: RandomState,
}

type Group = [ServedMark; IN_GROUP];

/// One state of an index file.
#[derive(Clone, Copy, Default)]
struct ServedMark {
    /// Which file, by its hash.
    file: u32,
    /// Which state of it, by a hash.
    state: u32,
    /// When it was confirmed last, in milliseconds since 1970, as records say it; 0 for nothing.
    checked_at: u64,
}

impl LastServed {
    /// This is what is served from now on.
    pub(super) fn note(&self, key: &IndexKey, entry: &IndexEntry) {
        let (group, mark) = self.mark(key, entry);
        let mut groups = self.lock();
        let group = &mut groups[group];
        let own = group.iter().position(|known| known.file == mark.file);
        let oldest = || (0..IN_GROUP).min_by_key(|at| group[*at].checked_at);
        if let Some(at) = own.or_else(oldest) {
            group[at] = mark;
        }
    }

    /// Whether something else was served that was confirmed later than this.
    pub(super) fn is_newer_than(&self, key: &IndexKey, entry: &IndexEntry) -> bool {
        if self.groups.get().is_none() {
            return false;
        }
        let (group, mark) = self.mark(key, entry);
        let groups = self.lock();
        groups[group].iter().any(|known| {
            known.file == mark.file
                && known.state != mark.state
                && known.checked_at > mark.checked_at
        })
    }

    fn mark(&self, key: &IndexKey, entry: &IndexEntry) -> (usize, ServedMark) {
        let hash = self.hashes.hash_one(key);
        let state = self.hashes.hash_one((entry.content.sha256, entry.gone));
        let since = entry.checked_at.duration_since(SystemTime::UNIX_EPOCH);
        let mark = ServedMark {
            file: (hash >> 32) as u32,
            state: state as u32,
            checked_at: u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        };
        (hash as usize % GROUPS, mark)
    }

    fn lock(&self) -> MutexGuard<'_, Box<[Group]>> {
        let made = || Mutex::new(vec![Group::default(); GROUPS].into());
        let groups = self.groups.get_or_init(made);
        groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        domain::{CrateName, RegistryName},
        mirror::{
            index::tests::{entry, service},
            shared::Resident,
        },
        policy::RulingValidity,
    };

    fn key(name: &str) -> IndexKey {
        let name = CrateName::parse(name).expect("a name");
        IndexKey::new(RegistryName::crates_io(), name)
    }

    /// Once memory had let go of what was served, an older record came back from the bucket.
    #[tokio::test]
    async fn another_state_that_was_confirmed_earlier_is_older_and_nothing_else_is() {
        let (service, now) = (service(), SystemTime::now());
        entry(&service, &key("serde"), RulingValidity::default(), now);
        let Some(Resident::Index(new)) = service.shared.memory.index(&key("serde")) else {
            panic!("it is in memory");
        };
        let at = |seconds| new.checked_at - Duration::from_secs(seconds);
        let (confirmed, other) = (
            |seconds| IndexEntry {
                checked_at: at(seconds),
                ..(*new).clone()
            },
            |seconds| IndexEntry {
                checked_at: at(seconds),
                gone: true,
                ..(*new).clone()
            },
        );
        let served = LastServed::default();
        assert!(!served.is_newer_than(&key("serde"), &other(100)));
        served.note(&key("serde"), &confirmed(50));
        assert!(served.is_newer_than(&key("serde"), &other(100)));
        assert!(!served.is_newer_than(&key("serde"), &other(10)));
        assert!(
            !served.is_newer_than(&key("serde"), &confirmed(100)),
            "it is the same"
        );
        assert!(!served.is_newer_than(&key("tokio"), &other(100)));
        served.note(&key("serde"), &other(10));
        assert!(served.is_newer_than(&key("serde"), &confirmed(50)));
    }
}
