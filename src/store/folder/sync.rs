//! Syncing a whole file system, which costs less than doing it file by file.

use std::{fs, io, path::Path};

use super::files::Files;
use crate::{error::Result, store::failed::failed};

impl Files {
    /// Brings everything written so far to the disk, whoever wrote it.
    pub(super) fn sync_all(&self) -> Result<()> {
        if !self.sync() {
            return Ok(());
        }
        sync_file_system(self.root()).map_err(|e| failed("syncing", self.root(), e))
    }
}

/// Brings everything written so far to the file system that a folder is on to its disk.
pub(crate) fn sync_file_system(folder: &Path) -> io::Result<()> {
    let folder = fs::File::open(folder)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(folder)?;
    // Elsewhere the system has one call for all file systems, which doesn't say whether it has succeeded.
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        folder.sync_all()?;
    }
    Ok(())
}
