//! [`Background`]: work that goes on whatever becomes of who asked for it.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks that nobody waits for, until it is time to stop.
#[derive(Default)]
pub(in crate::mirror) struct Background {
    /// Cancelled when it is time to stop: what isn't worth waiting for isn't gone on with.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    /// Runs `work` to its end: stopping waits for it.
    pub(in crate::mirror) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Runs `work` to its end, or until it is time to stop.
    pub(in crate::mirror) fn run_until_stopped(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let work = self.stopping.clone().run_until_cancelled_owned(work);
        self.tasks.spawn(async move {
            work.await;
        });
    }

    /// Where shared work is spawned.
    pub(in crate::mirror) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until all has been done, at most `grace`.
    pub(in crate::mirror) async fn close(&self, grace: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            let left = self.tasks.len();
            tracing::warn!("{left} fetches or writes were not finished in time and are dropped");
        }
    }
}
