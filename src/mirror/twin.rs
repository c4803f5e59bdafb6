//! Gzip twins of large index files, made beside the answers that go out without them meanwhile, so that nobody waits for one.

use std::sync::{Arc, Weak};

use super::{Inner, entry::Content};
use crate::domain::IndexKey;

/// How many twins are made at once: they cost computing that requests want too.
pub(super) const TWINS_AT_ONCE: usize = 1;

/// Whether large index files get a gzip twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twins {
    /// They do: clients take them.
    Made,
    /// They don't: nobody is served.
    Never,
}

impl Inner {
    /// Has the twin of `content` made if there is none yet, nobody is at it and somebody may want it.
    pub(super) fn make_twin(self: &Arc<Self>, key: IndexKey, content: &Arc<Content>) {
        if self.gzip == Twins::Never || !content.rendition.claim_twin() {
            return;
        }
        let (inner, content) = (self.clone(), Arc::downgrade(content));
        let work = self.stopping.clone();
        let work = work.run_until_cancelled_owned(async move { inner.twin(key, content).await });
        self.detach(async move {
            work.await;
        });
    }

    async fn twin(self: Arc<Self>, key: IndexKey, content: Weak<Content>) {
        let _turn = self.twins.acquire().await;
        // What was evicted meanwhile is not kept for its twin.
        let Some(content) = content.upgrade() else {
            return;
        };
        let made = tokio::task::spawn_blocking({
            let content = content.clone();
            move || content.rendition.make_twin()
        });
        let Ok(twin) = made.await else { return };
        let Some(twin) = twin else {
            return content.rendition.set_twin(None);
        };
        match self.allowance.try_take(twin.len() as u64) {
            Some(lease) => {
                content.rendition.set_twin(Some(lease.hold(twin)));
                self.weigh_again(&key, &content);
            }
            // No memory to spare: the body goes out as it is, until the next time that it is put into memory.
            None => content.rendition.unclaim_twin(),
        }
    }

    /// Has memory notice that an entry has grown.
    fn weigh_again(&self, key: &IndexKey, content: &Arc<Content>) {
        self.memory.change_index(key, |current| {
            Arc::ptr_eq(&current.content, content).then(|| current.clone())
        });
    }
}
