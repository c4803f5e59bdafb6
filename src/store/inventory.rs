//! The inventory: everything stored, looked at object by object, for eviction and verification.

use std::{io, time::SystemTime};

use super::{Backend, IndexRecord, Store, blocking};
use crate::{
    domain::{Hasher, IndexFile, Key},
    error::Result,
};

/// A stored object, as the inventory sees it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it is.
    pub key: Key,
    /// Where it is, relative to the store.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last used, within an hour.
    pub used: SystemTime,
}

/// What is to happen after a look at an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// On to the next one.
    Go,
    /// On to the next one, with this one counted as used now.
    Touch,
    /// On to the next one, with this one removed.
    Remove,
    /// No further.
    Stop,
}

/// What a check of a stored object found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what its key says.
    Good,
    /// It isn't, for this reason.
    Bad(String),
    /// It vanished meanwhile: evicted, or dropped by a running mirror.
    Gone,
}

impl Store {
    /// Shows every stored object to `visit`, in no particular order. Files that no key makes are passed over, as is what vanishes meanwhile.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when an object can't be removed, [`Kind::Internal`](crate::error::Kind::Internal) when `visit` panics.
    pub async fn each<V: Send + 'static>(
        &self,
        mut state: V,
        mut visit: impl FnMut(&mut V, Stored) -> Next + Send + 'static,
    ) -> Result<V> {
        match &self.backend {
            Backend::Memory(shelf) => {
                for (path, size) in shelf.list() {
                    let Some(key) = Key::from_path(&path) else {
                        continue;
                    };
                    let used = SystemTime::UNIX_EPOCH;
                    let shown = path.clone();
                    match visit(
                        &mut state,
                        Stored {
                            key,
                            path,
                            size,
                            used,
                        },
                    ) {
                        Next::Go | Next::Touch => {}
                        Next::Remove => shelf.remove(&shown),
                        Next::Stop => break,
                    }
                }
                Ok(state)
            }
            Backend::Fs(folder) => {
                let folder = folder.clone();
                let walked = blocking(move || folder.each(state, visit)).await?;
                self.note(walked)
            }
        }
    }

    /// Reads an object and checks it against its key: a crate against the checksum in its name, an index record against its own header and for
    /// being that crate's index file. Takes little memory however large the object.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the check panics.
    pub async fn verify(&self, stored: &Stored) -> Result<Verdict> {
        let (key, path) = (stored.key, stored.path.clone());
        match &self.backend {
            Backend::Memory(shelf) => Ok(match shelf.open(&path) {
                Some(bytes) => check(&key, &bytes[..]),
                None => Verdict::Gone,
            }),
            Backend::Fs(folder) => {
                let path = folder.root().join(path);
                blocking(move || match std::fs::File::open(&path) {
                    Ok(file) => check(&key, file),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Verdict::Gone,
                    Err(e) => Verdict::Bad(format!("it can't be read: {e}")),
                })
                .await
            }
        }
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage refuses.
    pub async fn remove(&self, stored: &Stored) -> Result<()> {
        let removed = match &self.backend {
            Backend::Fs(folder) => folder.remove(stored.path.clone()).await,
            Backend::Memory(shelf) => {
                shelf.remove(&stored.path);
                Ok(())
            }
        };
        self.note(removed)
    }
}

fn check(key: &Key, mut bytes: impl io::Read) -> Verdict {
    let found = match key {
        Key::Crate(key) => {
            let mut hasher = Hasher::default();
            let mut block = vec![0; 128 << 10];
            loop {
                match bytes.read(&mut block) {
                    Ok(0) => break,
                    Ok(length) => hasher.update(&block[..length]),
                    Err(e) => return Verdict::Bad(format!("it can't be read: {e}")),
                }
            }
            let actual = hasher.finish();
            (actual == key.sha256)
                .then_some(())
                .ok_or(format!("its checksum is {actual}"))
        }
        Key::Index(key) => {
            let mut record = Vec::new();
            let read = bytes
                .read_to_end(&mut record)
                .map_err(|e| format!("it can't be read: {e}"));
            let decoded = read.and_then(|_| IndexRecord::decode(record.into()));
            decoded.and_then(|IndexRecord { body, .. }| {
                let parsed = IndexFile::parse(key.path, body);
                parsed.map(drop).map_err(|e| e.to_string())
            })
        }
    };
    match found {
        Ok(()) => Verdict::Good,
        Err(why) => Verdict::Bad(why),
    }
}
