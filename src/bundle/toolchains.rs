//! Toolchains in a bundle: what of them is stored and good, folder by folder, and which of it goes.

use std::{collections::BTreeSet, io::Read, time::SystemTime};

use bytes::Bytes;

use super::{
    entry::BundleEntry,
    format::MAX_FILE,
    survey::Survey,
    toolchain_scope::{CheckedToolchain, NamedFiles, ToolchainScope},
};
use crate::{
    domain::{
        FileKey, RecordKey, Sha256,
        toolchain::{ChannelPattern, ManifestName, ToolchainDocument, ToolchainKey, ToolchainName},
    },
    error::Result,
    store::{Object, StoreRecord, ToolchainHolding, digest},
};

/// Whether a document may be asked for.
fn is_allowed(channels: &[ChannelPattern], document: &ToolchainDocument) -> bool {
    match *document {
        ToolchainDocument::Manifest(ManifestName { day, channel }) => {
            let name = ToolchainName { channel, day };
            channels.iter().any(|pattern| pattern.matches(&name))
        }
        ToolchainDocument::RustupRelease | ToolchainDocument::InitSum(_) => true,
    }
}

impl Survey<'_> {
    /// Shows each folder of toolchains to `visit`; `known` says of an entry, and when it was stored, whether the other side has it.
    pub(super) fn toolchains(
        &mut self,
        scope: &ToolchainScope,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
        mut visit: impl FnMut(CheckedToolchain) -> Result<()>,
    ) -> Result<()> {
        let mut left: BTreeSet<String> = match scope {
            ToolchainScope::Nothing => return Ok(()),
            ToolchainScope::Everything(_) => BTreeSet::new(),
            ToolchainScope::Only(selected) => selected.paths.clone(),
        };
        let (store, mut named) = (self.store, NamedFiles::default());
        store.toolchain_holdings(|holding| {
            let mut is_meant = |object: &Object| match scope {
                ToolchainScope::Only(_) => left.remove(&object.key.path()),
                ToolchainScope::Everything(_) => true,
                ToolchainScope::Nothing => false,
            };
            let found = self.folder(holding, scope, &mut named, &mut is_meant, known)?;
            visit(found)
        })?;
        for path in left {
            self.left_out.missing += 1;
            (self.observer.say)(&format!("missing  {path}: it is not stored"));
        }
        Ok(())
    }

    fn folder(
        &mut self,
        holding: ToolchainHolding,
        scope: &ToolchainScope,
        named: &mut NamedFiles,
        is_meant: &mut impl FnMut(&Object) -> bool,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
    ) -> Result<CheckedToolchain> {
        named.next_folder();
        let mut found = CheckedToolchain {
            records: Vec::new(),
            files: Vec::new(),
        };
        for (document, object) in &holding.documents {
            self.observer.go_on()?;
            let allowed = match scope {
                ToolchainScope::Everything(channels) => is_allowed(channels, document),
                ToolchainScope::Only(_) | ToolchainScope::Nothing => true,
            };
            if !allowed {
                self.left_out.denied += 1;
                let path = object.key.path();
                (self.observer.say)(&format!(
                    "denied   {path}: `toolchains.channels` doesn't allow it"
                ));
                continue;
            }
            let Some((entry, bytes, record)) = self.document(document, object)? else {
                continue;
            };
            named.add(document, &record.body);
            if is_meant(object) && !known(&entry, object.stored)? {
                found.records.push((entry, bytes, record.checked_at));
            }
        }
        for (key, object) in &holding.files {
            self.observer.go_on()?;
            if !is_meant(object) {
                continue;
            }
            if !named.name(key) {
                self.left_out.unlisted += 1;
                continue;
            }
            found.files.extend(self.component(key, object, known)?);
        }
        Ok(found)
    }

    /// A document, if it is good.
    fn document(
        &mut self,
        document: &ToolchainDocument,
        object: &Object,
    ) -> Result<Option<(BundleEntry, Bytes, StoreRecord)>> {
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
            record.clone().fits_to(&RecordKey::from(document))?;
            let entry = BundleEntry {
                path: object.key.path(),
                size: bytes.len() as u64,
                sha256: Sha256::of(&bytes),
                body: Some(record.sha256),
            };
            Ok((entry, bytes, record))
        });
        (self.observer.bytes)(object.size);
        match checked {
            Ok(found) => Ok(Some(found)),
            Err(why) => {
                self.bad(object, &why);
                Ok(None)
            }
        }
    }

    /// A file's entry, if the file is good and the other side doesn't have it.
    fn component(
        &mut self,
        key: &ToolchainKey,
        object: &Object,
        known: &mut impl FnMut(&BundleEntry, SystemTime) -> Result<bool>,
    ) -> Result<Option<BundleEntry>> {
        let entry = BundleEntry {
            path: FileKey::from(key).path(),
            size: object.size,
            sha256: key.sha256,
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
            Some((_, size)) if size != object.size => Err("it is being written".to_owned()),
            Some((file, size)) => match digest(self.observer.reading(file.take(size))) {
                Ok(actual) if actual == key.sha256 => Ok(()),
                Ok(actual) => Err(format!("its checksum is {actual}")),
                Err(e) => Err(format!("it can't be read: {e}")),
            },
        };
        // A file that couldn't be read because the job was ended isn't bad.
        self.observer.go_on()?;
        (self.observer.bytes)(object.size);
        match checked {
            Ok(()) => Ok(Some(entry)),
            Err(why) => {
                self.bad(object, &why);
                Ok(None)
            }
        }
    }
}
