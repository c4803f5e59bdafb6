//! [`StoredRecords`]: index files as the store has them, read under a lease on all the memory that is made of them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{blocking::make, gzip_variants::GzipMaker, last_served::LastServed, view::Viewpoint};
use crate::{
    allowance::Lease,
    domain::{IndexFile, IndexKey, Measure},
    error::{Error, Kind, Result},
    mirror::{
        kept::{GZIP_AT_ONCE, IndexEntry, ReadAheadMark, keep, overhead},
        shared::{Resident, Shared, SingleFlight},
    },
    policy::{Known, Marks},
    store::{StoreRecord, StoredRecord},
    upstream::ANSWER_WITHIN,
};

/// How many stored index files are made ready at once, because each keeps a core busy. Nobody waits for the store with such a permit in hand.
const READYING: usize = 8;

/// How long the store may take altogether before upstream is asked as if nothing were stored: the other half is upstream's.
const STORE_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() / 2);

/// The stored index files.
pub(super) struct StoredRecords {
    shared: Arc<Shared>,
    gzip: Arc<GzipMaker>,
    permits: Semaphore,
    served: LastServed,
    /// What is being read for all who ask: what a crowd wants comes from a bucket, and is made ready, once.
    reads: SingleFlight<IndexKey, Option<Resident>>,
}

impl StoredRecords {
    pub(super) fn new(shared: Arc<Shared>, gzip: Arc<GzipMaker>) -> Self {
        Self {
            shared,
            gzip,
            permits: Semaphore::new(READYING),
            served: LastServed::default(),
            reads: SingleFlight::default(),
        }
    }

