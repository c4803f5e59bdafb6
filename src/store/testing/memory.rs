//! [`InMemory`]: a backend that keeps objects in memory, for tests that need no disk. What it does as a folder does, every backend has to do.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, Cursor, Read, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tempfile::NamedTempFile;

use crate::{
    domain::{Key, MissedRequest, license_path},
    error::Result,
    store::{
        backend::{
            Admit, Backend, Bulk, IncomingBytes, LargeObject, Late, LoadedObject, ObjectBytes,
            ObjectInfo, OpenObject, Opening, StagedBytes, scratch_elsewhere,
        },
        blocks::Blocks,
        disk::{Disk, OnDisk},
        failed::failed_at,
        mark::Mark,
        removal::Removal,
        sight::{Links, Next, Sight, Stored},
        spool::Spool,
        version::ObjectVersion,
    },
};

/// Objects by path.
#[derive(Default)]
pub(super) struct InMemory {
    objects: Arc<Objects>,
    missed: Mutex<HashMap<String, (MissedRequest, SystemTime)>>,
    /// How many changes were announced.
    announced: AtomicU64,
    /// Large crates are spooled all the same.
    disk: Disk,
}

/// The objects, each with the number of the write that made it.
#[derive(Default)]
struct Objects {
    objects: Mutex<HashMap<String, (u64, Bytes)>>,
    writes: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version(write: u64) -> ObjectVersion {
    ObjectVersion::new(write.to_le_bytes().to_vec())
}

impl Objects {
    fn get(&self, path: &str) -> Option<(ObjectVersion, Bytes)> {
        let objects = lock(&self.objects);
        let (write, bytes) = objects.get(path)?;
        Some((version(*write), bytes.clone()))
    }

    fn put(&self, path: &str, bytes: Bytes) {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        lock(&self.objects).insert(path.to_owned(), (write, bytes));
    }

    fn remove(&self, path: &str, expected: &ObjectVersion) -> Removal {
        let mut objects = lock(&self.objects);
        match objects.get(path) {
            None => Removal::Gone,
            Some((write, _)) if version(*write) == *expected => {
                objects.remove(path);
                if let Some(beside) = license_path(path) {
                    objects.remove(&beside);
                }
                Removal::Removed
            }
            Some(_) => Removal::Replaced,
        }
    }

    /// What is below `folder`, or everything when it has no name, with what follows the folder in its path.
    fn below(&self, folder: &str) -> Vec<(String, Stored)> {
        let objects = lock(&self.objects);
        let below = |path: &str| match folder.is_empty() {
            true => Some(path.to_owned()),
            false => Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned()),
        };
        let stored = objects.iter().filter_map(|(path, (write, bytes))| {
            let stored = Stored {
                key: Key::from_path(path)?,
                path: path.clone(),
                size: bytes.len() as u64,
                used: SystemTime::UNIX_EPOCH,
                version: version(*write),
            };
            Some((below(path)?, stored))
        });
        stored.collect()
    }
}

impl Backend for InMemory {
    fn bulk(&self) -> &dyn Bulk {
        self
    }

