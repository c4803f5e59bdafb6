//! [`Store`]: one place for objects, and what is known of it while a process has it open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use prometheus::IntGauge;

use super::{
    backend::Backend,
    board::Board,
    complaints::Complaints,
    doubts::{Doubt, Doubts},
    glance::Glance,
    needed::IsNeeded,
    noted::Noted,
    record_heads::RecordHeads,
    unreadable::Unreadable,
};
use crate::{
    allowance::Allowance,
    block_budget::BlockBudget,
    domain::FileKey,
    error::{Error, Result},
    metrics::Metrics,
};

/// Where verified objects are kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(super) backend: Arc<dyn Backend>,
    /// Of what is kept in several places, the one that has a limited size.
    near: Option<Arc<dyn Backend>>,
    /// What that has to keep all the same.
    needed: Option<IsNeeded>,
    place: StorePlace,
    pub(super) metrics: Arc<Metrics>,
    complaints: Arc<Complaints>,
    pub(super) noted: Arc<Noted>,
    pub(super) glance: Arc<Glance>,
    pub(super) written: Arc<AtomicU64>,
    /// What downloads under way may take of the disk.
    pub(super) room: Allowance,
    /// What blocks on their way to clients may take of memory.
    pub(super) blocks: BlockBudget,
    pub(super) unreadable: Arc<Unreadable>,
    doubts: Doubts,
    pub(super) heads: RecordHeads,
    /// Whether those who share it are told anything.
    is_talkative: bool,
}

/// Where the objects of a store are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// All in one place, such as a folder.
    One,
    /// All in a bucket.
    Bucket,
    /// All in a bucket, and some of them in a folder in front of it, which is [near](Store::near).
    BucketBehindFolder,
}

impl Store {
    /// A store whose objects are there.
    pub(super) fn over(backend: Arc<dyn Backend>, metrics: Arc<Metrics>) -> Self {
        Self {
            near: Some(backend.clone()),
            needed: None,
            place: StorePlace::One,
            backend,
            metrics,
            complaints: Arc::default(),
            noted: Arc::default(),
            glance: Arc::default(),
            written: Arc::default(),
            room: Allowance::new(u64::MAX, 0),
            blocks: BlockBudget::unlimited(),
            unreadable: Arc::default(),
            doubts: Doubts::default(),
            heads: RecordHeads::default(),
            is_talkative: true,
        }
    }

    /// The same with what is kept near by in `near`, if there is such a place, which has to keep what is `needed`, and so much `written` into it beside what this
    /// store writes.
    pub(super) fn with_near(
        self,
        near: Option<Arc<dyn Backend>>,
        needed: IsNeeded,
        written: Arc<AtomicU64>,
    ) -> Self {
        Self {
            place: match near {
                Some(_) => StorePlace::BucketBehindFolder,
                None => StorePlace::Bucket,
            },
            near,
            needed: Some(needed),
            written,
            ..self
        }
    }

    /// What says of objects near by that they may not be removed, because they are still to be written elsewhere.
    pub(super) fn is_needed(&self) -> Option<IsNeeded> {
        self.needed.clone()
    }

    /// Where objects are.
    pub fn place(&self) -> StorePlace {
        self.place
    }

    /// The part of it that is to be kept within a size and an age: all of it where objects are in one place, what is near by where there are several; nothing
    /// when nothing is near.
    pub fn near(&self) -> Option<Self> {
        let near = self.near.clone()?;
        Some(Self {
            backend: near,
            place: StorePlace::One,
            ..self.clone()
        })
    }

    /// Whether it is made for sharing: what others write into it may be newer than what is near by.
    pub fn is_shared(&self) -> bool {
        self.backend.board().is_some()
    }

    /// Where those who share it tell each other something; nothing where it isn't made for sharing.
    pub fn board(&self) -> Option<Arc<dyn Board>> {
        self.backend.board().filter(|_| self.is_talkative)
    }

    /// The same store for who tells others nothing, and doesn't listen.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn silent(self) -> Self {
        Self {
            is_talkative: false,
            ..self
        }
    }

    /// Waits until nothing that was saved is still on its way, or can't get on.
    pub async fn settle(&self) {
        self.backend.settle().await;
    }

    /// The same store for which downloads under way may take no more than `bytes` of the disk.
    #[must_use]
    pub fn with_room(self, bytes: u64) -> Self {
        let room = Allowance::new(bytes, 0);
        Self { room, ..self }
    }

    /// The same store with so much memory for what clients read block by block.
    #[must_use]
    pub fn with_block_budget(self, blocks: BlockBudget) -> Self {
        Self { blocks, ..self }
    }

    /// How many bytes downloads under way may take of the disk, all together.
    pub fn room(&self) -> u64 {
        self.room.most()
    }

    /// How many they take at the moment.
    pub fn spooled(&self) -> u64 {
        self.room.taken()
    }

    /// How many bytes have been given to this store since it was opened.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that clients may hold this of a file, unchecked.
    pub fn doubt(&self, key: FileKey, doubt: Doubt) {
        self.doubts.add(key, doubt);
    }

    /// What clients may hold of a file that was never checked, as far as this process remembers.
    pub fn doubts(&self, key: &FileKey) -> Arc<[Doubt]> {
        self.doubts.of(key)
    }

    /// Counts failures of the storage itself to be read, and says so now and then: a broken disk fails with every request.
    pub(super) fn note<T>(&self, result: Result<T>) -> Result<T> {
        self.note_on(&self.metrics.store_unreadable, result)
    }

    /// The same for failures to be written: a full disk fails with every request.
    pub(super) fn note_written<T>(&self, result: Result<T>) -> Result<T> {
        self.note_on(&self.metrics.store_unwritable, result)
    }

    fn note_on<T>(&self, failing: &IntGauge, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) if failing.get() != 0 => failing.set(0),
            Ok(_) => {}
            Err(e) => {
                failing.set(1);
                self.complain(e);
            }
        }
        result
    }

    /// Notes a failure of the storage that came about elsewhere, in a spool.
    pub fn complain(&self, e: &Error) {
        self.metrics.store_failures.inc();
        if self.complaints.is_due(Instant::now()) {
            tracing::error!(
                "the store has failed: {e}; serving goes on from what can be read, and from upstream (said once a minute)"
            );
        }
    }
}
