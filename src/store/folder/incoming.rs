//! Files on their way into a folder, many of which are made durable together.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use tempfile::{NamedTempFile, TempPath};

use super::{files::Files, write::set_readable};
use crate::{
    error::Result,
    store::{
        backend::{IncomingBytes, StagedBytes, scratch_elsewhere},
        failed::failed,
    },
};

/// A file that is being written.
struct IncomingFile {
    file: NamedTempFile,
    files: Arc<Files>,
}

/// A finished file that has no place yet. It isn't open.
struct StagedFile {
    file: TempPath,
    files: Arc<Files>,
}

/// A new file in that folder.
pub(super) fn incoming(files: &Arc<Files>) -> Result<Box<dyn IncomingBytes>> {
    match files.temporary() {
        Ok(file) => Ok(Box::new(IncomingFile {
            file,
            files: files.clone(),
        })),
        Err(e) => Err(failed("writing into", files.root(), e)),
    }
}

impl Files {
    /// A file without a name, beside the store if that can only be read.
    pub(super) fn scratch(&self) -> Result<File> {
        match self.temporary() {
            // Dropping the path removes the name; the file stays as long as it is open.
            Ok(file) => Ok(file.into_file()),
            Err(e) if is_read_only(&e) => scratch_elsewhere(),
            Err(e) => Err(failed("writing into", self.root(), e)),
        }
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

impl Write for IncomingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IncomingBytes for IncomingFile {
    fn finish(self: Box<Self>) -> Result<Box<dyn StagedBytes>> {
        let Self { file, files } = *self;
        set_readable(&file).map_err(|e| failed("writing", file.path(), e))?;
        let file = file.into_temp_path();
        Ok(Box::new(StagedFile { file, files }))
    }
}

impl StagedBytes for StagedFile {
    fn publish(self: Box<Self>, path: &str) -> Result<()> {
        let Self { file, files } = *self;
        let target = files.at(path);
        rename(file, &target).map_err(|e| failed("writing", &target, e))
    }
}

fn rename(file: TempPath, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    file.persist(target).map_err(|e| e.error)
}
