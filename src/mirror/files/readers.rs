//! [`Readers`]: how many clients read a stored file at the moment that isn't in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::FileKey;

/// How many clients read which file. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Mutex<HashMap<FileKey, usize>>>);

/// One reader of a file, until this is dropped.
pub(in crate::mirror) struct OneReader {
    readers: Readers,
    // It is a large one, and goes with each answer.
    key: Box<FileKey>,
    was_alone: bool,
}

impl Readers {
    /// One more client reads `key`.
    pub(super) fn enter(&self, key: &FileKey) -> OneReader {
        let mut files = self.lock();
        let count = files.entry(*key).or_default();
        let was_alone = *count == 0;
        *count += 1;
        OneReader {
            readers: self.clone(),
            key: Box::new(*key),
            was_alone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OneReader {
    /// Whether nobody else was reading the file when this one came.
    pub(super) fn was_alone(&self) -> bool {
        self.was_alone
    }
}

impl Drop for OneReader {
    fn drop(&mut self) {
        let mut files = self.readers.lock();
        if let Some(count) = files.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
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
    fn who_comes_while_another_one_reads_the_same_file_is_not_alone() {
        let readers = Readers::default();
        let (one, other) = (key("one"), key("other"));
        let first = readers.enter(&one);
        assert!(first.was_alone());
        assert!(readers.enter(&other).was_alone(), "another file");
        let second = readers.enter(&one);
        assert!(!second.was_alone());
        drop(first);
        assert!(!readers.enter(&one).was_alone());
        drop(second);
        assert!(readers.enter(&one).was_alone());
        assert!(readers.lock().is_empty());
    }
}
