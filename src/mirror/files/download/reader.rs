//! [`DownloadReader`]: one client's place in a download.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::state::{Buffer, Download, DownloadProgress, Ending};
use crate::{
    block_budget::Reading,
    domain::{FileKey, Hasher},
    error::{Error, Result},
    store::SpoolReader,
};

/// What a client has waited for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mirror::files) enum Arrival {
    /// There is something to read, of a file of that size, if that is known.
    Arriving(Option<u64>),
    /// The file is in the store: another download has brought it meanwhile.
    Stored,
}

/// One client's place in a download.
pub(in crate::mirror) struct DownloadReader {
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

impl DownloadReader {
    /// One that reads `download` from its beginning.
    pub(super) fn of(download: Arc<Download>) -> Self {
        Self {
            progress: download.progress(),
            download,
            offset: 0,
            first: None,
            reading: None,
            hasher: Hasher::default(),
            hashed: 0,
        }
    }

    /// Which file it is.
    pub(in crate::mirror::files) fn key(&self) -> &FileKey {
        self.download.key()
    }

    /// The same download, to be read from its beginning.
    pub(in crate::mirror::files) fn again(&self) -> Self {
        Self::of(self.download.clone())
    }

    /// How long the file is: waits until that is known, which may be when it is all here. `None` when it won't be.
    pub(in crate::mirror::files) async fn length(&self) -> Option<u64> {
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
    pub(in crate::mirror::files) async fn begun(&mut self) -> Result<Arrival> {
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
    pub(in crate::mirror::files) async fn next(&mut self) -> Option<Result<Bytes>> {
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
                            self.download.cannot_be_read();
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
        if is_last && ended && self.hasher.clone().finish() != self.download.key().sha256() {
            return Err(Error::store(format!(
                "the file of {} was written to while it was read; ask again",
                self.download.key()
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
