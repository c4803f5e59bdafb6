//! [`FileReader`]: from a stored index record to what git is given of it. Reads the store as it lies there: who clones an index hasn't used each of its files.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Read,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    file_table::{KnownFile, RecordStamp},
    object_log::ObjectLog,
};
use crate::{
    allowance::Lease,
    domain::{CrateKey, IndexFile, IndexKey, Key, Measure},
    error::{Error, Kind, Result},
    git::{self, ObjectId, ObjectKind},
    mirror::{
        index::{Viewpoint, not_among},
        kept::Shown,
        shared::Shared,
    },
    policy::{Known, Marks},
    store::StoreRecord,
};

/// Nobody waits longer for memory.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Reads index files as they are seen from somewhere.
#[derive(Clone)]
pub(super) struct FileReader {
    pub(super) shared: Arc<Shared>,
    pub(super) from: Viewpoint,
    pub(super) crates: CratesMatter,
}

/// Whether an index file is shown otherwise when one of its crates isn't stored: offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CratesMatter {
    Yes,
    No,
}

/// What was read.
pub(super) struct FileRead {
    pub(super) file: KnownFile,
    /// How it stands in packs, unless that is in the log.
    pub(super) entry: Option<(ObjectId, Vec<u8>)>,
}

impl FileReader {
    /// What tells the stored record under `key` from the next one; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read.
    pub(super) fn stamp(&self, key: &IndexKey) -> Result<Option<RecordStamp>> {
        let store = &self.shared.store;
        let (record, crates) = match self.crates {
            CratesMatter::No => (store.stored_record(key)?, 0),
            CratesMatter::Yes => {
                let holding = store.holding(*key)?;
                let mut hasher = DefaultHasher::new();
                let crates = holding.crates.iter();
                crates.for_each(|object| object.key.path().hash(&mut hasher));
                (holding.record, hasher.finish())
            }
        };
        Ok(record.map(|record| RecordStamp {
            size: record.size,
            stored: record.stored,
            crates,
        }))
    }

    /// What is shown of the stored record under `key`, which has this stamp; `None` when it isn't there any more, or isn't whole. What it takes is leased meanwhile, after
    /// waiting for memory at most so long. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, [`Kind::Overloaded`] when there is no memory for it.
    pub(super) fn read(
        &self,
        key: &IndexKey,
        stamp: RecordStamp,
        log: &ObjectLog,
        lease: &mut Lease,
        patience: Duration,
    ) -> Result<Option<FileRead>> {
        let held = lease.bytes();
        let read = self.read_within(key, stamp, log, lease, patience);
        let entry = |read: &FileRead| read.entry.as_ref().map_or(0, |(_, entry)| entry.len());
        let kept = read.as_ref().ok().and_then(Option::as_ref).map_or(0, entry);
        lease.shrink_to(held + kept as u64);
        read
    }

    fn read_within(
        &self,
        key: &IndexKey,
        stamp: RecordStamp,
        log: &ObjectLog,
        lease: &mut Lease,
        patience: Duration,
    ) -> Result<Option<FileRead>> {
        let Some(record) = self.record(key, lease, patience)? else {
            return Ok(None);
        };
        let modified = record.modified_at;
        let file = |blob, until| KnownFile {
            stamp,
            blob,
            modified,
            until,
        };
        if record.gone {
            let file = file(None, None);
            return Ok(Some(FileRead { file, entry: None }));
        }
        let body = record.body.len();
        let mut measure = Measure::default();
        measure.add(&record.body);
        grow(lease, measure.needs() + body, patience)?;
        let Ok(parsed) = IndexFile::parse(key.path, record.body) else {
            return Ok(None);
        };
        let known = Known {
            file: &parsed,
            history: &record.history,
            modified_at: modified,
        };
        let not_stored = match self.crates {
            CratesMatter::Yes => not_among(&parsed, key, &self.stored(key)?),
            CratesMatter::No => Marks::default(),
        };
        let (shown, ruling) = self.from.see(key, known, &not_stored, None);
        let until = ruling.validity.until;
        if ruling.crate_is_denied {
            let file = file(None, until);
            return Ok(Some(FileRead { file, entry: None }));
        }
        let shown: &Bytes = match &shown {
            Shown::AsIs(_) => parsed.body(),
            Shown::Other(body) => body,
        };
        let id = ObjectId::of(ObjectKind::Blob, shown);
        let entry = match log.holds(&id) {
            true => None,
            false => Some((id, compressed(ObjectKind::Blob, shown)?)),
        };
        let file = file(Some(id), until);
        Ok(Some(FileRead { file, entry }))
    }

    fn record(
        &self,
        key: &IndexKey,
        lease: &mut Lease,
        patience: Duration,
    ) -> Result<Option<StoreRecord>> {
        let Some((reader, size)) = self.shared.store.open_object(&Key::from(*key))? else {
            return Ok(None);
        };
        if StoreRecord::fits(size).is_err() {
            return Ok(None);
        }
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        grow(lease, length, patience)?;
        let mut bytes = Vec::with_capacity(length);
        let read = reader.take(size).read_to_end(&mut bytes);
        read.map_err(|e| Error::store(format!("reading {} failed: {e}", key.path())))?;
        // One that isn't whole is dropped by who serves it; here it isn't there.
        Ok(StoreRecord::decode(bytes.into()).ok())
    }

    fn stored(&self, key: &IndexKey) -> Result<Vec<CrateKey>> {
        let objects = self.shared.store.holding(*key)?.crates.into_iter();
        let crates = objects.filter_map(|object| object.key.crate_file().copied());
        Ok(crates.collect())
    }
}

/// How an object stands in packs.
///
/// # Errors
/// [`Kind::Internal`]: none that is known.
pub(super) fn compressed(kind: ObjectKind, content: &[u8]) -> Result<Vec<u8>> {
    git::entry(kind, content).map_err(|e| {
        Error::internal("an object of the git index can't be compressed").with_source(e)
    })
}

/// What to say when there is no memory for it.
pub(super) fn no_memory() -> Error {
    Error::new(
        Kind::Overloaded,
        "this mirror has no memory for a git index at the moment; try again in a moment, or raise `memory.budget`",
    )
}

/// Has a lease grow, after waiting for it if need be, at most so long. Blocks.
///
/// # Errors
/// [`Kind::Overloaded`] when that takes too long.
pub(super) fn grow(lease: &mut Lease, bytes: usize, patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    while !lease.try_grow_making_way(bytes as u64) {
        if Instant::now() >= end {
            return Err(no_memory());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
