//! [`Licenses`]: under which licence a .crate file comes, as its manifest says: read once of a checked file, and kept beside it.

use std::sync::Arc;

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::file::CrateFile;
use crate::{
    domain::{CrateKey, License},
    error::{Error, Result},
    mirror::shared::{Shared, SingleFlight},
    policy::{ManifestReader, license_in},
};

/// So many are known by heart, of a kilobyte each at most.
const IN_MEMORY: u64 = 4_096;
/// So many files are unpacked at once, each of which keeps a core busy.
const AT_ONCE: usize = 2;

/// The licences of .crate files.
pub(super) struct Licenses {
    shared: Arc<Shared>,
    known: Cache<CrateKey, License>,
    permits: Semaphore,
    /// Files that are read to their end, once for all who ask.
    flights: SingleFlight<CrateKey, ()>,
}

impl Licenses {
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
    pub(super) async fn of(self: &Arc<Self>, file: &CrateFile) -> Result<License> {
        let key = *file.key();
        if let Some(license) = self.known.get(&key) {
            return Ok(license);
        }
        // A store that can't be read knows of none.
        if let Ok(Some(license)) = self.shared.store.load_license(&key).await {
            self.known.insert(key, license.clone());
            return Ok(license);
        }
        match file {
            CrateFile::Whole(whole) => {
                let content = whole.content.bytes().clone();
                let _permit = self.permits.acquire().await;
                let read = spawn_blocking(move || license_in(&content, &key.id)).await;
                let license = read.map_err(|e| Error::ended_early("reading a manifest", e))?;
                self.keep(key, license.clone()).await;
                Ok(license)
            }
            // Not checked yet, so that what is read now is good for this answer only, which ends badly if it is wrong.
            CrateFile::Stored(_) | CrateFile::Arriving(..) => {
                let tasks = self.shared.background.tasks();
                self.flights.join(key, tasks, |_| {
                    let (this, whole) = (self.clone(), file.again());
                    async move {
                        this.read_all(whole).await;
                        Ok(())
                    }
                });
                self.read(file.again()).await
            }
        }
    }

    /// Reads a file up to its manifest.
    async fn read(&self, mut file: CrateFile) -> Result<License> {
        let mut reader = ManifestReader::new(&file.key().id);
        while let Some(chunk) = file.next().await {
            let chunk = chunk?;
            // Not held while the next bytes are waited for.
            let _permit = self.permits.acquire().await;
            let fed = spawn_blocking(move || {
                let license = reader.feed(&chunk).cloned();
                (reader, license)
            });
            let (fed, license) = fed
                .await
                .map_err(|e| Error::ended_early("reading a manifest", e))?;
            if let Some(license) = license {
                return Ok(license);
            }
            reader = fed;
        }
        Ok(reader.finish())
    }

    /// Reads a file to its end, which is there only if all of it is right; then its licence is kept.
    async fn read_all(&self, mut file: CrateFile) {
        let key = *file.key();
        let Ok(license) = self.read(file.again()).await else {
            return;
        };
        while let Some(chunk) = file.next().await {
            if chunk.is_err() {
                return;
            }
        }
        self.keep(key, license).await;
    }

    async fn keep(&self, key: CrateKey, license: License) {
        if let Err(e) = self.shared.store.save_license(&key, &license).await {
            tracing::debug!(id = %key.id, "its licence isn't kept: {e}");
        }
        self.known.insert(key, license);
    }
}
