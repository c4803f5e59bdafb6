//! [`OtherBucket`]: an empty bucket of a service that doesn't speak S3, and what lies in it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{azure::Azurite, google::Google};

/// How long is waited for an object.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket of its own for each of them. Dropping it ends its service.
pub struct OtherBucket {
    /// `az://NAME` or `gs://NAME`
    url: String,
    endpoint: String,
    env: Vec<(&'static str, String)>,
    store: Arc<dyn ObjectStore>,
    _service: Service,
}

/// What ends when it is dropped.
enum Service {
    Azure(#[expect(dead_code, reason = "it is kept alive")] Azurite),
    Google(#[expect(dead_code, reason = "it is kept alive")] Google),
}

impl OtherBucket {
    /// One of Azure Blob Storage, as Microsoft's own emulator speaks it. None where that isn't installed.
    pub async fn of_azure() -> Option<OtherBucket> {
        let service = Azurite::start().await?;
        let name = format!("test-{:016x}", fastrand::u64(..));
        service.make_container(&name).await;
        Some(OtherBucket {
            url: format!("az://{name}"),
            endpoint: service.endpoint(),
            env: service.env(),
            store: service.client(&name),
            _service: Service::Azure(service),
        })
    }

    /// One of Google Cloud Storage, in this process: its XML API, and a machine's identity for it.
    pub async fn of_google() -> OtherBucket {
        let service = Google::start().await;
        let name = format!("test-{:016x}", fastrand::u64(..));
        service.make_bucket(&name);
        OtherBucket {
            url: format!("gs://{name}"),
            endpoint: service.endpoint(),
            env: service.env(),
            store: service.client(&name),
            _service: Service::Google(service),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The environment of a program that is to use it.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.env.clone()
    }

    /// The key of the object whose key has this in it, as soon as there is one; panics after a minute. What is kept of manifests beside crates doesn't count.
    pub async fn until_stored(&self, part: &str) -> Path {
        let is_it = |key: &Path| key.as_ref().contains(part) && !key.as_ref().ends_with(".license");
        let started = Instant::now();
        loop {
            let all = self.store.list(None).map_ok(|object| object.location);
            let all: Vec<_> = all.try_collect().await.expect("a list of what is there");
            if let Some(found) = all.iter().find(|key| is_it(key)) {
                return found.clone();
            }
            let waited = started.elapsed();
            assert!(waited < PATIENCE, "never stored {part}, only {all:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the object holds just this; panics after a minute.
    pub async fn until_holds(&self, key: &Path, bytes: &[u8]) {
        let started = Instant::now();
        loop {
            let found = self.store.get(key).await.expect("an object");
            if found.bytes().await.is_ok_and(|found| found == bytes) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{key} never holds it");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn put(&self, key: &Path, bytes: impl Into<Bytes>) {
        let put = self.store.put(key, bytes.into().into()).await;
        put.unwrap_or_else(|e| panic!("{key}: {e}"));
    }
}
