//! Keys: what a stored object is. A key owns the object's path, the same on every backend.

use super::{
    checksum::Sha256,
    index_path::{IndexPath, Prefix},
    name::CrateName,
    registry::RegistryName,
    version::CrateId,
};

/// What a stored object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An index record.
    Index(IndexKey),
    /// A .crate file.
    Crate(CrateKey),
}

impl Key {
    /// The key of the object at `path`; names and versions come back in lower case, as paths have them. `None` for what no key makes.
    pub fn from_path(path: &str) -> Option<Self> {
        let (registry, rest) = path.split_once('/')?;
        let registry = RegistryName::parse(registry).ok()?;
        if let Some(path) = rest.strip_prefix("index/") {
            let path = IndexPath::parse(path).ok()?;
            return Some(Self::Index(IndexKey { registry, path }));
        }
        let (folder, file) = rest.strip_prefix("crates/")?.rsplit_once('/')?;
        let name = IndexPath::parse(folder).ok()?.name();
        let (version, sha256) = file.strip_suffix(".crate")?.rsplit_once('.')?;
        let key = CrateKey {
            registry,
            id: CrateId::parse(name.as_str(), version).ok()?,
            sha256: Sha256::parse(sha256).ok()?,
        };
        (key.path() == path).then_some(Self::Crate(key))
    }

    /// The object's path.
    pub fn path(&self) -> String {
        match self {
            Self::Index(key) => key.path(),
            Self::Crate(key) => key.path(),
        }
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
