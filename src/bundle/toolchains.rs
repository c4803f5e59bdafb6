//! Toolchains in a bundle: what of them is stored and good, folder by folder, and which of it goes.

use std::{collections::BTreeSet, time::SystemTime};

use super::{
    entry::BundleEntry,
    survey::Survey,
    toolchain_scope::{CheckedToolchain, NamedFiles, ToolchainScope},
};
use crate::{
    domain::{
        RecordKey,
        toolchain::{ChannelPattern, ManifestName, ToolchainDocument, ToolchainName},
    },
    error::Result,
    store::{Object, StoreRecord, ToolchainHolding},
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

/// A folder's objects, or, where no files are beside the documents, each document by itself: there may be hundreds, of megabytes each.
fn apart(holding: ToolchainHolding) -> Vec<ToolchainHolding> {
    if !holding.files.is_empty() {
        return vec![holding];
    }
    let alone = |document| ToolchainHolding {
        documents: vec![document],
        files: Vec::new(),
    };
    holding.documents.into_iter().map(alone).collect()
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
            for holding in apart(holding) {
                let found = self.folder(holding, scope, &mut named, &mut is_meant, known)?;
                visit(found)?;
            }
            Ok(())
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
            let fits = |record: &StoreRecord| {
                match record.gone {
                    // No mirror says that of a document.
                    true => Err("it is said to be gone".to_owned()),
                    false => record.clone().fits_to(&RecordKey::from(document)),
                }
            };
            let Some((entry, bytes, record, ())) = self.good_record(object, fits)? else {
                continue;
            };
            if let Err(why) = named.add(document, &record.body) {
                self.bad(object, &why);
                continue;
            }
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
            found
                .files
                .extend(self.good_file(&key.into(), object, known)?);
        }
        Ok(found)
    }
}
