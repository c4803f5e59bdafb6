//! [`Spool`]: a file being filled, for a crate that is too large to be held in memory while it arrives.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{
    Touch,
    disk::{Disk, Kept},
    failed,
    fs::Folder,
    reader::read_at,
};
use crate::error::{Error, Result};

/// An unnamed-yet object: appended to by one download, read by its clients, then persisted or dropped.
pub struct Spool {
    file: Kept<NamedTempFile>,
    length: u64,
}

/// The reading side of a spool, shared by all clients; it stays readable after the file was renamed or dropped.
#[derive(Clone)]
pub struct SpoolReader {
    file: Arc<Kept<File>>,
}

impl Spool {
    pub(super) async fn in_folder(folder: Arc<Folder>, disk: Disk) -> Result<Self> {
        Self::made_by(move || folder.temporary(), disk).await
    }

    pub(super) async fn anywhere(disk: Disk) -> Result<Self> {
        Self::made_by(NamedTempFile::new, disk).await
    }

    async fn made_by(
        make: impl FnOnce() -> io::Result<NamedTempFile> + Send + 'static,
        disk: Disk,
    ) -> Result<Self> {
        let make = |_: &_| {
            make().map_err(|e| Error::store(format!("making a temporary file failed: {e}")))
        };
        let file = disk.run(Touch::Save, TEMPORARY, make).await?;
        let name = file.path().display().to_string();
        Ok(Self {
            file: Kept::new(file, name, disk),
            length: 0,
        })
    }

    /// How many bytes are in it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written; the spool is gone then.
    pub async fn append(mut self, bytes: Bytes) -> Result<Self> {
        let (disk, name) = (self.file.disk().clone(), self.file.name().to_owned());
        let append = move |_: &_| match self.file.get_mut()?.write_all(&bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(self)
            }
            Err(e) => Err(failed("writing", Path::new(self.file.name()), &e)),
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
        let file = file.map_err(|e| failed("opening", Path::new(name), &e))?;
        let disk = self.file.disk().clone();
        let file = Arc::new(Kept::new(file, name.to_owned(), disk));
        Ok(SpoolReader { file })
    }

    /// Makes it the object under `path`. Blocks.
    pub(super) fn persist(self, folder: &Folder, path: &str) -> Result<()> {
        folder
            .publish(self.file.into_inner()?, path)
            .map_err(|e| failed("writing", Path::new(path), &e))
    }

    pub(super) async fn into_bytes(self) -> Result<Bytes> {
        let (disk, name) = (self.file.disk().clone(), self.file.name().to_owned());
        let read = move |_: &_| {
            let mut bytes = Vec::new();
            let file = self.file.into_inner()?;
            let read = file.reopen().and_then(|mut f| f.read_to_end(&mut bytes));
            read.map(|_| bytes.into())
                .map_err(|e| failed("reading", file.path(), &e))
        };
        disk.run(Touch::Read, &name, read).await
    }
}

/// What to call a temporary file that is being made.
const TEMPORARY: &str = "a new temporary file";

impl SpoolReader {
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
            Err(e) => Err(Error::store(format!("reading a spooled file failed: {e}"))),
        };
        let (disk, name) = (self.file.disk(), self.file.name());
        disk.run(Touch::Read, name, read).await
    }
}
