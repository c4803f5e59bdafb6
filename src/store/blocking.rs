//! Work that may block for as long as it likes: on a thread of its own, and not on one of the disk's.

use crate::error::{Error, Result};

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("a store operation ended early: {e}")))
}
