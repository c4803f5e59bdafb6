//! [`Uploads`]: objects on their way into the bucket, beside everything else; while that fails they wait, and go when it is back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    journal::Journal,
    queue::{Fate, Queue, QueuedBytes, Waiting, Work},
    vouched::Vouched,
};
use crate::{
    domain::Key,
    error::{Error, Result},
    metrics::Metrics,
    store::{
        backend::{Backend, LargeObject, LoadedObject},
        blocks::Blocks,
        bucket::BucketBackend,
        needed::IsNeeded,
        record_heads::RecordHeads,
    },
};

/// So long what was found wrong in the bucket is passed over: it may have been changed only on its way.
const WRONG_FOR: Duration = Duration::from_secs(300);
/// So many are written at once.
const WRITERS: usize = 8;
/// A record that is further ahead of this machine's clock takes no precedence.
const CLOCKS_DIFFER: Duration = Duration::from_secs(30);
/// What waits is written down so often at the most.
const JOURNAL_EVERY: Duration = Duration::from_millis(200);
/// An index record in the bucket that says the same as ours, and is no older than this beside it, isn't written anew.
const SAME_FOR: Duration = Duration::from_secs(3600);

/// Who writes into the bucket; it ends with its last handle.
pub(super) struct Uploads {
    writer: Arc<Writer>,
    #[expect(dead_code, reason = "held for its drop")]
    ends: DropGuard,
}

struct Writer {
    queue: Mutex<Queue>,
    changed: Notify,
    folder: Option<Arc<dyn Backend>>,
    journal: Option<Journal>,
    bucket: Arc<BucketBackend>,
    vouched: Arc<Vouched>,
    /// What was found wrong in the bucket: whatever its size, it is replaced.
    wrong: Vouched,
    heads: RecordHeads,
    metrics: Arc<Metrics>,
}

impl Uploads {
    /// Begins, within a tokio runtime, with what an earlier process has left undone.
    pub(super) fn start(
        folder: Option<(Arc<dyn Backend>, Journal)>,
        bucket: Arc<BucketBackend>,
        vouched: Arc<Vouched>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (folder, journal) = folder.unzip();
        let writer = Arc::new(Writer {
            queue: Mutex::default(),
            changed: Notify::new(),
            folder,
            journal,
            bucket,
            vouched,
            wrong: Vouched::forgetting_after(WRONG_FOR),
            heads: RecordHeads::default(),
            metrics,
        });
        let stop = CancellationToken::new();
        for _ in 0..WRITERS {
            let writer = writer.clone();
            let writing = async move { writer.run().await };
            tokio::spawn(stop.clone().run_until_cancelled_owned(writing));
        }
        let keeper = writer.clone();
        let keeping = async move { keeper.keep_journal().await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeping));
        Self {
            writer,
            ends: stop.drop_guard(),
        }
    }

    /// The folder from which it is read what is to be written.
    pub(super) fn folder(&self) -> Option<Arc<dyn Backend>> {
        self.writer.folder.clone()
    }

    /// Has an object written as soon as it can be.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when too much waits already: then it is lost for the bucket.
    pub(super) fn add(&self, path: &str, held: QueuedBytes) -> Result<()> {
        let fate = self.writer.add(path, held);
        match fate {
            Fate::Waits => Ok(()),
            Fate::Lost => Err(Error::store(format!(
                "{path} isn't written into the bucket: too much waits for it already"
            ))),
        }
    }

    /// The newest bytes under `path` that aren't in the bucket yet.
    pub(super) fn held(&self, path: &str) -> Option<QueuedBytes> {
        self.writer.lock().held(path)
    }

    /// What says whether an object of the folder is still to be written into the bucket, so that the folder has to keep it.
    pub(super) fn waiting(&self) -> IsNeeded {
        let writer = self.writer.clone();
        Arc::new(move |path| writer.lock().held(path).is_some())
    }

    /// Whether what the bucket has under `path` was found wrong, and nothing has been written there since.
    pub(super) fn knows_wrong(&self, path: &str) -> bool {
        self.writer.wrong.contains(path)
    }

    /// What the bucket has under `path` is wrong: the next write replaces it, whatever it looks like.
    pub(super) fn is_wrong(&self, path: &str) {
        self.writer.vouched.forget(path);
        self.writer.wrong.add(path);
    }

    /// Waits until all is written, or the bucket fails.
    pub(super) async fn settle(&self) {
        loop {
            let changed = self.writer.changed.notified();
            {
                let queue = self.writer.lock();
                if queue.len() == 0 || queue.is_paused(Instant::now()) {
                    return;
                }
            }
            changed.await;
        }
    }
}

impl Writer {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an object written as soon as it can be.
    fn add(&self, path: &str, held: QueuedBytes) -> Fate {
        let is_in_folder = matches!(held, QueuedBytes::Folder);
        let fate = self.lock().add(path, held);
        if let (Some(journal), Fate::Waits, true) = (&self.journal, &fate, is_in_folder) {
            journal.note(path);
        }
        self.note(path, &fate);
        fate
    }

