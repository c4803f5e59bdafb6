//! [`Readers`]: how many clients read a stored file at the moment that is too large for memory.
//!
//! One client reads it from the disk, and hashes what it reads. Fifty that install the same compiler would read and hash it fifty times; so for the second of them the
//! file goes into memory, once, checked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::FileKey;

/// How many clients read which file. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Mutex<HashMap<FileKey, ReadFile>>>);

/// A file that clients read.
struct ReadFile {
    clients: usize,
    stays: bool,
}

/// One client that reads a file, until this is dropped.
pub(in crate::mirror) struct OneReader {
    readers: Readers,
    key: FileKey,
    was_alone: bool,
}

impl Readers {
    /// One more client reads `key`.
    pub(super) fn enter(&self, key: &FileKey) -> OneReader {
        let mut files = self.lock();
        let file = files.entry(*key).or_insert(ReadFile {
            clients: 0,
            stays: false,
        });
        let was_alone = file.clients == 0;
        file.clients += 1;
        OneReader {
            readers: self.clone(),
            key: *key,
            was_alone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileKey, ReadFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OneReader {
    /// Whether the file is to go into memory: somebody else was reading it already, and nothing was in the way of that yet.
    pub(super) fn is_one_of_several(&self) -> bool {
        let stays = |file: &ReadFile| file.stays;
        !self.was_alone && !self.readers.lock().get(&self.key).is_some_and(stays)
    }

    /// The file can't go into memory now. It isn't tried again before its last reader is gone, because each attempt makes others lose their place there.
    pub(super) fn leave_on_disk(&self) {
        if let Some(file) = self.readers.lock().get_mut(&self.key) {
            file.stays = true;
        }
    }
}

impl Drop for OneReader {
    fn drop(&mut self) {
        let mut files = self.readers.lock();
        if let Some(file) = files.get_mut(&self.key) {
            file.clients -= 1;
            if file.clients == 0 {
                files.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CrateId, CrateKey, RegistryName, Sha256};

    fn key(name: &str) -> FileKey {
        let key = CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse(name, "1.0.0").expect("valid"),
            sha256: Sha256::of(name.as_bytes()),
        };
        key.into()
    }

    #[test]
    fn the_second_reader_of_a_file_is_one_of_several_until_all_are_gone() {
        let readers = Readers::default();
        let (one, other) = (key("one"), key("other"));
        let first = readers.enter(&one);
        assert!(!first.is_one_of_several());
        assert!(!readers.enter(&other).is_one_of_several(), "another file");
        let second = readers.enter(&one);
        assert!(second.is_one_of_several());
        drop(first);
        assert!(readers.enter(&one).is_one_of_several());
        drop(second);
        assert!(!readers.enter(&one).is_one_of_several());
        assert!(readers.lock().is_empty());
    }

    #[test]
    fn what_stays_on_the_disk_stays_there_until_its_last_reader_is_gone() {
        let readers = Readers::default();
        let (first, second) = (readers.enter(&key("one")), readers.enter(&key("one")));
        second.leave_on_disk();
        assert!(!readers.enter(&key("one")).is_one_of_several());
        drop((first, second));
        let _first = readers.enter(&key("one"));
        assert!(readers.enter(&key("one")).is_one_of_several());
    }
}
