//! [`ToolchainScope`]: which toolchains are to go; and what is known of those that do.

use std::{collections::BTreeSet, time::SystemTime};

use bytes::Bytes;

use super::entry::BundleEntry;
use crate::domain::{
    Sha256,
    toolchain::{
        ChannelPattern, InitFile, ManifestHashes, SumFile, ToolchainDocument, ToolchainItem,
        ToolchainKey,
    },
};

/// Which toolchains are to go.
#[derive(Clone, Debug, Default)]
pub enum ToolchainScope {
    /// None.
    #[default]
    Nothing,
    /// All that is stored, of channels that may be asked for.
    Everything(Vec<ChannelPattern>),
    /// These.
    Only(SelectedToolchains),
}

/// What is to go of toolchains, by the paths of the objects.
#[derive(Clone, Debug, Default)]
pub struct SelectedToolchains {
    pub(super) paths: BTreeSet<String>,
}

impl SelectedToolchains {
    /// A manifest.
    pub fn add_document(&mut self, document: &ToolchainDocument) {
        self.paths.insert(document.path());
    }

    /// A file.
    pub fn add_file(&mut self, key: &ToolchainKey) {
        self.paths.insert(key.path());
    }
}

/// One folder's objects, checked: of a day, or of a rustup.
pub(super) struct CheckedToolchain {
    /// What says which files there are, with the bytes as they are stored and when upstream confirmed them last.
    pub(super) records: Vec<(BundleEntry, Bytes, SystemTime)>,
    pub(super) files: Vec<BundleEntry>,
}

/// What documents say of files.
#[derive(Default)]
pub(super) struct NamedFiles {
    /// Manifests that are of no day in particular.
    undated: Vec<ManifestHashes>,
    /// Those of the folder that is looked at.
    dated: Vec<ManifestHashes>,
    sums: Vec<(InitFile, Sha256)>,
}

impl NamedFiles {
    /// Another folder is looked at.
    pub(super) fn next_folder(&mut self) {
        self.dated.clear();
        self.sums.clear();
    }

    /// Adds what a document says, which is known to be good.
    pub(super) fn add(&mut self, document: &ToolchainDocument, body: &Bytes) {
        match document {
            ToolchainDocument::Manifest(name) => {
                let into = match name.day {
                    Some(_) => &mut self.dated,
                    None => &mut self.undated,
                };
                into.extend(ManifestHashes::of(body.clone()));
            }
            ToolchainDocument::InitSum(file) => {
                let sum = SumFile::parse(body).ok();
                self.sums.extend(sum.map(|sum| (*file, sum.sha256)));
            }
            ToolchainDocument::RustupRelease => {}
        }
    }

    /// Whether a document says that this file has this checksum.
    pub(super) fn name(&self, key: &ToolchainKey) -> bool {
        match &key.item {
            ToolchainItem::Component(file) => {
                let says = |hashes: &ManifestHashes| hashes.sha256_of(file) == Some(key.sha256);
                self.dated.iter().chain(&self.undated).any(says)
            }
            ToolchainItem::Init(file) => self.sums.contains(&(*file, key.sha256)),
        }
    }
}
