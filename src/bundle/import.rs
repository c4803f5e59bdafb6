//! Importing: a bundle's entries into a store, each checked against its index, none over something better.

use std::{io::Read, time::SystemTime};

use bytes::Bytes;

use super::{Content, Entry, Head, PublicKey, Sink, Watch, read, read_archive};
use crate::{
    domain::{CrateId, CrateKey, IndexFile, IndexKey, IndexPath, Key, RegistryName, Version},
    error::{Error, Result},
    store::{Batch, IndexRecord, Store, digest},
};

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries written.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that were there already, or newer.
    pub skipped: u64,
    /// The registries in the bundle.
    pub registries: Vec<String>,
}

/// Reads a bundle into `store` at the time `now`; with a `key`, only one that it has signed. What came before something wrong is kept; running it again goes on from
/// there. What was staged is put into place every few seconds, and when the job is ended by whoever watches. When this returns without an error, everything is durable, if the store is synced.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong with the bundle and at which entry, [`Kind::Store`](crate::error::Kind::Store)
/// when the store can't be written. What was done until then is in `done`.
pub fn import(
    source: impl Read,
    key: Option<&PublicKey>,
    store: &Store,
    now: SystemTime,
    watch: &Watch<'_>,
    done: &mut Imported,
) -> Result<()> {
    with(store, now, watch, done, |import| {
        read(watch.reading(source), key, || store.scratch(), import)
    })
}

/// The same as [`import`] for an archive that isn't compressed.
///
/// # Errors
/// As for [`import`].
pub fn import_archive(
    source: impl Read,
    key: Option<&PublicKey>,
    store: &Store,
    now: SystemTime,
    watch: &Watch<'_>,
    done: &mut Imported,
) -> Result<()> {
    with(store, now, watch, done, |import| {
        read_archive(watch.reading(source), key, || store.scratch(), import)
    })
}

fn with(
    store: &Store,
    now: SystemTime,
    watch: &Watch<'_>,
    done: &mut Imported,
    read: impl FnOnce(&mut Import<'_>) -> Result<()>,
) -> Result<()> {
    let mut import = Import {
        store,
        watch,
        batch: store.batch(now),
        now,
        index: None,
        done,
    };
    let read = read(&mut import);
    // Also after an error: what has been checked is good.
    let finished = import.batch.finish();
    read.and(finished)
}

struct Import<'a> {
    store: &'a Store,
    watch: &'a Watch<'a>,
    batch: Batch,
    now: SystemTime,
    /// The index of the crate whose entries come at the moment.
    index: Option<(IndexKey, IndexFile)>,
    done: &'a mut Imported,
}

impl Sink for Import<'_> {
    fn begin(&mut self, head: &Head, _entries: u64, bytes: u64) -> Result<()> {
        let known = &mut self.done.registries;
        known.extend(head.registries.keys().cloned());
        known.sort_unstable();
        known.dedup();
        (self.watch.total)(bytes);
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, key: &Key, content: Content<'_>) -> Result<()> {
        let written = match key {
            Key::Index(key) => self.record(entry, key, content)?,
            Key::Crate(key) => self.crate_file(entry, key, content)?,
        };
        match written {
            Written::New => {
                self.done.written += 1;
                self.done.bytes += entry.size;
            }
            Written::Skipped => self.done.skipped += 1,
        }
        (self.watch.bytes)(entry.size);
        Ok(())
    }
}

/// What became of an entry.
enum Written {
    New,
    Skipped,
}

impl Import<'_> {
    fn record(&mut self, entry: &Entry, key: &IndexKey, content: Content<'_>) -> Result<Written> {
        let wrong = |why: &str| {
            let path = &entry.path;
            Error::bad_request(format!("{path} is not a stored index file: {why}"))
        };
        let bytes = Bytes::from(content.into_bytes()?);
        let record = IndexRecord::decode(bytes.clone()).map_err(|why| wrong(&why))?;
        let body = (!record.gone).then_some(record.sha256);
        if entry.body != body {
            return Err(wrong("the manifest says something else of it"));
        }
        if record.age().is_ahead_of(self.now) {
            let date = humantime::format_rfc3339_seconds(record.checked_at);
            return Err(Error::bad_request(format!(
                "{} is dated {date}, which is more than a day ahead of this machine's clock; one of the two clocks has to be set right",
                entry.path
            )));
        }
        let file =
            IndexFile::parse(key.path, record.body.clone()).map_err(|e| wrong(e.message()))?;
        self.index = Some((*key, file));
        if self.store.has_newer_record(key, record.age(), self.now)? {
            return Ok(Written::Skipped);
        }
        let mut incoming = self.store.incoming()?;
        std::io::Write::write_all(&mut incoming, &bytes).map_err(super::entry::scratch)?;
        self.batch.stage_record(key, record.age(), incoming)?;
        Ok(Written::New)
    }

    fn crate_file(
        &mut self,
        entry: &Entry,
        key: &CrateKey,
        content: Content<'_>,
    ) -> Result<Written> {
        self.find_index(key)?;
        let listed = self
            .index
            .as_ref()
            .is_some_and(|(_, file)| lists(file, key));
        if !listed {
            return Err(Error::bad_request(format!(
                "{} is in no index: neither the bundle nor the store has an index record that lists it with that checksum",
                entry.path
            )));
        }
        if self.is_good(key, entry.size)? {
            content.check()?;
            return Ok(Written::Skipped);
        }
        let mut incoming = self.store.incoming()?;
        content.copy_to(&mut incoming)?;
        self.batch.stage_crate(key, incoming)?;
        Ok(Written::New)
    }

    /// Makes sure that `index` is the crate's own: the one that came just before, else the store's. Where both exist, the one that came is the one
    /// the bundle was made by.
    fn find_index(&mut self, key: &CrateKey) -> Result<()> {
        let wanted = IndexKey::new(key.registry, key.id.name);
        if self.index.as_ref().is_some_and(|(key, _)| *key == wanted) {
            return Ok(());
        }
        self.index = self.store.open_record(&wanted)?.and_then(|record| {
            let file = IndexFile::parse(wanted.path, record.body).ok()?;
            Some((wanted, file))
        });
        Ok(())
    }

    /// Whether the store has this file, whole.
    fn is_good(&self, key: &CrateKey, size: u64) -> Result<bool> {
        match self.store.open_object(&Key::Crate(*key))? {
            Some((file, there)) if there == size => {
                let digest = digest(self.watch.reading(file));
                self.watch.go_on()?;
                Ok(digest.is_ok_and(|digest| digest == key.sha256))
            }
            Some(_) | None => Ok(false),
        }
    }
}

/// Whether an index has exactly this version with exactly this content. Keys made of paths have no capitals.
pub(super) fn lists(file: &IndexFile, key: &CrateKey) -> bool {
    let path = key.path();
    IndexPath::of(file.name()) == IndexPath::of(key.id.name)
        && file.versions().iter().any(|version| {
            version.sha256 == key.sha256 && crate_key(file, key.registry, version).path() == path
        })
}

/// The key of the .crate file of a version.
pub(super) fn crate_key(file: &IndexFile, registry: RegistryName, version: &Version) -> CrateKey {
    CrateKey {
        registry,
        id: CrateId {
            name: file.name(),
            version: *version.version(),
        },
        sha256: version.sha256,
    }
}
