//! Keys: what a stored object is. A key owns the object's path, the same on every backend.

use std::fmt;

use super::{
    checksum::Sha256,
    index_path::{IndexPath, Prefix},
    name::CrateName,
    registry::RegistryName,
    toolchain::{ToolchainDocument, ToolchainKey, ToolchainObject},
    version::CrateId,
};

/// What a stored object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A record, which says itself what it must hash to.
    Record(RecordKey),
    /// A file whose checksum is a part of its key.
    File(FileKey),
}

/// What a record is of: a text of upstream's that may be another one tomorrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKey {
    /// An index file.
    Index(IndexKey),
    /// What says which files a toolchain has.
    Toolchain(ToolchainDocument),
}

/// A file whose SHA-256 is known before it is fetched, so that it can be checked before anybody has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKey {
    /// A .crate file, whose checksum the index says.
    Crate(CrateKey),
    /// A file of a toolchain, whose checksum a manifest says, or a `.sha256`.
    Toolchain(ToolchainKey),
}

impl Key {
    /// The key of the object at `path`; names and versions come back in lower case, as paths have them. `None` for what no key makes.
    pub fn from_path(path: &str) -> Option<Self> {
        if let Some(object) = ToolchainObject::from_path(path) {
            return Some(match object {
                ToolchainObject::Document(document) => Self::Record(RecordKey::Toolchain(document)),
                ToolchainObject::File(key) => Self::File(FileKey::Toolchain(key)),
            });
        }
        let (registry, rest) = path.split_once('/')?;
        let registry = RegistryName::parse(registry).ok()?;
        if let Some(path) = rest.strip_prefix("index/") {
            let path = IndexPath::parse(path).ok()?;
            return Some(IndexKey { registry, path }.into());
        }
        let (folder, file) = rest.strip_prefix("crates/")?.rsplit_once('/')?;
        let name = IndexPath::parse(folder).ok()?.name();
        let (version, sha256) = file.strip_suffix(".crate")?.rsplit_once('.')?;
        let key = CrateKey {
            registry,
            id: CrateId::parse(name.as_str(), version).ok()?,
            sha256: Sha256::parse(sha256).ok()?,
        };
        (key.path() == path).then_some(key.into())
    }

    /// The object's path.
    pub fn path(&self) -> String {
        match self {
            Self::Record(key) => key.path(),
            Self::File(key) => key.path(),
        }
    }

    /// The key of an index record, if that is what this is.
    pub fn index(&self) -> Option<&IndexKey> {
        match self {
            Self::Record(RecordKey::Index(key)) => Some(key),
            Self::Record(RecordKey::Toolchain(_)) | Self::File(_) => None,
        }
    }

    /// The key of a .crate file, if that is what this is.
    pub fn crate_file(&self) -> Option<&CrateKey> {
        match self {
            Self::File(FileKey::Crate(key)) => Some(key),
            Self::File(FileKey::Toolchain(_)) | Self::Record(_) => None,
        }
    }

    /// What it must hash to, if it is a file.
    pub fn sha256(&self) -> Option<Sha256> {
        match self {
            Self::File(key) => Some(key.sha256()),
            Self::Record(_) => None,
        }
    }
}

impl RecordKey {
    /// The object's path.
    pub fn path(&self) -> String {
        match self {
            Self::Index(key) => key.path(),
            Self::Toolchain(document) => document.path(),
        }
    }
}

impl FileKey {
    /// The object's path.
    pub fn path(&self) -> String {
        match self {
            Self::Crate(key) => key.path(),
            Self::Toolchain(key) => key.path(),
        }
    }

    /// What its bytes must hash to.
    pub fn sha256(&self) -> Sha256 {
        match self {
            Self::Crate(key) => key.sha256,
            Self::Toolchain(key) => key.sha256,
        }
    }

    /// The registry it comes from, or the name that toolchains have in its place.
    pub fn registry(&self) -> RegistryName {
        match self {
            Self::Crate(key) => key.registry,
            Self::Toolchain(_) => RegistryName::toolchains(),
        }
    }

    /// What says its checksum, as sentences call it.
    pub fn told_by(&self) -> &'static str {
        match self {
            Self::Crate(_) => "index",
            Self::Toolchain(_) => "manifest",
        }
    }
}

