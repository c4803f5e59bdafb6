//! [`Copying`]: what was read from the bucket and is good, on its way into the folder; beside whoever reads it, and given up where the disk is slow.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{turns::WriteTurns, vouched::Vouched};
use crate::{
    allowance::Allowance,
    block_budget::BlockBudget,
    domain::Key,
    error::Result,
    store::{
        backend::{Admit, Backend, CheckVerdict, TakeBytes},
        blocks::Blocks,
        record::IndexRecord,
        spool::Spool,
    },
};

/// So many bytes of small objects may be on their way at once, counted in units. They are kept in memory beside what they were leased for.
const MEMORY: u64 = 8 << 20;
const UNIT: u64 = 1 << 10;
/// So many large objects may be on their way at once.
const LARGE: usize = 2;
/// So many blocks of one may wait for the disk.
const BLOCKS: usize = 16;
/// So long whoever reads waits for the disk at most, before the copy is given up.
const PATIENCE: Duration = Duration::from_millis(100);

/// Who copies into the folder. Cheap to clone.
#[derive(Clone)]
pub(super) struct Copying {
    folder: Arc<dyn Backend>,
    turns: WriteTurns,
    memory: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Counts what is written.
    written: Arc<AtomicU64>,
}

impl Copying {
    pub(super) fn new(
        folder: Arc<dyn Backend>,
        turns: WriteTurns,
        written: Arc<AtomicU64>,
    ) -> Self {
        Self {
            folder,
            turns,
            memory: Arc::new(Semaphore::new((MEMORY / UNIT) as usize)),
            large: Arc::new(Semaphore::new(LARGE)),
            written,
        }
    }

    /// Has a small object written into the folder, unless too many are on their way or somebody is writing it.
    pub(super) fn small(&self, path: &str, bytes: Bytes) {
        let units = (bytes.len() as u64).div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = self.memory.clone().try_acquire_many_owned(units);
        let (Ok(permit), Some(turn)) = (permit, self.turns.try_take(path)) else {
            return;
        };
        let (this, path) = (self.clone(), path.to_owned());
        tokio::spawn(async move {
            let _held = (permit, turn);
            let size = bytes.len() as u64;
            if this.is_newest(&path, &bytes).await {
                let kept = this.folder.save(&path, vec![bytes], &|_| ()).await;
                this.note(&path, size, kept);
            }
        });
    }

    /// Whether the folder has nothing under `path`, or an index record that is older. Whoever asks has the turn.
    async fn is_newest(&self, path: &str, bytes: &Bytes) -> bool {
        let there = match record_at(&*self.folder, path).await {
            Ok(there) => there,
            Err(_) => return false,
        };
        let is_index = matches!(Key::from_path(path), Some(Key::Index(_)));
        match (there, is_index) {
            (Found::Nothing, _) => true,
            (Found::Record(there), true) => {
                IndexRecord::decode(bytes.clone()).is_ok_and(|ours| ours.age() > there.age())
            }
            (Found::Record(_) | Found::Other, _) => false,
        }
    }

    fn note(&self, path: &str, size: u64, kept: Result<()>) {
        match kept {
            Ok(()) => {
                self.written.fetch_add(size, Ordering::Relaxed);
            }
            Err(e) => tracing::debug!(object = path, "not kept in the folder: {e}"),
        }
    }

    /// The blocks of a large object, which are written into the folder as they are read.
    fn large(&self, path: &str) -> Option<CopyState> {
        let permit = self.large.clone().try_acquire_owned().ok()?;
        let (tell, told) = mpsc::channel(BLOCKS + 1);
        let last = tell.clone().try_reserve_owned().ok()?;
        let (this, path) = (self.clone(), path.to_owned());
        tokio::spawn(async move {
            let copied = this.copy(&path, told, permit).await;
            this.note(&path, 0, copied);
        });
        Some(CopyState::UpTo { end: 0, tell, last })
    }

