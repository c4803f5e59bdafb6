//! [`CrateFromUpstream`]: .crate files that are downloaded when the store doesn't have them.

use std::{sync::Arc, time::SystemTime};

use tokio::time::{Instant, timeout_at};

use super::{
    download::{Arrival, DownloadReader, Downloads, Spooling},
    fetch::Fetch,
    file::CrateFile,
    listing::{listed, other_spelling, unknown_version},
    loads::Loads,
    source::CrateSource,
};
use crate::{
    domain::{CrateId, CrateKey, IndexKey, Outcome},
    error::{Error, Kind, Result},
    mirror::{
        index::{IndexFound, IndexService},
        kept::IndexEntry,
        shared::{Found, Shared, not_here, unreadable},
    },
    upstream::Upstream,
};

/// How many downloads of a crate the disk may fail before its client is told so. The second one avoids the disk, and others may have theirs in between.
const DISK_FAILURES: u32 = 2;

/// Upstream, asked at `now` for one client.
pub(super) struct CrateFromUpstream<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) index: &'a IndexService,
    pub(super) loads: &'a Arc<Loads>,
    pub(super) downloads: &'a Arc<Downloads>,
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

    async fn stored(&self, key: &CrateKey) -> Result<Option<CrateFile>> {
        Ok(self.loads.if_stored(key, self.now).await)
    }

    async fn obtain(&self, key: &CrateKey) -> Result<Found<CrateFile>> {
        let e = match self.download(key).await {
            Ok(found) => return Ok(found),
            Err(e) => e,
        };
        // Is it here, and the store doesn't give it?
        Err(match self.loads.failure(key, self.now).await {
            Some(store) if store.kind() == Kind::Store => {
                unreadable(&key.id.to_string(), &e, &store)
            }
            Some(_) | None => e,
        })
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

    /// Joins or starts the download of `key` and waits until its first bytes may be sent.
    async fn download(&self, key: &CrateKey) -> Result<Found<CrateFile>> {
        let what = key.id.to_string();
        let mut failures = 0;
        loop {
            let mut reader = self.join(key, failures);
            let begun = timeout_at(self.deadline, reader.begun()).await;
            let begun = begun.map_err(|_| {
                Error::upstream_timeout(format!(
                    "{what} didn't arrive from {} in time; try again, it may be here by then",
                    key.registry
                ))
            })?;
            match begun {
                Ok(Arrival::Arriving(length)) => {
                    return Ok(Found {
                        value: CrateFile::Arriving(Box::new(reader), length),
                        outcome: Outcome::Miss,
                    });
                }
                Ok(Arrival::Stored) => {
                    if let Some(file) = self.loads.if_stored(key, self.now).await {
                        return Ok(Found::here(file));
                    }
                    // It was there a moment ago, and is evicted or found to be corrupt by now.
                }
                // The disk has failed it; what upstream has can be had all the same.
                Err(e) if e.kind() == Kind::Store && failures < DISK_FAILURES => failures += 1,
                Err(e) => return Err(not_here(&what, &e)),
            }
        }
    }

    /// Joins the download of `key`, or starts one that avoids the disk if that has failed others.
    fn join(&self, key: &CrateKey, failures: u32) -> DownloadReader {
        let spooling = match failures {
            0 => Spooling::Allowed,
            _ => Spooling::Avoided,
        };
        self.downloads.join(*key, spooling, |download| {
            let fetch = Fetch {
                shared: self.shared.clone(),
                loads: self.loads.clone(),
                downloads: self.downloads.clone(),
                upstream: self.upstream.clone(),
                key: *key,
                download,
            };
            self.shared.background.run(fetch.run(self.now));
        })
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
