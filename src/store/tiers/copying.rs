//! [`Copying`]: what was read from the bucket and is good, on its way into the folder; beside whoever reads it, and given up where the disk is slow.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout_at},
};

use super::{queue::Pieces, turns::WriteTurns, vouched::Vouched};
use crate::{
    allowance::Allowance,
    block_budget::BlockBudget,
    domain::{Hasher, Key, Sha256},
    error::{Error, Result},
    store::{
        backend::{Backend, LoadedObject},
        blocks::Blocks,
        record_heads::RecordHeads,
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
/// What whoever reads takes in a second at the least, in bytes, after a first second. A slower one doesn't pace the copy: the rest is read beside him, in one
/// request more.
const PACE: u64 = 1 << 20;
const HEAD_START: Duration = Duration::from_secs(1);
/// What is read at once then.
const BLOCK: usize = 256 << 10;

/// Who copies into the folder. Cheap to clone.
#[derive(Clone)]
pub(super) struct Copying {
    folder: Arc<dyn Backend>,
    turns: WriteTurns,
    memory: Arc<Semaphore>,
    large: Arc<Semaphore>,
    heads: RecordHeads,
    vouched: Arc<Vouched>,
    /// Counts what is written.
    written: Arc<AtomicU64>,
}

/// A large object to be copied.
#[derive(Clone)]
struct LargeSource {
    blocks: Arc<dyn Blocks>,
    path: String,
    length: u64,
    sha256: Sha256,
}

impl Copying {
    pub(super) fn new(
        folder: Arc<dyn Backend>,
        turns: WriteTurns,
        vouched: Arc<Vouched>,
        written: Arc<AtomicU64>,
    ) -> Self {
        Self {
            folder,
            turns,
            memory: Arc::new(Semaphore::new((MEMORY / UNIT) as usize)),
            large: Arc::new(Semaphore::new(LARGE)),
            heads: RecordHeads::default(),
            vouched,
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
            if this
                .is_newest(&path, &bytes)
                .await
                .is_ok_and(|newest| newest)
            {
                let kept = this.folder.save(&path, vec![bytes], &|_| ()).await;
                this.note(&path, size, kept);
            }
        });
    }

    /// Whether the folder has nothing under `path`, or an index record that is older. Whoever asks has the turn.
    async fn is_newest(&self, path: &str, bytes: &Bytes) -> Result<bool> {
        let there = match self.folder.load(path, None, Box::new(|_| None)).await? {
            None => return Ok(true),
            Some(LoadedObject::Taken(_)) => return Ok(false),
            Some(LoadedObject::Large(there)) => there,
        };
        let Some(Key::Record(_)) = Key::from_path(path) else {
            return Ok(false);
        };
        let ours = Pieces(vec![bytes.clone()]);
        let ours = self.heads.read(ours.length(), &ours).await?;
        let there = self.heads.read(there.length, &*there.blocks).await?;
        Ok(match (ours, there) {
            (Some(ours), Some(there)) => ours.age() > there.age(),
            (None, _) | (_, None) => false,
        })
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
    fn large(&self, source: &LargeSource, reader: &Arc<AtomicBool>) -> Option<CopyState> {
        let permit = self.large.clone().try_acquire_owned().ok()?;
        let (tell, told) = mpsc::channel(BLOCKS + 1);
        let last = tell.clone().try_reserve_owned().ok()?;
        let (this, source, reader) = (self.clone(), source.clone(), reader.clone());
        tokio::spawn(async move {
            let copied = this.copy(&source, told, &reader, permit).await;
            this.note(&source.path, 0, copied);
        });
        Some(CopyState::UpTo { end: 0, tell, last })
    }

    async fn copy(
        &self,
        source: &LargeSource,
        mut steps: mpsc::Receiver<Step>,
        reader: &Arc<AtomicBool>,
        _permit: OwnedSemaphorePermit,
    ) -> Result<()> {
        let mut copy = LargeCopy {
            spool: self.spool().await?,
            hasher: Hasher::default(),
        };
        let started = Instant::now() + HEAD_START;
        loop {
            let pace = Duration::from_millis(copy.spool.length() * 1_000 / PACE);
            match timeout_at(started + pace, steps.recv()).await {
                Ok(Some(Step::Block(bytes))) => copy = copy.with(bytes).await?,
                Ok(Some(Step::Good)) => return self.commit(source, copy).await,
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
        drop(steps);
        while copy.spool.length() < source.length {
            // Nobody else has it, and it isn't done with: whoever read it has gone away.
            if Arc::strong_count(reader) == 1 && !reader.load(Ordering::Acquire) {
                return Ok(());
            }
            let block = source.blocks.read(copy.spool.length(), BLOCK).await?;
            if block.is_empty() {
                return Err(Error::store("an object was cut off while it was copied"));
            }
            copy = copy.with(block).await?;
        }
        if copy.hasher.clone().finish() == source.sha256 {
            self.vouched.add(&source.path);
            return self.commit(source, copy).await;
        }
        Ok(())
    }

    async fn spool(&self) -> Result<Spool> {
        let file = self.folder.temporary().await?;
        let room = Allowance::new(u64::MAX, 0).nothing();
        let blocks = BlockBudget::unlimited();
        Ok(Spool::new(file, room, blocks, self.written.clone()))
    }

    async fn commit(&self, source: &LargeSource, copy: LargeCopy) -> Result<()> {
        let committed = self.folder.commit(&source.path, copy.spool, &|_| ());
        committed.await
    }
}

/// What there is of a copy.
struct LargeCopy {
    spool: Spool,
    /// Of all that is in it.
    hasher: Hasher,
}

impl LargeCopy {
    async fn with(mut self, bytes: Bytes) -> Result<Self> {
        self.hasher.update(&bytes);
        let spool = self.spool.append(bytes).await?;
        Ok(Self { spool, ..self })
    }
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
    /// Who copies it, if somebody does.
    copying: Option<(Copying, LargeSource)>,
    copy: Mutex<CopyState>,
    /// Whether it was read to its end. The copy sees by it, too, that nobody reads it any more.
    is_read: Arc<AtomicBool>,
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
        let source = match Key::from_path(path) {
            Some(Key::File(key)) => Some(LargeSource {
                blocks: blocks.clone(),
                path: path.to_owned(),
                length,
                sha256: key.sha256(),
            }),
            Some(Key::Record(_)) | None => None,
        };
        Self {
            blocks,
            path: path.to_owned(),
            length,
            vouched,
            copying: copying.zip(source),
            copy: Mutex::new(CopyState::NotBegun),
            is_read: Arc::default(),
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
                copying.and_then(|(copying, source)| copying.large(source, &self.is_read))
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
        self.is_read.store(true, Ordering::Release);
        let copy = std::mem::replace(&mut *self.lock(), CopyState::Over);
        if let CopyState::UpTo { end, last, .. } = copy
            && end == self.length
        {
            last.send(Step::Good);
        }
    }
}
