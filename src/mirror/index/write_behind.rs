//! [`WriteBehind`]: index entries on their way into the store, written beside what requests wait for: a slow disk slows nobody down.
//!
//! Of one file, one write is under way at a time and the newest entry is written last. Two writes side by side could end in the wrong order, and the
//! older one would be what a restart finds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{
    blocking::make,
    records::StoredRecords,
    view::{Viewpoint, shown_again},
};
use crate::{
    domain::{Before, IndexFile, IndexKey},
    error::{Kind, Result},
    mirror::{kept::IndexEntry, shared::Shared},
    store::RecordHead,
};

/// The queue of what is to be written.
pub(super) struct WriteBehind {
    shared: Arc<Shared>,
    records: Arc<StoredRecords>,
    /// The files being written, each with the newer entry that is to be written next, if one has come meanwhile.
    queue: Mutex<HashMap<IndexKey, Option<Arc<IndexEntry>>>>,
}

impl WriteBehind {
    pub(super) fn new(shared: Arc<Shared>, records: Arc<StoredRecords>) -> Self {
        Self {
            shared,
            records,
            queue: Mutex::default(),
        }
    }

    /// Has an entry written to the store.
    pub(super) fn write(self: &Arc<Self>, key: IndexKey, entry: Arc<IndexEntry>) {
        if !self.add(key, entry) {
            return;
        }
        let this = self.clone();
        self.shared.background.run(async move {
            while let Some(entry) = this.next(&key) {
                match this.save(&key, &entry, SystemTime::now()).await {
                    Ok(()) => this.shared.stored_changes.note(key),
                    Err(e) => {
                        tracing::debug!(name = %key.name(), "not stored; it will be tried again: {e}");
                        this.note_unsaved(&key, &entry);
                    }
                }
            }
        });
    }

    /// Writes an entry, with what the record that it replaces remembers and it doesn't: something may have been imported since that was read.
    async fn save(&self, key: &IndexKey, entry: &Arc<IndexEntry>, now: SystemTime) -> Result<()> {
        let store = &self.shared.store;
        // What can't be read is replaced; what there is only no memory for now stays.
        let there = store.peek_record_head(key).await.unwrap_or_default();
        let is_known = |there: &RecordHead| there.history.is_within(&entry.history);
        if there.as_ref().is_none_or(is_known) {
            return store.save_record(key, &entry.record()).await;
        }
        let Some(merged) = self.merged(key, entry, now).await? else {
            return store.save_record(key, &entry.record()).await;
        };
        store.save_record(key, &merged.record()).await?;
        self.shared.memory.change_index(key, |current| {
            Arc::ptr_eq(current, entry).then(|| Arc::new(merged))
        });
        Ok(())
    }

    /// An entry with what the store's record remembers; none when that is nothing more.
    async fn merged(
        &self,
        key: &IndexKey,
        entry: &Arc<IndexEntry>,
        now: SystemTime,
    ) -> Result<Option<IndexEntry>> {
        let there = self.records.leased_newest(key, now, 0).await;
        let Some((there, lease)) = unless_unreadable(there)?.flatten() else {
            return Ok(None);
        };
        let (path, own) = (key.path, entry.clone());
        let history = make(move || {
            let _lease = lease;
            let file = IndexFile::parse(path, there.body)?;
            let before = Before {
                file: &file,
                history: &there.history,
                checked_at: there.checked_at,
                modified_at: there.modified_at,
                gone: there.gone,
            };
            Ok(own.history.merged(before, own.file(), now))
        });
        // It may be a whole record of another crate, which nothing of this one's can be read out of.
        let history = unless_unreadable(history.await)?.map(Arc::new);
        let Some(history) = history.filter(|history| *history != entry.history) else {
            return Ok(None);
        };
        let merged = IndexEntry {
            history,
            ..(**entry).clone()
        };
        // What is remembered decides what is shown.
        let from = Viewpoint::usual(&self.shared, now);
        let shown = shown_again(&self.shared, *key, &merged, from).await?;
        Ok(Some(shown))
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

/// What came of a stored record; `None` when that can't be understood, which is no reason to keep it.
///
/// # Errors
///
/// There is no memory for it now, so that nobody knows what it says.
fn unless_unreadable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(e) if e.kind() == Kind::Overloaded => Err(e),
        Err(_) => Ok(None),
    }
}
