//! [`Store`]: bytes in, verified bytes out. Takes keys, never paths, and knows nothing of HTTP.
//!
//! The filesystem is the database: no index of what is stored is kept, so nothing has to be scanned at start and nothing can disagree
//! with the files after a crash. Each object is written in one atomic step and checked whenever it is read.

mod batch;
mod change;
mod corrupt;
mod disk;
mod doubts;
mod fault;
mod fs;
mod inventory;
mod memory;
mod objects;
mod place;
mod reader;
mod record;
mod removal;
mod spool;
mod unreadable;
mod verify;
mod walk;
mod wishes;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use prometheus::IntGauge;

use corrupt::Seen;

pub(crate) use batch::sync_file_system;
pub(crate) use fs::set_readable;
pub(crate) use verify::digest;

pub use batch::Batch;
pub use change::{GLANCE, Mark};
pub use disk::{Pulse, THREADS};
pub use doubts::Doubt;
#[doc(hidden)]
pub use fault::{Fault, Stall, Touch};
pub use objects::{Holding, Incoming, Object};
pub use place::{Identity, Odd};
pub use reader::CrateReader;
pub use record::{Age, IndexRecord};
pub use removal::Removal;
pub use spool::{Spool, SpoolReader};
pub use verify::{Flaw, Verdict};
pub use walk::{Links, Next, Sight, Stored};

use crate::{
    allowance::Allowance,
    domain::{CrateKey, IndexKey, Key, Sha256},
    error::{Error, Result},
    metrics::Metrics,
};

/// Where verified objects are kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    metrics: Arc<Metrics>,
    complaints: Arc<Complaints>,
    lately: Arc<wishes::Lately>,
    glance: Arc<change::Glance>,
    written: Arc<AtomicU64>,
    /// What downloads under way may take of the disk.
    room: Allowance,
    unreadable: Arc<unreadable::Unreadable>,
    disk: disk::Disk,
    doubts: doubts::Doubts,
    fault: Option<Fault>,
}

/// When the store's failures were last spoken of.
#[derive(Default)]
struct Complaints(Mutex<Option<Instant>>);

impl Complaints {
    const EVERY: Duration = Duration::from_secs(60);

    /// Whether it is time to speak of it again; if so, it counts as done.
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= Self::EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// One variant per kind of storage.
#[derive(Clone)]
enum Backend {
    Fs(Arc<fs::Folder>),
    Memory(Arc<memory::Shelf>),
}

/// An index record found in the store.
pub enum StoredIndex<L> {
    /// It, checked, with the lease that was given for its memory.
    Whole(IndexRecord, L),
    /// Not read: no memory was granted for what has so many bytes.
    Large(u64),
}

/// A .crate file found in the store.
pub enum StoredCrate<L> {
    /// All of it, checked, with the lease that was given for its memory.
    Whole(Bytes, L),
    /// No memory was granted: to be read block by block, checked on the way.
    Large(Box<CrateReader>),
}

/// What a backend found under a path.
enum Found<L> {
    Whole(Vec<u8>, L, Seen),
    Large(reader::Blocks),
}

impl Store {
    /// A store in the folder `path`, which is created when missing. Left-over temporary files older than a day are removed.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it can't be created, is no folder or can't be written to.
    pub fn open(path: &Path, sync: bool, metrics: Arc<Metrics>, now: SystemTime) -> Result<Self> {
        let folder = Arc::new(fs::Folder::open(path, sync, now)?);
        Ok(Self::over(Backend::Fs(folder), metrics))
    }

