//! Manifests: what the Cargo.toml in a stored .crate file says, kept beside the file so that it is read once.
//!
//! A convenience, and no object of its own: it goes with its file, isn't carried by bundles, and what is damaged is read from the file again.

use bytes::Bytes;

use super::{handle::Store, load::CheckedObject};
use crate::{
    domain::{CrateKey, Manifest, Sha256},
    error::Result,
};

/// No stored form is longer: a checksum, and texts as JSON in the worst case.
const MAX_SIZE: u64 = 96 << 10;

impl Store {
    /// Keeps what the manifest in the .crate file under `key` says.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn save_manifest(&self, key: &CrateKey, manifest: &Manifest) -> Result<()> {
        let kept = encode(manifest).into();
        let written = self.save(&key.license_path(), kept).await;
        self.note_written(written)
    }

    /// What is known of the manifest in the .crate file under `key`, which may not be stored itself; `None` when nothing is, or it is damaged, or of an older
    /// version of this program, which kept less.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn load_manifest(&self, key: &CrateKey) -> Result<Option<Manifest>> {
        let admit = |size| (size <= MAX_SIZE).then_some(());
        let found = self.load(&key.license_path(), None, admit, decode).await;
        Ok(match self.note(found)? {
            Some(CheckedObject::Good(manifest, ())) => Some(manifest),
            Some(CheckedObject::Large(_) | CheckedObject::Corrupt(..)) | None => None,
        })
    }
}

/// A line with the checksum of what follows.
fn encode(manifest: &Manifest) -> [Bytes; 2] {
    let text = serde_json::to_vec(manifest).expect("a text");
    let line = format!("{}\n", Sha256::of(&text));
    [line.into(), text.into()]
}

fn decode(bytes: Bytes) -> Result<Manifest, String> {
    let wrong = || "it is no manifest".to_owned();
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(wrong)?;
    let (line, text) = (&bytes[..end], &bytes[end + 1..]);
    match line == Sha256::of(text).to_string().as_bytes() {
        true => serde_json::from_slice(text).map_err(|e| e.to_string()),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::{
        domain::{CrateId, IndexKey, Key, License, RegistryName},
        metrics::Metrics,
        store::{FolderSettings, Links, Next, Sight, Verification},
    };

    fn manifests() -> [Manifest; 5] {
        let licenses = [
            License::Expression("MIT OR Apache-2.0".into()),
            License::Expression("\\\"".repeat(License::MAX_LEN / 2).into()),
            License::File("LICENSE".into()),
            License::None,
        ];
        let [a, b, c, d] = licenses.map(|license| Manifest {
            license,
            ..Manifest::none()
        });
        let largest = Manifest {
            license: License::Expression("\\\"".repeat(License::MAX_LEN / 2).into()),
            name: Some("x".repeat(64).into()),
            description: Some("\\\"".repeat(500).into()),
            homepage: Some("x".repeat(512).into()),
            documentation: Some("x".repeat(512).into()),
            repository: Some("x".repeat(512).into()),
            keywords: vec!["\"".repeat(64).into(); 8],
            categories: vec!["\"".repeat(64).into(); 8],
            dependencies: vec!["x".repeat(64).into(); 512],
        };
        [a, b, c, d, largest]
    }

    fn key() -> CrateKey {
        CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse("Serde", "1.0.0+B").expect("valid"),
            sha256: Sha256::of(b"content"),
        }
    }

    /// A store in a folder and one in memory, each with a crate of which the manifest is known.
    async fn stores(folder: &std::path::Path) -> [Store; 2] {
        let metrics = Arc::new(Metrics::new());
        let settings = FolderSettings::new(folder, false);
        let opened = Store::open(settings, metrics.clone(), SystemTime::now());
        let stores = [opened.expect("a store"), Store::in_memory(metrics)];
        for store in &stores {
            let saved = store.save_file(key(), "content".into()).await;
            saved.expect("stored");
            let saved = store.save_manifest(&key(), &Manifest::none()).await;
            saved.expect("stored");
        }
        stores
    }

    async fn known(store: &Store) -> Option<Manifest> {
        store.load_manifest(&key()).await.expect("no failure")
    }

    #[tokio::test]
    async fn what_is_known_of_a_manifest_is_known_later() {
        let folder = tempfile::tempdir().expect("a folder");
        for store in stores(folder.path()).await {
            for manifest in manifests() {
                let saved = store.save_manifest(&key(), &manifest).await;
                saved.expect("stored");
                assert_eq!(known(&store).await, Some(manifest));
            }
            let other = CrateKey {
                sha256: Sha256::of(b"other"),
                ..key()
            };
            assert_eq!(store.load_manifest(&other).await.expect("none"), None);
        }
    }

    #[tokio::test]
    async fn it_goes_with_its_file_and_is_no_object() {
        let folder = tempfile::tempdir().expect("a folder");
        for store in stores(folder.path()).await {
            let index = IndexKey::new(key().registry, key().id.name);
            assert_eq!(store.crates_of(&index).await.expect("one").len(), 1);
            let holding = store.holding(index).expect("a folder");
            assert_eq!(holding.crates.len(), 1, "{holding:?}");
            assert_eq!(store.size().await.expect("a size"), 7);
            let remove = |seen: &mut Vec<String>, sight: Sight| match sight {
                Sight::Object(stored) => {
                    seen.push(stored.path);
                    Next::Remove
                }
                _ => Next::Go,
            };
            let seen = store.each(Links::PassedOver, Vec::new(), remove).await;
            assert_eq!(seen.expect("walked"), [key().path()]);
            assert_eq!(known(&store).await, None);
        }
    }

    #[tokio::test]
    async fn it_goes_with_a_file_that_is_removed_because_it_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let [store, _] = stores(folder.path()).await;
        let path = folder.path().join(key().path());
        std::fs::write(&path, "other").expect("written");
        let file = std::fs::File::open(&path).expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
        let found = store.verify(&Key::from(key())).await.expect("checked");
        let Verification::Bad(flaw) = found else {
            panic!("{found:?}");
        };
        let removed = store.remove_flawed(&Key::from(key()), &flaw).await;
        removed.expect("removed");
        assert_eq!(known(&store).await, None);
    }

    #[tokio::test]
    async fn what_is_damaged_is_not_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let [store, _] = stores(folder.path()).await;
        let path = folder.path().join(key().license_path());
        let good = std::fs::read(&path).expect("a file");
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            std::fs::write(&path, &bad).expect("written");
            assert_eq!(known(&store).await, None, "byte {place}");
            std::fs::write(&path, &good[..place]).expect("written");
            assert_eq!(known(&store).await, None, "cut at {place}");
        }
        std::fs::write(&path, vec![b'x'; 1 << 20]).expect("written");
        assert_eq!(known(&store).await, None);
        std::fs::write(&path, &good).expect("written");
        assert_eq!(known(&store).await, Some(Manifest::none()));
    }
}
