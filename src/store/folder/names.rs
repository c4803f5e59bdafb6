//! What is in a folder, by name, and what is known of a file without opening it.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io::{self, Read},
    time::SystemTime,
};

use super::{
    files::Files,
    identity::{Identity, Seen},
    path::{AtPath, OpenFile, is_missing, look, open},
};
use crate::{
    error::Result,
    store::{
        backend::{ObjectBytes, ObjectInfo, OpenObject, Opening},
        failed::failed,
    },
};

impl Files {
    /// What is in a folder, sorted; nothing when there is no such folder.
    pub(super) fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        let folder = self.at(folder);
        let listed = || {
            let mut names = BTreeSet::new();
            for entry in fs::read_dir(&folder)? {
                // What isn't UTF-8 is none of ours.
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        };
        match listed() {
            Ok(names) => Ok(names),
            Err(e) if is_nowhere(&e) => Ok(BTreeSet::new()),
            Err(e) => Err(failed("listing", &folder, e)),
        }
    }

    /// What is known of the file at `path`, if there is one.
    pub(super) fn info(&self, path: &str) -> Result<Option<ObjectInfo>> {
        let path = self.at(path);
        match look(&path) {
            Ok((meta, _)) if meta.is_file() => Ok(Some(ObjectInfo {
                size: meta.len(),
                stored: stored(&meta),
            })),
            Ok(_) => Ok(None),
            Err(e) if is_nowhere(&e) => Ok(None),
            Err(e) => Err(failed("reading", &path, e)),
        }
    }

    /// The size of the file at `path`, if there is one.
    pub(super) fn size(&self, path: &str) -> Result<Option<u64>> {
        let path = self.at(path);
        match look(&path) {
            Ok((meta, _)) => Ok(meta.is_file().then_some(meta.len())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed("looking at", &path, e)),
        }
    }

    /// The file at `path`, to be read by a job.
    pub(super) fn open(&self, path: &str) -> io::Result<Opening> {
        Ok(match open(&self.at(path))? {
            AtPath::File(OpenFile { file, meta, .. }) => {
                let identity = Identity::of(&meta);
                Opening::Object(OpenObject {
                    bytes: Box::new(FileBytes { file, identity }),
                    size: meta.len(),
                    version: Seen::Settled(identity).version(),
                })
            }
            AtPath::Odd(odd) => Opening::Odd(odd),
            AtPath::Empty => Opening::Nothing,
        })
    }
}

/// A file that a job reads.
struct FileBytes {
    file: fs::File,
    /// As it was when it was opened.
    identity: Identity,
}

impl Read for FileBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl ObjectBytes for FileBytes {
    fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        now.is_ok_and(|meta| Identity::of(&meta) == self.identity)
    }
}

fn stored(meta: &Metadata) -> SystemTime {
    let time = meta.created().or_else(|_| meta.modified());
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Not there, or below a file, which no key makes.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
