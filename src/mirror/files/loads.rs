//! [`Loads`]: files as the store has them, read once for all who ask.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::{file::CheckedFile, large_loads::LargeLoads};
use crate::{
    allowance::Lease,
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

/// How long the store may take over a file before upstream is asked for it: a third of what a client waits.
const STORE_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() / 3);

/// The stored files.
pub(super) struct Loads {
    shared: Arc<Shared>,
    pages: Arc<PagePool>,
    flights: SingleFlight<FileKey, Loaded>,
    large: LargeLoads,
}

/// What became of looking into the store.
#[derive(Clone)]
enum Loaded {
    Whole(Arc<WholeFile>),
    /// There, and too large to be kept, or too large for the memory that was free.
    Large,
    Missing,
}

impl Loads {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let pages = Arc::<PagePool>::default();
        Self {
            large: LargeLoads::new(shared.clone(), pages.clone()),
            shared,
            pages,
            flights: SingleFlight::default(),
        }
    }

    /// Where files in memory get pages of their own.
    pub(super) fn pages(&self) -> &PagePool {
        &self.pages
    }

    /// What the store has under `key`.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when what it has fails its
    /// check.
    pub(super) async fn stored(
        &self,
        key: &FileKey,
        now: SystemTime,
    ) -> Result<Option<CheckedFile>> {
        let tasks = self.shared.background.tasks();
        let load = self.flights.join(*key, tasks, |_| {
            load(self.shared.clone(), self.pages.clone(), *key, now)
        });
        Ok(match load.result.await? {
            Loaded::Whole(whole) => Some(CheckedFile::Whole(whole)),
            Loaded::Missing => None,
            Loaded::Large => self.large(key, now).await?,
        })
    }

    /// A file that isn't kept: each client reads it for itself, unless several do at once.
    async fn large(&self, key: &FileKey, now: SystemTime) -> Result<Option<CheckedFile>> {
        let reader = self.large.enter(key);
        if let Some(whole) = self.large.for_several(key, &reader, now).await {
            return Ok(Some(CheckedFile::Whole(whole)));
        }
        let store = &self.shared.store;
        let stored = store.load_file(key, now, |_| None::<Lease>).await?;
        Ok(stored.map(|stored| match stored {
            StoredFile::Whole(bytes, _) => CheckedFile::Whole(WholeFile::new(key, bytes.into())),
            StoredFile::Large(blocks) => CheckedFile::Stored(blocks, Some(reader)),
        }))
    }

    /// The same when there are others to ask: a store that can't be read is one that has nothing.
    pub(super) async fn if_stored(&self, key: &FileKey, now: SystemTime) -> Option<CheckedFile> {
        let stored = timeout(STORE_WITHIN, self.stored(key, now)).await;
        let stored = stored.unwrap_or_else(|_| Err(Error::store("it took too long")));
        stored.unwrap_or_else(|e| {
            tracing::debug!(id = %key, "not loaded: {e}");
            None
        })
    }

    /// Why the store doesn't give a file, if that is what is wrong. One that it was stuck with a moment ago it isn't asked for again.
    pub(super) async fn failure(&self, key: &FileKey, now: SystemTime) -> Option<Error> {
        let stored = timeout(STORE_WITHIN, self.stored(key, now)).await;
        stored.ok()?.err()
    }
}

/// Looks into the store; what is there and not too large goes into memory.
async fn load(
    shared: Arc<Shared>,
    pages: Arc<PagePool>,
    key: FileKey,
    now: SystemTime,
) -> Result<Loaded> {
    let Shared {
        memory,
        budget,
        store,
        ..
    } = &*shared;
    if let Some(Resident::File(whole)) = memory.file(&key) {
        return Ok(Loaded::Whole(whole));
    }
    let (budget, largest) = (budget.clone(), memory.largest());
    let admit = move |size| match size <= largest {
        // For a moment it is there twice: as it was read, and in pages of its own.
        true => budget.try_take(2 * size),
        false => None,
    };
    Ok(match store.load_file(key, now, admit).await? {
        None => Loaded::Missing,
        Some(StoredFile::Large(_)) => Loaded::Large,
        Some(StoredFile::Whole(bytes, mut lease)) => {
            let content = pages.content([&bytes[..]].into_iter());
            let content = content.unwrap_or_else(|| bytes.into());
            lease.shrink_to(content.bytes().len() as u64);
            let whole = WholeFile::new(&key, content.map(|bytes| lease.hold(bytes)));
            memory.keep_file(&key, Resident::File(whole.clone()));
            Loaded::Whole(whole)
        }
    })
}
