//! [`Mistold`]: files of which upstream has sent other bytes than a document says, so that it is asked whether the document is right.

use moka::sync::Cache;

use crate::domain::FileKey;

/// So many are remembered.
const MOST: u64 = 1_024;

/// Files that failed their check when they came, each until somebody has looked at what says its checksum.
pub(in crate::mirror) struct Mistold(Cache<FileKey, ()>);

impl Default for Mistold {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Mistold {
    /// Notes that something else came than its checksum says.
    pub(in crate::mirror) fn note(&self, key: &FileKey) {
        self.0.insert(*key, ());
    }

    /// Whether that was noted.
    pub(in crate::mirror) fn holds(&self, key: &FileKey) -> bool {
        self.0.contains_key(key)
    }

    /// The same, and it is forgotten.
    pub(in crate::mirror) fn take(&self, key: &FileKey) -> bool {
        self.0.remove(key).is_some()
    }
}
