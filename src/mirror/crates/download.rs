//! [`Download`]: one .crate file on its way from upstream, read by all its clients while it arrives.
//!
//! What has arrived is readable at once except for the end of the last chunk so far: that is held back until the checksum of the whole holds, so
//! that no client ever has a complete wrong file.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    allowance::Lease,
    block_budget::Reading,
    domain::{CrateKey, Hasher},
    error::{Error, Result},
    store::SpoolReader,
    zero_copy::{Content, PagePool},
};

/// What is read back from a spooled file at once, and what is held back of a download, at the most.
pub(super) const BLOCK: u64 = 64 << 10;

/// The downloads under way, by what they bring.
#[derive(Default)]
pub(super) struct Downloads(Mutex<HashMap<CrateKey, Arc<Download>>>);

/// One download. Written by one task, read by any number of [`DownloadReader`]s.
pub(super) struct Download {
    key: CrateKey,
    spooling: Spooling,
    buffer: Mutex<Buffer>,
    progress: watch::Sender<DownloadProgress>,
    /// Whether the disk has failed somebody who read what is in the file. The next one begins anew, however long this download takes to end: it may wait
    /// for the same disk.
    unreadable: AtomicBool,
}

/// Whether a download may go through a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spooling {
    Allowed,
    /// The disk has failed one of the same crate a moment ago.
    Avoided,
}

/// How far a download is.
#[derive(Clone, Default)]
struct DownloadProgress {
    /// The whole file's size, once upstream has said it.
    length: Option<u64>,
    /// How many bytes may be read.
    readable: u64,
    /// How it ended.
    end: Option<Result<Ending>>,
}

/// How a download ends that doesn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// All of it is here.
    Landed,
    /// It was in the store already.
    Stored,
}

/// What a client has waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// There is something to read, of a file of that size, if that is known.
    Arriving(Option<u64>),
    /// The file is in the store: another download has brought it meanwhile.
    Stored,
}

/// What has arrived.
enum Buffer {
    /// Chunks as they came, each with the offset of its end.
    Chunks(Vec<(u64, Bytes)>),
    /// All of it in one piece.
    Whole(Bytes),
    /// In a file, because it is large.
    Spooled(SpoolReader),
}

/// One client's place in a download.
pub(super) struct DownloadReader {
    download: Arc<Download>,
    progress: watch::Receiver<DownloadProgress>,
    offset: u64,
    /// What was read ahead of the answer: see [`DownloadReader::begun`].
    first: Option<Bytes>,
    /// For a file; nothing as long as none was read.
    reading: Option<Reading>,
    /// Of what is in a file. It was checked on its way into it, but once it has its place in the store anybody can write into it.
    hasher: Hasher,
    /// How much went into the hasher.
    hashed: u64,
}

/// Where the next bytes are.
enum NextBytes {
    Memory(Bytes),
    File(SpoolReader),
}

impl Downloads {
    /// The download of `key`; `start` is called with a new one if there is none that can be read. The new one avoids files if that is asked for, and when it
    /// takes the place of one whose file can't be read.
    pub(super) fn join(
        &self,
        key: CrateKey,
        spooling: Spooling,
        start: impl FnOnce(Arc<Download>),
    ) -> DownloadReader {
        let mut downloads = self.lock();
        let spooling = match downloads.get(&key) {
            Some(listed) if listed.unreadable.load(Ordering::Relaxed) => Spooling::Avoided,
            Some(listed) => return listed.reader(),
            None => spooling,
        };
        let download = Arc::new(Download {
            key,
            spooling,
            buffer: Mutex::new(Buffer::Chunks(Vec::new())),
            progress: watch::Sender::default(),
            unreadable: AtomicBool::new(false),
        });
        downloads.insert(key, download.clone());
        drop(downloads);
        let reader = download.reader();
        start(download);
        reader
    }

    /// Takes a download off the list, but no later one of the same file: who asks from now on looks elsewhere or starts anew.
    pub(super) fn forget(&self, key: &CrateKey, download: &Arc<Download>) {
        Self::delist(&mut self.lock(), key, download);
    }

