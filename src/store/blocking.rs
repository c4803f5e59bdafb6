//! Work that may block for as long as it likes: on a thread of its own, and not on one of the disk's.

use crate::error::{Error, Result};

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::ended_early("a store operation", e))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use tokio::task::JoinError;

    use super::*;
    use crate::error::Kind;

    /// Only its words were kept.
    #[tokio::test]
    async fn of_work_that_panics_the_error_knows_that_it_has() {
        let done: Result<()> = blocking(|| panic!("as it must")).await;
        let error = done.expect_err("an error");
        assert_eq!(error.kind(), Kind::Internal);
        assert_eq!(error.message(), "a store operation ended early");
        let source = error.source().and_then(|e| e.downcast_ref::<JoinError>());
        assert!(source.expect("the runtime's").is_panic());
    }
}
