//! [`Shelf`]: a store's objects in memory, the twin of the folder for tests.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;

use super::{Checked, Found, Identity, Removal, Stored, corrupt::Seen, reader::Blocks};
use crate::{domain::Key, error::Result};

/// Objects by path.
#[derive(Default)]
pub(super) struct Shelf {
    objects: Mutex<HashMap<String, Bytes>>,
    /// How many changes were announced.
    announced: AtomicU64,
}

impl Shelf {
    fn objects(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn load<T, L>(
        &self,
        path: &str,
        admit: impl FnOnce(u64) -> Option<L>,
        check: impl FnOnce(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<Checked<T, L>>> {
        let Some(object) = self.objects().get(path).cloned() else {
            return Ok(None);
        };
        let found = match admit(object.len() as u64) {
            Some(lease) => {
                let seen = Seen::Settled(Identity::of_bytes(&object));
                Found::Whole(object.into(), lease, seen)
            }
            None => Found::Large(Blocks::Memory(object)),
        };
        Ok(Some(found.check(check)))
    }

    pub(super) fn save(&self, path: String, pieces: &[Bytes]) {
        self.objects().insert(path, pieces.concat().into());
    }

    pub(super) fn open(&self, path: &str) -> Option<Bytes> {
        self.objects().get(path).cloned()
    }

    /// The objects in `folder`, or all of them when it has no name.
    pub(super) fn below(&self, folder: &str) -> Vec<Stored> {
        let objects = self.objects();
        let inside = |path: &str| match path.strip_prefix(folder) {
            Some(rest) => folder.is_empty() || rest.starts_with('/'),
            None => false,
        };
        let inside = objects.iter().filter(|(path, _)| inside(path));
        let stored = inside.filter_map(|(path, object)| {
            Some(Stored {
                key: Key::from_path(path)?,
                path: path.clone(),
                size: object.len() as u64,
                used: SystemTime::UNIX_EPOCH,
                identity: Identity::of_bytes(object),
            })
        });
        stored.collect()
    }

    /// Removes the object under `path` if it is still that one.
    pub(super) fn remove_exactly(&self, path: &str, identity: Identity) -> Removal {
        let mut objects = self.objects();
        match objects.get(path).map(Identity::of_bytes) {
            None => Removal::Gone,
            Some(there) if there == identity => {
                objects.remove(path);
                Removal::Removed
            }
            Some(_) => Removal::Changed,
        }
    }

    pub(super) fn announce(&self) {
        self.announced.fetch_add(1, Ordering::AcqRel);
    }

    /// How many changes were announced, if any was.
    pub(super) fn announced(&self) -> Option<u64> {
        Some(self.announced.load(Ordering::Acquire)).filter(|&n| n > 0)
    }
}
