//! [`MemoryCache`]: what can be served without touching the disk, within a budget of bytes.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::{
    domain::{FileKey, IndexKey, Key, toolchain::ToolchainDocument},
    mirror::kept::{IndexEntry, KeptDocument, WholeFile},
};

/// What an entry takes beside its bodies: key, cache node and allocations, rounded up.
const OVERHEAD: usize = 1 << 10;

/// A stored object, ready to be served.
#[derive(Clone)]
pub(in crate::mirror) enum Resident {
    /// An index file and its renditions.
    Index(Arc<IndexEntry>),
    /// What says which files a toolchain has.
    Toolchain(Arc<KeptDocument>),
    /// A file, checked.
    File(Arc<WholeFile>),
    /// Upstream said at that time that there is no such thing.
    Absent(SystemTime),
}

/// The part of the budget that makes way at once.
const WAY: u64 = 32;

/// Where an object is in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxed, a key would cost each hit an allocation"
)]
enum CacheSlot {
    /// That object.
    Of(Key),
    /// None: see [`MemoryCache::make_way`].
    Gap,
}

/// What is in a slot.
#[derive(Clone)]
enum Occupant {
    /// An object.
    Object(Resident),
    /// Nothing, as if it were so many bytes.
    Nothing(u32),
}

/// The objects used last. Least-recently-used, because moka's default policy admits hardly any new entry into a full warm cache.
pub(in crate::mirror) struct MemoryCache {
    cache: Cache<CacheSlot, Occupant>,
    budget: u64,
    /// Held while an index entry is changed, never while one is read.
    changes: Mutex<()>,
}

/// How much is in memory.
pub(in crate::mirror) struct Usage {
    pub(in crate::mirror) entries: i64,
    pub(in crate::mirror) bytes: i64,
}

impl MemoryCache {
    pub(in crate::mirror) fn new(budget: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(budget)
            .weigher(|_, kept: &Occupant| match kept {
                Occupant::Object(resident) => weigh(resident),
                Occupant::Nothing(bytes) => *bytes,
            })
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self {
            cache,
            budget,
            changes: Mutex::default(),
        }
    }

    pub(in crate::mirror) fn index(&self, key: &IndexKey) -> Option<Resident> {
        self.get(Key::from(*key))
    }

    pub(in crate::mirror) fn file(&self, key: &FileKey) -> Option<Resident> {
        self.get(Key::File(*key))
    }

    pub(in crate::mirror) fn toolchain(&self, document: &ToolchainDocument) -> Option<Resident> {
        self.get(Key::from(*document))
    }

    pub(in crate::mirror) fn keep_toolchain(
        &self,
        document: &ToolchainDocument,
        resident: Resident,
    ) {
        let _one_at_a_time = self.lock();
        self.keep(Key::from(*document), resident);
    }

    /// Puts it in only if nothing is there; gives what is there then.
    pub(in crate::mirror) fn keep_toolchain_unless_known(
        &self,
        document: &ToolchainDocument,
        resident: Resident,
    ) -> Resident {
        let _one_at_a_time = self.lock();
        if let Some(known) = self.toolchain(document) {
            return known;
        }
        self.keep(Key::from(*document), resident.clone());
        resident
    }

    /// Lets go of a file. Who reads it has it until they are done.
    pub(in crate::mirror) fn forget_file(&self, key: &FileKey) {
        self.cache.invalidate(&CacheSlot::Of(Key::File(*key)));
        self.cache.run_pending_tasks();
    }

    fn get(&self, key: Key) -> Option<Resident> {
        match self.cache.get(&CacheSlot::Of(key))? {
            Occupant::Object(resident) => Some(resident),
            Occupant::Nothing(_) => None,
        }
    }

    pub(in crate::mirror) fn keep_index(&self, key: &IndexKey, resident: Resident) {
        let _one_at_a_time = self.lock();
        self.keep(Key::from(*key), resident);
    }

    pub(in crate::mirror) fn keep_file(&self, key: &FileKey, resident: Resident) {
        self.keep(Key::File(*key), resident);
    }

    /// Puts it in only if nothing is there; gives what is there then.
    pub(in crate::mirror) fn keep_index_unless_known(
        &self,
        key: &IndexKey,
        resident: Resident,
    ) -> Resident {
        let _one_at_a_time = self.lock();
        if let Some(known) = self.index(key) {
            return known;
        }
        self.keep(Key::from(*key), resident.clone());
        resident
    }

