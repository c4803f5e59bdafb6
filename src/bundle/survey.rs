//! The survey: what of a scope is stored and good, crate by crate. Everything that is to be carried is read and checked here, because the manifest, which
//! comes first, must not promise what can't be kept.

use std::{io::Read, time::SystemTime};

use bytes::Bytes;

use super::{
    entry::BundleEntry,
    format::MAX_FILE,
    listed::{crate_key, lists},
    observer::Observer,
    scope::Scope,
    toolchain_scope::{CheckedToolchain, ToolchainScope},
};
use crate::{
    domain::{CrateKey, FileKey, IndexFile, IndexKey, RegistryName, Selected, Sha256},
    error::{Error, Result},
    policy::{Gate, Known},
    store::{Holding, Object, Store, StoreRecord, digest},
};

/// How much doesn't go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Stored objects that are damaged.
    pub bad: u64,
    /// Versions that were selected and aren't stored.
    pub missing: u64,
    /// .crate files that no stored index lists, because upstream has replaced them or the record is gone: nobody can ask for them.
    pub unlisted: u64,
    /// .crate files that the rules keep out.
    pub denied: u64,
}

impl LeftOut {
    pub(super) fn add(&mut self, other: Self) {
        self.bad += other.bad;
        self.missing += other.missing;
        self.unlisted += other.unlisted;
        self.denied += other.denied;
    }
}

/// What was looked at, in the order of a bundle.
pub(super) enum Surveyed {
    Crate(Box<CheckedCrate>),
    Toolchain(CheckedToolchain),
}

/// One crate's objects, checked.
pub(super) struct CheckedCrate {
    pub(super) key: IndexKey,
    pub(super) record: StoreRecord,
    /// The record's bytes as they are stored.
    pub(super) bytes: Bytes,
    pub(super) file: IndexFile,
    /// The entry of the index record, unless the other side has it.
    pub(super) index: Option<BundleEntry>,
    /// The .crate files, except for those that the other side has.
    pub(super) crates: Vec<(CrateKey, BundleEntry)>,
}

/// A good index record.
struct CheckedRecord {
    entry: BundleEntry,
    stored: SystemTime,
    record: StoreRecord,
    bytes: Bytes,
    file: IndexFile,
}

/// Looks at every crate of a scope, in the order of a bundle.
pub(super) struct Survey<'a> {
    pub(super) store: &'a Store,
    pub(super) observer: &'a Observer<'a>,
    /// Only this one, if any is said.
    pub(super) registry: Option<RegistryName>,
    /// The rules, if any are held to.
    pub(super) gate: Option<&'a Gate>,
    /// Which toolchains are to go.
    pub(super) toolchains: ToolchainScope,
    pub(super) left_out: LeftOut,
}

