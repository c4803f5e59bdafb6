//! Writing a file: beside its place, and into it in one step.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::files::Files;
use crate::{error::Result, store::failed::failed};

impl Files {
    /// Writes `pieces` one after the other as the object under `path`.
    pub(super) fn save(&self, path: &str, pieces: &[Bytes]) -> Result<()> {
        let write = || {
            let mut file = self.temporary()?;
            pieces.iter().try_for_each(|piece| file.write_all(piece))?;
            self.publish(file, path)
        };
        write().map_err(|e| failed("writing", &self.at(path), e))
    }

    /// A new file with a name of its own. The folder is made again if somebody removed it.
    pub(super) fn temporary(&self) -> io::Result<NamedTempFile> {
        let folder = self.aside();
        NamedTempFile::new_in(&folder).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                fs::create_dir_all(&folder)?;
                NamedTempFile::new_in(&folder)
            }
            _ => Err(e),
        })
    }

    /// Renames a finished file into place; durable when this returns, if the folder is to be synced.
    pub(super) fn publish(&self, file: NamedTempFile, path: &str) -> io::Result<()> {
        if self.sync() {
            file.as_file().sync_all()?;
        }
        let target = self.at(path);
        let parent = target.parent().unwrap_or(self.root());
        let made = !parent.exists();
        if made {
            fs::create_dir_all(parent)?;
        }
        set_readable(&file)?;
        file.persist(&target).map_err(|e| e.error)?;
        if !self.sync() {
            return Ok(());
        }
        // A new name is durable once its folder is; a new folder, once its own parent is.
        let folders = parent
            .ancestors()
            .take_while(|f| f.starts_with(self.root()));
        for folder in folders.take(if made { usize::MAX } else { 1 }) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Temporary files are private by default; stored ones may be read by whoever may read the folder (a web server, a backup).
pub(crate) fn set_readable(file: &NamedTempFile) -> io::Result<()> {
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
}