    /// A permit to make a stored index file ready.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed; without one, all the same, nobody is kept waiting.
        self.permits.acquire().await.ok()
    }

    /// What memory, else the store, knows of an index file; what comes from the store is read once for all who ask, and goes into memory.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, or not in time, or has only one that is older than what was served before; [`Kind::Overloaded`] when there
    /// is no memory for it: it may have a copy all the same.
    pub(super) async fn known(
        self: &Arc<Self>,
        key: &IndexKey,
        now: SystemTime,
    ) -> Result<Option<Resident>> {
        if let Some(resident) = self.shared.memory.index(key) {
            return Ok(Some(resident));
        }
        let (this, read, tasks) = (self.clone(), *key, self.shared.background.tasks());
        let flight = self.reads.join(*key, tasks, |waiters| async move {
            tokio::select! {
                known = this.looked_up(&read, now) => known,
                () = waiters.gone() => Err(Error::cancelled("nobody waits for this index file any more")),
            }
        });
        flight.result.await
    }

    /// The same, looked up now.
    async fn looked_up(&self, key: &IndexKey, now: SystemTime) -> Result<Option<Resident>> {
        let memory = &self.shared.memory;
        // Who looked before the last read landed may have joined after.
        if let Some(resident) = memory.index(key) {
            return Ok(Some(resident));
        }
        let stored = timeout(STORE_WITHIN, self.newest(key, now)).await;
        let stored = stored.unwrap_or_else(|_| {
            let path = key.path();
            Err(Error::store(format!("reading {path} took too long")))
        })?;
        // A revalidation may have brought a newer one meanwhile.
        Ok(stored.map(|entry| {
            let entry = Resident::Index(entry);
            memory.keep_index_unless_known(key, entry)
        }))
    }

    /// What the store has of an index file, if that is no older than what was served of it. Only what others write into, or where writes can get lost, has older
    /// ones.
    async fn newest(&self, key: &IndexKey, now: SystemTime) -> Result<Option<Arc<IndexEntry>>> {
        let Some(entry) = self.stored(key, now).await? else {
            return Ok(None);
        };
        if !self.shared.store.is_shared() {
            return Ok(Some(entry));
        }
        if !self.served.is_newer_than(key, &entry) {
            self.served.note(key, &entry);
            return Ok(Some(entry));
        }
        let shared = self.made(Place::Shared, key, now).await?;
        match shared.filter(|entry| !self.served.is_newer_than(key, entry)) {
            Some(entry) => Ok(Some(Arc::new(entry))),
            None => Err(Error::store(format!(
                "the stored {} is older than what was served before",
                key.path()
            ))),
        }
    }

    /// Notes that this is served from now on.
    pub(super) fn note_served(&self, key: &IndexKey, entry: &IndexEntry) {
        if self.shared.store.is_shared() {
            self.served.note(key, entry);
        }
    }

    /// The index record under `key`, with a lease that it had before it was read, on all that is made of it and on `copies` of its body.
    ///
    /// # Errors
    /// Those of [`load_record`](crate::store::Store::load_record), and [`Kind::Overloaded`] when there is no memory for it.
    pub(super) async fn leased(
        &self,
        key: &IndexKey,
        now: SystemTime,
        copies: usize,
    ) -> Result<Option<(StoreRecord, Lease)>> {
        self.leased_from(Place::Nearest, key, now, copies).await
    }

    /// The same as those who share the store all see it, or, where that can't be read, as it is nearest.
    ///
    /// # Errors
    /// Those of [`leased`](Self::leased).
    pub(super) async fn leased_newest(
        &self,
        key: &IndexKey,
        now: SystemTime,
        copies: usize,
    ) -> Result<Option<(StoreRecord, Lease)>> {
        if self.shared.store.is_shared() {
            let shared = self.leased_from(Place::Shared, key, now, copies);
            if let Ok(Some(leased)) = shared.await {
                return Ok(Some(leased));
            }
        }
        self.leased(key, now, copies).await
    }

    async fn leased_from(
        &self,
        from: Place,
        key: &IndexKey,
        now: SystemTime,
        copies: usize,
    ) -> Result<Option<(StoreRecord, Lease)>> {
        let Shared { budget, store, .. } = &*self.shared;
        let mut waited_for = None;
        // Once as it may be, once with memory for its size, once with memory for what was found in it; and it may be replaced at any moment.
        for _ in 0..3 {
            let (budget, lease) = (budget.clone(), waited_for.take());
            let admit = move |size| match lease {
                Some(lease) => Some(lease).filter(|lease: &Lease| lease.bytes() >= size),
                None => budget.try_take_needed(size),
            };
            let loaded = match from {
                Place::Nearest => store.load_record(key, now, admit).await?,
                Place::Shared => store.load_shared_record(key, now, admit).await?,
            };
            let needs = match loaded {
                None => return Ok(None),
                Some(StoredRecord::Large(size)) => size,
                Some(StoredRecord::Whole(record, lease)) => {
                    match make(move || Ok(grown(record, lease, copies))).await? {
                        Grown::Enough(record, lease) => return Ok(Some((record, lease))),
                        Grown::Short(needs) => needs,
                    }
                }
            };
            // What was read of it is given back before.
            waited_for = Some(self.shared.budget.take(needs).await?);
        }
        let sentence = "this mirror's memory is taken up by other requests; try again in a moment";
        Err(Error::new(Kind::Overloaded, sentence))
    }

    /// What the store has of an index file.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, [`Kind::Overloaded`] when there is no memory for it: it may have a copy all the same.
    pub(super) async fn stored(
        &self,
        key: &IndexKey,
        now: SystemTime,
    ) -> Result<Option<Arc<IndexEntry>>> {
        let made = self.made(Place::Nearest, key, now).await?;
        Ok(made.map(Arc::new))
    }

    /// The same as those who share the store all see it.
    ///
    /// # Errors
    /// Those of [`stored`](Self::stored).
    pub(super) async fn shared(
        &self,
        key: &IndexKey,
        now: SystemTime,
    ) -> Result<Option<IndexEntry>> {
        let made = timeout(STORE_WITHIN, self.made(Place::Shared, key, now)).await;
        made.unwrap_or_else(|_| Err(Error::store("it took too long")))
    }

    async fn made(
        &self,
        from: Place,
        key: &IndexKey,
        now: SystemTime,
    ) -> Result<Option<IndexEntry>> {
        let leased_from = from;
        let from = Viewpoint::usual(&self.shared, now);
        let leased = self.leased_from(leased_from, key, now, from.copies());
        let (record, lease) = match leased.await {
            Ok(Some(leased)) => leased,
            Ok(None) => return Ok(None),
            // It is dropped by now.
            Err(e) if e.kind() == Kind::Corrupt => return Ok(None),
            Err(e) => return Err(e),
        };
        let key = *key;
        let _permit = self.permit().await;
        let made = make(move || {
            let StoreRecord {
                body,
                sha256,
                validators,
                modified_at,
                checked_at,
                gone,
                history,
                sum: _,
            } = record;
            let file = IndexFile::parse(key.path, body)?;
            let known = Known {
                file: &file,
                history: &history,
                modified_at,
            };
            let (shown, ruling) = from.see(&key, known, &Marks::default(), None);
            let (content, rendition) = keep(file, sha256, modified_at, shown, ruling, lease);
            Ok(IndexEntry {
                content,
                rendition,
                validators,
                history,
                not_stored: Arc::default(),
                modified_at,
                checked_at,
                recorded_at: checked_at,
                leads: false,
                failed_at: None,
                gone,
                seen: None,
                incomplete: false,
                read_ahead: ReadAheadMark::default(),
            })
        });
        match made.await {
            Ok(entry) => {
                self.gzip.make(key, &entry.rendition);
                Ok(Some(entry))
            }
            Err(e) => {
                tracing::warn!(object = key.path(), "a stored index file is not used: {e}");
                Ok(None)
            }
        }
    }
}

/// From where a record is read, when the store has several places.
#[derive(Clone, Copy)]
enum Place {
    Nearest,
    Shared,
}

/// Whether there is memory for all that is made of a stored index file.
enum Grown {
    Enough(StoreRecord, Lease),
    /// There isn't for so many bytes; what there was is given back.
    Short(u64),
}

/// Has the lease grow to all that is made of a record, with `copies` of its body. It stays with the record: who waits for this may be gone before it ends.
fn grown(record: StoreRecord, mut lease: Lease, copies: usize) -> Grown {
    let body = &record.body;
    let mut measure = Measure::default();
    measure.add(body);
    let gzip = body.len().min(GZIP_AT_ONCE);
    let needs = measure.needs() + copies * body.len() + gzip + overhead();
    let more = (needs as u64).saturating_sub(lease.bytes());
    match lease.try_grow_needed(more) {
        true => Grown::Enough(record, lease),
        false => Grown::Short(needs as u64),
    }
}
