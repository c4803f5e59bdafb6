//! [`CrateFromUpstream`]: .crate files that are downloaded when the store doesn't have them.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{
    listing::{listed, other_spelling, unknown_version},
    source::CrateSource,
};
use crate::{
    domain::{CrateId, CrateKey, IndexKey, Outcome},
    error::{Error, Kind, Result},
    mirror::{
        files::{CheckedFile, FileService},
        index::{IndexFound, IndexService},
        kept::IndexEntry,
        shared::Found,
    },
    upstream::Upstream,
};

/// Upstream, asked at `now` for one client.
pub(super) struct CrateFromUpstream<'a> {
    pub(super) index: &'a IndexService,
    pub(super) files: &'a FileService,
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) now: SystemTime,
    pub(super) deadline: Instant,
}

impl CrateSource for CrateFromUpstream<'_> {
    async fn at_hand(&self, id: &CrateId) -> Result<Option<Arc<IndexEntry>>> {
        let key = IndexKey::new(self.upstream.registry(), id.name);
        Ok(self.index.at_hand(&key, self.now).await)
    }

    async fn current(
        &self,
        id: &CrateId,
        _at_hand: Option<&Arc<IndexEntry>>,
    ) -> Result<IndexFound> {
        // A stale copy may do, but not for what was published since.
        let registry = self.upstream.registry();
        let has_it = |entry: &IndexEntry| listed(entry, registry, id).is_some();
        let key = IndexKey::new(registry, id.name);
        self.revalidated(key, has_it).await
    }

    async fn stored(&self, key: &CrateKey) -> Result<Option<CheckedFile>> {
        Ok(self.files.if_stored(&key.into(), self.now).await)
    }

    async fn obtain(&self, key: &CrateKey) -> Result<Found<CheckedFile>> {
        let (now, deadline) = (self.now, self.deadline);
        self.files
            .fetched(self.upstream, &key.into(), now, deadline)
            .await
    }

    async fn unlisted(&self, id: &CrateId, current: Result<IndexFound>) -> Error {
        let registry = self.upstream.registry();
        match current {
            Ok(found) => match found.outcome {
                Outcome::Stale => not_known_yet(self.upstream, id),
                Outcome::Hit
                | Outcome::Revalidated
                | Outcome::Miss
                | Outcome::Absent
                | Outcome::Offline
                | Outcome::Denied
                | Outcome::Redirect => unknown_version(&found.value, registry, id),
            },
            Err(e) if e.kind() == Kind::Absent => self.unknown_crate(id).await,
            Err(e) => e,
        }
    }
}

impl CrateFromUpstream<'_> {
    async fn revalidated(
        &self,
        key: IndexKey,
        will_do: impl Fn(&IndexEntry) -> bool,
    ) -> Result<IndexFound> {
        let (now, deadline) = (self.now, self.deadline);
        self.index
            .revalidated(self.upstream, key, now, deadline, will_do)
            .await
    }

    /// What to say to who asks for a crate that isn't in the index under that name.
    async fn unknown_crate(&self, id: &CrateId) -> Error {
        let registry = self.upstream.registry();
        for variant in id.name.separator_variants() {
            let key = IndexKey::new(registry, variant);
            if let Ok(found) = self.revalidated(key, |_| true).await {
                return other_spelling(registry, id, found.value.file().name());
            }
        }
        Error::absent(format!("{registry} has no crate {}", id.name))
    }
}

/// A copy of the index that is due for a check can't know what was published since; "absent" would be final for cargo.
fn not_known_yet(upstream: &Upstream, id: &CrateId) -> Error {
    Error::upstream_unavailable(format!(
        "the copy of the index here has no {id}, and {} didn't say in time whether it has it now; try again",
        upstream.registry()
    ))
}
