//! [`WriteBehind`]: index entries on their way into the store, written beside what requests wait for: a slow disk slows nobody down.
//!
//! Of one file, one write is under way at a time and the newest entry is written last. Two writes side by side could end in the wrong order, and the
//! older one would be what a restart finds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    domain::IndexKey,
    mirror::{kept::IndexEntry, shared::Shared},
};

/// The queue of what is to be written.
pub(super) struct WriteBehind {
    shared: Arc<Shared>,
    /// The files being written, each with the newer entry that is to be written next, if one has come meanwhile.
    queue: Mutex<HashMap<IndexKey, Option<Arc<IndexEntry>>>>,
}

impl WriteBehind {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let queue = Mutex::default();
        Self { shared, queue }
    }

    /// Has an entry written to the store.
    pub(super) fn write(self: &Arc<Self>, key: IndexKey, entry: Arc<IndexEntry>) {
        if !self.add(key, entry) {
            return;
        }
        let this = self.clone();
        self.shared.background.run(async move {
            while let Some(entry) = this.next(&key) {
                let record = entry.record();
                let saved = this.shared.store.save_index(&key, &record).await;
                match saved {
                    Ok(()) => this.shared.stored_changes.note(key),
                    Err(_) => this.note_unsaved(&key, &entry),
                }
            }
        });
    }

    /// Notes an entry to be written; true when nobody is writing that file.
    fn add(&self, key: IndexKey, entry: Arc<IndexEntry>) -> bool {
        self.lock().insert(key, Some(entry)).is_none()
    }

    /// What is to be written next; with nothing left, writing that file is over.
    fn next(&self, key: &IndexKey) -> Option<Arc<IndexEntry>> {
        let mut queue = self.lock();
        let next = queue.get_mut(key).and_then(Option::take);
        if next.is_none() {
            queue.remove(key);
        }
        next
    }

    /// Has the next confirmation of an entry that couldn't be written try again.
    fn note_unsaved(&self, key: &IndexKey, entry: &Arc<IndexEntry>) {
        tracing::debug!(name = %key.name(), "not stored; it will be tried again");
        self.shared.memory.change_index(key, |current| {
            let unsaved = IndexEntry {
                recorded_at: SystemTime::UNIX_EPOCH,
                ..(**entry).clone()
            };
            Arc::ptr_eq(current, entry).then(|| Arc::new(unsaved))
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IndexKey, Option<Arc<IndexEntry>>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
