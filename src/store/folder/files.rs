//! [`Files`]: the folder itself.

use std::path::{Path, PathBuf};

/// Where files are written before they are renamed into place; on the same file system, and listed at start in place of a full scan.
/// No registry can be called so: their names start with a letter.
const TEMPORARY: &str = ".tmp";

/// A folder that holds objects, and how carefully it is written.
pub(super) struct Files {
    root: PathBuf,
    sync: bool,
}

impl Files {
    /// A folder that nobody has looked at yet.
    pub(super) fn new(root: PathBuf, sync: bool) -> Self {
        Self { root, sync }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of the object under `path` is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What an object below the folder has for its path, if that can be one.
    pub(super) fn path_of(&self, file: &Path) -> Option<String> {
        let below = file.strip_prefix(&self.root).ok()?;
        below.to_str().map(str::to_owned)
    }

    /// Where files are before they have a name, and where what is about to be removed goes for a moment.
    pub(super) fn aside(&self) -> PathBuf {
        self.root.join(TEMPORARY)
    }

    /// Whether the folder is there; a disk that has been taken away leaves none.
    pub(super) fn is_there(&self) -> bool {
        self.root.is_dir()
    }

    /// Whether a write has to reach the disk before it counts.
    pub(super) fn sync(&self) -> bool {
        self.sync
    }
}