    /// Puts what `change` makes of an entry into its place, in one step: looked at and put back apart, it could undo what came between.
    pub(in crate::mirror) fn change_index(
        &self,
        key: &IndexKey,
        change: impl FnOnce(&Arc<IndexEntry>) -> Option<Arc<IndexEntry>>,
    ) {
        let _one_at_a_time = self.lock();
        if let Some(Resident::Index(entry)) = self.index(key)
            && let Some(changed) = change(&entry)
        {
            self.keep(Key::from(*key), Resident::Index(changed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, key: Key, resident: Resident) {
        self.cache
            .insert(CacheSlot::Of(key), Occupant::Object(resident));
        // moka evicts in batches; with large objects a batch would overshoot the budget by gigabytes.
        self.cache.run_pending_tasks();
    }

    /// Lets go of what was used least recently, as much as there is beyond the budget less `bytes`, and more at once, so that not each of many has to.
    /// What somebody still reads is gone when they have.
    pub(in crate::mirror) fn make_way(&self, bytes: u64) {
        let _one_at_a_time = self.lock();
        let used = self.cache.weighted_size();
        if used == 0 {
            return;
        }
        // A gap takes that room for a moment, and with it what was there.
        let free = self.budget.saturating_sub(used);
        let bytes = bytes.max(self.budget / WAY);
        let gap = u32::try_from((free + bytes).min(self.budget)).unwrap_or(u32::MAX);
        self.cache.insert(CacheSlot::Gap, Occupant::Nothing(gap));
        self.cache.run_pending_tasks();
        self.cache.invalidate(&CacheSlot::Gap);
        self.cache.run_pending_tasks();
    }

    /// How many bytes may be kept.
    pub(in crate::mirror) fn budget(&self) -> u64 {
        self.budget
    }

    /// The largest object kept whole for one client, a sixteenth of all; larger ones would push out too much of what is asked for more often.
    pub(in crate::mirror) fn largest(&self) -> u64 {
        (self.budget / 16).max(64 << 10)
    }

    /// What files may take together that are kept because several clients read them at once: a half of all.
    pub(in crate::mirror) fn largest_for_several(&self) -> u64 {
        self.budget / 2
    }

    /// The stored paths of everything in memory.
    pub(in crate::mirror) fn paths(&self) -> HashSet<String> {
        let path = |(place, kept): (Arc<CacheSlot>, Occupant)| match (*place, kept) {
            (
                CacheSlot::Of(key),
                Occupant::Object(Resident::Index(_) | Resident::Toolchain(_) | Resident::File(_)),
            ) => Some(key.path()),
            (CacheSlot::Of(_), Occupant::Object(Resident::Absent(_)))
            | (_, Occupant::Nothing(_))
            | (CacheSlot::Gap, _) => None,
        };
        self.cache.iter().filter_map(path).collect()
    }

    /// How many versions wait in the index files that are kept. Takes a look at each of them.
    pub(in crate::mirror) fn waiting(&self) -> usize {
        let waiting = |(_, kept): (Arc<CacheSlot>, Occupant)| match kept {
            Occupant::Object(Resident::Index(entry)) => entry.rendition.ruling().waiting,
            Occupant::Object(Resident::File(_) | Resident::Toolchain(_) | Resident::Absent(_))
            | Occupant::Nothing(_) => 0,
        };
        self.cache.iter().map(waiting).sum()
    }

    pub(in crate::mirror) fn usage(&self) -> Usage {
        self.cache.run_pending_tasks();
        Usage {
            entries: i64::try_from(self.cache.entry_count()).unwrap_or(i64::MAX),
            bytes: i64::try_from(self.cache.weighted_size()).unwrap_or(i64::MAX),
        }
    }
}

fn weigh(resident: &Resident) -> u32 {
    let bodies = match resident {
        Resident::Index(entry) => entry.size(),
        Resident::File(whole) => whole.size(),
        Resident::Toolchain(kept) => kept.size(),
        Resident::Absent(_) => 0,
    };
    u32::try_from(bodies + OVERHEAD).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read from the store a moment ago used to take the place of what had come from upstream meanwhile.
    #[test]
    fn a_document_that_came_meanwhile_stays() {
        let memory = MemoryCache::new(1 << 20);
        let document = ToolchainDocument::RustupRelease;
        let (older, newer) = (SystemTime::UNIX_EPOCH, SystemTime::now());
        memory.keep_toolchain(&document, Resident::Absent(newer));
        let kept = memory.keep_toolchain_unless_known(&document, Resident::Absent(older));
        assert!(matches!(kept, Resident::Absent(at) if at == newer));
        let there = memory.toolchain(&document);
        assert!(matches!(there, Some(Resident::Absent(at)) if at == newer));
    }
}
