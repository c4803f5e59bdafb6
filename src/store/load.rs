//! Loading objects: whatever is read is checked before anybody gets it.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    backend::{Admit, CheckVerdict, LargeObject, LoadedObject, TakeBytes},
    doubts::Doubt,
    handle::Store,
    reader::StoredFileReader,
    record::{RecordHead, StoreRecord},
    version::ObjectVersion,
};
use crate::{
    domain::{FileKey, IndexKey, Key, RecordKey, Sha256},
    error::{Error, Kind, Result},
};

/// A record found in the store.
pub enum StoredRecord<L> {
    /// It, checked, with the lease that was given for its memory.
    Whole(StoreRecord, L),
    /// Not read: no memory was granted for what has so many bytes.
    Large(u64),
}

/// A file found in the store.
pub enum StoredFile<L> {
    /// All of it, checked, with the lease that was given for its memory.
    Whole(Bytes, L),
    /// No memory was granted: to be read block by block, checked on the way.
    Large(Box<StoredFileReader>),
}

/// From where an object is loaded, when it is in several places.
#[derive(Clone, Copy)]
enum Reach {
    /// From the nearest.
    Nearest,
    /// From the one that all see who share the store.
    Shared,
}

/// What became of an object on its way through its check.
pub(super) enum CheckedObject<T, L> {
    Good(T, L),
    Large(LargeObject),
    Corrupt(String, ObjectVersion),
}

