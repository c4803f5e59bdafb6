//! The mark of change: how one process tells another that it has put objects into a store that both have open.
//!
//! Whoever serves from the store remembers what it has looked up, what isn't there included. A look at the mark now and then says whether somebody else, an
//! import, has changed the store since.

use std::time::Duration;

use tokio::time::timeout;

use super::{glance::GLANCE, handle::Store, mark::Mark};
use crate::error::Result;

/// A look takes microseconds. Who waits for it may be served from memory, and mustn't wait for a disk that hangs.
const LOOK_WITHIN: Duration = Duration::from_millis(500);

impl Store {
    /// Tells every process that has this store open that objects were added behind its back. When this returns, all of them know.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn announce_change(&self) -> Result<()> {
        self.announce_here().await?;
        // Others may have looked just before.
        tokio::time::sleep(GLANCE).await;
        Ok(())
    }

    /// The same without waiting until other processes know.
    pub(super) async fn announce_here(&self) -> Result<()> {
        let announced = self.backend.announce().await;
        self.glance.forget();
        self.note_written(announced)
    }

    /// The mark as it was ten milliseconds ago at the earliest, if somebody has looked since; costs nothing.
    pub fn change_mark_at_once(&self) -> Option<Mark> {
        self.glance.current()
    }

    /// The mark as it was ten milliseconds ago at the earliest: as it was seen, or as it is now.
    pub async fn change_mark(&self) -> Mark {
        if let Some(mark) = self.glance.current() {
            return mark;
        }
        let then = self.glance.now();
        let seen = timeout(LOOK_WITHIN, self.backend.mark()).await;
        self.glance.take(then, seen.ok().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::{
        metrics::Metrics,
        store::{FolderSettings, Links, Next},
    };

    async fn every_announcement_is_a_change(store: &Store) {
        assert_eq!(store.change_mark().await, Mark::NONE);
        let mut seen = Vec::new();
        for _ in 0..20 {
            store.announce_change().await.expect("announced");
            let mark = store.change_mark().await;
            assert_eq!(store.change_mark().await, mark, "nothing has changed since");
            assert_ne!(seen.last(), Some(&mark));
            seen.push(mark);
        }
    }

    #[tokio::test]
    async fn an_announcement_is_seen_and_is_no_object() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let metrics = Arc::new(Metrics::new());
            let folder = FolderSettings::new(folder.path(), true);
            Store::open(folder, metrics, SystemTime::now()).expect("a store")
        };
        let (here, there) = (open(), open());
        every_announcement_is_a_change(&here).await;
        assert_eq!(there.change_mark().await, here.change_mark().await);
        let objects = here.each(Links::Followed, 0, |objects, _| {
            *objects += 1;
            Next::Go
        });
        assert_eq!(objects.await.expect("a walk"), 0);
    }

    #[tokio::test]
    async fn a_store_in_memory_has_a_mark_too() {
        every_announcement_is_a_change(&Store::in_memory(Arc::new(Metrics::new()))).await;
    }
}
