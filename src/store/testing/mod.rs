//! What tests put in a store's place: objects in memory, disks that fail, disks that hang. Only with the feature `testing`.

mod fault;
mod memory;

use std::sync::Arc;

pub use crate::store::disk::{DiskStall, Touch};
pub use fault::Fault;

use crate::{metrics::Metrics, store::handle::Store};

impl Store {
    /// A store that forgets everything when dropped.
    pub fn in_memory(metrics: Arc<Metrics>) -> Self {
        Self::over(Arc::<memory::InMemory>::default(), metrics)
    }

    /// The same store with a fault that a test has control of.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.backend = Arc::new(fault::Faulty::new(self.backend, fault));
        self
    }
}
