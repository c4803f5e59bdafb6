//! [`ObjectLog`]: the files and folders of an index as they stand in packs, in a file without a name.
//!
//! What has been promised to a client can be sent whatever becomes of the store meanwhile; nothing is compressed twice, however many ask; and none of it is in memory but where it is.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{PoisonError, RwLock},
};

use crate::{
    error::{Error, Result},
    git::ObjectId,
};

/// What an object takes in memory here.
pub(super) const IN_MEMORY: usize = 64;

/// The objects of one index, one after the other.
pub(super) struct ObjectLog {
    file: File,
    written: RwLock<Written>,
}

#[derive(Default)]
struct Written {
    length: u64,
    places: HashMap<ObjectId, EntryPlace>,
}

/// Where in the file an entry of a pack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryPlace {
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl ObjectLog {
    /// An empty one in that file.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            written: RwLock::default(),
        }
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.read().length
    }

    /// How many objects.
    pub(super) fn objects(&self) -> usize {
        self.read().places.len()
    }

    /// Whether an object is in it.
    pub(super) fn holds(&self, id: &ObjectId) -> bool {
        self.read().places.contains_key(id)
    }

    /// Where an object is.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when it isn't there.
    pub(super) fn place(&self, id: &ObjectId) -> Result<EntryPlace> {
        let place = self.read().places.get(id).copied();
        place.ok_or_else(|| Error::internal(format!("the git index has lost its object {id}")))
    }

    /// Adds entries, one after the other, unless they are there. Blocks. Only one caller at a time adds.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the disk can't be written.
    pub(super) fn append<'a>(
        &self,
        entries: impl IntoIterator<Item = (ObjectId, &'a [u8])>,
    ) -> Result<()> {
        let mut offset = self.length();
        let (mut bytes, mut added) = (Vec::new(), HashMap::new());
        for (id, entry) in entries {
            if self.holds(&id) || added.contains_key(&id) {
                continue;
            }
            let length = u32::try_from(entry.len())
                .map_err(|_| Error::store("an object is too large for the git index"))?;
            added.insert(id, EntryPlace { offset, length });
            offset += u64::from(length);
            bytes.extend_from_slice(entry);
        }
        let start = self.length();
        self.file.write_all_at(&bytes, start).map_err(failed)?;
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        written.length = offset;
        written.places.extend(added);
        Ok(())
    }

    /// Adds bytes of the file to `out`. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the disk can't be read.
    pub(super) fn copy(&self, offset: u64, length: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + length, 0);
        self.file
            .read_exact_at(&mut out[start..], offset)
            .map_err(failed)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Written> {
        self.written.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(e: io::Error) -> Error {
    Error::store("the file in which the git index is made can't be used").with_source(e)
}
