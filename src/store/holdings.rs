//! Objects, crate by crate: what is stored in a fixed order, read and written by a thread that may block. For bundles, which carry a store elsewhere.
//!
//! Nothing here holds a list of all that is stored: one folder's names at a time.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    time::SystemTime,
};

use super::{
    backend::{IncomingBytes, Opening},
    failed::failed,
    handle::Store,
    record::StoreRecord,
};
use crate::{
    domain::{IndexKey, IndexPath, Key, RecordKey, RegistryName},
    error::Result,
};

/// How many folders are between a registry's index and its index files, at most.
const DEEPEST: usize = 2;

/// One crate's objects.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The key of its index record, which may be missing.
    pub index: IndexKey,
    /// The index record.
    pub record: Option<Object>,
    /// The .crate files, in the order of their paths.
    pub crates: Vec<Object>,
}

/// One stored object, not yet looked into.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was put here; where the file system doesn't know, when it was last used, which is later.
    pub stored: SystemTime,
}

/// An object being written; dropped without being staged in a [`Batch`](super::Batch) it leaves nothing.
pub struct Incoming {
    bytes: Box<dyn IncomingBytes>,
    length: u64,
}

impl Store {
    /// Shows every crate's objects to `visit`, by registry and then by the path of the crate's index file. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when a folder can't be read, and those of `visit`, which end the walk.
    pub fn holdings(&self, mut visit: impl FnMut(Holding) -> Result<()>) -> Result<()> {
        for name in self.backend.bulk().names("")? {
            if let Ok(registry) = RegistryName::parse(&name) {
                self.walk(registry, String::new(), &mut visit)?;
            }
        }
        Ok(())
    }

    /// Shows every index record of a registry to `visit`, by the path of the index file. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when a folder can't be read, and those of `visit`, which end the walk.
    pub fn records_of(
        &self,
        registry: RegistryName,
        mut visit: impl FnMut(IndexKey, Object) -> Result<()>,
    ) -> Result<()> {
        self.records_below(registry, "", &mut visit)
    }

    fn records_below(
        &self,
        registry: RegistryName,
        below: &str,
        visit: &mut impl FnMut(IndexKey, Object) -> Result<()>,
    ) -> Result<()> {
        for name in self
            .backend
            .bulk()
            .names(&format!("{registry}/index/{below}"))?
        {
            let path = match below {
                "" => name,
                below => format!("{below}/{name}"),
            };
            match IndexPath::parse(&path) {
                Ok(path) => {
                    let key = IndexKey { registry, path };
                    if let Some(object) = self.stored_record(&key)? {
                        visit(key, object)?;
                    }
                }
                Err(_) if path.matches('/').count() < DEEPEST => {
                    self.records_below(registry, &path, visit)?;
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The index record under `key` as an object; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be looked at.
    pub fn stored_record(&self, key: &IndexKey) -> Result<Option<Object>> {
        self.object(&key.path())
    }

    /// Walks index and crates at once: both have the same folders, named alike.
    fn walk(
        &self,
        registry: RegistryName,
        below: String,
        visit: &mut impl FnMut(Holding) -> Result<()>,
    ) -> Result<()> {
        let names = |kind| {
            self.backend
                .bulk()
                .names(&format!("{registry}/{kind}/{below}"))
        };
        let mut found = names("index")?;
        found.append(&mut names("crates")?);
        for name in found {
            let path = match below.is_empty() {
                true => name,
                false => format!("{below}/{name}"),
            };
            match IndexPath::parse(&path) {
                Ok(path) => visit(self.holding(IndexKey { registry, path })?)?,
                Err(_) if path.matches('/').count() < DEEPEST => {
                    self.walk(registry, path, visit)?;
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// One crate's objects. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the folder can't be read.
    pub fn holding(&self, index: IndexKey) -> Result<Holding> {
        let folder = index.crates_folder();
        let mut crates = Vec::new();
        for name in self.backend.bulk().names(&folder)? {
            crates.extend(self.object(&format!("{folder}/{name}"))?);
        }
        Ok(Holding {
            index,
            record: self.object(&index.path())?,
            crates,
        })
    }

    /// The object at `path`, if a key makes that path and something is there.
    pub(super) fn object(&self, path: &str) -> Result<Option<Object>> {
        let Some(key) = Key::from_path(path) else {
            return Ok(None);
        };
        let info = self.backend.bulk().info(path)?;
        Ok(info.map(|info| Object {
            key,
            size: info.size,
            stored: info.stored,
        }))
    }

    /// The object under `key` as it lies there, unchecked, and its size; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be opened.
    pub fn open_object(&self, key: &Key) -> Result<Option<(Box<dyn Read>, u64)>> {
        let path = key.path();
        let why = match self.backend.bulk().open(&path) {
            Ok(Opening::Object(object)) => {
                let bytes: Box<dyn Read> = object.bytes;
                return Ok(Some((bytes, object.size)));
            }
            Ok(Opening::Nothing) => return Ok(None),
            Ok(Opening::Odd(odd)) => odd.error(),
            Err(e) => e,
        };
        let path = self.backend.bulk().locate(&path);
        Err(failed("opening", Path::new(&path), why))
    }

    /// The index record under `key`, unless it is damaged or is none. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be read.
    pub fn open_record(&self, key: impl Into<RecordKey>) -> Result<Option<StoreRecord>> {
        let path = key.into().path();
        let read = || match self.backend.bulk().open(&path)? {
            Opening::Object(object) if StoreRecord::fits(object.size).is_ok() => {
                let mut bytes = Vec::new();
                let mut object = object.bytes.take(StoreRecord::MAX_SIZE + 1);
                object.read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            // What is no file, or larger than any record, is to be replaced.
            Opening::Object(_) | Opening::Odd(_) | Opening::Nothing => Ok(None),
        };
        let bytes = read().map_err(|e| failed("reading", Path::new(&path), e))?;
        Ok(bytes.and_then(|bytes| StoreRecord::decode(bytes.into()).ok()))
    }

    /// A place for an object's bytes. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn incoming(&self) -> Result<Incoming> {
        let bytes = self.backend.bulk().incoming()?;
        Ok(Incoming { bytes, length: 0 })
    }

    /// A file without a name, gone when it is closed, for what a job has to remember but not in memory; beside the store if that can only be read.
    /// Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn scratch(&self) -> Result<File> {
        self.backend.bulk().scratch()
    }
}

impl Incoming {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn into_bytes(self) -> Box<dyn IncomingBytes> {
        self.bytes
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.bytes.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