impl Survey<'_> {
    /// Shows each crate to `visit`; `known` says of an entry, and when it was stored, whether the other side has it.
    pub(super) fn run(
        &mut self,
        scope: &Scope,
        mut known: impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
        mut visit: impl FnMut(Surveyed) -> Result<()>,
    ) -> Result<()> {
        let store = self.store;
        match scope {
            Scope::Everything => store.holdings(|holding| {
                if self
                    .registry
                    .is_none_or(|only| only == holding.index.registry)
                {
                    self.toolchains_before(holding.index.registry, &mut known, &mut visit)?;
                    let found = self.examine(holding, None, &mut known)?;
                    found.map_or(Ok(()), |found| visit(Surveyed::Crate(Box::new(found))))?;
                }
                Ok(())
            })?,
            Scope::Only(crates) => {
                for (key, selected) in crates.crates() {
                    if self.registry.is_none_or(|only| only == key.registry) {
                        self.toolchains_before(key.registry, &mut known, &mut visit)?;
                        let found =
                            self.examine(store.holding(key)?, Some(selected), &mut known)?;
                        found.map_or(Ok(()), |found| visit(Surveyed::Crate(Box::new(found))))?;
                    }
                }
            }
        }
        let scope = std::mem::take(&mut self.toolchains);
        self.toolchains(&scope, &mut known, |found| {
            visit(Surveyed::Toolchain(found))
        })
    }

    /// Toolchains have their place among the registries.
    fn toolchains_before(
        &mut self,
        registry: RegistryName,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
        visit: &mut impl FnMut(Surveyed) -> Result<()>,
    ) -> Result<()> {
        if registry < RegistryName::toolchains() {
            return Ok(());
        }
        let scope = std::mem::take(&mut self.toolchains);
        self.toolchains(&scope, known, |found| visit(Surveyed::Toolchain(found)))
    }

    fn examine(
        &mut self,
        holding: Holding,
        selected: Option<&[Selected]>,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
    ) -> Result<Option<CheckedCrate>> {
        self.observer.go_on()?;
        let key = holding.index;
        let Some(CheckedRecord {
            entry,
            stored,
            record,
            bytes,
            file,
        }) = self.record(&holding)?
        else {
            for version in selected.unwrap_or_default() {
                self.missing(version, "its index file is not stored");
            }
            if selected.is_none() {
                self.left_out.unlisted += holding.crates.len() as u64;
            }
            return Ok(None);
        };
        let index = (!known(&entry, stored)?).then_some(entry);
        let objects = match selected {
            Some(selected) => self.selected(selected, &holding, &file),
            None => self.listed(&holding, &file),
        };
        let mut crates = Vec::with_capacity(objects.len());
        let known_of_it = Known {
            file: &file,
            history: &record.history,
            modified_at: record.modified_at,
        };
        for object in objects {
            if self.is_denied(object, known_of_it)? {
                continue;
            }
            crates.extend(self.crate_file(object, known)?);
        }
        Ok(Some(CheckedCrate {
            key,
            record,
            bytes,
            file,
            index,
            crates,
        }))
    }

    /// The index record, if it is there and good.
    fn record(&mut self, holding: &Holding) -> Result<Option<CheckedRecord>> {
        let Some(object) = &holding.record else {
            return Ok(None);
        };
        let parse = |record: &StoreRecord| {
            let file = IndexFile::parse(holding.index.path, record.body.clone());
            file.map_err(|e| e.to_string())
        };
        let found = self.good_record(object, parse)?;
        Ok(found.map(|(entry, bytes, record, file)| CheckedRecord {
            entry,
            stored: object.stored,
            record,
            bytes,
            file,
        }))
    }

    /// A record with its entry and its bytes as they are stored, and what `look` finds in it, if it is good.
    pub(super) fn good_record<T>(
        &mut self,
        object: &Object,
        look: impl FnOnce(&StoreRecord) -> Result<T, String>,
    ) -> Result<Option<(BundleEntry, Bytes, StoreRecord, T)>> {
        let Some((file, size)) = self.store.open_object(&object.key)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = StoreRecord::fits(size).and_then(|()| {
            let mut file = file.take(StoreRecord::MAX_SIZE + 1);
            let read = file.read_to_end(&mut bytes);
            read.map_err(|e| format!("it can't be read: {e}"))
        });
        let checked = read.and_then(|_| {
            let bytes = Bytes::from(bytes);
            let record = StoreRecord::decode(bytes.clone())?;
            let found = look(&record)?;
            let entry = BundleEntry {
                path: object.key.path(),
                size: bytes.len() as u64,
                sha256: Sha256::of(&bytes),
                body: (!record.gone).then_some(record.sha256),
            };
            entry.key().map_err(|e| e.to_string())?;
            Ok((entry, bytes, record, found))
        });
        (self.observer.bytes)(object.size);
        Ok(checked.map_err(|why| self.bad(object, &why)).ok())
    }

    /// The stored files that the index lists.
    fn listed<'a>(&mut self, holding: &'a Holding, file: &IndexFile) -> Vec<&'a Object> {
        let is_listed = |object: &&Object| {
            let key = object.key.crate_file();
            key.is_some_and(|key| lists(file, key))
        };
        let listed: Vec<_> = holding.crates.iter().filter(is_listed).collect();
        self.left_out.unlisted += (holding.crates.len() - listed.len()) as u64;
        listed
    }

    /// The stored files that were selected.
    fn selected<'a>(
        &mut self,
        selected: &[Selected],
        holding: &'a Holding,
        file: &IndexFile,
    ) -> Vec<&'a Object> {
        let mut objects = Vec::new();
        for asked in selected {
            let Some(version) = file.find(&asked.id) else {
                self.missing(asked, "the stored index file doesn't list it");
                continue;
            };
            if asked.sha256.is_some_and(|sha256| sha256 != version.sha256) {
                self.missing(
                    asked,
                    "the stored index file lists it with another checksum than the Cargo.lock",
                );
                continue;
            }
            let path = crate_key(file, holding.index.registry, version).path();
            match holding
                .crates
                .iter()
                .find(|object| object.key.path() == path)
            {
                Some(object) => objects.push(object),
                None => self.missing(asked, "its .crate file is not stored"),
            }
        }
        objects.sort_by_key(|object| object.key.path());
        objects.dedup_by_key(|object| object.key);
        objects
    }

    /// A .crate file's entry, if the file is good and the other side doesn't have it. Its name has its checksum, so nothing is read to find that out.
    fn crate_file(
        &mut self,
        object: &Object,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
    ) -> Result<Option<(CrateKey, BundleEntry)>> {
        let Some(&key) = object.key.crate_file() else {
            return Ok(None);
        };
        let entry = self.good_file(&key.into(), object, known)?;
        Ok(entry.map(|entry| (key, entry)))
    }

    /// A file's entry, if the file is good and the other side doesn't have it.
    pub(super) fn good_file(
        &mut self,
        key: &FileKey,
        object: &Object,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
    ) -> Result<Option<BundleEntry>> {
        let entry = BundleEntry {
            path: key.path(),
            size: object.size,
            sha256: key.sha256(),
            body: None,
        };
        if known(&entry, object.stored)? {
            return Ok(None);
        }
        if object.size > MAX_FILE {
            self.bad(object, "it is larger than 2 GiB, which no bundle carries");
            return Ok(None);
        }
        let checked = match self.store.open_object(&object.key)? {
            None => Err("it has vanished meanwhile".to_owned()),
            // No more is read than the entry says, even if the file is growing.
            Some((_, size)) if size != object.size => Err("it is being written".to_owned()),
            Some((file, size)) => match digest(self.observer.reading(file.take(size))) {
                Ok(actual) if actual == key.sha256() => Ok(()),
                Ok(actual) => Err(format!("its checksum is {actual}")),
                Err(e) => Err(format!("it can't be read: {e}")),
            },
        };
        // A file that couldn't be read because the job was ended isn't bad.
        self.observer.go_on()?;
        (self.observer.bytes)(object.size);
        let checked = checked.map_err(|why| self.bad(object, &why));
        Ok(checked.ok().map(|()| entry))
    }

    /// Whether the rules keep a file out, which is said then.
    fn is_denied(&mut self, object: &Object, known: Known<'_>) -> Result<bool> {
        let (Some(gate), Some(key)) = (self.gate, object.key.crate_file()) else {
            return Ok(false);
        };
        let open = || {
            let opened = self.store.open_object(&object.key)?;
            Ok::<_, Error>(opened.map(|(file, _)| file))
        };
        let denial = gate.denial(key, known, open)?;
        if let Some(why) = &denial {
            self.left_out.denied += 1;
            (self.observer.say)(&format!("denied   {}: {why}", key.id));
        }
        Ok(denial.is_some())
    }

    pub(super) fn bad(&mut self, object: &Object, why: &str) {
        self.left_out.bad += 1;
        (self.observer.say)(&format!("bad      {}: {why}", object.key.path()));
    }

    fn missing(&mut self, selected: &Selected, why: &str) {
        self.left_out.missing += 1;
        let Selected { registry, id, .. } = selected;
        (self.observer.say)(&format!("missing  {id} of {registry}: {why}"));
    }
}

/// A .crate file that the survey found good has changed since: a running mirror has evicted it, or has fetched it anew.
pub(super) fn changed(path: &str) -> Error {
    Error::store(format!(
        "{path} has changed or vanished since it was looked at, because a running mirror evicts; run the export again"
    ))
}