    async fn copy(
        &self,
        path: &str,
        mut steps: mpsc::Receiver<Step>,
        _permit: OwnedSemaphorePermit,
    ) -> Result<()> {
        let file = self.folder.temporary().await?;
        let room = Allowance::new(u64::MAX, 0).nothing();
        let blocks = BlockBudget::unlimited();
        let mut spool = Spool::new(file, room, blocks, self.written.clone());
        while let Some(step) = steps.recv().await {
            match step {
                Step::Block(bytes) => spool = spool.append(bytes).await?,
                Step::Good => return self.folder.commit(path, spool, &|_| ()).await,
            }
        }
        Ok(())
    }
}

/// What the folder has.
enum Found {
    Nothing,
    Record(Box<IndexRecord>),
    /// Something else, or too much to look at.
    Other,
}

async fn record_at(folder: &dyn Backend, path: &str) -> Result<Found> {
    let read = Arc::new(Mutex::new(None));
    let into = read.clone();
    let take = move |bytes: Bytes| match IndexRecord::decode(bytes) {
        Ok(record) => {
            *into.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
            CheckVerdict::Good
        }
        Err(_) => CheckVerdict::Wrong,
    };
    let admit: Admit = match path.contains("/index/") {
        true => Box::new(move |size| (size <= MEMORY).then(|| Box::new(take) as TakeBytes)),
        false => Box::new(|_| None),
    };
    let found = folder.load(path, None, admit).await?;
    let record = read.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(match (found, record) {
        (None, _) => Found::Nothing,
        (Some(_), Some(record)) => Found::Record(Box::new(record)),
        (Some(_), None) => Found::Other,
    })
}

/// What a copy is told.
enum Step {
    Block(Bytes),
    /// That was all, and it is good.
    Good,
}

/// The blocks of an object in the bucket. Once it was read in order and was good, it is vouched for, and a copy is in the folder.
pub(super) struct CopiedBlocks {
    blocks: Arc<dyn Blocks>,
    path: String,
    length: u64,
    vouched: Arc<Vouched>,
    copying: Option<Copying>,
    copy: Mutex<CopyState>,
}

/// How far a copy has come.
enum CopyState {
    NotBegun,
    UpTo {
        end: u64,
        tell: mpsc::Sender<Step>,
        /// Room for the last word.
        last: mpsc::OwnedPermit<Step>,
    },
    /// It is finished or given up.
    Over,
}

impl CopiedBlocks {
    pub(super) fn new(
        blocks: Arc<dyn Blocks>,
        path: &str,
        length: u64,
        vouched: Arc<Vouched>,
        copying: Option<Copying>,
    ) -> Self {
        Self {
            blocks,
            path: path.to_owned(),
            length,
            vouched,
            copying,
            copy: Mutex::new(CopyState::NotBegun),
        }
    }

    fn lock(&self) -> MutexGuard<'_, CopyState> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a block on if it is the next one, unless the disk is too slow for whoever reads.
    async fn pass_on(&self, offset: u64, block: &Bytes) {
        let copy = match std::mem::replace(&mut *self.lock(), CopyState::Over) {
            CopyState::NotBegun if offset == 0 => {
                let copying = self.copying.as_ref();
                copying.and_then(|copying| copying.large(&self.path))
            }
            CopyState::NotBegun | CopyState::Over => None,
            copy @ CopyState::UpTo { .. } => Some(copy),
        };
        let Some(CopyState::UpTo { end, tell, last }) = copy.filter(|copy| copy.is_at(offset))
        else {
            return;
        };
        let told = tell.send_timeout(Step::Block(block.clone()), PATIENCE);
        if told.await.is_ok() {
            let end = end + block.len() as u64;
            *self.lock() = CopyState::UpTo { end, tell, last };
        }
    }
}

impl CopyState {
    fn is_at(&self, offset: u64) -> bool {
        matches!(self, Self::UpTo { end, .. } if *end == offset)
    }
}

impl Blocks for CopiedBlocks {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            let block = self.blocks.read(offset, most).await?;
            self.pass_on(offset, &block).await;
            Ok(block)
        })
    }

    fn was_good(&self) {
        self.vouched.add(&self.path);
        let copy = std::mem::replace(&mut *self.lock(), CopyState::Over);
        if let CopyState::UpTo { end, last, .. } = copy
            && end == self.length
        {
            last.send(Step::Good);
        }
    }
}
