//! [`Permits`]: the concurrency limit for connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections beyond the limit may be open at once for as long as it takes to tell their clients that there are too many.
const REFUSED: usize = 256;

/// A permit for each connection that may be open.
pub(super) struct Permits {
    connections: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

impl Permits {
    /// Permits for so many connections.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            refused: Arc::new(Semaphore::new(REFUSED)),
        }
    }

    /// A permit for one more connection, if there is one left.
    pub(super) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    /// A permit for one connection whose client is told that there are too many, if there is one left.
    pub(super) fn refused(&self) -> Option<OwnedSemaphorePermit> {
        self.refused.clone().try_acquire_owned().ok()
    }
}
