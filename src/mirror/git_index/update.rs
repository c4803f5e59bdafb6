//! [`Update`]: what is known of the index files brought up to date with the store, the rules and the time. One walk on threads beside those that serve requests, whoever asks.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::SystemTime,
};

use super::{
    file_table::{FileTable, KnownFile, RecordStamp},
    folder::FolderChanges,
    object_log::ObjectLog,
    reading::{CratesMatter, FileRead, FileReader},
};
use crate::{
    allowance::Lease,
    domain::{CrateName, IndexKey, IndexPath, RegistryName},
    error::{Error, Kind, Result},
    store::Object,
};

/// So many files are read by one thread before it hands over what it has.
const AT_ONCE: usize = 64;
/// More threads than this would only wait for the disk.
const MOST_THREADS: usize = 4;

/// What is looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpdateExtent {
    /// All, as if nothing were known.
    All,
    /// All whose record is another one.
    Changed,
    /// These.
    These(Vec<IndexKey>),
}

/// An update of one table.
pub(super) struct Update<'a> {
    pub(super) reader: FileReader,
    pub(super) registry: RegistryName,
    pub(super) log: &'a ObjectLog,
    pub(super) table: &'a FileTable,
    pub(super) extent: UpdateExtent,
    pub(super) now: SystemTime,
}

/// What has become of files, by their crates' names in lower case.
pub(super) type Outcomes = Vec<(CrateName, Option<KnownFile>)>;

impl Update<'_> {
    /// Looks at what has to be looked at. What is new of it is in the log then; the table is the caller's to change. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store or the log can't be used.
    pub(super) fn run(&self) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new();
        let to_read = self.to_read(&mut outcomes)?;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads
            .min(MOST_THREADS)
            .min(to_read.len().div_ceil(AT_ONCE));
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let is_over = AtomicBool::new(false);
        let (give, taken) = mpsc::sync_channel::<ReadFiles>(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                let give = give.clone();
                scope.spawn(|| {
                    let read = self.read_all(&to_read, &next, &is_over, give);
                    if let Err(e) = read {
                        is_over.store(true, Ordering::Relaxed);
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                    }
                });
            }
            drop(give);
            for read in taken {
                let entries = read.files.iter().filter_map(|(_, read)| {
                    let (id, entry) = read.as_ref()?.entry.as_ref()?;
                    Some((*id, &entry[..]))
                });
                if let Err(e) = self.log.append(entries) {
                    is_over.store(true, Ordering::Relaxed);
                    return Err(e);
                }
                let files = read.files.into_iter();
                outcomes.extend(files.map(|(name, read)| (name, read.map(|read| read.file))));
            }
            Ok(())
        })?;
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e),
            None => Ok(outcomes),
        }
    }

    /// The records to be read, each with its stamp; those that are gone are told at once.
    fn to_read(&self, gone: &mut Outcomes) -> Result<Vec<(IndexKey, RecordStamp)>> {
        let mut to_read = Vec::new();
        let due: Vec<_> = self.table.due(self.now).collect();
        let is_due = |name: &CrateName| due.binary_search(name).is_ok();
        let mut look = |key: IndexKey, stamp: Option<RecordStamp>, is_forced: bool| {
            let (name, known) = (key.name(), self.table.get(&key.name()));
            match stamp {
                None if known.is_some() => gone.push((name, None)),
                None => {}
                Some(stamp) => {
                    let is_same = known.is_some_and(|known| known.stamp == stamp);
                    if is_forced || !is_same || is_due(&name) {
                        to_read.push((key, stamp));
                    }
                }
            }
        };
        match &self.extent {
            UpdateExtent::These(keys) => {
                let due = due.iter().map(|name| IndexKey::new(self.registry, *name));
                let due = due.filter(|key| !keys.contains(key));
                for key in keys.iter().copied().chain(due) {
                    look(key, self.reader.stamp(&key)?, true);
                }
            }
            UpdateExtent::All | UpdateExtent::Changed => {
                let is_forced = self.extent == UpdateExtent::All;
                let mut seen = Vec::new();
                let store = &self.reader.shared.store;
                store.records_of(self.registry, |key, object| {
                    let stamp = match self.reader.crates {
                        CratesMatter::Yes => self.reader.stamp(&key)?,
                        CratesMatter::No => Some(stamp_of(&object)),
                    };
                    seen.push(key.name());
                    look(key, stamp, is_forced);
                    Ok(())
                })?;
                seen.sort_unstable();
                for name in self.table.names() {
                    if seen.binary_search(&name).is_err() {
                        look(IndexKey::new(self.registry, name), None, false);
                    }
                }
            }
        }
        Ok(to_read)
    }

    /// Reads files until there are no more.
    fn read_all(
        &self,
        to_read: &[(IndexKey, RecordStamp)],
        next: &AtomicUsize,
        is_over: &AtomicBool,
        give: mpsc::SyncSender<ReadFiles>,
    ) -> Result<()> {
        while !is_over.load(Ordering::Relaxed) {
            let from = next.fetch_add(AT_ONCE, Ordering::Relaxed);
            let Some(rest) = to_read.get(from..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let mut read = ReadFiles {
                files: Vec::with_capacity(AT_ONCE),
                lease: self.reader.shared.budget.nothing(),
            };
            for (key, stamp) in &rest[..rest.len().min(AT_ONCE)] {
                let file = self.reader.read(key, *stamp, self.log, &mut read.lease);
                read.files
                    .push((key.name(), without_what_is_too_large(key, file)?));
            }
            // Who takes it has failed, and says why.
            if give.send(read).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// What one thread has read, under the lease for it.
struct ReadFiles {
    files: Vec<(CrateName, Option<FileRead>)>,
    /// Held until they are in the log.
    lease: Lease,
}

/// One file for which there is no memory must not cost all the others.
fn without_what_is_too_large(
    key: &IndexKey,
    file: Result<Option<FileRead>>,
) -> Result<Option<FileRead>> {
    match file {
        Err(e) if e.kind() == Kind::Overloaded => {
            tracing::warn!(name = %key.name(), "an index file isn't in the git index for now: {e}");
            Ok(None)
        }
        other => other,
    }
}

fn stamp_of(object: &Object) -> RecordStamp {
    RecordStamp {
        size: object.size,
        stored: object.stored,
        crates: 0,
    }
}

/// What `outcomes` change in what is shown of a table.
pub(super) fn changes(outcomes: &Outcomes, table: &FileTable) -> FolderChanges {
    let mut changes = FolderChanges::default();
    for (name, file) in outcomes {
        let before = table.get(name).and_then(|known| known.blob);
        let after = file.and_then(|file| file.blob);
        if before != after {
            changes.set(&IndexPath::of(*name).to_string(), after);
        }
    }
    changes
}

/// An update that ended early.
pub(super) fn ended_early(e: tokio::task::JoinError) -> Error {
    Error::ended_early("making the git index", e)
}
