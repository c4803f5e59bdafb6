//! [`IndexFromUpstream`]: index files that upstream is asked for.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;

use super::{
    read_ahead::ReadAhead,
    refresh::{RefreshStep, Refresher},
    shown::{IndexFound, IndexWaiters, permitted},
    source::IndexSource,
};
use crate::{
    domain::{IndexKey, Outcome},
    error::{Error, Result},
    mirror::{
        kept::{Due, IndexEntry},
        shared::{Resident, Shared},
    },
    upstream::Upstream,
};

/// What a request for an index file sets off beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror) enum Trigger {
    /// A client: what it is likely to ask for next is read ahead.
    Client,
    /// Somebody who knows already what else it needs: nothing is read ahead.
    NoReadAhead,
}

/// Upstream, asked because of `trigger`.
pub(super) struct IndexFromUpstream<'a> {
    pub(super) shared: &'a Shared,
    pub(super) refresher: &'a Arc<Refresher>,
    pub(super) read_ahead: &'a Arc<ReadAhead>,
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) trigger: Trigger,
}

/// One revalidation, shared by all who wait for it.
struct Revalidation {
    refresher: Arc<Refresher>,
    read_ahead: Arc<ReadAhead>,
    upstream: Arc<Upstream>,
    trigger: Trigger,
}

impl IndexSource for IndexFromUpstream<'_> {
    const SERVES_LATECOMERS: bool = true;

    fn permits(
        &self,
        key: &IndexKey,
        known: Resident,
        now: SystemTime,
    ) -> Option<Result<IndexFound>> {
        permitted(self.shared, key, known, now)
    }

    async fn remembered(&self, key: &IndexKey, now: SystemTime) -> Option<Result<IndexFound>> {
        self.permits(key, self.shared.memory.index(key)?, now)
    }

    fn obtain(
        &self,
        key: IndexKey,
        now: SystemTime,
        waiters: IndexWaiters,
    ) -> BoxFuture<'static, Result<IndexFound>> {
        let revalidation = Revalidation {
            refresher: self.refresher.clone(),
            read_ahead: self.read_ahead.clone(),
            upstream: self.upstream.clone(),
            trigger: self.trigger,
        };
        Box::pin(async move { revalidation.run(key, now, waiters).await })
    }

    fn patience(&self) -> Option<Duration> {
        Some(*self.shared.freshness.patience)
    }

    fn meanwhile(&self, key: &IndexKey, now: SystemTime) -> Option<Arc<IndexEntry>> {
        // A revalidation puts the copy it found in the store into memory before it asks upstream.
        let Some(Resident::Index(entry)) = self.shared.memory.index(key) else {
            return None;
        };
        let too_old = matches!(entry.due(&self.shared.freshness, now), Due::Replace);
        let is_valid = entry.rendition().is_valid(self.shared.rules.version(), now);
        (!too_old && is_valid).then_some(entry)
    }

    fn late(&self, key: &IndexKey) -> Error {
        Error::upstream_timeout(format!(
            "the index file of {} didn't arrive from {} in time; try again",
            key.name(),
            key.registry
        ))
    }

    fn failed(&self, _key: &IndexKey, error: Error) -> Result<IndexFound> {
        Err(error)
    }
}

impl Revalidation {
    async fn run(
        &self,
        key: IndexKey,
        now: SystemTime,
        waiters: IndexWaiters,
    ) -> Result<IndexFound> {
        let copy = match self.refresher.begin(&key, now).await {
            RefreshStep::Permitted(found) => return found,
            RefreshStep::Ask(copy) => copy,
        };
        if let Some(entry) = &copy.entry {
            self.read_ahead_of(entry, now);
        }
        // Waiting for a permit, a revalidation nobody waits for is given up; once upstream is asked, what comes is kept.
        let permit = tokio::select! {
            permit = self.upstream.permit() => permit,
            () = waiters.gone() => return Err(Error::cancelled("nobody waits for this index file any more")),
        };
        let asked = self.refresher.ask(&self.upstream, key, copy, permit, now);
        let found = asked.await?;
        if matches!(found.outcome, Outcome::Miss | Outcome::Revalidated) {
            self.read_ahead_of(&found.value, now);
        }
        Ok(found)
    }

    fn read_ahead_of(&self, entry: &IndexEntry, now: SystemTime) {
        match self.trigger {
            Trigger::Client => self.read_ahead.follow(&self.upstream, entry, now),
            Trigger::NoReadAhead => {}
        }
    }
}
