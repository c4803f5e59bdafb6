//! The mark of change in a folder: a file that is replaced, of which a look is one `stat`.

use std::{
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::MetadataExt,
};

use super::files::Files;
use crate::{
    error::Result,
    store::{failed::failed, mark::Mark},
};

/// The file; no key makes this path, because no registry's name starts with a dot.
pub(super) const MARK: &str = ".changed";

impl Files {
    /// The mark as it is; `None` when the disk can't say, because it fails or isn't there.
    pub(super) fn mark(&self) -> Option<Mark> {
        match fs::metadata(self.at(MARK)) {
            Ok(meta) => Some(mark_of(&meta)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_there() => Some(Mark::NONE),
            Err(_) => None,
        }
    }

    /// Puts a new file into the mark's place. It isn't synced: after a crash nobody is left who remembers.
    pub(super) fn announce(&self) -> Result<()> {
        let target = self.at(MARK);
        let replace = || {
            let mut file = self.temporary()?;
            file.write_all(b"An import has added to this store; a running mirror looks again.\n")?;
            file.persist(&target).map_err(|e| e.error)
        };
        match replace() {
            Ok(_) => Ok(()),
            Err(e) => Err(failed("writing", &target, e)),
        }
    }
}

/// A file of its own for each announcement. It may get the number of one that is gone, but not at the same moment.
fn mark_of(meta: &Metadata) -> Mark {
    let mut hasher = DefaultHasher::new();
    (meta.ino(), meta.mtime(), meta.mtime_nsec()).hash(&mut hasher);
    Mark::of(hasher.finish())
}
