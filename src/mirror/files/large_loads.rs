//! [`LargeLoads`]: stored files that are too large to be kept in memory for one client, and go there when several read them at once.
//!
//! One client reads such a file from the store and hashes what it reads. Fifty that install the same compiler would read and hash it fifty times. So for the second of
//! them it is read into memory, once, checked; and who comes meanwhile waits for that.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use moka::sync::Cache;
use tokio::time::{sleep, timeout};

use super::readers::{OneReader, Readers};
use crate::{
    allowance::{Allowance, Lease},
    domain::FileKey,
    error::{Error, Result},
    mirror::{
        kept::WholeFile,
        shared::{Resident, Shared, SingleFlight},
    },
    store::StoredFile,
    upstream::ANSWER_WITHIN,
    zero_copy::PagePool,
};

/// How long a client waits for a file to be in memory, before it reads it for itself.
const IN_MEMORY_WITHIN: Duration = Duration::from_secs(2);
/// A file isn't read into memory again within this time: each time others lose their place there, and who asks may want no more than its head.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Of so many files it is remembered when that was.
const MOST_REMEMBERED: u64 = 1_024;
/// What was let go of may be given back a moment later: so often, and in such steps, it is looked for.
const LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The large files that several clients read.
pub(super) struct LargeLoads {
    loader: Arc<Loader>,
    readers: Readers,
    flights: SingleFlight<FileKey, Option<Arc<WholeFile>>>,
    read_lately: Cache<FileKey, ()>,
}

/// What reads them into memory.
struct Loader {
    shared: Arc<Shared>,
    pages: Arc<PagePool>,
    /// What they may take together: clients who are slow to take them must leave memory to others.
    share: Allowance,
    /// Those that have a part of it, the oldest first.
    kept: Mutex<Vec<(FileKey, Weak<WholeFile>)>>,
}

impl LargeLoads {
    pub(super) fn new(shared: Arc<Shared>, pages: Arc<PagePool>) -> Self {
        let share = Allowance::new(shared.memory.largest_for_several(), 0);
        Self {
            loader: Arc::new(Loader {
                shared,
                pages,
                share,
                kept: Mutex::default(),
            }),
            readers: Readers::default(),
            flights: SingleFlight::default(),
            read_lately: Cache::builder()
                .max_capacity(MOST_REMEMBERED)
                .time_to_live(AGAIN_AFTER)
                .build(),
        }
    }

    /// One more client reads `key`.
    pub(super) fn enter(&self, key: &FileKey) -> OneReader {
        self.readers.enter(key)
    }

    /// The file in memory; nothing when this client is alone with it, when there is no room for it, or when it takes too long.
    pub(super) async fn for_several(
        &self,
        key: &FileKey,
        reader: &OneReader,
        now: SystemTime,
    ) -> Option<Arc<WholeFile>> {
        if reader.was_alone() {
            return None;
        }
        let flight = match self.flights.join_existing(key) {
            Some(flight) => flight,
            None if self.read_lately.contains_key(key) => return None,
            None => {
                self.read_lately.insert(*key, ());
                let tasks = self.loader.shared.background.tasks();
                self.flights.join(*key, tasks, |_| {
                    let (loader, key) = (self.loader.clone(), *key);
                    async move {
                        let load = timeout(ANSWER_WITHIN, loader.load(&key, now)).await;
                        load.unwrap_or_else(|_| Err(Error::store("it took too long")))
                    }
                })
            }
        };
        let loaded = timeout(IN_MEMORY_WITHIN, flight.result).await;
        loaded.unwrap_or(Ok(None)).unwrap_or_else(|e| {
            tracing::debug!(id = %key, "not read into memory: {e}");
            None
        })
    }
}

impl Loader {
    /// Reads a file into memory, if it is there, and if there is room for it.
    async fn load(&self, key: &FileKey, now: SystemTime) -> Result<Option<Arc<WholeFile>>> {
        let Shared { memory, store, .. } = &*self.shared;
        if let Some(Resident::File(whole)) = memory.file(key) {
            return Ok(Some(whole));
        }
        let stored = store.load_file(key, now, |_| None::<Lease>).await?;
        let Some(StoredFile::Large(blocks)) = stored else {
            return Ok(None);
        };
        let length = blocks.length();
        // What is smaller and wasn't kept found no memory free a moment ago.
        if length <= memory.largest() {
            return Ok(None);
        }
        let Some(mut filling) = self.pages.filling(length as usize) else {
            return Ok(None);
        };
        let Some((of_share, of_all)) = self.room(length).await else {
            return Ok(None);
        };
        // No client gets to see these blocks before the last of them has been checked.
        let mut blocks = blocks.again();
        while let Some(block) = blocks.next().await {
            filling.push(&block?);
        }
        Ok(filling.finish().map(|content| {
            let content = content.map(|bytes| of_all.hold(of_share.hold(bytes)));
            self.keep(WholeFile::new(key, content))
        }))
    }

    /// Memory for `length` bytes: of the share, and of all. What was used least recently makes way, and nobody is kept waiting: the file can go without.
    async fn room(&self, length: u64) -> Option<(Lease, Lease)> {
        let mut of_share = self.share.nothing();
        if length > self.share.most() {
            return None;
        }
        if !of_share.try_grow(length) {
            self.let_go_of_unread(length);
            until(|| of_share.try_grow(length)).await?;
        }
        let mut of_all = self.shared.budget.nothing();
        if !of_all.try_grow_making_way(length) {
            until(|| of_all.try_grow(length)).await?;
        }
        Some((of_share, of_all))
    }

    /// Lets go of the oldest files that nobody reads at the moment, of so many bytes at least, if there are as many.
    fn let_go_of_unread(&self, length: u64) {
        let mut gone = 0;
        self.kept().retain(|(key, file)| {
            let is_unread = file.strong_count() == 1 && gone < length;
            if is_unread {
                gone += file.upgrade().map_or(0, |file| file.size() as u64);
                self.shared.memory.forget_file(key);
            }
            !is_unread && file.strong_count() > 0
        });
    }

    fn keep(&self, whole: Arc<WholeFile>) -> Arc<WholeFile> {
        let resident = Resident::File(whole.clone());
        self.shared.memory.keep_file(&whole.key, resident);
        let mut kept = self.kept();
        kept.retain(|(_, file)| file.strong_count() > 0);
        kept.push((whole.key, Arc::downgrade(&whole)));
        whole
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(FileKey, Weak<WholeFile>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks a few times, for a fifth of a second, whether it can be done.
async fn until(mut is_done: impl FnMut() -> bool) -> Option<()> {
    for _ in 0..LOOKS {
        if is_done() {
            return Some(());
        }
        sleep(LOOK_EVERY).await;
    }
    None
}
