//! [`make`]: work that takes milliseconds of computing, done where it holds nobody up.

use crate::error::{Error, Result};

/// Runs such work.
///
/// # Errors
/// Those of `work`, and [`Kind::Internal`](crate::error::Kind::Internal) when it panics.
pub(super) async fn make<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::ended_early("making an index file ready", e))?
}
