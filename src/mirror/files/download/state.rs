//! [`Download`]: one file on its way from upstream: what has arrived of it, and how far it is.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    allowance::Lease,
    domain::FileKey,
    error::{Error, Result},
    store::SpoolReader,
    zero_copy::{Content, PagePool},
};

/// What is read back from a spooled file at once, and what is held back of a download, at the most.
pub(in crate::mirror::files) const BLOCK: u64 = 64 << 10;

/// One download. Written by one task, read by any number of readers.
pub(in crate::mirror::files) struct Download {
    key: FileKey,
    spooling: Spooling,
    buffer: Mutex<Buffer>,
    progress: watch::Sender<DownloadProgress>,
    /// Whether the disk has failed somebody who read what is in the file. The next one begins anew, however long this download takes to end: it may wait
    /// for the same disk.
    unreadable: AtomicBool,
}

/// Whether a download may go through a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror::files) enum Spooling {
    Allowed,
    /// The disk has failed one of the same file a moment ago.
    Avoided,
}

/// How far a download is.
#[derive(Clone, Default)]
pub(super) struct DownloadProgress {
    /// The whole file's size, once upstream has said it.
    pub(super) length: Option<u64>,
    /// How many bytes may be read.
    pub(super) readable: u64,
    /// How it ended.
    pub(super) end: Option<Result<Ending>>,
}

/// How a download ends that doesn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// All of it is here.
    Landed,
    /// It was in the store already.
    Stored,
}

/// What has arrived.
pub(super) enum Buffer {
    /// Chunks as they came, each with the offset of its end.
    Chunks(Vec<(u64, Bytes)>),
    /// All of it in one piece.
    Whole(Bytes),
    /// In a file, because it is large.
    Spooled(SpoolReader),
}

impl Download {
    /// One of which nothing has arrived.
    pub(super) fn new(key: FileKey, spooling: Spooling) -> Self {
        Self {
            key,
            spooling,
            buffer: Mutex::new(Buffer::Chunks(Vec::new())),
            progress: watch::Sender::default(),
            unreadable: AtomicBool::new(false),
        }
    }

    /// Which file it is.
    pub(super) fn key(&self) -> &FileKey {
        &self.key
    }

    /// How far it is, from now on.
    pub(super) fn progress(&self) -> watch::Receiver<DownloadProgress> {
        self.progress.subscribe()
    }

    /// Whether anybody reads it.
    pub(super) fn has_readers(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    /// Returns when nobody reads it.
    pub(super) async fn readers_gone(&self) {
        self.progress.closed().await;
    }

    /// Notes that the disk has failed somebody who read what is in the file.
    pub(super) fn cannot_be_read(&self) {
        self.unreadable.store(true, Ordering::Relaxed);
    }

    /// Whether the disk has failed somebody so.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// What has arrived. Held for a moment only.
    pub(super) fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may go through a file.
    pub(in crate::mirror::files) fn spooling(&self) -> Spooling {
        self.spooling
    }

    /// Upstream has said how long the file is, or has begun to send without saying.
    pub(in crate::mirror::files) fn begin(&self, length: Option<u64>) {
        self.progress.send_modify(|p| p.length = length);
    }

    /// From now on what has arrived is in a file.
    pub(in crate::mirror::files) fn spooled(&self, reader: SpoolReader) {
        *self.buffer() = Buffer::Spooled(reader);
    }

    /// Back from the file into memory, with the `length` bytes that are in it, each block as `hold` gives it back.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the file can't be read either, and those of `hold`.
    pub(in crate::mirror::files) async fn unspool(
        &self,
        length: u64,
        hold: impl Fn(Bytes) -> Result<Bytes>,
    ) -> Result<()> {
        let spool = match &*self.buffer() {
            Buffer::Spooled(spool) => spool.clone(),
            Buffer::Chunks(_) | Buffer::Whole(_) => return Ok(()),
        };
        let mut chunks = Vec::new();
        let mut end = 0;
        while end < length {
            let chunk = spool.read_at(end, BLOCK.min(length - end) as usize).await?;
            end += chunk.len() as u64;
            chunks.push((end, hold(chunk)?));
        }
        *self.buffer() = Buffer::Chunks(chunks);
        Ok(())
    }

    /// What has come into memory, in its order.
    pub(in crate::mirror::files) fn chunks(&self) -> Vec<Bytes> {
        match &*self.buffer() {
            Buffer::Chunks(chunks) => chunks.iter().map(|(_, chunk)| chunk.clone()).collect(),
            Buffer::Whole(whole) => vec![whole.clone()],
            Buffer::Spooled(_) => Vec::new(),
        }
    }

    /// Adds a chunk that ends at `end`; it isn't readable yet.
    pub(in crate::mirror::files) fn push(&self, end: u64, chunk: Bytes) {
        match &mut *self.buffer() {
            Buffer::Chunks(chunks) => chunks.push((end, chunk)),
            Buffer::Whole(_) | Buffer::Spooled(_) => {}
        }
    }

    /// Lets clients read up to `readable`.
    pub(in crate::mirror::files) fn release(&self, readable: u64) {
        self.progress.send_modify(|p| p.readable = readable);
    }

    /// All that has arrived in one piece under this lease, which takes the place of the chunks; in pages of its own if there are any.
    pub(in crate::mirror::files) fn consolidate(&self, pages: &PagePool, lease: Lease) -> Content {
        let chunks = self.chunks();
        let parts = chunks.iter().map(|chunk| &chunk[..]);
        let whole = pages.content(parts.clone()).unwrap_or_else(|| {
            let mut whole = Vec::with_capacity(chunks.iter().map(Bytes::len).sum());
            parts.for_each(|part| whole.extend_from_slice(part));
            Bytes::from(whole).into()
        });
        let whole = whole.map(|bytes| lease.hold(bytes));
        *self.buffer() = Buffer::Whole(whole.bytes().clone());
        whole
    }

    /// The file is here and its checksum holds.
    pub(in crate::mirror::files) fn land(&self, length: u64) {
        self.progress.send_modify(|p| {
            p.length = Some(length);
            p.readable = length;
            p.end = Some(Ok(Ending::Landed));
        });
    }

    /// The file is in the store, too large to be had from here.
    pub(in crate::mirror::files) fn is_stored(&self) {
        self.progress
            .send_modify(|p| p.end = Some(Ok(Ending::Stored)));
    }

    /// The file can't be had; every reader is cut off. A download that has ended stays as it ended.
    pub(in crate::mirror::files) fn fail(&self, error: Error) {
        self.progress.send_if_modified(|p| {
            let open = p.end.is_none();
            if open {
                p.end = Some(Err(error));
            }
            open
        });
    }
}