    /// A store in the folder `path` to serve from, whatever state its disk is in: full, read-only or failing, it may be well again later. With it comes why
    /// nothing can be written to it now, if so. What is done to find that out may take as long as `stall_timeout`.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when there is no such folder and none can be made, when it is no folder, and when it may neither be
    /// written to nor looked through.
    pub fn to_serve(
        path: &Path,
        sync: bool,
        metrics: Arc<Metrics>,
        now: SystemTime,
        stall_timeout: Duration,
    ) -> Result<(Self, Option<Error>)> {
        let folder = Arc::new(fs::Folder::of(path, sync));
        let (tell, told) = std::sync::mpsc::channel();
        let tried = folder.clone();
        // On a thread of its own: a dead mount keeps it for good.
        std::thread::spawn(move || tell.send(tried.try_to_use(now)));
        let unwritable = told.recv_timeout(stall_timeout).unwrap_or_else(|_| {
            let path = path.display();
            let why = "its disk doesn't answer";
            Ok(Some(Error::store(format!(
                "the folder {path} can't be used: {why}"
            ))))
        })?;
        let store = Self::over(Backend::Fs(folder), metrics).with_stall_timeout(stall_timeout);
        if unwritable.is_some() {
            store.metrics.store_unwritable.set(1);
        }
        Ok((store, unwritable))
    }

    /// The store in the folder `path`, which must be there: to be looked through, not to be served from. Nothing is created, removed or tried.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it isn't there, is no folder or can't be read.
    pub fn existing(path: &Path, sync: bool, metrics: Arc<Metrics>) -> Result<Self> {
        let folder = Arc::new(fs::Folder::existing(path, sync)?);
        Ok(Self::over(Backend::Fs(folder), metrics))
    }

    /// A store that forgets everything when dropped, for tests and for mirrors that need no disk.
    pub fn in_memory(metrics: Arc<Metrics>) -> Self {
        Self::over(Backend::Memory(Arc::default()), metrics)
    }

    fn over(backend: Backend, metrics: Arc<Metrics>) -> Self {
        Self {
            backend,
            metrics,
            complaints: Arc::default(),
            lately: Arc::default(),
            glance: Arc::default(),
            written: Arc::default(),
            room: Allowance::new(u64::MAX, 0),
            unreadable: Arc::default(),
            disk: disk::Disk::new(),
            doubts: doubts::Doubts::default(),
            fault: None,
        }
    }

    /// The same store for which downloads under way may take no more than `bytes` of the disk.
    #[must_use]
    pub fn with_room(self, bytes: u64) -> Self {
        let room = Allowance::new(bytes, 0);
        Self { room, ..self }
    }

    /// How many bytes downloads under way may take of the disk, all together.
    pub fn room(&self) -> u64 {
        self.room.most()
    }

    /// How many they take at the moment.
    pub fn spooled(&self) -> u64 {
        self.room.taken()
    }

    /// The same store with a fault that a test has control of.
    #[doc(hidden)]
    pub fn with_fault(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }

    /// The same store with a test in the place of a disk that hangs.
    #[doc(hidden)]
    pub fn with_stall(self, stall: Stall) -> Self {
        Self {
            disk: self.disk.clone().with_stall(stall),
            ..self
        }
    }

    /// The same store with another limit on how long its disk may take over one thing without getting on; 5 s if this isn't said.
    pub fn with_stall_timeout(self, stall_timeout: Duration) -> Self {
        Self {
            disk: self.disk.clone().with_stall_timeout(stall_timeout),
            ..self
        }
    }

    /// Meets the fault, where there is one.
    fn touch(&self, what: Touch, path: &str) -> Result<()> {
        let met = match &self.fault {
            Some(fault) => fault(what).map_err(|e| failed("touching", Path::new(path), &e)),
            // Whether it works is seen when it is done.
            None => return Ok(()),
        };
        match what {
            Touch::Load | Touch::Read | Touch::List | Touch::Look => self.note(met),
            Touch::Save | Touch::Remove => self.note_written(met),
        }
    }

