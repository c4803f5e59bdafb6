//! [`Saves`]: index entries on their way into the store, beside what their askers wait for: a slow disk slows nobody down.
//!
//! Of one file, one write is under way at a time and the newest entry is written last. Two writes side by side could end in the wrong order, and the
//! older one would be what a restart finds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{IndexEntry, Inner};
use crate::domain::IndexKey;

/// The files being written, each with the newer entry that is to be written next, if one has come meanwhile.
#[derive(Default)]
pub(super) struct Saves(Mutex<HashMap<IndexKey, Option<Arc<IndexEntry>>>>);

impl Saves {
    /// Notes an entry to be written; true when nobody is writing that file.
    fn add(&self, key: IndexKey, entry: Arc<IndexEntry>) -> bool {
        self.lock().insert(key, Some(entry)).is_none()
    }

    /// What is to be written next; with nothing left, writing that file is over.
    fn next(&self, key: &IndexKey) -> Option<Arc<IndexEntry>> {
        let mut saves = self.lock();
        let next = saves.get_mut(key).and_then(Option::take);
        if next.is_none() {
            saves.remove(key);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IndexKey, Option<Arc<IndexEntry>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Has the next confirmation of an entry that couldn't be written try again.
    fn note_unsaved(&self, key: &IndexKey, entry: &Arc<IndexEntry>) {
        tracing::debug!(name = %key.name(), "not stored; it will be tried again");
        self.memory.change_index(key, |current| {
            let unsaved = IndexEntry {
                recorded_at: SystemTime::UNIX_EPOCH,
                ..(**entry).clone()
            };
            Arc::ptr_eq(current, entry).then(|| Arc::new(unsaved))
        });
    }

    /// Has an entry written to the store.
    pub(super) fn save_index(self: &Arc<Self>, key: IndexKey, entry: Arc<IndexEntry>) {
        if !self.saves.add(key, entry) {
            return;
        }
        let inner = self.clone();
        self.detach(async move {
            while let Some(entry) = inner.saves.next(&key) {
                if inner.store.save_index(&key, &entry.record()).await.is_err() {
                    inner.note_unsaved(&key, &entry);
                }
            }
        });
    }
}
