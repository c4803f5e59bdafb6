//! Waiting for a bucket on a thread that may block.

use std::{future::Future, sync::mpsc};

use tokio::runtime::Handle;

use crate::error::{Error, Result};

/// Has `work` done on the runtime and waits for it here.
pub(super) fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (tell, told) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        let _ = tell.send(work.await);
    });
    told.recv()
        .unwrap_or_else(|e| Err(Error::ended_early("a request to the bucket", e)))
}
