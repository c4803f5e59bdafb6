//! [`StoredFileReader`]: a stored file read block by block, its last block held back until the checksum holds.
//!
//! How long the file is was said when it was opened, and clients were told: exactly so many bytes are read, whatever somebody writes into the file
//! meanwhile.

use std::time::Instant;

use bytes::Bytes;

use super::{backend::LargeObject, doubts::Doubt, handle::Store, unreadable::PASSED_OVER};
use crate::{
    block_budget::Reading,
    domain::{FileKey, Hasher, Key},
    error::{Error, Result},
};

/// A stored file on its way out. A corrupt one is cut off before its end, dropped from the store, and fetched when asked for
/// again: a client never receives a complete wrong file. Neither does it of a file that is written into meanwhile.
pub struct StoredFileReader {
    store: Store,
    key: FileKey,
    object: LargeObject,
    reading: Reading,
    /// Of all bytes before `offset`, which have been handed out.
    hasher: Hasher,
    offset: u64,
    state: ReaderState,
    audience: Audience,
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReaderState {
    Open,
    /// All of it was read and its checksum held.
    Whole,
    /// It is wrong or can't be read.
    Failed,
}

/// Who gets to see the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Clients,
    Ourselves,
}

/// What a read found.
enum ReadBlock {
    /// With more to come.
    Next(Bytes),
    /// The last one, and the file ends with it.
    Last(Bytes),
    /// The file has another length than it had.
    Changed,
}

impl StoredFileReader {
    pub(super) fn new(store: Store, key: FileKey, object: LargeObject) -> Self {
        Self {
            reading: store.blocks.reading(),
            store,
            key,
            object,
            hasher: Hasher::default(),
            offset: 0,
            state: ReaderState::Open,
            audience: Audience::Clients,
        }
    }

    /// The file's size in bytes.
    pub fn length(&self) -> u64 {
        self.object.length
    }

    /// Which file it is.
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// The same file from its beginning, for bytes that no client gets to see.
    pub fn again(&self) -> Self {
        let mut reader = Self::new(self.store.clone(), self.key, self.object.clone());
        reader.audience = Audience::Ourselves;
        reader
    }

    /// The next block; `None` after the last one, which comes only if the checksum of exactly as many bytes as were announced is right and the file
    /// ends there.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the file can't be read or fails its check; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.state != ReaderState::Open {
            return None;
        }
        let read = self.read().await;
        Some(match self.store.note(read) {
            Ok(ReadBlock::Next(block)) => {
                self.hasher.update(&block);
                self.offset += block.len() as u64;
                Ok(block)
            }
            Ok(ReadBlock::Last(block)) => {
                let mut hasher = self.hasher.clone();
                hasher.update(&block);
                let actual = hasher.finish();
                if actual != self.key.sha256() {
                    return Some(Err(self.drop(&format!("its checksum is {actual}")).await));
                }
                self.state = ReaderState::Whole;
                self.object.blocks.was_good();
                if block.is_empty() {
                    return None;
                }
                Ok(block)
            }
            Ok(ReadBlock::Changed) => {
                let why = "it was written to while it was read";
                Err(self.drop(why).await)
            }
            Err(e) => {
                self.doubt();
                self.state = ReaderState::Failed;
                let until = Instant::now() + PASSED_OVER;
                self.store.unreadable.add(self.key, until);
                Err(e)
            }
        })
    }

    /// The block at the offset.
    async fn read(&self) -> Result<ReadBlock> {
        let left = self.object.length.saturating_sub(self.offset);
        let lease = self.reading.next(left).await;
        let length = lease.size() as usize;
        // With the last block one more is asked for, which nobody should find.
        let beyond = usize::from(left == lease.size());
        let read = self.object.blocks.read(self.offset, length + beyond);
        let block = read.await?;
        Ok(match block.len() == length {
            true => ReadBlock::of(lease.hold(block), left),
            false => ReadBlock::Changed,
        })
    }

    async fn drop(&mut self, why: &str) -> Error {
        self.state = ReaderState::Failed;
        self.store.doubt(self.key, Doubt::Wrong);
        let key = Key::File(self.key);
        let dropping = self.store.drop_corrupt(key, &self.object.version, why);
        let _ = dropping.await;
        Error::store(format!(
            "the stored file of {} is corrupt and isn't used; ask again to have it fetched anew",
            self.key
        ))
    }

    /// What has been handed out so far is a beginning that nobody has checked.
    fn doubt(&self) {
        if self.offset > 0 && self.audience == Audience::Clients {
            let beginning = Doubt::Beginning {
                length: self.offset,
                sha256: self.hasher.clone().finish(),
            };
            self.store.doubt(self.key, beginning);
        }
    }
}

impl Drop for StoredFileReader {
    fn drop(&mut self) {
        match self.state {
            ReaderState::Open => self.doubt(),
            ReaderState::Whole | ReaderState::Failed => {}
        }
    }
}

impl ReadBlock {
    fn of(bytes: Bytes, left: u64) -> Self {
        match bytes.len() as u64 == left {
            true => Self::Last(bytes),
            false => Self::Next(bytes),
        }
    }
}
