//! [`Spool`]: a file being filled, for a crate that is too large to be held in memory while it arrives.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tempfile::NamedTempFile;

use super::{
    blocks::Blocks,
    disk::{OnDisk, Pulse, Touch, read_at},
    failed::{failed, failed_at},
    file_blocks::FileBlocks,
};
use crate::{
    allowance::Lease,
    block_budget::{BlockBudget, Reading},
    error::{Error, Kind, Result},
};

/// What is read at once by who reads all of it.
const BLOCK: usize = 64 << 10;

/// An unnamed-yet object: appended to by one download, read by its clients, then persisted or dropped.
pub struct Spool {
    file: OnDisk<NamedTempFile>,
    length: u64,
    room: SpoolRoom,
    /// For what its readers read.
    blocks: BlockBudget,
    /// Counts what is written.
    written: Arc<AtomicU64>,
}

/// What a store has room for that isn't stored yet: bytes on the disk are leased as well.
#[derive(Clone)]
struct SpoolRoom(Arc<Mutex<Lease>>);

impl SpoolRoom {
    fn try_grow(&self, bytes: u64) -> bool {
        self.lease().try_grow(bytes)
    }

    /// The bytes count as stored from now on.
    fn give_back(&self) {
        self.lease().shrink_to(0);
    }

    fn lease(&self) -> std::sync::MutexGuard<'_, Lease> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading side of a spool, shared by all clients; it stays readable after the file was renamed or dropped.
#[derive(Clone)]
pub struct SpoolReader {
    file: Arc<OnDisk<File>>,
    /// A file that is dropped takes its room as long as somebody has it open.
    #[expect(dead_code, reason = "held for its drop")]
    room: SpoolRoom,
    blocks: BlockBudget,
}

impl Spool {
    /// In that file; what is put into it is leased with `room`, and added to what is `written`. What is read of it is of `blocks`.
    pub(super) fn new(
        file: OnDisk<NamedTempFile>,
        room: Lease,
        blocks: BlockBudget,
        written: Arc<AtomicU64>,
    ) -> Self {
        Self {
            file,
            length: 0,
            room: SpoolRoom(Arc::new(Mutex::new(room))),
            blocks,
            written,
        }
    }

    /// How many bytes are in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// [`Kind::Store`] when the storage can't be written, [`Kind::Overloaded`] when downloads under way take all that the store may hold; the spool is
    /// gone then.
    pub async fn append(mut self, bytes: Bytes) -> Result<Self> {
        if !self.room.try_grow(bytes.len() as u64) {
            return Err(Error::new(
                Kind::Overloaded,
                "downloads under way take up all that `store.max_size` lets this mirror hold; try again in a moment",
            ));
        }
        let (disk, name) = (self.file.disk().clone(), self.file.name().to_owned());
        let append = move |_: &_| match self.file.get_mut()?.write_all(&bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.written
                    .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(self)
            }
            Err(e) => Err(failed("writing", Path::new(self.file.name()), e)),
        };
        disk.run(Touch::Save, &name, append).await
    }

    /// The reading side.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the process has no file handles left.
    pub fn reader(&self) -> Result<SpoolReader> {
        let name = self.file.name();
        let file = self.file.get()?.as_file().try_clone();
        let file = file.map_err(|e| failed("opening", Path::new(name), e))?;
        let disk = self.file.disk().clone();
        Ok(SpoolReader {
            file: Arc::new(OnDisk::new(file, name.to_owned(), disk)),
            room: self.room.clone(),
            blocks: self.blocks.clone(),
        })
    }

    /// Does `work` with it where the disk may be waited for, as long as that gets on.
    ///
    /// # Errors
    /// Those of `work`, and [`Kind::Store`] when the disk doesn't answer.
    pub async fn with<T: Send + 'static>(
        self,
        work: impl FnOnce(Self, &Pulse) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (disk, name) = (self.file.disk().clone(), self.file.name().to_owned());
        disk.run(Touch::Read, &name, |pulse: &_| work(self, pulse))
            .await
    }

    /// All bytes from the start on. Reading blocks, and says with each block that it gets on.
    ///
    /// # Errors
    /// [`Kind::Internal`] where the file was taken away before.
    pub fn blocks<'a>(&'a self, pulse: &'a Pulse) -> Result<impl BufRead + 'a> {
        struct Blocks<'a>(&'a File, u64, &'a Pulse);
        impl Read for Blocks<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let read = self.0.read_at(into, self.1)?;
                self.1 += read as u64;
                self.2.beat();
                Ok(read)
            }
        }
        let blocks = Blocks(self.file.get()?.as_file(), 0, pulse);
        Ok(BufReader::with_capacity(BLOCK, blocks))
    }

    /// Its bytes, for who makes them an object elsewhere.
    pub(super) fn into_blocks(self) -> Result<SpooledBlocks> {
        let open = self.open_blocks()?;
        Ok(SpooledBlocks {
            named: Some(self.file),
            ..open
        })
    }

    /// Its bytes, which can be read whatever becomes of the file.
    pub(super) fn open_blocks(&self) -> Result<SpooledBlocks> {
        let (path, disk) = (self.file.name().to_owned(), self.file.disk().clone());
        let file = self.file.get()?.as_file().try_clone();
        let file = file.map_err(|e| failed("opening", Path::new(&path), e))?;
        Ok(SpooledBlocks {
            blocks: FileBlocks {
                file: Arc::new(file),
                path,
                disk,
            },
            named: None,
            room: self.room.clone(),
        })
    }

    /// Has its file made an object; the inner result is what that came to. Blocks.
    pub(super) fn persist<T>(
        self,
        publish: impl FnOnce(NamedTempFile) -> io::Result<T>,
    ) -> Result<io::Result<T>> {
        let published = publish(self.file.into_inner()?);
        if published.is_ok() {
            self.room.give_back();
        }
        Ok(published)
    }
}

/// The bytes of a spooled file, which stays open until they were read.
pub(super) struct SpooledBlocks {
    blocks: FileBlocks,
    /// The file, if nothing else becomes of it.
    #[expect(dead_code, reason = "held for its drop")]
    named: Option<OnDisk<NamedTempFile>>,
    #[expect(dead_code, reason = "held for its drop")]
    room: SpoolRoom,
}

impl Blocks for SpooledBlocks {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        self.blocks.read(offset, most)
    }
}

impl SpoolReader {
    /// What a client needs to read it block by block.
    pub fn reading(&self) -> Reading {
        self.blocks.reading()
    }

    /// Up to `most` bytes from `offset` on, where bytes are known to be.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when they can't be read.
    pub async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes> {
        let file = self.file.clone();
        let read = move |_: &_| match read_at(file.get()?, offset, most) {
            Ok(bytes) if bytes.is_empty() => Err(Error::store(
                "a spooled file is shorter than what was written",
            )),
            Ok(bytes) => Ok(bytes),
            Err(e) => Err(failed_at("reading a spooled file", e)),
        };
        let (disk, name) = (self.file.disk(), self.file.name());
        disk.run(Touch::Read, name, read).await
    }
}
