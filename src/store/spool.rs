//! [`Spool`]: a file being filled, for a crate that is too large to be held in memory while it arrives.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{blocking, failed, fs::Folder};
use crate::error::{Error, Result};

/// An unnamed-yet object: appended to by one download, read by its clients, then persisted or dropped.
pub struct Spool {
    file: NamedTempFile,
    length: u64,
}

/// The reading side of a spool, shared by all clients; it stays readable after the file was renamed or dropped.
#[derive(Clone)]
pub struct SpoolReader {
    file: Arc<File>,
}

impl Spool {
    pub(super) async fn in_folder(folder: Arc<Folder>) -> Result<Self> {
        let file = blocking(move || folder.temporary()).await?;
        Self::of(file)
    }

    pub(super) async fn anywhere() -> Result<Self> {
        Self::of(blocking(NamedTempFile::new).await?)
    }

    fn of(file: std::io::Result<NamedTempFile>) -> Result<Self> {
        file.map(|file| Self { file, length: 0 })
            .map_err(|e| Error::store(format!("making a temporary file failed: {e}")))
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
        blocking(move || match self.file.write_all(&bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(self)
            }
            Err(e) => Err(failed("writing", self.file.path(), &e)),
        })
        .await?
    }

    /// The reading side.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the process has no file handles left.
    pub fn reader(&self) -> Result<SpoolReader> {
        match self.file.as_file().try_clone() {
            Ok(file) => Ok(SpoolReader { file: file.into() }),
            Err(e) => Err(failed("opening", self.file.path(), &e)),
        }
    }

    pub(super) async fn persist(self, folder: Arc<Folder>, path: String) -> Result<()> {
        blocking(move || {
            folder
                .publish(self.file, &path)
                .map_err(|e| failed("writing", Path::new(&path), &e))
        })
        .await?
    }

    pub(super) async fn into_bytes(self) -> Result<Bytes> {
        blocking(move || {
            let mut bytes = Vec::new();
            let read = self
                .file
                .reopen()
                .and_then(|mut f| f.read_to_end(&mut bytes));
            read.map(|_| bytes.into())
                .map_err(|e| failed("reading", self.file.path(), &e))
        })
        .await?
    }
}

impl SpoolReader {
    /// Up to `most` bytes from `offset` on, where bytes are known to be.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when they can't be read.
    pub async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes> {
        let file = self.file.clone();
        blocking(move || {
            let mut bytes = vec![0; most];
            match file.read_at(&mut bytes, offset) {
                Ok(0) => Err(Error::store(
                    "a spooled file is shorter than what was written",
                )),
                Ok(length) => {
                    bytes.truncate(length);
                    Ok(bytes.into())
                }
                Err(e) => Err(Error::store(format!("reading a spooled file failed: {e}"))),
            }
        })
        .await?
    }
}
