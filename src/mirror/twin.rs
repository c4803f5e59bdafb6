//! Gzip twins of large index files, made beside the answers that go out without them meanwhile: what has just come in cold is waited for.

use std::sync::Arc;

use super::{Inner, entry::Content, memory::Resident};
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
    /// Has the twin of `content` made if it isn't known yet and somebody may want it.
    pub(super) fn make_twin(self: &Arc<Self>, key: IndexKey, content: Arc<Content>) {
        if self.gzip == Twins::Never || !content.rendition.lacks_twin() {
            return;
        }
        let inner = self.clone();
        self.detach(async move {
            let turn = inner.twins.acquire().await;
            let made = tokio::task::spawn_blocking({
                let content = content.clone();
                move || content.rendition.make_twin()
            });
            let Ok(twin) = made.await else { return };
            drop(turn);
            // Without memory to spare the body goes out as it is.
            let held = twin.and_then(|twin| {
                let lease = inner.allowance.try_take(twin.len() as u64)?;
                Some(lease.hold(twin))
            });
            content.rendition.set_twin(held);
            inner.weigh_again(&key, &content).await;
        });
    }

    /// Has memory notice that an entry has grown.
    async fn weigh_again(&self, key: &IndexKey, content: &Arc<Content>) {
        if let Some(Resident::Index(current)) = self.memory.index(key)
            && Arc::ptr_eq(&current.content, content)
        {
            self.memory.keep_index(key, Resident::Index(current));
        }
    }
}
