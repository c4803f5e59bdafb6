//! [`FolderSettings`]: where a store's folder is, and how it is treated.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::store::disk::Disk;
#[cfg(feature = "testing")]
use crate::store::disk::{DiskStall, Hook};

/// Where a store's folder is, and how it is treated. It isn't looked at before a store is opened.
pub struct FolderSettings {
    pub(super) root: PathBuf,
    /// Whether a write has to reach the disk before it counts.
    pub(super) sync: bool,
    pub(super) disk: Disk,
}

impl FolderSettings {
    /// The folder `root`; with `sync`, what was written to it outlasts a power cut. Its disk may take 5 s over one thing without getting on.
    pub fn new(root: &Path, sync: bool) -> Self {
        Self {
            root: root.to_owned(),
            sync,
            disk: Disk::default(),
        }
    }

    /// Something else that is kept there.
    pub(in crate::store) fn in_root<T>(&self, make: impl FnOnce(&Path, Disk) -> T) -> T {
        make(&self.root, self.disk.clone())
    }

    /// The same with another limit on how long its disk may take over one thing without getting on.
    #[must_use]
    pub fn with_stall_timeout(self, stall_timeout: Duration) -> Self {
        Self {
            disk: self.disk.with_stall_timeout(stall_timeout),
            ..self
        }
    }

    /// The same with a test in the place of a disk that hangs.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_stall(self, stall: DiskStall) -> Self {
        Self {
            disk: self.disk.with_hook(Hook::new(stall)),
            ..self
        }
    }
}
