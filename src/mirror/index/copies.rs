//! [`Copies`]: what becomes of the copy of an index file by what upstream says of it: confirmed, replaced, withdrawn, or served although it is stale.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    gzip_variants::GzipMaker,
    records::StoredRecords,
    shown::{IndexFound, no_such_crate},
    siblings::Siblings,
    write_behind::WriteBehind,
};
use crate::{
    domain::{IndexKey, Outcome, Validators},
    error::{Error, Kind, Result},
    metrics::IndexChange,
    mirror::{
        catalog::News,
        kept::{Due, IndexEntry},
        shared::{Found, Resident, Shared, not_here, too_old},
    },
};

/// A confirmation by upstream is written down when the one written before is this old. Finer would turn every 304 into a write; coarser would
/// let a restart during an outage take a copy for older than it is by more than this.
const CONFIRMATION_GRAIN: Duration = Duration::from_secs(3600);
/// In a bucket each write has its price: of 250,000 index files in use, one an hour for each is $30 a day. So a copy there may be taken for older than it is by
/// this part of the age at which it isn't served any more, up to so much.
const SHARED_PART: u32 = 60;
const SHARED_GRAIN: Duration = Duration::from_secs(12 * 3600);

/// The copies of index files, in memory and in the store.
pub(super) struct Copies {
    shared: Arc<Shared>,
    gzip: Arc<GzipMaker>,
    writes: Arc<WriteBehind>,
    records: Arc<StoredRecords>,
    siblings: Arc<Siblings>,
}

impl Copies {
    pub(super) fn new(
        shared: Arc<Shared>,
        gzip: Arc<GzipMaker>,
        records: Arc<StoredRecords>,
        siblings: Arc<Siblings>,
    ) -> Self {
        Self {
            siblings,
            writes: Arc::new(WriteBehind::new(shared.clone(), records.clone())),
            records,
            gzip,
            shared,
        }
    }

    /// Upstream said, or its identical body shows, that `entry` is current.
    pub(super) fn confirm(
        &self,
        key: IndexKey,
        entry: &IndexEntry,
        validators: Validators,
        now: SystemTime,
    ) -> IndexFound {
        let confirmed = IndexEntry {
            validators,
            checked_at: now,
            failed_at: None,
            gone: false,
            ..entry.clone()
        };
        Found {
            value: self.keep(key, Some(entry), confirmed),
            outcome: Outcome::Revalidated,
        }
    }

    /// A new body takes the place of what there was.
    pub(super) fn replace(
        &self,
        key: IndexKey,
        before: Option<Arc<IndexEntry>>,
        entry: IndexEntry,
    ) -> IndexFound {
        if let Some(before) = before {
            self.warn_of_changes(&key, &before, &entry);
        }
        let name = entry.file().name();
        self.shared.catalog.tell(News::Seen(key.registry, name));
        Found {
            value: self.keep(key, None, entry),
            outcome: Outcome::Miss,
        }
    }

    /// Upstream said that there is no such crate. What it had before is kept, marked as gone, so that neither an outage nor a restart brings it back.
    ///
    /// # Errors
    /// [`Kind::Absent`] when there was nothing before.
    pub(super) fn withdraw(
        &self,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        now: SystemTime,
    ) -> Result<IndexFound> {
        let Some(entry) = known else {
            self.shared.memory.keep_index(&key, Resident::Absent(now));
            return Err(no_such_crate(&key));
        };
        let gone = IndexEntry {
            checked_at: now,
            failed_at: None,
            gone: true,
            ..(*entry).clone()
        };
        Ok(Found {
            value: self.keep(key, Some(&entry), gone),
            outcome: Outcome::Revalidated,
        })
    }

    /// Upstream sent nothing: to who has no copy that says that there is no such crate.
    ///
    /// # Errors
    /// Those of [`withdraw`](Self::withdraw) and [`fall_back`](Self::fall_back).
    pub(super) fn take_empty(
        &self,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        said: Error,
        now: SystemTime,
    ) -> Result<IndexFound> {
        match known {
            None => self.withdraw(key, None, now),
            // Too weak a word to take back what it had before.
            Some(_) => self.fall_back(key, known, said, now),
        }
    }

    /// Upstream failed: the copy we have (`stale-if-error`), unless it is too old. A denial is no failure: it is a mirror's that has rules of its own, and a copy
    /// is no way around them.
    ///
    /// # Errors
    /// `error` in the words of who asked, when there is no copy that may be served; a denial as it is.
    pub(super) fn fall_back(
        &self,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        error: Error,
        now: SystemTime,
    ) -> Result<IndexFound> {
        if error.kind() == Kind::Denied {
            return Err(error);
        }
        let what = format!("the index file of {}", key.name());
        let Some(entry) = known else {
            tracing::warn!(name = %key.name(), "no index file to serve: {error}");
            return Err(not_here(&what, &error));
        };
        if matches!(entry.due(&self.shared.freshness, now), Due::Replace) {
            tracing::warn!(name = %key.name(), "no index file young enough to serve: {error}");
            let error = match error.kind() {
                Kind::UpstreamUnavailable { .. }
                | Kind::CircuitOpen { .. }
                | Kind::UpstreamRefused => error,
                _ => error.of_kind(Kind::UpstreamUnavailable { retry_after: None }),
            };
            return Err(too_old(&what, &error));
        }
        tracing::warn!(name = %key.name(), "serving a stale copy: {error}");
        let stale = Arc::new(IndexEntry {
            failed_at: Some(now),
            leads: false,
            ..(*entry).clone()
        });
        let resident = Resident::Index(stale.clone());
        self.shared.memory.keep_index(&key, resident);
        self.shared.stale.served(key, &stale, now);
        Ok(Found {
            value: stale,
            outcome: Outcome::Stale,
        })
    }

