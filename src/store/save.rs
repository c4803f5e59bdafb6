//! Saving objects: each in one atomic step, at once or after it was spooled.

use bytes::Bytes;

use super::{handle::Store, record::StoreRecord, spool::Spool};
use crate::{
    domain::{FileKey, RecordKey},
    error::{Error, Result},
};

impl Store {
    /// Stores a record in one atomic write; header and body can't disagree.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn save_record(&self, key: impl Into<RecordKey>, record: &StoreRecord) -> Result<()> {
        let path = key.into().path();
        let written = self.save(&path, record.encode().into()).await;
        self.note_written(written)
    }

    /// Stores a file in one atomic write. The caller has checked `bytes` against the key's checksum.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn save_file(&self, key: impl Into<FileKey>, bytes: Bytes) -> Result<()> {
        let key = key.into();
        let written = self.save(&key.path(), vec![bytes]).await;
        self.replaced(&key, written)
    }

    /// A place for a file that is too large for memory, to be filled while it arrives.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn spool(&self) -> Result<Spool> {
        let file = self.backend.temporary().await;
        let file = self.note_written(file)?;
        let (room, blocks) = (self.room.nothing(), self.blocks.clone());
        Ok(Spool::new(file, room, blocks, self.written.clone()))
    }

    /// Makes a spooled file the object under `key`. The caller has checked its bytes against the key's checksum.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn commit(&self, key: &FileKey, spool: Spool) -> Result<()> {
        let late = |e: &Error| self.complain(e);
        let committed = self.backend.commit(&key.path(), spool, &late).await;
        self.replaced(key, committed)
    }

    pub(super) async fn save(&self, path: &str, pieces: Vec<Bytes>) -> Result<()> {
        self.count(pieces.iter().map(|piece| piece.len() as u64).sum());
        let late = |e: &Error| self.complain(e);
        self.backend.save(path, pieces, &late).await
    }

    /// What a write of a file came to; once there is a new file, nothing is held against the one before.
    fn replaced(&self, key: &FileKey, written: Result<()>) -> Result<()> {
        if written.is_ok() {
            self.unreadable.remove(key);
        }
        self.note_written(written)
    }
}
