//! What an index says of a .crate file: whether it lists it, and under which key it is stored.

use crate::domain::{CrateId, CrateKey, IndexFile, IndexPath, RegistryName, Version};

/// Whether an index has exactly this version with exactly this content. Keys made of paths have no capitals.
pub(super) fn lists(file: &IndexFile, key: &CrateKey) -> bool {
    let path = key.path();
    IndexPath::of(file.name()) == IndexPath::of(key.id.name)
        && file.versions().iter().any(|version| {
            version.sha256 == key.sha256 && crate_key(file, key.registry, version).path() == path
        })
}

/// The key of the .crate file of a version.
pub(super) fn crate_key(file: &IndexFile, registry: RegistryName, version: &Version) -> CrateKey {
    CrateKey {
        registry,
        id: CrateId {
            name: file.name(),
            version: *version.version(),
        },
        sha256: version.sha256,
    }
}
