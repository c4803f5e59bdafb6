//! [`Baseline`]: what the other side has already, and so needn't be carried.

use std::{
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    entry::{BundleEntry, Entries},
    manifest, read,
};
use crate::{
    error::{Error, Result},
    store::Store,
};

/// zstd's magic number (RFC 8878, section 3.1.1): a bundle, not a manifest.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// What was stored before has been carried.
    Time(SystemTime),
    /// What this manifest, or this bundle, names is there.
    File(PathBuf),
}

impl Baseline {
    /// Reads what it names.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the file can't be read, [`Kind::BadRequest`](crate::error::Kind::BadRequest) when it is neither a
    /// manifest nor a bundle, [`Kind::Store`](crate::error::Kind::Store) when the store has no room for a scratch file.
    pub fn open(&self, store: &Store) -> Result<OpenBaseline> {
        match self {
            Self::Time(time) => Ok(OpenBaseline(Side::Before(*time))),
            Self::File(path) => {
                let mut entries = Entries::new(store.scratch()?);
                read_entries(path, store, &mut entries)?;
                let entries = entries.read(0..entries.length())?;
                Ok(OpenBaseline(Side::Listed(ListedEntries {
                    entries: Box::new(entries),
                    next: None,
                })))
            }
        }
    }
}

/// Fills `entries` from a manifest or a bundle.
fn read_entries(path: &Path, store: &Store, entries: &mut Entries) -> Result<()> {
    let no_file = |e: std::io::Error| {
        Error::config(format!(
            "it can't be read: {e}; allowed is a manifest, a bundle or a date such as 2026-11-01"
        ))
        .with_source(e)
    };
    let mut file = File::open(path).map_err(no_file)?;
    let mut magic = Vec::new();
    (&mut file)
        .take(4)
        .read_to_end(&mut magic)
        .map_err(no_file)?;
    file.rewind().map_err(no_file)?;
    match magic == ZSTD {
        true => read::read_manifest(file, store.scratch()?, entries)?,
        // That of all parts may be larger than any bundle's.
        false => manifest::parse(file, entries)?,
    };
    Ok(())
}

/// What is known to be there; asked for entry by entry, in the order of a bundle.
pub struct OpenBaseline(Side);

enum Side {
    Before(SystemTime),
    Listed(ListedEntries),
}

struct ListedEntries {
    entries: Box<dyn Iterator<Item = Result<BundleEntry>>>,
    /// The first one that hasn't been passed.
    next: Option<BundleEntry>,
}

impl OpenBaseline {
    /// Whether the other side has `entry`, which has been stored here at `stored`.
    pub(super) fn has(&mut self, entry: &BundleEntry, stored: SystemTime) -> Result<bool> {
        match &mut self.0 {
            Side::Before(time) => Ok(stored < *time),
            Side::Listed(listed) => listed.has(entry),
        }
    }
}

impl ListedEntries {
    fn has(&mut self, entry: &BundleEntry) -> Result<bool> {
        while self
            .next
            .as_ref()
            .is_none_or(|next| next.position() < entry.position())
        {
            self.next = self.entries.next().transpose()?;
            if self.next.is_none() {
                return Ok(false);
            }
        }
        let next = self.next.as_ref();
        Ok(next.is_some_and(|next| next.path == entry.path && entry.is_known_as(next)))
    }
}