    /// The index record under `key`. `admit` is told its size and may grant a lease on memory for it; without one it isn't read. One that fails its
    /// check is dropped, and so is what is larger than any record, without being read.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read, or not in time, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it
    /// fails its check.
    pub async fn load_index<L: Send + 'static>(
        &self,
        key: &IndexKey,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
    ) -> Result<Option<StoredIndex<L>>> {
        let path = key.path();
        self.touch(Touch::Load, &path)?;
        let decode = |bytes: Vec<u8>| IndexRecord::decode(Bytes::from(bytes));
        let admit = |size| IndexRecord::fits(size).ok().and_then(|()| admit(size));
        let found = match &self.backend {
            Backend::Fs(folder) => {
                let (folder, at) = (folder.clone(), path.clone());
                let load = move |pulse: &_| folder.load(&at, now, pulse, admit, decode);
                self.disk.run(Touch::Load, &path, load).await
            }
            Backend::Memory(shelf) => shelf.load(&path, admit, decode),
        };
        match self.note(found)? {
            None => Ok(None),
            Some(Checked::Good(record, lease)) => Ok(Some(StoredIndex::Whole(record, lease))),
            Some(Checked::Large(blocks)) => match IndexRecord::fits(blocks.length()) {
                Ok(()) => Ok(Some(StoredIndex::Large(blocks.length()))),
                Err(why) => Err(self
                    .drop_corrupt(Key::Index(*key), blocks.seen(), &why)
                    .await),
            },
            Some(Checked::Corrupt(why, seen)) => {
                Err(self.drop_corrupt(Key::Index(*key), seen, &why).await)
            }
        }
    }

