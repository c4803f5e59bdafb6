//! The inventory: everything stored, looked at object by object, for eviction and verification.

use std::time::SystemTime;

use super::{
    blocking::blocking,
    handle::{Store, StorePlace},
    sight::{Links, Next, Sight},
};
use crate::{
    domain::{CrateKey, IndexKey, Key},
    error::Result,
};

impl Store {
    /// Shows everything stored to `visit`, in no particular order, and what couldn't be looked at. Files that no key makes are passed over, as is what
    /// vanishes meanwhile. What is near by and still to be written elsewhere stays, whatever `visit` says.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when `visit` panics.
    pub async fn each<V: Send + 'static>(
        &self,
        links: Links,
        mut state: V,
        mut visit: impl FnMut(&mut V, Sight) -> Next + Send + 'static,
    ) -> Result<V> {
        let (backend, needed) = (self.backend.clone(), self.is_needed());
        let is_needed = move |sight: &Sight| {
            let Sight::Object(stored) = sight else {
                return false;
            };
            needed.as_ref().is_some_and(|needed| needed(&stored.path))
        };
        blocking(move || {
            backend.bulk().walk(links, &mut |sight| {
                let stays = is_needed(&sight);
                match visit(&mut state, sight) {
                    Next::Remove if stays => Next::Go,
                    next => next,
                }
            });
            state
        })
        .await
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
    /// last comes first, as far as the storage knows.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn crates_of(&self, index: &IndexKey) -> Result<Vec<CrateKey>> {
        let listed = self.backend.list(&index.crates_folder()).await;
        let mut stored = self.note(listed)?;
        stored.sort_unstable_by(|a, b| b.used.cmp(&a.used).then_with(|| a.path.cmp(&b.path)));
        let crates = stored.into_iter();
        let crates = crates.filter_map(|stored| stored.key.crate_file().copied());
        Ok(crates.collect())
    }

    /// The same with how many bytes each has, in no particular order.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn crate_sizes(&self, index: &IndexKey) -> Result<Vec<(CrateKey, u64)>> {
        let listed = self.backend.list(&index.crates_folder()).await;
        let crates = self.note(listed)?.into_iter();
        let crates = crates.filter_map(|stored| Some((*stored.key.crate_file()?, stored.size)));
        Ok(crates.collect())
    }

    /// Whether the storage is there at all.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it isn't.
    pub async fn require(&self) -> Result<()> {
        self.note(self.backend.require().await)
    }

    /// Looks whether a store over a bucket can be read again, if it couldn't when it was read last. Where nobody asks for what isn't in memory, it would be called
    /// unreadable for ever.
    pub async fn look_again(&self) {
        let has_bucket = match self.place() {
            StorePlace::Bucket | StorePlace::BucketBehindFolder => true,
            // A folder may be there and still not be read.
            StorePlace::One => false,
        };
        if has_bucket && self.metrics.store_unreadable.get() != 0 {
            let _ = self.note(self.backend.look().await);
        }
    }

    /// How many bytes the object under `key` has; `None` if it isn't there. It isn't looked into.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn size_of(&self, key: &Key) -> Result<Option<u64>> {
        self.note(self.backend.size(&key.path(), None).await)
    }

    /// The same, with the object counted as used at `now`.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn mark_used(&self, key: &Key, now: SystemTime) -> Result<Option<u64>> {
        self.note(self.backend.size(&key.path(), Some(now)).await)
    }

    /// Whether there is a record under `key`; it isn't looked into.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn has_index(&self, key: &IndexKey) -> Result<bool> {
        let size = self.size_of(&Key::from(*key)).await?;
        Ok(size.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{CrateId, CrateName, RegistryName, Sha256},
        metrics::Metrics,
        store::FolderSettings,
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
        let settings = FolderSettings::new(folder.path(), false);
        let opened = Store::open(settings, metrics.clone(), SystemTime::now());
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
                let saved = store.save_file(key, "".into()).await;
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