/// As sentences for people call the file.
impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate(key) => key.id.fmt(f),
            Self::Toolchain(key) => key.item.fmt(f),
        }
    }
}

macro_rules! from_borrowed {
    ($($into:ident: $($from:ident),*;)*) => {$($(
        impl From<&$from> for $into {
            fn from(key: &$from) -> Self {
                (*key).into()
            }
        }
    )*)*};
}

from_borrowed! {
    FileKey: FileKey, CrateKey, ToolchainKey;
    RecordKey: RecordKey, IndexKey, ToolchainDocument;
}

impl From<FileKey> for Key {
    fn from(key: FileKey) -> Self {
        Self::File(key)
    }
}

impl From<RecordKey> for Key {
    fn from(key: RecordKey) -> Self {
        Self::Record(key)
    }
}

impl From<CrateKey> for FileKey {
    fn from(key: CrateKey) -> Self {
        Self::Crate(key)
    }
}

impl From<ToolchainKey> for FileKey {
    fn from(key: ToolchainKey) -> Self {
        Self::Toolchain(key)
    }
}

impl From<IndexKey> for RecordKey {
    fn from(key: IndexKey) -> Self {
        Self::Index(key)
    }
}

impl From<ToolchainDocument> for RecordKey {
    fn from(document: ToolchainDocument) -> Self {
        Self::Toolchain(document)
    }
}

impl From<CrateKey> for Key {
    fn from(key: CrateKey) -> Self {
        Self::File(key.into())
    }
}

impl From<IndexKey> for Key {
    fn from(key: IndexKey) -> Self {
        Self::Record(key.into())
    }
}

impl From<ToolchainKey> for Key {
    fn from(key: ToolchainKey) -> Self {
        Self::File(key.into())
    }
}

impl From<ToolchainDocument> for Key {
    fn from(document: ToolchainDocument) -> Self {
        Self::Record(document.into())
    }
}

/// The key of an index record: one crate's index file in one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexKey {
    /// The registry it belongs to.
    pub registry: RegistryName,
    /// Which file of the registry's index.
    pub path: IndexPath,
}

impl IndexKey {
    /// The key of `name`'s index record; case is folded.
    pub fn new(registry: RegistryName, name: CrateName) -> Self {
        let path = IndexPath::of(name);
        Self { registry, path }
    }

    /// The crate's name in lower case.
    pub fn name(&self) -> CrateName {
        self.path.name()
    }

    /// `{registry}/index/{prefix}/{name}`, with `/` between segments that can't be `..` or empty.
    pub fn path(&self) -> String {
        format!("{}/index/{}", self.registry, self.path)
    }

    /// `{registry}/crates/{prefix}/{name}`: the folder of the crate's .crate files.
    pub fn crates_folder(&self) -> String {
        format!("{}/crates/{}", self.registry, self.path)
    }
}

/// The path of what is known of the licence of the .crate file at `path`; `None` for any other object.
pub fn license_path(path: &str) -> Option<String> {
    let path = path.strip_suffix(".crate")?;
    Some(format!("{path}.license"))
}

/// The key of a .crate file: one version's content in one registry.
///
/// The checksum is part of the key, so that the object is immutable: a version that comes back with other content is another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrateKey {
    /// The registry it belongs to.
    pub registry: RegistryName,
    /// Which crate and version, with the name in its canonical case.
    pub id: CrateId,
    /// What its bytes must hash to.
    pub sha256: Sha256,
}

impl CrateKey {
    /// `{registry}/crates/{prefix}/{name}/{version}.{sha256}.crate`, in lower case.
    pub fn path(&self) -> String {
        let name = self.id.name.to_lowercase();
        let version = self.id.version.to_lowercase();
        let Self {
            registry, sha256, ..
        } = self;
        let prefix = Prefix::of(&name);
        format!("{registry}/crates/{prefix}/{name}/{version}.{sha256}.crate")
    }

    /// The same path with `.license` at its end: where what is known of the file's licence is kept. No key makes it: it is no object, and goes with the file.
    pub fn license_path(&self) -> String {
        license_path(&self.path()).unwrap_or_default()
    }
}
