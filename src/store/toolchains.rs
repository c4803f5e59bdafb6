//! Toolchains, as the store has them: which days, which manifests, which files.

use std::{collections::BTreeSet, time::SystemTime};

use super::{handle::Store, holdings::Object, record::StoreRecord, sight::Stored};
use crate::{
    domain::{
        Day, FileKey, Key, RecordKey,
        toolchain::{ManifestHashes, ManifestName, ToolchainDocument, ToolchainItem, ToolchainKey},
    },
    error::{Kind, Result},
};

/// Where what belongs to toolchains is.
const DIST: &str = "toolchains/dist";
const RUSTUP: &str = "toolchains/rustup";

/// The objects of one folder of toolchains: of a day, or of one rustup for one target; each in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct ToolchainHolding {
    /// What says which files there are.
    pub documents: Vec<(ToolchainDocument, Object)>,
    /// The files.
    pub files: Vec<(ToolchainKey, Object)>,
}

/// A channel manifest as it is listed: its name, how many bytes it has, and when it was used last, as far as that is known. Another one in its place differs in these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedManifest {
    /// Which one.
    pub name: ManifestName,
    /// See above.
    pub size: u64,
    /// See above.
    pub used: SystemTime,
}

impl Store {
    /// The days of which there is something, in their order.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn toolchain_days(&self) -> Result<Vec<Day>> {
        let names = self.names_in(DIST).await?;
        Ok(names.iter().filter_map(|name| Day::parse(name)).collect())
    }

    /// The channel manifests of a day, or those without one.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn toolchain_manifests(&self, day: Option<Day>) -> Result<Vec<ListedManifest>> {
        let folder = match day {
            Some(day) => format!("{DIST}/{day}"),
            None => DIST.to_owned(),
        };
        let listed = self.backend.list(&folder).await;
        let stored = self.note(listed)?.into_iter();
        let mut manifests: Vec<_> = stored
            .filter_map(|stored| match stored.key {
                Key::Record(RecordKey::Toolchain(ToolchainDocument::Manifest(name))) => {
                    Some(ListedManifest {
                        name,
                        size: stored.size,
                        used: stored.used,
                    })
                }
                Key::Record(RecordKey::Toolchain(_) | RecordKey::Index(_)) | Key::File(_) => None,
            })
            .filter(|manifest| manifest.name.day == day)
            .collect();
        manifests.sort_unstable_by_key(|manifest| manifest.name);
        Ok(manifests)
    }

    /// The manifest of that name, and its own name; without a day it is the newest of its channel that is here, whichever day's it is.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read; what is damaged isn't here.
    pub async fn newest_manifest(
        &self,
        name: &ManifestName,
    ) -> Result<Option<(ManifestName, StoreRecord)>> {
        let own = self.manifest_at(name).await?;
        if name.day.is_some() {
            return Ok(own.map(|record| (*name, record)));
        }
        let of = own.as_ref().and_then(|record| {
            let hashes = ManifestHashes::of(record.body.clone()).ok()?;
            Some(hashes.day())
        });
        for day in self.toolchain_days().await?.into_iter().rev() {
            if of.is_some_and(|of| of >= day) {
                break;
            }
            let dated = ManifestName {
                day: Some(day),
                channel: name.channel,
            };
            if let Some(record) = self.manifest_at(&dated).await? {
                return Ok(Some((dated, record)));
            }
        }
        Ok(own.map(|record| (*name, record)))
    }

    async fn manifest_at(&self, name: &ManifestName) -> Result<Option<StoreRecord>> {
        match self.peek_record(ToolchainDocument::Manifest(*name)).await {
            Err(e) if e.kind() == Kind::Corrupt => Ok(None),
            found => found,
        }
    }

    /// The stored files of that name; there is one for each content that it had.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn toolchain_files(&self, item: &ToolchainItem) -> Result<Vec<ToolchainKey>> {
        let listed = self.backend.list(&item.folder()).await;
        let stored = self.note(listed)?.into_iter();
        let files = stored.filter_map(|stored| match stored.key {
            Key::File(FileKey::Toolchain(key)) if key.item == *item => Some(key),
            Key::File(_) | Key::Record(_) => None,
        });
        Ok(files.collect())
    }

    /// Shows all that is stored of toolchains to `visit`, folder by folder, as it is listed: a request for each folder, and none for an object.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn toolchain_listings(&self, mut visit: impl FnMut(Vec<Stored>)) -> Result<()> {
        let days = self.toolchain_days().await?.into_iter();
        let days = days.map(|day| format!("{DIST}/{day}"));
        let mut folders: Vec<_> = [DIST.to_owned(), RUSTUP.to_owned()]
            .into_iter()
            .chain(days)
            .collect();
        let (archive, newest) = (format!("{RUSTUP}/archive"), format!("{RUSTUP}/dist"));
        let versions = self.names_in(&archive).await?.into_iter();
        let versions = versions.map(|version| format!("{archive}/{version}"));
        for of_targets in versions.chain([newest]) {
            let targets = self.names_in(&of_targets).await?.into_iter();
            folders.extend(targets.map(|target| format!("{of_targets}/{target}")));
        }
        for folder in folders {
            let mut listed = self.note(self.backend.list(&folder).await)?;
            listed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            visit(listed);
        }
        Ok(())
    }

    async fn names_in(&self, folder: &str) -> Result<BTreeSet<String>> {
        self.note(self.backend.names_in(folder).await)
    }

    /// Shows all that is stored of toolchains, folder by folder, in the order of a bundle. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read; those of `visit`.
    pub fn toolchain_holdings(
        &self,
        mut visit: impl FnMut(ToolchainHolding) -> Result<()>,
    ) -> Result<()> {
        visit(self.toolchain_holding(DIST)?)?;
        for name in self.backend.bulk().names(DIST)? {
            if Day::parse(&name).is_some() {
                visit(self.toolchain_holding(&format!("{DIST}/{name}"))?)?;
            }
        }
        visit(self.toolchain_holding(RUSTUP)?)?;
        for version in self.backend.bulk().names(&format!("{RUSTUP}/archive"))? {
            for target in self
                .backend
                .bulk()
                .names(&format!("{RUSTUP}/archive/{version}"))?
            {
                visit(self.toolchain_holding(&format!("{RUSTUP}/archive/{version}/{target}"))?)?;
            }
        }
        for target in self.backend.bulk().names(&format!("{RUSTUP}/dist"))? {
            visit(self.toolchain_holding(&format!("{RUSTUP}/dist/{target}"))?)?;
        }
        Ok(())
    }

    /// What is right in a folder of toolchains. Blocks.
    fn toolchain_holding(&self, folder: &str) -> Result<ToolchainHolding> {
        let mut holding = ToolchainHolding::default();
        for name in self.backend.bulk().names(folder)? {
            let path = format!("{folder}/{name}");
            let Some(object) = self.object(&path)? else {
                continue;
            };
            match object.key {
                Key::Record(RecordKey::Toolchain(document)) => {
                    holding.documents.push((document, object));
                }
                Key::File(FileKey::Toolchain(key)) => holding.files.push((key, object)),
                Key::Record(RecordKey::Index(_)) | Key::File(FileKey::Crate(_)) => {}
            }
        }
        Ok(holding)
    }

    /// The documents in the folder of that file, which may name it: manifests of its day, or its checksum. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub fn documents_beside(&self, item: &ToolchainItem) -> Result<Vec<ToolchainDocument>> {
        self.documents_in(&item.folder())
    }

    /// The manifests that are of no day in particular, which may name components of any. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub fn undated_manifests(&self) -> Result<Vec<ToolchainDocument>> {
        self.documents_in(DIST)
    }

    fn documents_in(&self, folder: &str) -> Result<Vec<ToolchainDocument>> {
        let names = self.backend.bulk().names(folder)?.into_iter();
        let documents =
            names.filter_map(|name| match Key::from_path(&format!("{folder}/{name}")) {
                Some(Key::Record(RecordKey::Toolchain(document))) => Some(document),
                Some(Key::Record(RecordKey::Index(_)) | Key::File(_)) | None => None,
            });
        Ok(documents.collect())
    }
}
