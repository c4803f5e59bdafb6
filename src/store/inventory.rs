//! The inventory: everything stored, looked at object by object, for eviction and verification.

use std::{
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    Backend, IndexRecord, Links, Next, Sight, Store, Touch, blocking, failed,
    place::{self, Place},
};
use crate::{
    domain::{CrateKey, IndexKey, Key},
    error::{Error, Result},
};

impl Store {
    /// Shows everything stored to `visit`, in no particular order, and what couldn't be looked at. Files that no key makes are passed over, as is what
    /// vanishes meanwhile.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when `visit` panics.
    pub async fn each<V: Send + 'static>(
        &self,
        links: Links,
        mut state: V,
        mut visit: impl FnMut(&mut V, Sight) -> Next + Send + 'static,
    ) -> Result<V> {
        match &self.backend {
            Backend::Memory(shelf) => {
                for stored in shelf.below("") {
                    match visit(&mut state, Sight::Object(stored.clone())) {
                        Next::Go | Next::Touch => {}
                        Next::Remove => {
                            shelf.remove_exactly(&stored.path, stored.identity);
                            visit(&mut state, Sight::Removed(stored));
                        }
                        Next::Stop => break,
                    }
                }
                Ok(state)
            }
            Backend::Fs(folder) => {
                let folder = folder.clone();
                blocking(move || folder.each(links, state, visit)).await
            }
        }
    }

    /// How many bytes all stored objects have together. Walks over all of them.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when any of it can't be looked at.
    pub async fn size(&self) -> Result<u64> {
        let add = |sum: &mut Result<u64>, sight: Sight| {
            match sight {
                Sight::Object(stored) => {
                    if let Ok(sum) = sum {
                        *sum += stored.size;
                    }
                }
                Sight::Unread(e) => *sum = Err(e),
                Sight::Odd(..) | Sight::Removed(_) | Sight::Unchanged(_) => {}
            }
            Next::Go
        };
        let counted = self.each(Links::PassedOver, Ok(0), add).await?;
        self.note(counted)
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
                let (folder, at) = (folder.clone(), path.clone());
                let list = move |_: &_| folder.list(&at);
                self.disk.run(Touch::List, &path, list).await
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
                let look = move |_: &_| match folder.is_there() {
                    true => Ok(()),
                    false => Err(Error::store(format!(
                        "the folder {} is gone",
                        folder.root().display()
                    ))),
                };
                self.disk.run(Touch::Look, "the store's folder", look).await
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
                let at = folder.root().join(&path);
                let look = move |_: &_| match place::look(&at) {
                    Ok((meta, _)) => Ok(meta.is_file().then_some(meta.len())),
                    Err(e) if place::is_missing(&e) => Ok(None),
                    Err(e) => Err(failed("looking at", &at, &e)),
                };
                self.disk.run(Touch::Look, &path, look).await
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
                let (folder, path) = (folder.clone(), key.path());
                let at = path.clone();
                let mark = move |_: &_| folder.mark_used(&at, now);
                let size = self.disk.run(Touch::Look, &path, mark).await;
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
                let at = folder.root().join(&path);
                let read = move |_: &_| read_record(&at).map_err(|e| failed("reading", &at, &e));
                self.disk.run(Touch::Load, &path, read).await
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
}

/// The bytes of the index record at `path`. One that is too large to be one comes cut off, and fails its check by that.
fn read_record(path: &Path) -> io::Result<Option<Bytes>> {
    match place::open(path)? {
        Place::Empty => Ok(None),
        Place::Odd(odd) => Err(odd.error()),
        Place::File(opened) => {
            let size = opened.meta.len().min(IndexRecord::MAX_SIZE);
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            let mut file = opened.file.take(IndexRecord::MAX_SIZE + 1);
            file.read_to_end(&mut bytes)?;
            Ok(Some(bytes.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{CrateId, CrateName, RegistryName, Sha256},
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
