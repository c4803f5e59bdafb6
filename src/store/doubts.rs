//! [`Doubts`]: what clients may hold of files without those files' checksum ever having been seen to hold.
//!
//! A file's bytes go out while it is read or fetched, all but the last of them. When it then turns out wrong, or never comes to its end, clients are left
//! with a beginning that nobody vouches for. To let one of them go on from there with the bytes of a good file would make a complete wrong one.

use std::sync::Arc;

use moka::{ops::compute::Op, sync::Cache};

use crate::domain::{FileKey, Sha256};

/// Of so many files it is remembered, those used last.
const FILES: u64 = 1024;
/// So many beginnings of one file, the latest ones.
const BEGINNINGS: usize = 16;

/// Something that clients may hold of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its beginning, or parts of that: so many bytes, which have this digest.
    Beginning {
        /// How many; more than none.
        length: u64,
        /// The digest of these bytes.
        sha256: Sha256,
    },
    /// Wrong bytes, nobody knows which.
    Wrong,
}

/// The doubts about each file, as long as this process remembers.
#[derive(Clone)]
pub(super) struct Doubts(Cache<FileKey, Arc<[Doubt]>>);

impl Default for Doubts {
    fn default() -> Self {
        Self(Cache::new(FILES))
    }
}

impl Doubts {
    pub(super) fn add(&self, key: FileKey, doubt: Doubt) {
        self.0.entry(key).and_compute_with(|known| {
            let known = known.map(|entry| entry.into_value());
            let known = known.as_deref().unwrap_or_default();
            let told = known.iter().any(|k| [Doubt::Wrong, doubt].contains(k));
            match (told, doubt) {
                (true, _) => Op::Nop,
                (false, Doubt::Wrong) => Op::Put([doubt].into()),
                (false, Doubt::Beginning { .. }) => {
                    let kept = known.iter().rev().take(BEGINNINGS - 1).rev();
                    Op::Put(kept.copied().chain([doubt]).collect())
                }
            }
        });
    }

    pub(super) fn of(&self, key: &FileKey) -> Arc<[Doubt]> {
        self.0.get(key).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CrateId, CrateKey, RegistryName};

    fn beginning(length: u64) -> Doubt {
        let sha256 = Sha256::of(&length.to_le_bytes());
        Doubt::Beginning { length, sha256 }
    }

    #[test]
    fn what_is_remembered_of_a_file_is_bounded_and_the_latest() {
        let doubts = Doubts::default();
        let key = FileKey::Crate(CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse("a", "1.0.0").expect("valid"),
            sha256: Sha256::of(b""),
        });
        assert!(doubts.of(&key).is_empty());
        for length in 1..=100 {
            doubts.add(key, beginning(length));
            doubts.add(key, beginning(length));
        }
        let expected: Vec<_> = (85..=100).map(beginning).collect();
        assert_eq!(*doubts.of(&key), expected);
        doubts.add(key, Doubt::Wrong);
        doubts.add(key, beginning(1));
        assert_eq!(*doubts.of(&key), [Doubt::Wrong]);
    }
}