impl Store {
    /// The record under `key`. `admit` is told its size and may grant a lease on memory for it; without one it isn't read. One that fails its
    /// check is dropped, and so is what is larger than any record, without being read.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read, or not in time, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it
    /// fails its check.
    pub async fn load_record<L: Send + 'static>(
        &self,
        key: impl Into<RecordKey>,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
    ) -> Result<Option<StoredRecord<L>>> {
        let key = key.into();
        self.load_record_from(Reach::Nearest, &key, now, admit)
            .await
    }

    /// The same as those who share the store all see it, whatever is nearer.
    ///
    /// # Errors
    /// Those of [`load_record`](Self::load_record).
    pub async fn load_shared_record<L: Send + 'static>(
        &self,
        key: impl Into<RecordKey>,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
    ) -> Result<Option<StoredRecord<L>>> {
        let key = key.into();
        self.load_record_from(Reach::Shared, &key, now, admit).await
    }

    async fn load_record_from<L: Send + 'static>(
        &self,
        reach: Reach,
        key: &RecordKey,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
    ) -> Result<Option<StoredRecord<L>>> {
        let admit = |size| StoreRecord::fits(size).ok().and_then(|()| admit(size));
        let path = key.path();
        let found = self.load_from(reach, &path, Some(now), admit, decode).await;
        let (why, version) = match self.note(found)? {
            None => return Ok(None),
            Some(CheckedObject::Good(record, lease)) => {
                return Ok(Some(StoredRecord::Whole(record, lease)));
            }
            Some(CheckedObject::Large(object)) => match StoreRecord::fits(object.length) {
                Ok(()) => return Ok(Some(StoredRecord::Large(object.length))),
                Err(why) => (why, object.version),
            },
            Some(CheckedObject::Corrupt(why, version)) => (why, version),
        };
        Err(self.drop_corrupt(Key::Record(*key), &version, &why).await)
    }

    /// The record under `key` as it lies there: a look changes nothing, not even when it was last used, and a bad record stays.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it fails its
    /// check.
    pub async fn peek_record(&self, key: impl Into<RecordKey>) -> Result<Option<StoreRecord>> {
        let path = key.into().path();
        let admit = |size| StoreRecord::fits(size).ok();
        let found = self.load(&path, None, admit, decode).await;
        let why = match self.note(found)? {
            None => return Ok(None),
            Some(CheckedObject::Good(record, ())) => return Ok(Some(record)),
            Some(CheckedObject::Large(object)) => {
                StoreRecord::fits(object.length).err().unwrap_or_default()
            }
            Some(CheckedObject::Corrupt(why, _)) => why,
        };
        Err(Error::corrupt(format!(
            "the stored {path} is corrupt: {why}"
        )))
    }

    /// What the record under `key` says of itself, as those who share the store all see it, or, where that can't be read, as it is nearest; none when there is
    /// none, or it is damaged, or nothing is near. A look changes nothing, and nobody has looked at the record's body.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn peek_record_head(&self, key: &IndexKey) -> Result<Option<RecordHead>> {
        let (path, is_shared) = (key.path(), self.is_shared());
        let shared = match is_shared {
            true => {
                let load = self.backend.load_shared(&path, None, Box::new(|_| None));
                load.await
            }
            false => Ok(None),
        };
        let found = match (shared, self.near()) {
            (Ok(Some(found)), _) => Some(found),
            (shared, Some(near)) => {
                let here = near.backend.load(&path, None, Box::new(|_| None)).await;
                match (here, shared) {
                    // A disk that fails has nothing, where those who share have nothing.
                    (Err(_), Ok(None)) if is_shared => None,
                    (here, _) => here?,
                }
            }
            (Ok(None) | Err(_), None) => None,
        };
        match found {
            Some(LoadedObject::Large(LargeObject { length, blocks, .. })) => {
                self.heads.read(length, &*blocks).await
            }
            Some(LoadedObject::Taken(_)) | None => Ok(None),
        }
    }

    /// The file under `key`. `admit` is told its size and may grant a lease on memory for all of it; without one it comes as
    /// a reader. One that fails its check is dropped.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it fails its
    /// check.
    pub async fn load_file<L: Send + 'static>(
        &self,
        key: impl Into<FileKey>,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Clone + Send + 'static,
    ) -> Result<Option<StoredFile<L>>> {
        let key = key.into();
        let passed_over = self.unreadable.contains(&key, Instant::now());
        let near = match passed_over {
            true => Err(Error::store(format!(
                "{} couldn't be read a moment ago",
                key.path()
            ))),
            false => {
                let near = self.load_file_from(Reach::Nearest, &key, now, admit.clone());
                near.await
            }
        };
        let failed = match near {
            Err(e) if self.is_shared() && (passed_over || e.kind() == Kind::Corrupt) => e,
            loaded => return loaded,
        };
        // The copy near by is wrong or can't be read to its end; the one that all share may be good.
        let shared = self.load_file_from(Reach::Shared, &key, now, admit);
        match shared.await {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) | Err(_) => Err(failed),
        }
    }

    async fn load_file_from<L: Send + 'static>(
        &self,
        reach: Reach,
        key: &FileKey,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
    ) -> Result<Option<StoredFile<L>>> {
        let (path, sha256) = (key.path(), key.sha256());
        let verify = move |bytes: Bytes| match Sha256::of(&bytes) {
            actual if actual == sha256 => Ok(bytes),
            actual => Err(format!("its checksum is {actual}")),
        };
        let found = self.load_from(reach, &path, Some(now), admit, verify).await;
        match self.note(found)? {
            None => Ok(None),
            Some(CheckedObject::Good(bytes, lease)) => Ok(Some(StoredFile::Whole(bytes, lease))),
            Some(CheckedObject::Large(object)) => {
                let reader = StoredFileReader::new(self.clone(), *key, object);
                Ok(Some(StoredFile::Large(Box::new(reader))))
            }
            Some(CheckedObject::Corrupt(why, version)) => {
                self.doubt(*key, Doubt::Wrong);
                Err(self.drop_corrupt(Key::File(*key), &version, &why).await)
            }
        }
    }

    /// Loads what is under `path` and has it checked where it was read, so that reading and hashing are one trip to a thread that may block.
    pub(super) async fn load<T: Send + 'static, L: Send + 'static>(
        &self,
        path: &str,
        used: Option<SystemTime>,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
        check: impl FnOnce(Bytes) -> Result<T, String> + Send + 'static,
    ) -> Result<Option<CheckedObject<T, L>>> {
        let found = self.load_from(Reach::Nearest, path, used, admit, check);
        found.await
    }

    async fn load_from<T: Send + 'static, L: Send + 'static>(
        &self,
        reach: Reach,
        path: &str,
        used: Option<SystemTime>,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
        check: impl FnOnce(Bytes) -> Result<T, String> + Send + 'static,
    ) -> Result<Option<CheckedObject<T, L>>> {
        let (tell, mut told) = oneshot::channel();
        let admit: Admit = Box::new(move |size| {
            let lease = admit(size)?;
            let take: TakeBytes = Box::new(move |bytes| {
                let checked = check(bytes);
                let verdict = match &checked {
                    Ok(_) => CheckVerdict::Good,
                    Err(_) => CheckVerdict::Wrong,
                };
                let _ = tell.send((checked, lease));
                verdict
            });
            Some(take)
        });
        let loaded = match reach {
            Reach::Nearest => self.backend.load(path, used, admit),
            Reach::Shared => self.backend.load_shared(path, used, admit),
        };
        let version = match loaded.await? {
            None => return Ok(None),
            Some(LoadedObject::Large(object)) => return Ok(Some(CheckedObject::Large(object))),
            Some(LoadedObject::Taken(version)) => version,
        };
        match told.try_recv() {
            Ok((Ok(good), lease)) => Ok(Some(CheckedObject::Good(good, lease))),
            Ok((Err(why), _)) => Ok(Some(CheckedObject::Corrupt(why, version))),
            Err(e) => Err(Error::ended_early(format_args!("checking {path}"), e)),
        }
    }
}

fn decode(bytes: Bytes) -> Result<StoreRecord, String> {
    StoreRecord::decode(bytes)
}
