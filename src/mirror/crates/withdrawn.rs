//! Withdrawn versions: no longer in the index, and still in the store. What was served once is served again to who asks for it by name (a cargo whose
//! own copy of the index still lists it, a script); no resolver picks it anew, because the index is served as upstream has it.

use std::time::SystemTime;

use crate::{
    domain::{CrateId, CrateKey, IndexKey},
    mirror::{
        files::{CheckedFile, FileService},
        kept::IndexEntry,
        shared::Shared,
    },
};

/// The stored file of a version that the index doesn't list (any more), if there is one; checked against the checksum in its own name. Asked
/// only when there is nothing else to answer with but an error.
///
/// Of a version that was published again with other content before it vanished there are several files. The one used last comes first: the
/// index named it last, and from then on nobody was given the others.
pub(super) async fn withdrawn(
    shared: &Shared,
    files: &FileService,
    index: &IndexKey,
    id: &CrateId,
    listing: Option<&IndexEntry>,
    now: SystemTime,
) -> Option<(CrateKey, CheckedFile)> {
    if listing.is_some_and(|entry| entry.file().name() != id.name) {
        return None;
    }
    let stored = shared.store.crates_of(index).await.ok()?;
    let of_version = |key: &CrateKey| key.id.version.is_same_path(&id.version);
    // Paths fold case, versions don't: the file of 1.0.0-RC is not 1.0.0-rc's.
    let of_other = |key: &CrateKey| {
        let mut listed = listing.iter().flat_map(|entry| entry.file().versions());
        listed.any(|version| version.sha256 == key.sha256)
    };
    for key in stored
        .iter()
        .filter(|key| of_version(key) && !of_other(key))
    {
        if let Some(file) = files.if_stored(&key.into(), now).await {
            tracing::info!(%id, "not in the index any more; served from the store");
            return Some((*key, file));
        }
    }
    None
}
