//! The mark of change: how one process tells another that it has put objects into a store that both have open.
//!
//! Whoever serves from the store remembers what it has looked up, what isn't there included. A look at the mark, which is one `stat`, says whether
//! somebody else, an import, has changed the store since.

use std::{
    fs::{self, Metadata},
    io::{self, Write},
    os::unix::fs::MetadataExt,
};

use super::{Backend, Store, blocking, failed, fs::Folder};
use crate::error::Result;

/// The file that is replaced; no key makes this path, because no registry's name starts with a dot.
const MARK: &str = ".changed";

/// The state of a store as far as announced changes go: two equal ones have no announced change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// A file of its own for each announcement. It may get the number of one that is gone, but not at the same moment.
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Mark {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            seconds: meta.mtime(),
            nanoseconds: meta.mtime_nsec(),
        }
    }
}

impl Store {
    /// Tells every process that has this store open that objects were added behind its back.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn announce_change(&self) -> Result<()> {
        let announced = match &self.backend {
            Backend::Fs(folder) => {
                let folder = folder.clone();
                blocking(move || {
                    let path = folder.root().join(MARK);
                    folder.announce().map_err(|e| failed("writing", &path, &e))
                })
                .await?
            }
            Backend::Memory(shelf) => {
                shelf.announce();
                Ok(())
            }
        };
        self.note(announced)
    }

    /// The mark as it is now; `None` if no change was ever announced, or if the storage can't say. One `stat`, which is cheap enough for every
    /// request, but blocks as long as the storage does.
    pub fn change_mark(&self) -> Option<Mark> {
        match &self.backend {
            Backend::Fs(folder) => {
                let meta = fs::metadata(folder.root().join(MARK)).ok()?;
                Some(Mark::of(&meta))
            }
            Backend::Memory(shelf) => shelf.announced().map(|inode| Mark {
                inode,
                seconds: 0,
                nanoseconds: 0,
            }),
        }
    }
}

impl Folder {
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
    use crate::{metrics::Metrics, store::Next};

    async fn every_announcement_is_a_change(store: &Store) {
        assert_eq!(store.change_mark(), None);
        let mut seen = Vec::new();
        for _ in 0..20 {
            store.announce_change().await.expect("announced");
            let mark = store.change_mark().expect("a mark");
            assert_eq!(store.change_mark(), Some(mark), "nothing has changed since");
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
        assert_eq!(there.change_mark(), here.change_mark());
        let objects = here.each(0, |objects, _| {
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
