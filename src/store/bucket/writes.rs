//! [`Writes`]: a job's objects on their way into a bucket, several at a time.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::{NamedTempFile, TempPath};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};

use super::{requests::Requests, uploads::PartUploads, waiting::wait};
use crate::{
    error::{Error, Result},
    store::{
        backend::{IncomingBytes, StagedBytes},
        disk::Disk,
        failed::failed_at,
        file_blocks::FileBlocks,
    },
};

/// So many are written at once.
const AT_ONCE: usize = 16;

/// Who writes them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writes {
    /// On which requests are made for threads that block.
    pub(super) runtime: Handle,
    uploads: PartUploads,
    room: Arc<Semaphore>,
    under_way: Arc<Mutex<JoinSet<Result<()>>>>,
}

impl Writes {
    /// Must be called within a tokio runtime.
    pub(super) fn new(requests: Requests) -> Self {
        Self {
            runtime: Handle::current(),
            uploads: PartUploads::new(requests),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<Result<()>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for an object's bytes.
    pub(super) fn incoming(&self) -> Result<Box<dyn IncomingBytes>> {
        let file = NamedTempFile::new();
        let file = file.map_err(|e| failed_at("making a temporary file", e))?;
        let writes = self.clone();
        Ok(Box::new(Incoming { file, writes }))
    }

    /// Begins to write a file as soon as there is room for one more. Blocks.
    fn begin(&self, path: &str, file: TempPath) -> Result<()> {
        let room = self.room.clone();
        let permit = wait(&self.runtime, async move {
            let permit = room.acquire_owned().await;
            permit.map_err(|e| Error::ended_early("writing into the bucket", e))
        })?;
        let (path, uploads) = (path.to_owned(), self.uploads.clone());
        let write = async move {
            let _permit = permit;
            let open = std::fs::File::open(&file).and_then(|open| Ok((open.metadata()?, open)));
            let (meta, open) = open.map_err(|e| failed_at("reading a staged file", e))?;
            let blocks = FileBlocks {
                file: Arc::new(open),
                path: path.clone(),
                disk: Disk::default(),
            };
            uploads.send(&path, meta.len(), &blocks).await
        };
        self.lock().spawn_on(write, &self.runtime);
        Ok(())
    }

    /// Waits for all that have begun. Blocks.
    ///
    /// # Errors
    /// That of the first that has failed.
    pub(super) fn end(&self) -> Result<()> {
        let mut all = std::mem::take(&mut *self.lock());
        wait(&self.runtime, async move {
            let mut ended = Ok(());
            while let Some(one) = all.join_next().await {
                let one = one.map_err(|e| Error::ended_early("writing into the bucket", e));
                ended = ended.and(one.and_then(|done| done));
            }
            ended
        })
    }
}

/// An object that is being spooled.
struct Incoming {
    file: NamedTempFile,
    writes: Writes,
}

/// A finished one that has no place yet. It isn't open.
struct Staged {
    file: TempPath,
    writes: Writes,
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IncomingBytes for Incoming {
    fn finish(self: Box<Self>) -> Result<Box<dyn StagedBytes>> {
        let Self { file, writes } = *self;
        let file = file.into_temp_path();
        Ok(Box::new(Staged { file, writes }))
    }
}

impl StagedBytes for Staged {
    fn publish(self: Box<Self>, path: &str) -> Result<()> {
        self.writes.begin(path, self.file)
    }
}
