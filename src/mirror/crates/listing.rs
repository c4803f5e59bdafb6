//! What an index entry says of one version: under which key its file is, or that there is none.

use crate::{
    domain::{CrateId, CrateKey, RegistryName, Version},
    error::Error,
    mirror::kept::IndexEntry,
};

/// The line of `id`, and the key of the file that it names.
pub(super) fn listed<'a>(
    entry: &'a IndexEntry,
    registry: RegistryName,
    id: &CrateId,
) -> Option<(&'a Version, CrateKey)> {
    let version = entry.file().find(id)?;
    let key = CrateKey {
        registry,
        id: *id,
        sha256: version.sha256,
    };
    Some((version, key))
}

/// What to say of a version that `entry` doesn't list.
pub(super) fn unknown_version(entry: &IndexEntry, registry: RegistryName, id: &CrateId) -> Error {
    let canonical = entry.file().name();
    match canonical == id.name {
        true => Error::absent(format!(
            "{registry} has no version {} of {canonical}",
            id.version
        )),
        false => other_spelling(registry, id, canonical),
    }
}

/// What to say of a crate whose name is spelled otherwise. Cargo asks for names as the index has them; what comes here was written by hand or generated.
pub(super) fn other_spelling(
    registry: RegistryName,
    id: &CrateId,
    canonical: impl std::fmt::Display,
) -> Error {
    Error::absent(format!(
        "{registry} has no crate {}; its name is {canonical}",
        id.name
    ))
}