    /// Another mirror has had this body confirmed, at that time.
    pub(super) fn confirmed_elsewhere(
        &self,
        key: &IndexKey,
        entry: &Arc<IndexEntry>,
        at: SystemTime,
    ) -> Arc<IndexEntry> {
        let confirmed = Arc::new(IndexEntry {
            checked_at: at,
            failed_at: None,
            // Who leads goes on leading: what the other one asked for in the same moment is no reason to wait for it the next time, too.
            leads: self.siblings.leads(key),
            ..(**entry).clone()
        });
        let is_it = |current: &Arc<IndexEntry>| Arc::ptr_eq(current, entry);
        self.shared
            .memory
            .change_index(key, |current| is_it(current).then(|| confirmed.clone()));
        self.records.note_served(key, &confirmed);
        confirmed
    }

    /// Another mirror has had a new body confirmed, at that time; it takes the place of what there was.
    pub(super) fn replaced_elsewhere(
        &self,
        key: IndexKey,
        before: &IndexEntry,
        entry: IndexEntry,
        at: SystemTime,
    ) -> Arc<IndexEntry> {
        self.warn_of_changes(&key, before, &entry);
        let history = entry.history.merged(before.before(), entry.file(), at);
        let entry = Arc::new(IndexEntry {
            history: Arc::new(history),
            checked_at: at,
            recorded_at: at,
            ..entry
        });
        let resident = Resident::Index(entry.clone());
        self.shared.memory.keep_index(&key, resident);
        self.records.note_served(&key, &entry);
        // It may be that only the bucket has it.
        self.writes.write(key, entry.clone());
        entry
    }

    /// Puts an entry into memory and, unless it differs from `before` only by a recent check, into the store.
    fn keep(
        &self,
        key: IndexKey,
        before: Option<&IndexEntry>,
        mut entry: IndexEntry,
    ) -> Arc<IndexEntry> {
        let recorded = before.is_some_and(|before| {
            let age = entry.checked_at.duration_since(before.recorded_at);
            age.unwrap_or_default() < self.grain()
                && entry.validators == before.validators
                && entry.gone == before.gone
        });
        let recorded = recorded || entry.incomplete;
        entry.leads = self.siblings.leads(&key);
        if !recorded {
            entry.recorded_at = entry.checked_at;
        }
        let entry = Arc::new(entry);
        if !entry.gone && !entry.incomplete {
            self.siblings.tell(key, &entry);
        }
        self.gzip.make(key, &entry.rendition);
        let resident = Resident::Index(entry.clone());
        self.shared.memory.keep_index(&key, resident);
        self.records.note_served(&key, &entry);
        if !recorded {
            self.writes.write(key, entry.clone());
        }
        entry
    }

    /// How old a confirmation in the store may be.
    fn grain(&self) -> Duration {
        match self.shared.store.is_shared() {
            true => {
                let part = *self.shared.freshness.max_stale / SHARED_PART;
                part.clamp(CONFIRMATION_GRAIN, SHARED_GRAIN)
            }
            false => CONFIRMATION_GRAIN,
        }
    }

    /// Says what upstream took back, or gave other content. What vanished is gone from what is shown, because upstream is who decides; content that changed is
    /// refused until a rule names it.
    fn warn_of_changes(&self, key: &IndexKey, before: &IndexEntry, now: &IndexEntry) {
        let (registry, name) = (key.registry.as_str(), key.name());
        if before.before().is_replaced_by(now.file()) {
            self.shared
                .metrics
                .index_changes(registry, IndexChange::Replaced, 1);
            tracing::warn!(registry, %name, "upstream deleted this crate, and another one has been published under its name; it is taken for a new crate");
            return;
        }
        let changes = now.file().changes_since(before.file());
        let count = |change, versions: &[_]| {
            let metrics = &self.shared.metrics;
            metrics.index_changes(registry, change, versions.len());
        };
        let (vanished, replaced) = (&changes.vanished, &changes.replaced);
        if !vanished.is_empty() {
            count(IndexChange::Vanished, vanished);
            tracing::warn!(registry, %name, change = "vanished", versions = ?vanished, "published versions are gone from upstream's index");
        }
        if !replaced.is_empty() {
            count(IndexChange::Checksum, replaced);
            tracing::warn!(registry, %name, change = "checksum", versions = ?replaced, "published versions have other content upstream now; they are refused until a rule with their sha256 allows them");
        }
    }
}