    fn load<'a>(
        &'a self,
        path: &'a str,
        _used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        let found =
            self.objects
                .get(path)
                .map(|(version, bytes)| match admit(bytes.len() as u64) {
                    Some(take) => {
                        take(bytes);
                        LoadedObject::Taken(version)
                    }
                    None => LoadedObject::Large(LargeObject {
                        length: bytes.len() as u64,
                        version,
                        blocks: Arc::new(MemoryBlocks(bytes)),
                    }),
                });
        ready(Ok(found)).boxed()
    }

    fn save<'a>(
        &'a self,
        path: &'a str,
        pieces: Vec<Bytes>,
        _late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        self.objects.put(path, pieces.concat().into());
        ready(Ok(())).boxed()
    }

    fn temporary(&self) -> BoxFuture<'_, Result<OnDisk<NamedTempFile>>> {
        let made = NamedTempFile::new().map_err(|e| failed_at("making a temporary file", e));
        let file = made.map(|file| {
            let name = file.path().display().to_string();
            OnDisk::new(file, name, self.disk.clone())
        });
        ready(file).boxed()
    }

    fn commit<'a>(
        &'a self,
        path: &'a str,
        spool: Spool,
        _late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        let read = |file: NamedTempFile| {
            let mut bytes = Vec::new();
            file.reopen()?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let read = spool
            .persist(read)
            .and_then(|read| read.map_err(|e| failed_at("reading", e)));
        ready(read.map(|bytes| self.objects.put(path, bytes.into()))).boxed()
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        version: &'a ObjectVersion,
    ) -> BoxFuture<'a, Result<Removal>> {
        ready(Ok(self.objects.remove(path, version))).boxed()
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<Stored>>> {
        let below = self.objects.below(folder).into_iter();
        let right_in = below.filter(|(rest, _)| !rest.contains('/'));
        ready(Ok(right_in.map(|(_, stored)| stored).collect())).boxed()
    }

    fn names_in<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<BTreeSet<String>>> {
        ready(self.names(folder)).boxed()
    }

    fn size<'a>(
        &'a self,
        path: &'a str,
        _used: Option<SystemTime>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        let found = self.objects.get(path);
        ready(Ok(found.map(|(_, bytes)| bytes.len() as u64))).boxed()
    }

    fn require(&self) -> BoxFuture<'_, Result<()>> {
        ready(Ok(())).boxed()
    }

    fn mark(&self) -> BoxFuture<'_, Option<Mark>> {
        let mark = match self.announced.load(Ordering::Acquire) {
            0 => Mark::NONE,
            announced => Mark::of(announced),
        };
        ready(Some(mark)).boxed()
    }

    fn announce(&self) -> BoxFuture<'_, Result<()>> {
        self.announced.fetch_add(1, Ordering::AcqRel);
        ready(Ok(())).boxed()
    }

    fn note_missed<'a>(
        &'a self,
        request: &'a MissedRequest,
        most: usize,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<()>> {
        let mut missed = lock(&self.missed);
        let folded = request.folded();
        if missed.len() < most || missed.contains_key(&folded) {
            missed.entry(folded).or_insert((*request, now)).1 = now;
        }
        ready(Ok(())).boxed()
    }

    fn missed(&self) -> BoxFuture<'_, Result<Vec<(MissedRequest, SystemTime)>>> {
        let missed = lock(&self.missed).values().copied().collect();
        ready(Ok(missed)).boxed()
    }

    fn forget_missed<'a>(&'a self, request: &'a MissedRequest) -> BoxFuture<'a, Result<()>> {
        lock(&self.missed).remove(&request.folded());
        ready(Ok(())).boxed()
    }
}

impl Bulk for InMemory {
    fn walk(&self, _links: Links, visit: &mut dyn FnMut(Sight) -> Next) {
        for (_, stored) in self.objects.below("") {
            match visit(Sight::Object(stored.clone())) {
                Next::Go | Next::Touch => {}
                Next::Remove => {
                    self.objects.remove(&stored.path, &stored.version);
                    visit(Sight::Removed(stored));
                }
                Next::Stop => break,
            }
        }
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        let below = self.objects.below(folder.trim_end_matches('/'));
        let name = |(rest, _): (String, Stored)| Some(rest.split('/').next()?.to_owned());
        Ok(below.into_iter().filter_map(name).collect())
    }

    fn info(&self, path: &str) -> Result<Option<ObjectInfo>> {
        let found = self.objects.get(path);
        Ok(found.map(|(_, bytes)| ObjectInfo {
            size: bytes.len() as u64,
            stored: SystemTime::UNIX_EPOCH,
        }))
    }

    fn open(&self, path: &str) -> io::Result<Opening> {
        Ok(match self.objects.get(path) {
            Some((version, bytes)) => Opening::Object(OpenObject {
                size: bytes.len() as u64,
                bytes: Box::new(MemoryBytes(Cursor::new(bytes))),
                version,
            }),
            None => Opening::Nothing,
        })
    }

    fn incoming(&self) -> Result<Box<dyn IncomingBytes>> {
        Ok(Box::new(MemoryStaging {
            bytes: Vec::new(),
            objects: self.objects.clone(),
        }))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn scratch(&self) -> Result<File> {
        scratch_elsewhere()
    }

    fn locate(&self, path: &str) -> String {
        path.to_owned()
    }
}

struct MemoryBlocks(Bytes);

impl Blocks for MemoryBlocks {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        let start = self.0.len().min(offset as usize);
        let end = self.0.len().min(start + most);
        ready(Ok(self.0.slice(start..end))).boxed()
    }
}

struct MemoryBytes(Cursor<Bytes>);

impl Read for MemoryBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl ObjectBytes for MemoryBytes {
    fn is_unchanged(&self) -> bool {
        true
    }
}

struct MemoryStaging {
    bytes: Vec<u8>,
    objects: Arc<Objects>,
}

impl Write for MemoryStaging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IncomingBytes for MemoryStaging {
    fn finish(self: Box<Self>) -> Result<Box<dyn StagedBytes>> {
        Ok(self)
    }
}

impl StagedBytes for MemoryStaging {
    fn publish(self: Box<Self>, path: &str) -> Result<()> {
        let Self { bytes, objects } = *self;
        objects.put(path, bytes.into());
        Ok(())
    }
}
