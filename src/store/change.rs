//! The mark of change: how one process tells another that it has put objects into a store that both have open.
//!
//! Whoever serves from the store remembers what it has looked up, what isn't there included. A look at the mark, which is one `stat` now and then, says
//! whether somebody else, an import, has changed the store since.

use std::{
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{Backend, Store, Touch, failed, fs::Folder};
use crate::error::Result;

/// The file that is replaced; no key makes this path, because no registry's name starts with a dot.
const MARK: &str = ".changed";

/// For so long a look at what others have announced holds: at ten thousand requests a second, one in a hundred looks, and the others save a microsecond.
pub const GLANCE: Duration = Duration::from_millis(10);
/// A look takes microseconds. Who waits for it may be served from memory, and mustn't wait for a disk that hangs.
const LOOK_WITHIN: Duration = Duration::from_millis(500);

/// The state of a store as far as announced changes go: two equal ones have no announced change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    const NONE: Self = Self(0);

    /// A file of its own for each announcement. It may get the number of one that is gone, but not at the same moment.
    fn of(meta: &Metadata) -> Self {
        let mut hasher = DefaultHasher::new();
        (meta.ino(), meta.mtime(), meta.mtime_nsec()).hash(&mut hasher);
        // Never the mark of a store without one.
        Self(hasher.finish() | 1)
    }
}

/// The last look at the mark.
pub(super) struct Glance {
    opened: Instant,
    /// Until when it holds, in microseconds after `opened`.
    holds_until: AtomicU64,
    mark: AtomicU64,
    /// Held while another look takes its place, so that an older one never does.
    changing: Mutex<()>,
}

impl Default for Glance {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            holds_until: AtomicU64::new(0),
            mark: AtomicU64::new(Mark::NONE.0),
            changing: Mutex::default(),
        }
    }
}

impl Glance {
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// What was seen, if that is no longer ago than it holds.
    fn current(&self) -> Option<Mark> {
        let holds = self.now() < self.holds_until.load(Ordering::Acquire);
        holds.then(|| self.last())
    }

    fn last(&self) -> Mark {
        Mark(self.mark.load(Ordering::Relaxed))
    }

    /// Takes what a look that began `then` saw, if there was no later one; gives the latest.
    fn take(&self, then: u64, seen: Option<Mark>) -> Mark {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let until = then + GLANCE.as_micros() as u64;
        if until > self.holds_until.load(Ordering::Relaxed) {
            // A storage that can't say has not changed for all we know.
            self.mark
                .store(seen.unwrap_or(self.last()).0, Ordering::Relaxed);
            self.holds_until.store(until, Ordering::Release);
        }
        self.last()
    }

    fn forget(&self) {
        self.holds_until.store(0, Ordering::Release);
    }
}

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
        let announced = match &self.backend {
            Backend::Fs(folder) => {
                let folder = folder.clone();
                let announce = move |_: &_| {
                    let path = folder.root().join(MARK);
                    folder.announce().map_err(|e| failed("writing", &path, &e))
                };
                self.disk.run(Touch::Save, MARK, announce).await
            }
            Backend::Memory(shelf) => {
                shelf.announce();
                Ok(())
            }
        };
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
        let seen = match &self.backend {
            Backend::Fs(folder) => {
                let folder = folder.clone();
                let look = self.disk.run(Touch::Look, MARK, move |_| Ok(folder.mark()));
                let seen = timeout(LOOK_WITHIN, look).await;
                seen.ok().and_then(Result::ok).flatten()
            }
            Backend::Memory(shelf) => Some(shelf.announced().map_or(Mark::NONE, Mark)),
        };
        self.glance.take(then, seen)
    }
}

impl Folder {
    /// The mark as it is; `None` when the storage can't say, because it fails or isn't there.
    fn mark(&self) -> Option<Mark> {
        match fs::metadata(self.root().join(MARK)) {
            Ok(meta) => Some(Mark::of(&meta)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_there() => Some(Mark::NONE),
            Err(_) => None,
        }
    }

    /// Puts a new file into the mark's place. It isn't synced: after a crash nobody is left who remembers.
    fn announce(&self) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(b"An import has added to this store; a running mirror looks again.\n")?;
        file.persist(self.root().join(MARK)).map_err(|e| e.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::{
        metrics::Metrics,
        store::{Links, Next},
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
            Store::open(folder.path(), true, metrics, SystemTime::now()).expect("a store")
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
