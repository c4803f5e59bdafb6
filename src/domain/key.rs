//! Keys: what a stored object is. A key owns the object's path, the same on every backend.

use super::{CrateId, CrateName, IndexPath, Prefix, RegistryName, Sha256};

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
}
