//! Importing: a bundle's entries into a store, each checked against its index, none over something better.

use std::{io::Read, sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    attachment::{AttachedFile, Attachment},
    entry::{BundleEntry, scratch},
    listed::lists,
    manifest::Head,
    observer::Observer,
    read::{EntryContent, Sink, read, read_archive},
    sign::PublicKey,
    toolchain_scope::NamedFiles,
};
use crate::{
    domain::{
        Before, CrateKey, FileKey, History, IndexFile, IndexKey, Key, RecordKey,
        toolchain::{ToolchainDocument, ToolchainItem, ToolchainKey},
    },
    error::{Error, Result},
    store::{Batch, GivesWay, Incoming, Store, StoreRecord, digest},
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
    /// What was attached; of each kind what came last. To be put in place by who knows where that is.
    pub attachments: Vec<Attachment>,
}

/// Reads a bundle into `store` at the time `now`; with a `key`, only one that it has signed. What came before something wrong is kept; running it again goes on from
/// there. What was staged is put into place every few seconds, and when the observer ends the job. When this returns without an error, everything is durable, if the
/// store is synced.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong with the bundle and at which entry, [`Kind::Store`](crate::error::Kind::Store)
/// when the store can't be written. What was done until then is in `done`.
pub fn import(
    source: impl Read,
    key: Option<&PublicKey>,
    store: &Store,
    now: SystemTime,
    observer: &Observer<'_>,
    done: &mut Imported,
) -> Result<()> {
    with(store, now, observer, done, |import| {
        read(observer.reading(source), key, || store.scratch(), import)
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
    observer: &Observer<'_>,
    done: &mut Imported,
) -> Result<()> {
    with(store, now, observer, done, |import| {
        read_archive(observer.reading(source), key, || store.scratch(), import)
    })
}

fn with(
    store: &Store,
    now: SystemTime,
    observer: &Observer<'_>,
    done: &mut Imported,
    read: impl FnOnce(&mut Import<'_>) -> Result<()>,
) -> Result<()> {
    let mut import = Import {
        store,
        observer,
        batch: store.batch(now),
        now,
        index: None,
        folder: String::new(),
        named: NamedFiles::default(),
        has_looked: LookedAt::default(),
        done,
    };
    let read = read(&mut import);
    // Also after an error: what has been checked is good.
    let finished = import.batch.finish();
    read.and(finished)
}

struct Import<'a> {
    store: &'a Store,
    observer: &'a Observer<'a>,
    batch: Batch,
    now: SystemTime,
    /// The index of the crate whose entries come at the moment.
    index: Option<(IndexKey, IndexFile)>,
    /// The folder of toolchains whose entries come at the moment.
    folder: String,
    /// What documents say of their files, those of the bundle and, where these say nothing, those of the store.
    named: NamedFiles,
    /// Which of the store's are among them.
    has_looked: LookedAt,
    done: &'a mut Imported,
}

/// Which documents of the store have been looked at for what they name.
#[derive(Default)]
struct LookedAt {
    /// Those of the folder whose entries come at the moment.
    folder: bool,
    /// Those of no day.
    undated: bool,
}

impl Sink for Import<'_> {
    fn begin(&mut self, head: &Head, _entries: u64, bytes: u64) -> Result<()> {
        let known = &mut self.done.registries;
        known.extend(head.registries.keys().cloned());
        known.sort_unstable();
        known.dedup();
        (self.observer.total)(bytes);
        Ok(())
    }

    fn attached(&mut self, file: &AttachedFile, content: EntryContent<'_>) -> Result<()> {
        let kind = file
            .kind()
            .ok_or_else(|| Error::internal("something unknown is attached"))?;
        let attachment = Attachment {
            kind,
            bytes: content.into_bytes()?,
            as_of: file.as_of.clone(),
        };
        let all = &mut self.done.attachments;
        all.retain(|other| other.kind != kind);
        all.push(attachment);
        Ok(())
    }

    fn entry(&mut self, entry: &BundleEntry, key: &Key, content: EntryContent<'_>) -> Result<()> {
        let effect = match key {
            Key::Record(RecordKey::Index(key)) => self.record(entry, key, content)?,
            Key::File(FileKey::Crate(key)) => self.crate_file(entry, key, content)?,
            Key::Record(RecordKey::Toolchain(document)) => {
                self.document(entry, document, content)?
            }
            Key::File(FileKey::Toolchain(key)) => self.component(entry, key, content)?,
        };
        match effect {
            Effect::Written => {
                self.done.written += 1;
                self.done.bytes += entry.size;
            }
            Effect::Skipped => self.done.skipped += 1,
        }
        (self.observer.bytes)(entry.size);
        Ok(())
    }
}

/// What became of an entry.
enum Effect {
    Written,
    Skipped,
}

impl Import<'_> {
    fn record(
        &mut self,
        entry: &BundleEntry,
        key: &IndexKey,
        content: EntryContent<'_>,
    ) -> Result<Effect> {
        let (record, bytes) = self.decoded(entry, content)?;
        let file = IndexFile::parse(key.path, record.body.clone())
            .map_err(|e| wrong(entry, e.message()).with_source(e))?;
        let effect = match self
            .store
            .has_newer_record(&key.into(), record.age(), self.now)?
        {
            true => self.remember(key, &record, &file)?,
            false => self.take(key, record, bytes)?,
        };
        self.index = Some((*key, file));
        Ok(effect)
    }

    /// The record that an entry is, with its bytes as they are stored, if the manifest says the same of it and it is of a time that can have been.
    fn decoded(
        &self,
        entry: &BundleEntry,
        content: EntryContent<'_>,
    ) -> Result<(StoreRecord, Bytes)> {
        let bytes = Bytes::from(content.into_bytes()?);
        let record = StoreRecord::decode(bytes.clone()).map_err(|why| wrong(entry, &why))?;
        let body = (!record.gone).then_some(record.sha256);
        if entry.body != body {
            return Err(wrong(entry, "the manifest says something else of it"));
        }
        self.check_age(entry, &record)?;
        Ok((record, bytes))
    }

    /// Puts a record into place, with what is remembered here of the same crate.
    fn take(&mut self, key: &IndexKey, record: StoreRecord, bytes: Bytes) -> Result<Effect> {
        let age = record.age();
        let written = match self.merged(key, record)? {
            Some(merged) => merged.encode(),
            None => [bytes, Bytes::new()],
        };
        let incoming = self.incoming(&written)?;
        let gives_way = GivesWay::AsNew(age);
        self.batch.stage_record(key, gives_way, incoming)?;
        Ok(Effect::Written)
    }

    /// What is written, as a file on its way into the store.
    fn incoming(&self, written: &[Bytes]) -> Result<Incoming> {
        let mut incoming = self.store.incoming()?;
        for part in written {
            std::io::Write::write_all(&mut incoming, part).map_err(scratch)?;
        }
        Ok(incoming)
    }

    /// Has the record here, which stays because it is newer, remember what an older one knows: it may come from a mirror that has known the crate for longer.
    fn remember(
        &mut self,
        key: &IndexKey,
        record: &StoreRecord,
        file: &IndexFile,
    ) -> Result<Effect> {
        let Some(local) = self.store.open_record(key)? else {
            return Ok(Effect::Skipped);
        };
        let Ok(here) = IndexFile::parse(key.path, local.body.clone()) else {
            return Ok(Effect::Skipped);
        };
        let own = History::after(Some(before(&local, &here)), &here, self.now);
        let before = before(record, file);
        let history = own.merged(before, &here, self.now);
        if history == *local.history {
            return Ok(Effect::Skipped);
        }
        warn_of_changes(key, before, &here);
        let age = local.age();
        let amended = StoreRecord {
            history: Arc::new(history),
            ..local
        };
        let incoming = self.incoming(&amended.encode())?;
        let gives_way = GivesWay::Newer(age);
        self.batch.stage_record(key, gives_way, incoming)?;
        Ok(Effect::Written)
    }

    /// A record with what is remembered here of the same crate; none when nothing is known of it here.
    fn merged(&self, key: &IndexKey, record: StoreRecord) -> Result<Option<StoreRecord>> {
        let Some(local) = self.store.open_record(key)? else {
            return Ok(None);
        };
        let parsed = |record: &StoreRecord| IndexFile::parse(key.path, record.body.clone());
        let (Ok(here), Ok(file)) = (parsed(&local), parsed(&record)) else {
            return Ok(None);
        };
        let before = before(&local, &here);
        warn_of_changes(key, before, &file);
        let history = record.history.merged(before, &file, self.now);
        Ok(Some(StoreRecord {
            history: Arc::new(history),
            ..record
        }))
    }

    fn crate_file(
        &mut self,
        entry: &BundleEntry,
        key: &CrateKey,
        content: EntryContent<'_>,
    ) -> Result<Effect> {
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
        self.take_file(entry, &key.into(), content)
    }

    /// Puts a file into place that somebody may ask for, unless it is there.
    fn take_file(
        &mut self,
        entry: &BundleEntry,
        key: &FileKey,
        content: EntryContent<'_>,
    ) -> Result<Effect> {
        if self.is_good(key, entry.size)? {
            content.check()?;
            return Ok(Effect::Skipped);
        }
        let mut incoming = self.store.incoming()?;
        content.copy_to(&mut incoming)?;
        self.batch.stage_file(*key, incoming)?;
        Ok(Effect::Written)
    }

    /// What says which files a toolchain has.
    fn document(
        &mut self,
        entry: &BundleEntry,
        document: &ToolchainDocument,
        content: EntryContent<'_>,
    ) -> Result<Effect> {
        let (record, bytes) = self.decoded(entry, content)?;
        if record.gone {
            return Err(wrong(entry, "it is said to be gone"));
        }
        let key = RecordKey::from(document);
        let fits = record.clone().fits_to(&key);
        fits.map_err(|why| wrong(entry, &why))?;
        self.enter_folder(&entry.path);
        self.named
            .add(document, &record.body)
            .map_err(|why| Error::bad_request(format!("{}: {why}", entry.path)))?;
        let age = record.age();
        if self.store.has_newer_record(&key, age, self.now)? {
            return Ok(Effect::Skipped);
        }
        let incoming = self.incoming(&[bytes])?;
        let gives_way = GivesWay::AsNew(age);
        self.batch.stage_record(key, gives_way, incoming)?;
        Ok(Effect::Written)
    }

    /// A file of a toolchain, which a document has to name.
    fn component(
        &mut self,
        entry: &BundleEntry,
        key: &ToolchainKey,
        content: EntryContent<'_>,
    ) -> Result<Effect> {
        self.enter_folder(&entry.path);
        if !self.named.name(key) && !self.is_named_here(key)? {
            return Err(Error::bad_request(format!(
                "no manifest names {}: neither the bundle nor the store has one that says that this is its checksum",
                entry.path
            )));
        }
        self.take_file(entry, &(*key).into(), content)
    }

    /// Forgets what the documents of the folder before said.
    fn enter_folder(&mut self, path: &str) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if self.folder != folder {
            folder.clone_into(&mut self.folder);
            self.named.next_folder();
            self.has_looked.folder = false;
        }
    }

    /// Whether a document in the store names a file.
    fn is_named_here(&mut self, key: &ToolchainKey) -> Result<bool> {
        if !std::mem::replace(&mut self.has_looked.folder, true) {
            self.look_at(self.store.documents_beside(&key.item)?)?;
        }
        let is_component = matches!(key.item, ToolchainItem::Component(_));
        if is_component
            && !self.named.name(key)
            && !std::mem::replace(&mut self.has_looked.undated, true)
        {
            self.look_at(self.store.undated_manifests()?)?;
        }
        Ok(self.named.name(key))
    }

    /// Adds what these documents of the store say.
    fn look_at(&mut self, documents: Vec<ToolchainDocument>) -> Result<()> {
        for document in documents {
            if let Some(record) = self.store.open_record(document)? {
                self.named
                    .add(&document, &record.body)
                    .map_err(|why| Error::store(format!("{document} in the store: {why}")))?;
            }
        }
        Ok(())
    }

    /// Makes sure that a record is of no time that can't have been yet.
    fn check_age(&self, entry: &BundleEntry, record: &StoreRecord) -> Result<()> {
        if record.age().is_ahead_of(self.now) {
            let date = humantime::format_rfc3339_seconds(record.checked_at);
            return Err(Error::bad_request(format!(
                "{} is dated {date}, which is more than a day ahead of this machine's clock; one of the two clocks has to be set right",
                entry.path
            )));
        }
        Ok(())
    }

    /// Makes sure that `index` is the crate's own: the one that came just before, else the store's. Where both exist, the one that came is the one
    /// the bundle was made by.
    fn find_index(&mut self, key: &CrateKey) -> Result<()> {
        let own = IndexKey::new(key.registry, key.id.name);
        if self.index.as_ref().is_some_and(|(key, _)| *key == own) {
            return Ok(());
        }
        self.index = self.store.open_record(own)?.and_then(|record| {
            let file = IndexFile::parse(own.path, record.body).ok()?;
            Some((own, file))
        });
        Ok(())
    }

    /// Whether the store has this file, whole.
    fn is_good(&self, key: &FileKey, size: u64) -> Result<bool> {
        match self.store.open_object(&Key::from(*key))? {
            Some((file, there)) if there == size => {
                let digest = digest(self.observer.reading(file));
                self.observer.go_on()?;
                Ok(digest.is_ok_and(|digest| digest == key.sha256()))
            }
            Some(_) | None => Ok(false),
        }
    }
}

/// What to say of an entry that isn't what its path says.
fn wrong(entry: &BundleEntry, why: &str) -> Error {
    let path = &entry.path;
    let what = match entry.key() {
        Ok(Key::Record(RecordKey::Index(_))) => "a stored index file",
        Ok(Key::Record(RecordKey::Toolchain(_)) | Key::File(_)) | Err(_) => "what its path says",
    };
    Error::bad_request(format!("{path} is not {what}: {why}"))
}

/// What a record knows, as what was known before another one takes its place.
fn before<'a>(record: &'a StoreRecord, file: &'a IndexFile) -> Before<'a> {
    Before {
        file,
        history: &record.history,
        checked_at: record.checked_at,
        modified_at: record.modified_at,
        gone: record.gone,
    }
}

fn warn_of_changes(key: &IndexKey, before: Before<'_>, now: &IndexFile) {
    let changed = now.changes_since(before.file).replaced;
    if !changed.is_empty() && !before.is_replaced_by(now) {
        tracing::warn!(name = %key.name(), versions = ?changed, "versions have other content in this bundle than here; they are refused until a rule with their sha256 allows them");
    }
}
