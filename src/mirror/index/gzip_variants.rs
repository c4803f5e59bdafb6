//! [`GzipMaker`]: gzip variants of large index files, made beside the answers that go out without them meanwhile, so that nobody waits for one.

use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;

use crate::{
    domain::IndexKey,
    mirror::{kept::Rendition, shared::Shared},
};

/// How many gzip variants are made at once: they cost computing that requests want too.
const AT_ONCE: usize = 1;

/// Whether large index files get a gzip variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GzipVariants {
    /// They do: clients take them.
    Made,
    /// They don't: nobody is served.
    Never,
}

/// Who makes gzip variants.
pub(super) struct GzipMaker {
    shared: Arc<Shared>,
    wanted: GzipVariants,
    permits: Semaphore,
}

impl GzipMaker {
    pub(super) fn new(shared: Arc<Shared>, wanted: GzipVariants) -> Self {
        Self {
            shared,
            wanted,
            permits: Semaphore::new(AT_ONCE),
        }
    }

    /// Has the gzip variant of `rendition` made if there is none yet, nobody is at it and somebody may want it.
    pub(super) fn make(self: &Arc<Self>, key: IndexKey, rendition: &Arc<Rendition>) {
        if self.wanted == GzipVariants::Never || !rendition.claim_gzip() {
            return;
        }
        let (this, rendition) = (self.clone(), Arc::downgrade(rendition));
        let background = &self.shared.background;
        background.run_until_stopped(async move { this.make_now(key, rendition).await });
    }

    async fn make_now(&self, key: IndexKey, rendition: Weak<Rendition>) {
        let _permit = self.permits.acquire().await;
        // What was evicted meanwhile is not kept for its gzip variant.
        let Some(rendition) = rendition.upgrade() else {
            return;
        };
        let made = tokio::task::spawn_blocking({
            let (rendition, budget) = (rendition.clone(), self.shared.budget.clone());
            move || rendition.make_gzip(&budget)
        });
        match made.await {
            Ok(Ok(variant)) => {
                rendition.set_gzip(variant);
                self.weigh_again(&key, &rendition);
            }
            // No memory to spare: the body goes out as it is, until the next time that it is put into memory.
            Ok(Err(_)) => rendition.unclaim_gzip(),
            Err(_) => {}
        }
    }

    /// Has memory notice that an entry has grown.
    fn weigh_again(&self, key: &IndexKey, rendition: &Arc<Rendition>) {
        self.shared.memory.change_index(key, |current| {
            Arc::ptr_eq(&current.rendition, rendition).then(|| current.clone())
        });
    }
}
