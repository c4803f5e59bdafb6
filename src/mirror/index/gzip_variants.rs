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
            let (content, allowance) = (content.clone(), self.allowance.clone());
            move || content.rendition.make_twin(&allowance)
        });
        match made.await {
            Ok(Ok(twin)) => {
                content.rendition.set_twin(twin);
                self.weigh_again(&key, &content);
            }
            // No memory to spare: the body goes out as it is, until the next time that it is put into memory.
            Ok(Err(_)) => content.rendition.unclaim_twin(),
            Err(_) => {}
        }
    }

    /// Has memory notice that an entry has grown.
    fn weigh_again(&self, key: &IndexKey, content: &Arc<Content>) {
        self.memory.change_index(key, |current| {
            Arc::ptr_eq(&current.content, content).then(|| current.clone())
        });
    }
}
