//! [`ToolchainScope`]: which toolchains are to go; and what is known of those that do.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use bytes::Bytes;

use super::entry::BundleEntry;
use crate::domain::{
    Sha256,
    toolchain::{
        ChannelPattern, ComponentFile, InitFile, ManifestHashes, SumFile, ToolchainDocument,
        ToolchainItem, ToolchainKey,
    },
};

/// So many files may be named by the manifests that are looked at together, those of no day and those of one. A release has some two thousand, and its manifests name the
/// same ones; each takes 17 to 40 bytes.
const MOST_NAMED: usize = 2_000_000;

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

/// What documents say of files. Nothing of the documents is kept but this.
#[derive(Default)]
pub(super) struct NamedFiles {
    /// By manifests that are of no day in particular.
    undated: HashSet<NamedComponent>,
    /// By those of the folder that is looked at.
    dated: HashSet<NamedComponent>,
    sums: Vec<(InitFile, Sha256)>,
}

/// A component with a checksum, by half a hash of both: to find others that are the same is beyond everybody.
#[derive(PartialEq, Eq, Hash)]
struct NamedComponent([u8; 16]);

impl NamedComponent {
    fn of(file: &ComponentFile, sha256: &Sha256) -> Self {
        let hash = Sha256::of(format!("{}/{}/{sha256}", file.day, file.name).as_bytes());
        Self(std::array::from_fn(|at| hash.as_bytes()[at]))
    }
}

impl NamedFiles {
    /// Another folder is looked at.
    pub(super) fn next_folder(&mut self) {
        self.dated.clear();
        self.sums.clear();
    }

    /// Adds what a document says, which is known to be good.
    ///
    /// # Errors
    /// The end of a sentence about the document, when all of them together say too much.
    pub(super) fn add(&mut self, document: &ToolchainDocument, body: &Bytes) -> Result<(), String> {
        match document {
            ToolchainDocument::Manifest(name) => {
                let into = match name.day {
                    Some(_) => &mut self.dated,
                    None => &mut self.undated,
                };
                if let Ok(hashes) = ManifestHashes::of(body.clone()) {
                    let named = hashes.files();
                    into.extend(named.map(|(file, sha256)| NamedComponent::of(&file, &sha256)));
                }
                if self.undated.len() + self.dated.len() > MOST_NAMED {
                    return Err(format!(
                        "with it the manifests name more than {MOST_NAMED} files"
                    ));
                }
            }
            ToolchainDocument::InitSum(file) => {
                let sum = SumFile::parse(body).ok();
                self.sums.extend(sum.map(|sum| (*file, sum.sha256)));
            }
            ToolchainDocument::RustupRelease => {}
        }
        Ok(())
    }

    /// Whether a document says that this file has this checksum.
    pub(super) fn name(&self, key: &ToolchainKey) -> bool {
        match &key.item {
            ToolchainItem::Component(file) => {
                let named = NamedComponent::of(file, &key.sha256);
                self.dated.contains(&named) || self.undated.contains(&named)
            }
            ToolchainItem::Init(file) => self.sums.contains(&(*file, key.sha256)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Day,
        toolchain::{Channel, ComponentName, ManifestName},
    };

    const DAY: &str = "2026-11-01";

    fn manifest(names: impl Iterator<Item = String>) -> Bytes {
        let mut text = format!("manifest-version = \"2\"\ndate = \"{DAY}\"\n[pkg.a.target.b]\n");
        for name in names {
            let sha256 = Sha256::of(name.as_bytes());
            text += &format!("url = \"https://h/dist/{DAY}/{name}\"\nhash = \"{sha256}\"\n");
        }
        text.into()
    }

    fn document(channel: &str) -> ToolchainDocument {
        let channel = Channel::parse(channel).expect("a channel");
        ToolchainDocument::Manifest(ManifestName { day: None, channel })
    }

    fn key(name: &str, content: &str) -> ToolchainKey {
        let file = ComponentFile {
            day: Day::parse(DAY).expect("a day"),
            name: ComponentName::parse(name).expect("a name"),
        };
        ToolchainKey {
            item: ToolchainItem::Component(file),
            sha256: Sha256::of(content.as_bytes()),
        }
    }

    /// Each used to be kept with its text, and those of the store once for each folder.
    #[test]
    fn a_document_is_not_kept_and_the_same_files_take_no_more() {
        let mut named = NamedFiles::default();
        let body = manifest((0..1_000).map(|n| format!("a-{n}.tar.gz")));
        for channel in ["stable", "1.95", "1.95.0", "1.95.0"] {
            named.add(&document(channel), &body).expect("not many");
            named.next_folder();
        }
        assert!(body.is_unique(), "its text is kept");
        assert_eq!(named.undated.len(), 1_000);
        assert!(named.name(&key("a-7.tar.gz", "a-7.tar.gz")));
        assert!(!named.name(&key("a-7.tar.gz", "other")));
        assert!(!named.name(&key("a-1000.tar.gz", "a-1000.tar.gz")));
    }

    #[test]
    fn manifests_that_name_more_than_all_releases_have_are_refused() {
        let many = (0..MOST_NAMED as u128).map(|n| NamedComponent(n.to_le_bytes()));
        let mut named = NamedFiles {
            undated: many.collect(),
            ..NamedFiles::default()
        };
        let body = manifest(["a-1.tar.gz".to_owned()].into_iter());
        let said = named.add(&document("stable"), &body).expect_err("too many");
        assert!(said.contains("more than 2000000 files"), "{said}");
    }
}
