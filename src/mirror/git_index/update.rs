//! [`Update`]: what is known of the index files brought up to date with the store, the rules and the time. One walk on threads beside those that serve requests, whoever asks.

use std::{
    mem,
    num::NonZero,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use super::{
    file_table::{FileTable, KnownFile, RecordStamp},
    folder::FolderChanges,
    object_log::{self, ObjectLog},
    reading::{CratesMatter, FileRead, FileReader, PATIENCE, grow},
};
use crate::{
    allowance::Lease,
    domain::{CrateName, IndexKey, IndexPath, RegistryName},
    error::{Error, Kind, Result},
    store::Object,
};

/// So many files are read by one thread before it hands over what it has.
const AT_ONCE: usize = 64;
/// A file that couldn't be read is read again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// About what it takes to know of a record that it is to be read.
const OF_A_KEY: usize = size_of::<(IndexKey, RecordStamp)>() + 2 * size_of::<CrateName>();
/// So many of them are leased at a time.
const KEYS_AT_ONCE: usize = 1_024;
/// About what it takes to know what has become of a file, and which objects follow.
const OF_AN_OUTCOME: usize =
    size_of::<(CrateName, Option<KnownFile>)>() + object_log::IN_MEMORY + 128;
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

/// What is to be read: records, each with its stamp.
type ToRead = Vec<(IndexKey, RecordStamp)>;

impl Update<'_> {
    /// Looks at what has to be looked at. What is new of it is in the log then; the table is the caller's to change. What the outcomes take is leased as they come. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store or the log can't be used, or most of what is to be read can't be, [`Kind::Overloaded`] when there is no memory for it.
    pub(super) fn run(&self, lease: &mut Lease) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new();
        let to_read = self.to_read(&mut outcomes, lease)?;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads
            .min(MOST_THREADS)
            .min(to_read.len().div_ceil(AT_ONCE));
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let mut unread = Unread::default();
        let (give, taken) = mpsc::sync_channel::<ReadFiles>(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                let give = give.clone();
                scope.spawn(|| self.read_all(&to_read, &next, &is_over, give));
            }
            drop(give);
            for read in taken {
                if let Err(e) = self.take(read, &mut outcomes, &mut unread, lease) {
                    is_over.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
            Ok(())
        })?;
        unread.told(self.registry, to_read.len())?;
        Ok(outcomes)
    }

    /// Puts what was read into the log, and what has become of it to the outcomes.
    fn take(
        &self,
        read: ReadFiles,
        outcomes: &mut Outcomes,
        unread: &mut Unread,
        lease: &mut Lease,
    ) -> Result<()> {
        grow(lease, read.files.len() * OF_AN_OUTCOME, PATIENCE)?;
        let entries = read.files.iter().filter_map(|(_, outcome)| match outcome {
            FileOutcome::Read(read) => {
                let (id, entry) = read.entry.as_ref()?;
                Some((*id, &entry[..]))
            }
            FileOutcome::Absent | FileOutcome::Unread(_) => None,
        });
        self.log.append(entries)?;
        for (name, outcome) in read.files {
            let file = match outcome {
                FileOutcome::Read(read) => Some(read.file),
                FileOutcome::Absent => None,
                FileOutcome::Unread(e) => {
                    unread.note(name, e);
                    Some(self.for_now(&name))
                }
            };
            outcomes.push((name, file));
        }
        Ok(())
    }

    /// What counts of a file that can't be read now: what was known of it, if that was by the same rules. It is read again soon.
    fn for_now(&self, name: &CrateName) -> KnownFile {
        let known = self.table.get(name);
        let known = known.filter(|_| self.extent != UpdateExtent::All);
        KnownFile {
            stamp: RecordStamp::UNREAD,
            blob: known.and_then(|known| known.blob),
            modified: known.map_or(SystemTime::UNIX_EPOCH, |known| known.modified),
            until: Some(self.now + AGAIN_AFTER),
        }
    }

    /// The records to be read; those that are gone are told at once.
    fn to_read(&self, gone: &mut Outcomes, lease: &mut Lease) -> Result<ToRead> {
        let mut to_read = Vec::new();
        let due: Vec<_> = self.table.due(self.now).collect();
        grow(lease, due.len() * OF_A_KEY, PATIENCE)?;
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
                grow(lease, keys.len() * OF_A_KEY, PATIENCE)?;
                // They are in the order of their names.
                let is_among = |name: &CrateName| keys.binary_search_by_key(name, IndexKey::name);
                let due = due.iter().filter(|name| is_among(name).is_err());
                let due = due.map(|name| IndexKey::new(self.registry, *name));
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
                    if seen.len() % KEYS_AT_ONCE == 0 {
                        grow(lease, KEYS_AT_ONCE * OF_A_KEY, PATIENCE)?;
                    }
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

    /// Reads files until there are no more. Who waits for memory has handed over before what it had read.
    fn read_all(
        &self,
        to_read: &ToRead,
        next: &AtomicUsize,
        is_over: &AtomicBool,
        give: mpsc::SyncSender<ReadFiles>,
    ) {
        while !is_over.load(Ordering::Relaxed) {
            let from = next.fetch_add(AT_ONCE, Ordering::Relaxed);
            let Some(rest) = to_read.get(from..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let mut read = self.nothing_read();
            for (key, stamp) in &rest[..rest.len().min(AT_ONCE)] {
                let patience = match read.files.is_empty() {
                    true => PATIENCE,
                    false => Duration::ZERO,
                };
                let mut file = self.read(key, *stamp, &mut read, patience);
                if file.wants_memory() && !read.files.is_empty() {
                    let before = mem::replace(&mut read, self.nothing_read());
                    // Who takes it has failed, and says why.
                    if give.send(before).is_err() {
                        return;
                    }
                    file = self.read(key, *stamp, &mut read, PATIENCE);
                }
                read.files.push((key.name(), file));
            }
            if give.send(read).is_err() {
                return;
            }
        }
    }

    fn nothing_read(&self) -> ReadFiles {
        ReadFiles {
            files: Vec::new(),
            lease: self.reader.shared.budget.nothing(),
        }
    }

    fn read(
        &self,
        key: &IndexKey,
        stamp: RecordStamp,
        into: &mut ReadFiles,
        patience: Duration,
    ) -> FileOutcome {
        let lease = &mut into.lease;
        match self.reader.read(key, stamp, self.log, lease, patience) {
            Ok(Some(read)) => FileOutcome::Read(read),
            Ok(None) => FileOutcome::Absent,
            Err(e) => FileOutcome::Unread(e),
        }
    }
}

/// What one thread has read, under the lease for it.
struct ReadFiles {
    files: Vec<(CrateName, FileOutcome)>,
    /// Held until they are in the log.
    lease: Lease,
}

/// What has become of one file.
enum FileOutcome {
    Read(FileRead),
    /// There is none, or none that is whole.
    Absent,
    /// It can't be said now.
    Unread(Error),
}

impl FileOutcome {
    fn wants_memory(&self) -> bool {
        matches!(self, Self::Unread(e) if e.kind() == Kind::Overloaded)
    }
}

/// The files that couldn't be read. One of them must not cost all the others.
#[derive(Default)]
struct Unread {
    count: usize,
    /// Those of them that there was memory for.
    unreadable: usize,
    first: Option<(CrateName, Error)>,
}

impl Unread {
    fn note(&mut self, name: CrateName, why: Error) {
        self.count += 1;
        self.unreadable += usize::from(why.kind() != Kind::Overloaded);
        self.first.get_or_insert((name, why));
    }

    /// Says it in the log.
    ///
    /// # Errors
    /// Why the first of them couldn't be read, when more than half of all are unreadable: then it is the store, and what was known says more than what is left.
    fn told(self, registry: RegistryName, of: usize) -> Result<()> {
        let Some((name, why)) = self.first else {
            return Ok(());
        };
        if self.unreadable * 2 > of {
            return Err(why);
        }
        let count = self.count;
        tracing::warn!(%registry, count, %name, "index files can't be read for the git index, which shows for now what it had of them; the first of them: {why}");
        Ok(())
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