    /// Has what an earlier process has left undone written, and writes down what this one would leave, for ever.
    async fn keep_journal(&self) {
        let (Some(folder), Some(journal)) = (&self.folder, &self.journal) else {
            return;
        };
        match journal.read().await {
            Ok(paths) => {
                for path in paths {
                    if let Ok(Some(_)) = folder.size(&path, None).await {
                        self.add(&path, QueuedBytes::Folder);
                    }
                }
            }
            Err(e) => {
                tracing::warn!("what is still to be written into the bucket isn't known: {e}")
            }
        }
        loop {
            let changed = self.changed.notified();
            let nothing_waits = self.lock().len() == 0;
            let kept = journal.keep(nothing_waits, || self.lock().in_folder());
            if let Err(e) = kept.await {
                tracing::debug!(
                    "what is still to be written into the bucket isn't written down: {e}"
                );
            }
            changed.await;
            sleep(JOURNAL_EVERY).await;
        }
    }

    /// What has become of an object, for whoever counts and waits.
    fn note(&self, path: &str, fate: &Fate) {
        if *fate == Fate::Lost {
            self.metrics.bucket_lost.inc();
            tracing::warn!(object = path, "not written into the bucket, and given up");
        }
        let waiting = i64::try_from(self.lock().len()).unwrap_or(i64::MAX);
        self.metrics.bucket_waiting.set(waiting);
        self.changed.notify_waiters();
    }

    /// Writes one object after the other, for ever.
    async fn run(&self) {
        loop {
            let waiting = self.next().await;
            let (path, written) = (waiting.path.clone(), self.write(&waiting).await);
            let fate = match written {
                Ok(()) => {
                    self.lock().written(&path);
                    Fate::Waits
                }
                Err(e) => {
                    tracing::debug!(object = path, "not written into the bucket yet: {e}");
                    self.lock().failed(waiting, Instant::now())
                }
            };
            self.note(&path, &fate);
        }
    }

    async fn next(&self) -> Waiting {
        loop {
            let changed = self.changed.notified();
            let work = self.lock().next(Instant::now());
            match work {
                Work::Write(waiting) => return waiting,
                Work::Pause(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = changed => {}
                    }
                }
                Work::None => changed.await,
            }
        }
    }

    /// Writes one object, unless the bucket has it already: another mirror may have been first.
    async fn write(&self, waiting: &Waiting) -> Result<()> {
        let path = &waiting.path;
        let open;
        let (length, blocks): (u64, &dyn Blocks) = match &waiting.held {
            QueuedBytes::Memory(pieces) => (pieces.length(), pieces),
            QueuedBytes::File { blocks, length } => (*length, &**blocks),
            QueuedBytes::Folder => {
                let Some(found) = self.in_folder(path).await? else {
                    // It has been evicted, or was found wrong.
                    self.note(path, &Fate::Lost);
                    return Ok(());
                };
                open = found;
                (open.length, &*open.blocks)
            }
        };
        let needless = match Key::from_path(path) {
            Some(Key::Record(_)) => self.has_record(path, length, blocks).await?,
            Some(Key::File(_)) | None => self.has(path, length).await?,
        };
        if needless {
            return Ok(());
        }
        self.bucket.send(path, length, blocks).await?;
        self.wrong.forget(path);
        // What is read back from the folder may have changed there.
        if let (QueuedBytes::Memory(_) | QueuedBytes::File { .. }, true) = (
            &waiting.held,
            matches!(Key::from_path(path), Some(Key::File(_))),
        ) {
            self.vouched.add(path);
        }
        Ok(())
    }

    /// The object as the folder has it, open.
    async fn in_folder(&self, path: &str) -> Result<Option<LargeObject>> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        Ok(match folder.load(path, None, Box::new(|_| None)).await? {
            Some(LoadedObject::Large(object)) => Some(object),
            Some(LoadedObject::Taken(_)) | None => None,
        })
    }

    /// Whether the bucket has an object of this path, which says what is in it, and of this size. A look costs a tenth of a write.
    async fn has(&self, path: &str, length: u64) -> Result<bool> {
        if self.wrong.contains(path) {
            return Ok(false);
        }
        let there = self.bucket.size(path, None).await?;
        Ok(there == Some(length))
    }

    /// Whether the bucket has an index record that is newer, or says the same and was confirmed about as lately. So of many mirrors that ask upstream at
    /// the same time one writes, and none writes an older one over a newer, but for two that do at the same moment. What is in the records beside that is
    /// looked at by who reads them.
    async fn has_record(&self, path: &str, length: u64, blocks: &dyn Blocks) -> Result<bool> {
        if self.wrong.contains(path) {
            return Ok(false);
        }
        let found = self.bucket.load(path, None, Box::new(|_| None)).await?;
        let Some(LoadedObject::Large(there)) = found else {
            return Ok(false);
        };
        let theirs = self.heads.read(there.length, &*there.blocks).await?;
        let Some(theirs) = theirs else {
            return Ok(false);
        };
        let Some(ours) = self.heads.read(length, blocks).await? else {
            // It is wrong, and isn't for the bucket.
            return Ok(true);
        };
        let ahead = theirs.checked_at.duration_since(SystemTime::now());
        if ahead.is_ok_and(|ahead| ahead > CLOCKS_DIFFER) {
            return Ok(false);
        }
        let same = theirs.sha256 == ours.sha256
            && theirs.gone == ours.gone
            && theirs.validators == ours.validators
            && theirs.history == ours.history;
        let later = ours.checked_at.duration_since(theirs.checked_at);
        Ok(match later {
            Err(_) => true,
            Ok(later) => same && later < SAME_FOR,
        })
    }
}