    /// Returns when the last client of a download has gone away; it is off the list then, so that nobody joins what is being given up.
    pub(super) async fn abandoned(&self, key: &CrateKey, download: &Arc<Download>) {
        loop {
            download.progress.closed().await;
            let mut downloads = self.lock();
            if download.progress.receiver_count() == 0 {
                return Self::delist(&mut downloads, key, download);
            }
        }
    }

    fn delist(
        downloads: &mut HashMap<CrateKey, Arc<Download>>,
        key: &CrateKey,
        download: &Arc<Download>,
    ) {
        if downloads
            .get(key)
            .is_some_and(|listed| Arc::ptr_eq(listed, download))
        {
            downloads.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CrateKey, Arc<Download>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Download {
    fn reader(self: &Arc<Self>) -> DownloadReader {
        DownloadReader {
            progress: self.progress.subscribe(),
            download: self.clone(),
            offset: 0,
            first: None,
            reading: None,
            hasher: Hasher::default(),
            hashed: 0,
        }
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may go through a file.
    pub(super) fn spooling(&self) -> Spooling {
        self.spooling
    }

    /// Upstream has said how long the file is, or has begun to send without saying.
    pub(super) fn begin(&self, length: Option<u64>) {
        self.progress.send_modify(|p| p.length = length);
    }

    /// From now on what has arrived is in a file.
    pub(super) fn spooled(&self, reader: SpoolReader) {
        *self.buffer() = Buffer::Spooled(reader);
    }

    /// Back from the file into memory, with the `length` bytes that are in it, each block as `hold` gives it back.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the file can't be read either, and those of `hold`.
    pub(super) async fn unspool(
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
    pub(super) fn chunks(&self) -> Vec<Bytes> {
        match &*self.buffer() {
            Buffer::Chunks(chunks) => chunks.iter().map(|(_, chunk)| chunk.clone()).collect(),
            Buffer::Whole(whole) => vec![whole.clone()],
            Buffer::Spooled(_) => Vec::new(),
        }
    }

    /// Adds a chunk that ends at `end`; it isn't readable yet.
    pub(super) fn push(&self, end: u64, chunk: Bytes) {
        match &mut *self.buffer() {
            Buffer::Chunks(chunks) => chunks.push((end, chunk)),
            Buffer::Whole(_) | Buffer::Spooled(_) => {}
        }
    }

    /// Lets clients read up to `readable`.
    pub(super) fn release(&self, readable: u64) {
        self.progress.send_modify(|p| p.readable = readable);
    }

    /// All that has arrived in one piece under this lease, which takes the place of the chunks; in pages of its own if there are any.
    pub(super) fn consolidate(&self, pages: &PagePool, lease: Lease) -> Content {
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
    pub(super) fn land(&self, length: u64) {
        self.progress.send_modify(|p| {
            p.length = Some(length);
            p.readable = length;
            p.end = Some(Ok(Ending::Landed));
        });
    }

    /// The file is in the store, too large to be had from here.
    pub(super) fn is_stored(&self) {
        self.progress
            .send_modify(|p| p.end = Some(Ok(Ending::Stored)));
    }

    /// The file can't be had; every reader is cut off. A download that has ended stays as it ended.
    pub(super) fn fail(&self, error: Error) {
        self.progress.send_if_modified(|p| {
            let open = p.end.is_none();
            if open {
                p.end = Some(Err(error));
            }
            open
        });
    }
}

impl DownloadReader {
    /// Which file it is.
    pub(super) fn key(&self) -> &CrateKey {
        &self.download.key
    }

    /// The same download, to be read from its beginning.
    pub(super) fn again(&self) -> Self {
        self.download.reader()
    }

    /// How long the file is: waits until that is known, which may be when it is all here. `None` when it won't be.
    pub(super) async fn length(&self) -> Option<u64> {
        let mut progress = self.progress.clone();
        let known = |p: &DownloadProgress| p.length.is_some() || p.end.is_some();
        let progress = progress.wait_for(known).await;
        progress.ok()?.length
    }

    /// Waits until there is something to read, here or in the store. What is here is read, to be given by [`next`](Self::next): as long as a client has
    /// been sent nothing, it can be given the file by another download.
    ///
    /// # Errors
    /// What made the download fail, if it failed before anything became readable, and [`Kind::Store`](crate::error::Kind::Store) when that can't be read.
    pub(super) async fn begun(&mut self) -> Result<Arrival> {
        let progress = self.wait().await?;
        match progress.end {
            // Although there is something to read: none of it has been sent, and an error says more than a cut.
            Some(Err(e)) => Err(e),
            Some(Ok(Ending::Stored)) => Ok(Arrival::Stored),
            Some(Ok(Ending::Landed)) | None => {
                // Boxed: whoever waits for a download would have to hold all that it takes to read one.
                self.first = Box::pin(self.next()).await.transpose()?;
                Ok(Arrival::Arriving(progress.length))
            }
        }
    }

    /// The next bytes; `None` when all were read.
    ///
    /// # Errors
    /// What made the download fail; nothing comes after it.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let read = async {
            let progress = self.wait().await?;
            if progress.readable > self.offset {
                return match self.look(progress.readable) {
                    NextBytes::Memory(bytes) => Ok(Some(bytes)),
                    NextBytes::File(spool) => {
                        let read = self.read(&spool, &progress).await;
                        if read.is_err() {
                            self.download.unreadable.store(true, Ordering::Relaxed);
                        }
                        read.map(Some)
                    }
                };
            }
            progress.end.unwrap_or(Ok(Ending::Landed)).map(|_| None)
        };
        match read.await.transpose()? {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                Some(Ok(bytes))
            }
            Err(e) => Some(Err(e)),
        }
    }

    /// The next bytes that may be read, from a file; it is looked at, too, at what is in it of what was read from memory, before it was moved there.
    async fn read(&mut self, spool: &SpoolReader, progress: &DownloadProgress) -> Result<Bytes> {
        let reading = self.reading.get_or_insert_with(|| spool.reading());
        let lease = reading.next(progress.readable - self.hashed).await;
        while self.hashed < self.offset {
            let most = lease.size().min(self.offset - self.hashed);
            let bytes = spool.read_at(self.hashed, most as usize).await?;
            self.hasher.update(&bytes);
            self.hashed += bytes.len() as u64;
        }
        let most = lease.size().min(progress.readable - self.offset);
        let bytes = spool.read_at(self.offset, most as usize).await?;
        self.checked(lease.hold(bytes), progress)
    }

    /// Lets the last bytes of a file pass only if all that is in it up to them is what it should be.
    fn checked(&mut self, bytes: Bytes, progress: &DownloadProgress) -> Result<Bytes> {
        self.hasher.update(&bytes);
        self.hashed += bytes.len() as u64;
        let is_last = self.offset + bytes.len() as u64 == progress.readable;
        // What isn't all here yet has no last byte.
        let ended = matches!(progress.end, Some(Ok(Ending::Landed)));
        if is_last && ended && self.hasher.clone().finish() != self.download.key.sha256 {
            return Err(Error::store(format!(
                "the file of {} was written to while it was read; ask again",
                self.download.key.id
            )));
        }
        Ok(bytes)
    }

    /// Waits until there is more to read or nothing more to come.
    async fn wait(&mut self) -> Result<DownloadProgress> {
        let offset = self.offset;
        let more = |p: &DownloadProgress| p.readable > offset || p.end.is_some();
        let progress = self.progress.wait_for(more).await;
        // The sender lives as long as we hold the download.
        progress
            .map(|p| p.clone())
            .map_err(|e| Error::internal("a download vanished").with_source(e))
    }

    /// Where the bytes from our offset on are; of those in memory none beyond `readable`.
    fn look(&self, readable: u64) -> NextBytes {
        let offset = self.offset;
        NextBytes::Memory(match &*self.download.buffer() {
            Buffer::Chunks(chunks) => {
                let at = chunks.partition_point(|(end, _)| *end <= offset);
                let (end, chunk) = &chunks[at];
                let from = chunk.len() - (end - offset) as usize;
                let until = chunk.len() - end.saturating_sub(readable) as usize;
                chunk.slice(from..until)
            }
            Buffer::Whole(bytes) => bytes.slice(offset as usize..readable as usize),
            Buffer::Spooled(spool) => return NextBytes::File(spool.clone()),
        })
    }
}
