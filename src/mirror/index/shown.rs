//! What an index file comes to for who asked for it.

use std::{sync::Arc, time::SystemTime};

use crate::{
    domain::{IndexKey, Outcome},
    error::{Error, Result},
    mirror::{
        kept::{Due, IndexEntry},
        shared::{Found, Resident, Shared, Waiters},
    },
};

/// An index file, and where it came from.
pub(in crate::mirror) type IndexFound = Found<Arc<IndexEntry>>;

/// Whether anybody still waits for an index file.
pub(super) type IndexWaiters = Waiters<IndexKey, IndexFound>;

/// What is shown of what was found: nothing of a crate that is gone.
///
/// # Errors
/// [`Kind::Absent`](crate::error::Kind::Absent) when it is gone.
pub(in crate::mirror) fn shown(key: &IndexKey, found: IndexFound) -> Result<IndexFound> {
    match found.value.gone {
        true => Err(no_such_crate(key)),
        false => Ok(found),
    }
}

/// What to say when upstream has no such crate.
pub(in crate::mirror) fn no_such_crate(key: &IndexKey) -> Error {
    Error::absent(format!("{} has no crate {}", key.registry, key.name()))
}

/// What may be given to who asks of what is `known`, without asking upstream.
pub(super) fn permitted(
    shared: &Shared,
    key: &IndexKey,
    known: Resident,
    now: SystemTime,
) -> Option<Result<IndexFound>> {
    match known {
        Resident::Index(entry) => {
            let outcome = match entry.due(&shared.freshness, now) {
                Due::Nothing => Outcome::Hit,
                Due::NotYet => Outcome::Stale,
                Due::Refresh | Due::Replace => return None,
            };
            let is_valid = entry.rendition().is_valid(shared.rules.version(), now);
            is_valid.then_some(Ok(Found {
                value: entry,
                outcome,
            }))
        }
        Resident::Absent(since) if shared.still_absent(since, now) => Some(Err(no_such_crate(key))),
        Resident::Absent(_) | Resident::File(_) | Resident::Toolchain(_) => None,
    }
}
