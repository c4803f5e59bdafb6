//! What tests put in a store's place: objects in memory, disks that fail, disks that hang. Only with the feature `testing`.

mod fault;
mod memory;

use std::{sync::Arc, time::SystemTime};

use object_store::ObjectStore;

pub use crate::store::disk::{DiskStall, Touch};
pub use fault::Fault;

use crate::{
    error::Result,
    metrics::Metrics,
    store::{
        bucket::{BucketBackend, BucketSettings, Connected},
        folder::FolderSettings,
        handle::Store,
    },
};

impl Store {
    /// A store that forgets everything when dropped.
    pub fn in_memory(metrics: Arc<Metrics>) -> Self {
        Self::over(Arc::<memory::InMemory>::default(), metrics)
    }

    /// A store whose bucket is whatever keeps objects, with a folder in front of it or none. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of [`in_tiers`](Self::in_tiers).
    pub async fn over_objects(
        folder: Option<FolderSettings>,
        bucket: &BucketSettings,
        objects: Arc<dyn ObjectStore>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let connected = Connected::to(objects);
        let now = SystemTime::now();
        let opened = Self::tiers_over(folder, bucket, connected, metrics, now).await;
        opened.map(|(store, _)| store)
    }

    /// A store in a bucket that is whatever keeps objects, for who has no folder of its own. Must be called within a tokio runtime.
    pub fn over_bucket(
        bucket: &BucketSettings,
        objects: Arc<dyn ObjectStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let connected = Connected::to(objects);
        let bucket = BucketBackend::new(bucket, connected, metrics.clone());
        Self::over(Arc::new(bucket), metrics)
    }

    /// The same store with a fault that a test has control of.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.backend = Arc::new(fault::Faulty::new(self.backend, fault));
        self
    }
}
