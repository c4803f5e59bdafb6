//! The inventory: everything stored, looked at object by object, for eviction and verification.

use std::{io, time::SystemTime};

use super::{Backend, IndexRecord, Store, Touch, blocking, failed};
use crate::{
    domain::{CrateKey, Hasher, IndexFile, IndexKey, Key, Sha256},
    error::{Error, Result},
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
                for stored in shelf.below("") {
                    let path = stored.path.clone();
                    match visit(&mut state, stored) {
                        Next::Go | Next::Touch => {}
                        Next::Remove => shelf.remove(&path),
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

    /// How many bytes all stored objects have together. Walks over all of them.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn size(&self) -> Result<u64> {
        let add = |sum: &mut u64, stored: Stored| {
            *sum += stored.size;
            Next::Go
        };
        self.each(0, add).await
    }

    /// The .crate files stored of one crate, by names and versions in lower case, as paths have them; none of them is looked into. The one used
    /// last comes first, as far as the storage knows: memory doesn't.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn crates_of(&self, index: &IndexKey) -> Result<Vec<CrateKey>> {
        let path = index.crates_folder();
        self.touch(Touch::List, &path)?;
        let listed = match &self.backend {
            Backend::Memory(shelf) => Ok(shelf.below(&path)),
            Backend::Fs(folder) => {
                let folder = folder.clone();
                blocking(move || folder.list(&path)).await?
            }
        };
        let mut stored = self.note(listed)?;
        stored.sort_unstable_by(|a, b| b.used.cmp(&a.used).then_with(|| a.path.cmp(&b.path)));
        let crates = stored.into_iter().filter_map(|stored| match stored.key {
            Key::Crate(key) => Some(key),
            Key::Index(_) => None,
        });
        Ok(crates.collect())
    }

    /// Whether the storage is there at all.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it isn't.
    pub async fn require(&self) -> Result<()> {
        let there = match &self.backend {
            Backend::Memory(_) => Ok(()),
            Backend::Fs(folder) => {
                let folder = folder.clone();
                blocking(move || match folder.is_there() {
                    true => Ok(()),
                    false => Err(Error::store(format!(
                        "the folder {} is gone",
                        folder.root().display()
                    ))),
                })
                .await?
            }
        };
        self.note(there)
    }

    /// How many bytes the object under `key` has; `None` if it isn't there. It isn't looked into.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn size_of(&self, key: &Key) -> Result<Option<u64>> {
        let path = key.path();
        let size = match &self.backend {
            Backend::Memory(shelf) => Ok(shelf.open(&path).map(|bytes| bytes.len() as u64)),
            Backend::Fs(folder) => {
                let path = folder.root().join(path);
                blocking(move || match std::fs::metadata(&path) {
                    Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(failed("looking at", &path, &e)),
                })
                .await?
            }
        };
        self.note(size)
    }

    /// The same, with the object counted as used at `now`.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn mark_used(&self, key: &Key, now: SystemTime) -> Result<Option<u64>> {
        match &self.backend {
            Backend::Memory(_) => self.size_of(key).await,
            Backend::Fs(folder) => {
                let size = folder.mark_used(key.path(), now).await;
                self.note(size)
            }
        }
    }

    /// The index record under `key` as it lies there: a look changes nothing, not even when it was last used, and a bad record stays.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it fails its
    /// check.
    pub async fn peek_index(&self, key: &IndexKey) -> Result<Option<IndexRecord>> {
        let path = key.path();
        self.touch(Touch::Load, &path)?;
        let read = match &self.backend {
            Backend::Memory(shelf) => Ok(shelf.open(&path)),
            Backend::Fs(folder) => {
                let path = folder.root().join(&path);
                blocking(move || match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes.into())),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(failed("reading", &path, &e)),
                })
                .await?
            }
        };
        let record = self.note(read)?.map(IndexRecord::decode).transpose();
        record.map_err(|why| Error::corrupt(format!("the stored {path} is corrupt: {why}")))
    }

    /// Whether there is a record under `key`; it isn't looked into.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn has_index(&self, key: &IndexKey) -> Result<bool> {
        let size = self.size_of(&Key::Index(*key)).await?;
        Ok(size.is_some())
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

/// The digest of all that can be read.
pub(crate) fn digest(mut bytes: impl io::Read) -> io::Result<Sha256> {
    let mut hasher = Hasher::default();
    let mut block = vec![0; 128 << 10];
    loop {
        match bytes.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&block[..length]),
        }
    }
}

fn check(key: &Key, mut bytes: impl io::Read) -> Verdict {
    let found = match key {
        Key::Crate(key) => {
            let actual = match digest(bytes) {
                Ok(actual) => actual,
                Err(e) => return Verdict::Bad(format!("it can't be read: {e}")),
            };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{CrateId, CrateName, RegistryName},
        metrics::Metrics,
    };

    fn key(name: &str, version: &str, content: &str) -> CrateKey {
        CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse(name, version).expect("valid"),
            sha256: Sha256::of(content.as_bytes()),
        }
    }

    #[tokio::test]
    async fn a_crates_files_are_those_of_exactly_that_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Arc::new(Metrics::new());
        let opened = Store::open(folder.path(), false, metrics.clone(), SystemTime::now());
        for store in [opened.expect("a store"), Store::in_memory(metrics)] {
            let index = |name| {
                let name = CrateName::parse(name).expect("valid");
                IndexKey::new(RegistryName::crates_io(), name)
            };
            assert_eq!(store.crates_of(&index("serde")).await.expect("none"), []);
            let own = [
                key("serde", "1.0.0", "a"),
                key("serde", "1.0.0", "b"),
                key("serde", "1.0.0+b.1", "c"),
            ];
            let others = [key("serde_json", "1.0.0", "d"), key("serd", "1.0.0", "e")];
            for key in own.iter().chain(&others) {
                let saved = store.save_crate(key, "".into()).await;
                saved.expect("stored");
            }
            let mut found = store.crates_of(&index("Serde")).await.expect("three");
            let mut expected = own.to_vec();
            for keys in [&mut found, &mut expected] {
                keys.sort_by_key(CrateKey::path);
            }
            assert_eq!(found, expected);
        }
    }
}
