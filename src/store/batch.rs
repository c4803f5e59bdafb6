//! [`Batch`]: many objects made durable together.
//!
//! Syncing file by file costs two waits for the disk an object, and a bundle has a hundred thousand of them. Here everything is flushed, once
//! before a few hundred finished files are renamed into place and once at the end: no name ever stands for bytes that a power cut could take,
//! and when [`Batch::finish`] returns, the names are on the disk, too.

use std::time::{Duration, Instant, SystemTime};

use super::{backend::StagedBytes, handle::Store, holdings::Incoming, record::Age};
use crate::{
    domain::{FileKey, Key, RecordKey},
    error::Result,
};

/// How much is staged before it is renamed into place, and for how long: who is killed loses no more work than that, and leaves no more files behind.
const OBJECTS: usize = 1_024;
const BYTES: u64 = 256 << 20;
const STAGED_FOR: Duration = Duration::from_secs(2);

/// Objects on their way into the store. What was staged is put into place now and then, and all of it by [`Batch::finish`]; what a dropped batch
/// still holds is gone.
pub struct Batch {
    store: Store,
    now: SystemTime,
    staged: Vec<Staged>,
    /// When the first of them was.
    since: Instant,
    bytes: u64,
    /// Published since the store was last flushed.
    unsynced: bool,
}

/// A finished object and what it is to be.
struct Staged {
    bytes: Box<dyn StagedBytes>,
    key: Key,
    /// Of an index record, which one stays if it is there by then.
    gives_way: Option<GivesWay>,
}

/// To which record a staged one gives way: a running mirror may have put it there meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum GivesWay {
    /// To one that is as new as this, or newer: what comes from elsewhere.
    AsNew(Age),
    /// To one that is newer than this: the one that is there already, with more to remember.
    Newer(Age),
}

impl Store {
    /// An empty batch.
    pub fn batch(&self, now: SystemTime) -> Batch {
        Batch {
            store: self.clone(),
            now,
            staged: Vec::new(),
            since: Instant::now(),
            bytes: 0,
            unsynced: false,
        }
    }

    /// Whether the index record under `key` is no older than one of `age`. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be read.
    pub fn has_newer_record(&self, key: &RecordKey, age: Age, now: SystemTime) -> Result<bool> {
        self.has_record(key, now, |there| there >= age)
    }

    fn has_record(
        &self,
        key: &RecordKey,
        now: SystemTime,
        is_it: impl Fn(Age) -> bool,
    ) -> Result<bool> {
        let there = self.open_record(key)?.map(|record| record.age());
        Ok(there.is_some_and(|there| !there.is_ahead_of(now) && is_it(there)))
    }
}

impl Batch {
    /// Makes what was written the .crate file under `key`, soon. The caller has checked its bytes against the key. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn stage_file(&mut self, key: impl Into<FileKey>, incoming: Incoming) -> Result<()> {
        self.stage(Key::File(key.into()), None, incoming)
    }

    /// Makes what was written the record under `key`, soon, unless it has to give way to one that a running mirror has put there by then. The caller has checked that it
    /// is a record, of this age. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read or written.
    pub fn stage_record(
        &mut self,
        key: impl Into<RecordKey>,
        gives_way: GivesWay,
        incoming: Incoming,
    ) -> Result<()> {
        self.stage(Key::Record(key.into()), Some(gives_way), incoming)
    }

    fn stage(&mut self, key: Key, gives_way: Option<GivesWay>, incoming: Incoming) -> Result<()> {
        let size = incoming.length();
        let bytes = incoming.into_bytes().finish()?;
        if self.staged.is_empty() {
            self.since = Instant::now();
        }
        self.staged.push(Staged {
            bytes,
            key,
            gives_way,
        });
        self.bytes += size;
        if self.is_full() {
            self.put_into_place()?;
        }
        self.store.count(size);
        Ok(())
    }

    /// Puts everything into place; durable when this returns, if the store is synced. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn finish(mut self) -> Result<()> {
        self.put_into_place()?;
        match self.unsynced {
            true => self.store.backend.bulk().flush(),
            false => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        self.staged.len() >= OBJECTS || self.bytes >= BYTES || self.since.elapsed() >= STAGED_FOR
    }

    fn put_into_place(&mut self) -> Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        // This makes the renames of the batch before durable as well.
        self.store.backend.bulk().flush()?;
        let (store, now) = (&self.store, self.now);
        for staged in self.staged.drain(..) {
            let stays = match (staged.key, staged.gives_way) {
                (Key::Record(key), Some(GivesWay::AsNew(age))) => {
                    store.has_newer_record(&key, age, now)?
                }
                (Key::Record(key), Some(GivesWay::Newer(age))) => {
                    store.has_record(&key, now, |there| there > age)?
                }
                (Key::Record(_) | Key::File(_), _) => false,
            };
            if !stays {
                staged.bytes.publish(&staged.key.path())?;
            }
        }
        (self.bytes, self.unsynced) = (0, true);
        Ok(())
    }
}
