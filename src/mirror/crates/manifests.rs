//! [`Manifests`]: what the manifest in a .crate file says: read once of a checked file, and kept beside it.

use std::{sync::Arc, time::SystemTime};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    domain::{CrateKey, License, Manifest},
    error::{Error, Result},
    mirror::{
        files::{CheckedFile, FileService},
        kept::WholeFile,
        shared::{Shared, SingleFlight},
    },
    policy::{ManifestReader, manifest_in},
};

/// So many are known by heart, of a kilobyte each at most.
const IN_MEMORY: u64 = 4_096;
/// So many files are unpacked at once, each of which keeps a core busy.
const AT_ONCE: usize = 2;

/// The manifests of .crate files, of which the licence is what requests wait for.
pub(super) struct Manifests {
    shared: Arc<Shared>,
    known: Cache<CrateKey, License>,
    permits: Semaphore,
    /// Files that are read to their end, once for all who ask.
    flights: SingleFlight<CrateKey, ()>,
}

impl Manifests {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let known = Cache::builder()
            .max_capacity(IN_MEMORY)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            shared,
            known: known.build(),
            permits: Semaphore::new(AT_ONCE),
            flights: SingleFlight::default(),
        }
    }

    /// The licence of this file. Of one that is on its way it is there when its manifest has come by; nothing of `file` is read.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub(super) async fn license_of(
        self: &Arc<Self>,
        key: CrateKey,
        file: &CheckedFile,
    ) -> Result<License> {
        if let Some(license) = self.known_license(&key).await {
            return Ok(license);
        }
        match file {
            CheckedFile::Whole(whole) => Ok(self.of_whole(key, whole).await?.license),
            // Not checked yet, so that what is read now is good for this answer only, which ends badly if it is wrong.
            CheckedFile::Stored(..) | CheckedFile::Arriving(..) => {
                let tasks = self.shared.background.tasks();
                self.flights.join(key, tasks, |_| {
                    let (this, whole) = (self.clone(), file.again());
                    async move {
                        this.read_all(key, whole).await;
                        Ok(())
                    }
                });
                Ok(self.read(&key, file.again()).await?.license)
            }
        }
    }

    /// The licence of a file whose manifest was read before.
    pub(super) async fn known_license(&self, key: &CrateKey) -> Option<License> {
        if let Some(license) = self.known.get(key) {
            return Some(license);
        }
        // A store that can't be read knows of none.
        let manifest = self.shared.store.load_manifest(key).await.ok()??;
        self.known.insert(*key, manifest.license.clone());
        Some(manifest.license)
    }

    /// What the manifest in a stored file says, read now if it never was; `None` when the file isn't here, or can't be read. No request waits for this.
    pub(super) async fn of_stored(
        &self,
        key: &CrateKey,
        files: &FileService,
        now: SystemTime,
    ) -> Option<Manifest> {
        if let Ok(Some(manifest)) = self.shared.store.load_manifest(key).await {
            return Some(manifest);
        }
        match files.if_stored(&key.into(), now).await? {
            CheckedFile::Whole(whole) => self.of_whole(*key, &whole).await.ok(),
            file @ (CheckedFile::Stored(..) | CheckedFile::Arriving(..)) => {
                self.read_all(*key, file).await
            }
        }
    }

    async fn of_whole(&self, key: CrateKey, whole: &WholeFile) -> Result<Manifest> {
        let content = whole.content.bytes().clone();
        let _permit = self.permits.acquire().await;
        let read = spawn_blocking(move || manifest_in(&content, &key.id)).await;
        let manifest = read.map_err(|e| Error::ended_early("reading a manifest", e))?;
        self.keep(key, &manifest).await;
        Ok(manifest)
    }

    /// Reads a file up to its manifest.
    async fn read(&self, key: &CrateKey, mut file: CheckedFile) -> Result<Manifest> {
        let mut reader = ManifestReader::new(&key.id);
        while let Some(chunk) = file.next().await {
            let chunk = chunk?;
            // Not held while the next bytes are waited for.
            let _permit = self.permits.acquire().await;
            let fed = spawn_blocking(move || {
                let is_found = reader.feed(&chunk).is_some();
                (reader, is_found)
            });
            let (fed, is_found) = fed
                .await
                .map_err(|e| Error::ended_early("reading a manifest", e))?;
            reader = fed;
            if is_found {
                break;
            }
        }
        Ok(reader.finish())
    }

    /// Reads a file to its end, which is there only if all of it is right; then what its manifest says is kept.
    async fn read_all(&self, key: CrateKey, mut file: CheckedFile) -> Option<Manifest> {
        let manifest = self.read(&key, file.again()).await.ok()?;
        while let Some(chunk) = file.next().await {
            chunk.ok()?;
        }
        self.keep(key, &manifest).await;
        Some(manifest)
    }

    async fn keep(&self, key: CrateKey, manifest: &Manifest) {
        if let Err(e) = self.shared.store.save_manifest(&key, manifest).await {
            tracing::debug!(id = %key.id, "what its manifest says isn't kept: {e}");
        }
        self.known.insert(key, manifest.license.clone());
    }
}