    /// Stores an index record in one atomic write; header and body can't disagree.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn save_index(&self, key: &IndexKey, record: &IndexRecord) -> Result<()> {
        self.touch(Touch::Save, &key.path())?;
        let [header, body] = record.encode();
        self.count((header.len() + body.len()) as u64);
        let written = match &self.backend {
            Backend::Fs(folder) => self.write(folder, key.path(), vec![header, body]).await,
            Backend::Memory(shelf) => {
                shelf.save(key.path(), &[header, body]);
                Ok(())
            }
        };
        self.note_written(written)
    }

    /// The .crate file under `key`. `admit` is told its size and may grant a lease on memory for all of it; without one it comes as
    /// a reader. One that fails its check is dropped.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it fails its
    /// check.
    pub async fn load_crate<L: Send + 'static>(
        &self,
        key: &CrateKey,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
    ) -> Result<Option<StoredCrate<L>>> {
        let (path, sha256) = (key.path(), key.sha256);
        self.touch(Touch::Load, &path)?;
        if self.unreadable.contains(key, Instant::now()) {
            return Err(Error::store(format!(
                "{path} couldn't be read a moment ago"
            )));
        }
        let verify = move |bytes: Vec<u8>| match Sha256::of(&bytes) {
            actual if actual == sha256 => Ok(Bytes::from(bytes)),
            actual => Err(format!("its checksum is {actual}")),
        };
        let found = match &self.backend {
            Backend::Fs(folder) => {
                let (folder, at) = (folder.clone(), path.clone());
                let load = move |pulse: &_| folder.load(&at, now, pulse, admit, verify);
                self.disk.run(Touch::Load, &path, load).await
            }
            Backend::Memory(shelf) => shelf.load(&path, admit, verify),
        };
        match self.note(found)? {
            None => Ok(None),
            Some(Checked::Good(bytes, lease)) => Ok(Some(StoredCrate::Whole(bytes, lease))),
            Some(Checked::Large(blocks)) => {
                let reader = CrateReader::new(self.clone(), *key, blocks);
                Ok(Some(StoredCrate::Large(Box::new(reader))))
            }
            Some(Checked::Corrupt(why, seen)) => {
                self.doubt(*key, Doubt::Wrong);
                Err(self.drop_corrupt(Key::Crate(*key), seen, &why).await)
            }
        }
    }

    /// Stores a .crate file in one atomic write. The caller has checked `bytes` against the key's checksum.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn save_crate(&self, key: &CrateKey, bytes: Bytes) -> Result<()> {
        self.touch(Touch::Save, &key.path())?;
        self.count(bytes.len() as u64);
        let written = match &self.backend {
            Backend::Fs(folder) => self.write(folder, key.path(), vec![bytes]).await,
            Backend::Memory(shelf) => {
                shelf.save(key.path(), &[bytes]);
                Ok(())
            }
        };
        self.replaced(key, written)
    }

    /// A place for a .crate file that is too large for memory, to be filled while it arrives.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn spool(&self) -> Result<Spool> {
        self.touch(Touch::Save, "a temporary file")?;
        let folder = match &self.backend {
            Backend::Fs(folder) => Some(folder.clone()),
            Backend::Memory(_) => None,
        };
        let spool = Spool::new(folder, self.disk.clone(), &self.room, &self.written).await;
        self.note_written(spool)
    }

    /// Makes a spooled file the object under `key`. The caller has checked its bytes against the key's checksum.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn commit(&self, key: &CrateKey, spool: Spool) -> Result<()> {
        self.touch(Touch::Save, &key.path())?;
        let committed = match &self.backend {
            Backend::Fs(folder) => {
                let (folder, path) = (folder.clone(), key.path());
                let at = path.clone();
                let persist = move || spool.persist(&folder, &at);
                self.to_its_end(&path, persist).await
            }
            Backend::Memory(shelf) => match spool.into_bytes().await {
                Ok(bytes) => {
                    shelf.save(key.path(), &[bytes]);
                    Ok(())
                }
                Err(e) => Err(e),
            },
        };
        self.replaced(key, committed)
    }

    async fn write(
        &self,
        folder: &Arc<fs::Folder>,
        path: String,
        pieces: Vec<Bytes>,
    ) -> Result<()> {
        let (folder, at) = (folder.clone(), path.clone());
        self.to_its_end(&path, move || folder.save(&at, &pieces))
            .await
    }

    /// Writes, and waits until that has come to its end however long it takes: of two writes under the same path, the later one must not end first. Nobody
    /// who asked for an object waits for this. How much memory such writes hold is bounded by how many there can be; a disk that hangs refuses more.
    async fn to_its_end(
        &self,
        path: &str,
        write: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut working = self.disk.begin(Touch::Save, path, |_| write()).await?;
        if let Some(done) = working.in_time().await {
            return done;
        }
        self.complain(&working.late());
        working.ended().await
    }

    /// What a write of a .crate file came to; once there is a new file, nothing is held against the one before.
    fn replaced(&self, key: &CrateKey, written: Result<()>) -> Result<()> {
        if written.is_ok() {
            self.unreadable.remove(key);
        }
        self.note_written(written)
    }

    /// How many bytes have been given to this store since it was opened.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts failures of the storage itself to be read, and says so now and then: a broken disk fails with every request.
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        self.note_on(&self.metrics.store_unreadable, result)
    }

    /// The same for failures to be written: a full disk fails with every request.
    fn note_written<T>(&self, result: Result<T>) -> Result<T> {
        self.note_on(&self.metrics.store_unwritable, result)
    }

    fn note_on<T>(&self, failing: &IntGauge, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) if failing.get() != 0 => failing.set(0),
            Ok(_) => {}
            Err(e) => {
                failing.set(1);
                self.complain(e);
            }
        }
        result
    }

    /// Notes a failure of the storage that came about elsewhere, in a spool.
    pub fn complain(&self, e: &Error) {
        self.metrics.store_failures.inc();
        if self.complaints.is_due(Instant::now()) {
            tracing::error!(
                "the store has failed: {e}; serving goes on from memory and upstream (said once a minute)"
            );
        }
    }
}

/// What became of an object on its way through its check.
enum Checked<T, L> {
    Good(T, L),
    Large(reader::Blocks),
    Corrupt(String, Seen),
}

impl<L> Found<L> {
    /// Runs the check where the object was read, so that reading and hashing are one trip to a blocking thread.
    fn check<T>(self, check: impl FnOnce(Vec<u8>) -> Result<T, String>) -> Checked<T, L> {
        match self {
            Self::Whole(bytes, lease, seen) => match check(bytes) {
                Ok(good) => Checked::Good(good, lease),
                Err(why) => Checked::Corrupt(why, seen),
            },
            Self::Large(blocks) => Checked::Large(blocks),
        }
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("a store operation ended early: {e}")))
}

/// An [`Error`] of kind store that says what was tried with which file.
fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::store(format!("{what} {} failed: {error}", path.display())).with_io_source(error)
}
