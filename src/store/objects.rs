//! Objects, crate by crate: what is stored in a fixed order, read and written by a thread that may block. For bundles, which carry a store elsewhere.
//!
//! Nothing here holds a list of all that is stored: one folder's names at a time.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    path::Path,
    time::SystemTime,
};

use bytes::{Buf, Bytes};
use tempfile::NamedTempFile;

use super::{
    Backend, IndexRecord, Store, Stored, failed,
    fs::Folder,
    place::{self, Place},
};
use crate::{
    domain::{IndexKey, IndexPath, Key, RegistryName},
    error::Result,
};

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
    pieces: Pieces,
    length: u64,
}

pub(super) enum Pieces {
    File(NamedTempFile),
    Memory(Vec<u8>),
}

impl Store {
    /// Shows every crate's objects to `visit`, by registry and then by the path of the crate's index file. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when a folder can't be read, and those of `visit`, which end the walk.
    pub fn holdings(&self, mut visit: impl FnMut(Holding) -> Result<()>) -> Result<()> {
        match &self.backend {
            Backend::Fs(folder) => {
                for name in names(folder.root())? {
                    if let Ok(registry) = RegistryName::parse(&name) {
                        folder.walk(registry, String::new(), &mut visit)?;
                    }
                }
                Ok(())
            }
            Backend::Memory(shelf) => {
                let stored = shelf.below("").into_iter();
                let all: BTreeSet<_> = stored
                    .map(|stored| match stored.key {
                        Key::Index(key) => (key.registry, key.path.to_string()),
                        Key::Crate(key) => (key.registry, IndexPath::of(key.id.name).to_string()),
                    })
                    .collect();
                for (registry, path) in all {
                    if let Ok(path) = IndexPath::parse(&path) {
                        visit(self.holding(IndexKey { registry, path })?)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// One crate's objects. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the folder can't be read.
    pub fn holding(&self, index: IndexKey) -> Result<Holding> {
        match &self.backend {
            Backend::Fs(folder) => folder.holding(index),
            Backend::Memory(shelf) => {
                let object = |stored: Stored| Object {
                    key: stored.key,
                    size: stored.size,
                    stored: stored.used,
                };
                let mut objects: Vec<_> = shelf.below("").into_iter().map(object).collect();
                objects.sort_by_key(|object| object.key.path());
                let own = |object: &Object| match object.key {
                    Key::Index(_) => false,
                    Key::Crate(key) => {
                        key.registry == index.registry && IndexPath::of(key.id.name) == index.path
                    }
                };
                let is_record = |object: &&Object| object.key == Key::Index(index);
                Ok(Holding {
                    index,
                    record: objects.iter().find(is_record).cloned(),
                    crates: objects.into_iter().filter(own).collect(),
                })
            }
        }
    }

    /// The object under `key` as it lies there, unchecked, and its size; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be opened.
    pub fn open_object(&self, key: &Key) -> Result<Option<(Box<dyn Read>, u64)>> {
        let path = key.path();
        match &self.backend {
            Backend::Fs(folder) => {
                let path = folder.root().join(path);
                match place::open(&path) {
                    Ok(Place::File(opened)) => Ok(Some((Box::new(opened.file), opened.meta.len()))),
                    Ok(Place::Odd(odd)) => Err(failed("opening", &path, &odd.error())),
                    Ok(Place::Empty) => Ok(None),
                    Err(e) => Err(failed("opening", &path, &e)),
                }
            }
            Backend::Memory(shelf) => Ok(shelf.open(&path).map(|bytes| {
                let size = bytes.len() as u64;
                (Box::new(bytes.reader()) as Box<dyn Read>, size)
            })),
        }
    }

    /// The index record under `key`, unless it is damaged or is none. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be read.
    pub fn open_record(&self, key: &IndexKey) -> Result<Option<IndexRecord>> {
        let path = key.path();
        let read = match &self.backend {
            Backend::Fs(folder) => read_record(&folder.root().join(&path)),
            Backend::Memory(shelf) => Ok(shelf.open(&path)),
        };
        let bytes = read.map_err(|e| failed("reading", Path::new(&path), &e))?;
        Ok(bytes.and_then(|bytes| IndexRecord::decode(bytes).ok()))
    }

    /// A place for an object's bytes. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn incoming(&self) -> Result<Incoming> {
        match &self.backend {
            Backend::Fs(folder) => match folder.temporary() {
                Ok(file) => Ok(Incoming::of(Pieces::File(file))),
                Err(e) => Err(failed("writing into", folder.root(), &e)),
            },
            Backend::Memory(_) => Ok(Incoming::of(Pieces::Memory(Vec::new()))),
        }
    }

    /// A file without a name, gone when it is closed, for what a job has to remember but not in memory; beside the store if that can only be read.
    /// Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn scratch(&self) -> Result<File> {
        match &self.backend {
            Backend::Fs(folder) => match folder.temporary() {
                // Dropping the path removes the name; the file stays as long as it is open.
                Ok(file) => Ok(file.into_file()),
                Err(e) if is_read_only(&e) => elsewhere(),
                Err(e) => Err(failed("writing into", folder.root(), &e)),
            },
            Backend::Memory(_) => elsewhere(),
        }
    }
}

/// The bytes of a record; none of what is no file, or larger than any record: that is to be replaced.
fn read_record(path: &Path) -> io::Result<Option<Bytes>> {
    let opened = match place::open(path)? {
        Place::File(opened) if IndexRecord::fits(opened.meta.len()).is_ok() => opened,
        Place::File(_) | Place::Odd(_) | Place::Empty => return Ok(None),
    };
    let mut bytes = Vec::new();
    let mut file = opened.file.take(IndexRecord::MAX_SIZE + 1);
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

fn elsewhere() -> Result<File> {
    tempfile::tempfile().map_err(|e| failed("writing into", &std::env::temp_dir(), &e))
}

impl Incoming {
    fn of(pieces: Pieces) -> Self {
        Self { pieces, length: 0 }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn into_pieces(self) -> Pieces {
        self.pieces
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.pieces {
            Pieces::File(file) => file.write(bytes),
            Pieces::Memory(all) => all.write(bytes),
        }?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Folder {
    /// Walks index and crates at once: both have the same folders, named alike.
    fn walk(
        &self,
        registry: RegistryName,
        below: String,
        visit: &mut impl FnMut(Holding) -> Result<()>,
    ) -> Result<()> {
        const DEEPEST: usize = 2;
        let root = self.root().join(registry.as_str());
        let mut found = names(&root.join("index").join(&below))?;
        found.append(&mut names(&root.join("crates").join(&below))?);
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

    fn holding(&self, index: IndexKey) -> Result<Holding> {
        let folder = format!("{}/crates/{}", index.registry, index.path);
        let mut crates = Vec::new();
        for name in names(&self.root().join(&folder))? {
            crates.extend(self.object(&format!("{folder}/{name}"))?);
        }
        Ok(Holding {
            index,
            record: self.object(&index.path())?,
            crates,
        })
    }

    /// The object at `path`, if a key makes that path and a file is there.
    fn object(&self, path: &str) -> Result<Option<Object>> {
        let Some(key) = Key::from_path(path) else {
            return Ok(None);
        };
        let path = self.root().join(path);
        match place::look(&path) {
            Ok((meta, _)) if meta.is_file() => Ok(Some(Object {
                key,
                size: meta.len(),
                stored: stored(&meta),
            })),
            Ok(_) => Ok(None),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed("reading", &path, &e)),
        }
    }
}

fn stored(meta: &Metadata) -> SystemTime {
    let time = meta.created().or_else(|_| meta.modified());
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What is in a folder, sorted; nothing when there is no such folder.
fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let listed = || {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(folder)? {
            // What isn't UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    match listed() {
        Ok(names) => Ok(names),
        Err(e) if is_missing(&e) => Ok(BTreeSet::new()),
        Err(e) => Err(failed("listing", folder, &e)),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// Not there, or below a file, which no key makes.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
