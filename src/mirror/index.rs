//! Index files: from memory, from the store, or refreshed upstream by one shared request.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout_at};

use super::{
    Found, Inner, Mirror,
    entry::{Due, IndexEntry, content},
    flight::Interest,
    memory::Resident,
    not_here::{not_here, too_old},
};
use crate::{
    allowance::Lease,
    domain::{CrateName, IndexFile, IndexKey, Outcome, Sha256, Validators},
    error::{Error, Kind, Result},
    upstream::{ANSWER_WITHIN, Fetched, Upstream},
};

/// A confirmation by upstream is written down when the one written before is this old. Finer would turn every 304 into a write; coarser would
/// let a restart during an outage take a copy for older than it is by more than this.
const CONFIRMATION_GRAIN: Duration = Duration::from_secs(3600);

/// An index file for who asked for it.
type Answer = Result<Found<Arc<IndexEntry>>>;

impl Mirror {
    /// The index file of `name`, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't know the crate; one of the upstream kinds when it fails and there is no copy.
    pub async fn index(
        &self,
        upstream: &Arc<Upstream>,
        name: CrateName,
        now: SystemTime,
    ) -> Answer {
        let key = IndexKey::new(upstream.registry(), name);
        if let Some(known) = self.0.memory.index(&key).await
            && let Some(answer) = self.0.answer(&key, known, now)
        {
            return answer;
        }
        let deadline = Instant::now() + ANSWER_WITHIN;
        self.refreshed(upstream, key, now, deadline, |_| true).await
    }

    /// The index file after a refresh, or the stale copy if that takes longer than a client has patience for and `will_do` accepts the copy.
    pub(super) async fn refreshed(
        &self,
        upstream: &Arc<Upstream>,
        key: IndexKey,
        now: SystemTime,
        deadline: Instant,
        will_do: impl Fn(&IndexEntry) -> bool,
    ) -> Answer {
        let flight = self.0.refreshes.join(key, &self.0.tasks, |interest| {
            let (inner, upstream) = (self.0.clone(), upstream.clone());
            async move { inner.refresh(&upstream, key, now, interest).await }
        });
        let patience_ends = flight.started + *self.0.freshness.patience;
        if let Ok(result) = timeout_at(patience_ends.min(deadline), flight.result.clone()).await {
            return result;
        }
        // The flight puts the copy it found in the store into memory before it asks upstream.
        if let Some(Resident::Index(entry)) = self.0.memory.index(&key).await
            && !matches!(entry.due(&self.0.freshness, now), Due::Replace)
            && will_do(&entry)
        {
            self.0.refreshes.leave_running(&key, flight);
            return shown(&key, entry, Outcome::Stale);
        }
        timeout_at(deadline, flight.result)
            .await
            .unwrap_or_else(|_| {
                Err(Error::upstream_timeout(format!(
                    "the index file of {} didn't arrive from {} in time; try again",
                    key.name(),
                    key.registry
                )))
            })
    }
}

impl Inner {
    /// The answer that what is in memory allows without asking upstream, if it does.
    fn answer(&self, key: &IndexKey, known: Resident, now: SystemTime) -> Option<Answer> {
        match known {
            Resident::Index(entry) => match entry.due(&self.freshness, now) {
                Due::Nothing => Some(shown(key, entry, Outcome::Hit)),
                Due::NotYet => Some(shown(key, entry, Outcome::Stale)),
                Due::Refresh | Due::Replace => None,
            },
            Resident::Absent(since) if self.still_absent(since, now) => {
                Some(Err(no_such_crate(key)))
            }
            Resident::Absent(_) | Resident::Crate(_) => None,
        }
    }

    pub(super) fn still_absent(&self, since: SystemTime, now: SystemTime) -> bool {
        now.duration_since(since)
            .is_ok_and(|age| age < self.freshness.absent_for())
    }

    /// One refresh, shared by all who wait for it.
    async fn refresh(
        self: Arc<Self>,
        upstream: &Upstream,
        key: IndexKey,
        now: SystemTime,
        interest: Interest<IndexKey, Found<Arc<IndexEntry>>>,
    ) -> Answer {
        let known = self.known_index(&key, now).await;
        if let Some(known) = &known
            && let Some(answer) = self.answer(&key, known.clone(), now)
        {
            return answer;
        }
        let known = match known {
            Some(Resident::Index(entry)) => Some(entry),
            Some(Resident::Absent(_) | Resident::Crate(_)) | None => None,
        };
        // In the line for upstream a refresh nobody waits for is given up; once asked, what comes is kept.
        let _place = tokio::select! {
            place = upstream.place() => place,
            () = interest.lost() => return Err(Error::internal("nobody waits for this index file any more")),
        };
        let nothing = Validators::default();
        let validators = known.as_ref().map_or(&nothing, |entry| &entry.validators);
        let asked = Instant::now();
        let fetched = upstream.fetch_index(key.path, validators).await;
        // It may have taken long; what is learnt is from now.
        let now = now + asked.elapsed();
        match (fetched, known) {
            (
                Ok(Fetched::New {
                    body,
                    lease,
                    validators,
                }),
                Some(entry),
            ) if *entry.file().body() == body => {
                drop(lease);
                self.confirm(key, &entry, validators, now).await
            }
            (
                Ok(Fetched::New {
                    body,
                    lease,
                    validators,
                }),
                known,
            ) => match self.ready(key, body, lease, validators, now).await {
                Ok(entry) => self.replace(key, known, entry).await,
                Err(e) => self.fall_back(key, known, e, now).await,
            },
            (Ok(Fetched::NotModified { validators }), Some(entry)) => {
                self.confirm(key, &entry, validators, now).await
            }
            (Ok(Fetched::NotModified { .. }), None) => Err(Error::upstream_fault(
                "upstream answered 304 to a request without conditions",
            )),
            (Ok(Fetched::Absent), known) => self.withdraw(key, known, now).await,
            (Err(e), known) => self.fall_back(key, known, e, now).await,
        }
    }

    /// What memory, else the store, knows of an index file; what comes from the store goes into memory.
    pub(super) async fn known_index(&self, key: &IndexKey, now: SystemTime) -> Option<Resident> {
        if let Some(resident) = self.memory.index(key).await {
            return Some(resident);
        }
        let _turn = self.readying.acquire().await;
        // Others may have loaded it while this one waited for its turn.
        if let Some(resident) = self.memory.index(key).await {
            return Some(resident);
        }
        let entry = self.stored_index(key, now).await?;
        // A refresh may have brought a newer one meanwhile.
        if let Some(resident) = self.memory.index(key).await {
            return Some(resident);
        }
        self.memory
            .keep_index(key, Resident::Index(entry.clone()))
            .await;
        Some(Resident::Index(entry))
    }

    /// What the store has of an index file. A store that can't be read is one that has nothing: upstream may still answer.
    async fn stored_index(&self, key: &IndexKey, now: SystemTime) -> Option<Arc<IndexEntry>> {
        let record = self.store.load_index(key, now).await.ok().flatten()?;
        let lease = self
            .allowance
            .take(record.body.len() as u64 * 2)
            .await
            .ok()?;
        let (path, times) = (key.path, (record.fetched_at, record.checked_at));
        let gone = record.gone;
        let made = make(move || {
            let file = IndexFile::parse(path, record.body)?;
            Ok((
                content(file, record.sha256, times.0, lease),
                record.validators,
            ))
        });
        match made.await {
            Ok((content, validators)) => Some(Arc::new(IndexEntry {
                content,
                validators,
                fetched_at: times.0,
                checked_at: times.1,
                recorded_at: times.1,
                failed_at: None,
                gone,
            })),
            Err(e) => {
                tracing::warn!(object = key.path(), "a stored index file is not used: {e}");
                None
            }
        }
    }

    /// Makes an entry of a body that came from upstream just now.
    async fn ready(
        &self,
        key: IndexKey,
        body: bytes::Bytes,
        lease: Lease,
        validators: Validators,
        now: SystemTime,
    ) -> Result<IndexEntry> {
        let told = validators.last_modified.as_deref();
        let modified = told
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or(now);
        let content = make(move || {
            let file = IndexFile::parse(key.path, body)?;
            let sha256 = Sha256::of(file.body());
            Ok(content(file, sha256, modified, lease))
        })
        .await?;
        if content.file.unreadable() > 0 {
            let lines = content.file.unreadable();
            tracing::warn!(name = %key.name(), lines, "upstream's index file has lines that can't be read; they are passed on");
        }
        Ok(IndexEntry {
            content,
            validators,
            fetched_at: modified,
            checked_at: now,
            recorded_at: now,
            failed_at: None,
            gone: false,
        })
    }

    /// Upstream said, or its identical body shows, that `entry` is current.
    async fn confirm(
        self: &Arc<Self>,
        key: IndexKey,
        entry: &IndexEntry,
        validators: Validators,
        now: SystemTime,
    ) -> Answer {
        let confirmed = IndexEntry {
            validators,
            checked_at: now,
            failed_at: None,
            gone: false,
            ..entry.clone()
        };
        let confirmed = self.keep(key, Some(entry), confirmed).await;
        shown(&key, confirmed, Outcome::Revalidated)
    }

    /// A new body takes the place of what there was.
    async fn replace(
        self: &Arc<Self>,
        key: IndexKey,
        before: Option<Arc<IndexEntry>>,
        entry: IndexEntry,
    ) -> Answer {
        if let Some(before) = before {
            self.warn_of_changes(&key, before.file(), entry.file());
        }
        let entry = self.keep(key, None, entry).await;
        shown(&key, entry, Outcome::Miss)
    }

    /// Upstream said that there is no such crate. What it had before is kept, marked as gone, so that neither an outage nor a restart brings it back.
    async fn withdraw(
        self: &Arc<Self>,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        now: SystemTime,
    ) -> Answer {
        match known {
            None => self.memory.keep_index(&key, Resident::Absent(now)).await,
            Some(entry) => {
                let gone = IndexEntry {
                    checked_at: now,
                    failed_at: None,
                    gone: true,
                    ..(*entry).clone()
                };
                self.keep(key, Some(&entry), gone).await;
            }
        }
        Err(no_such_crate(&key))
    }

    /// Puts an entry into memory and, unless it differs from `before` only by a recent check, into the store.
    async fn keep(
        self: &Arc<Self>,
        key: IndexKey,
        before: Option<&IndexEntry>,
        mut entry: IndexEntry,
    ) -> Arc<IndexEntry> {
        let recorded = before.is_some_and(|before| {
            let age = entry.checked_at.duration_since(before.recorded_at);
            age.unwrap_or_default() < CONFIRMATION_GRAIN
                && entry.validators == before.validators
                && entry.gone == before.gone
        });
        if !recorded {
            entry.recorded_at = entry.checked_at;
        }
        let entry = Arc::new(entry);
        self.memory
            .keep_index(&key, Resident::Index(entry.clone()))
            .await;
        if !recorded {
            self.save_index(key, entry.clone());
        }
        entry
    }

    /// Says what upstream took back; it is served as upstream has it all the same, because upstream is who decides.
    fn warn_of_changes(&self, key: &IndexKey, before: &IndexFile, now: &IndexFile) {
        let (registry, name) = (key.registry.as_str(), key.name());
        let changes = now.changes_since(before);
        for (change, versions) in [
            ("vanished", &changes.vanished),
            ("checksum", &changes.replaced),
        ] {
            if !versions.is_empty() {
                self.metrics.index_changes(registry, change, versions.len());
                tracing::warn!(registry, %name, change, ?versions, "published versions changed upstream");
            }
        }
    }

    /// Upstream failed: the copy we have, unless it is too old.
    async fn fall_back(
        self: &Arc<Self>,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        error: Error,
        now: SystemTime,
    ) -> Answer {
        let what = format!("the index file of {}", key.name());
        let Some(entry) = known else {
            tracing::warn!(name = %key.name(), "no index file to serve: {error}");
            return Err(not_here(&what, &error));
        };
        if matches!(entry.due(&self.freshness, now), Due::Replace) {
            tracing::warn!(name = %key.name(), "no index file young enough to serve: {error}");
            let error = match error.kind() {
                Kind::UpstreamUnavailable { .. } | Kind::UpstreamResting { .. } => error,
                _ => Error::upstream_unavailable(error.message()).because(error.cause()),
            };
            return Err(too_old(&what, &error));
        }
        tracing::warn!(name = %key.name(), "serving a stale copy: {error}");
        let stale = Arc::new(IndexEntry {
            failed_at: Some(now),
            ..(*entry).clone()
        });
        self.memory
            .keep_index(&key, Resident::Index(stale.clone()))
            .await;
        shown(&key, stale, Outcome::Stale)
    }
}

/// Runs work that takes milliseconds of computing where it holds nobody up.
async fn make<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("making an index file ready ended early: {e}")))?
}

/// What an entry comes to for who asked for the file.
fn shown(key: &IndexKey, entry: Arc<IndexEntry>, outcome: Outcome) -> Answer {
    match entry.gone {
        true => Err(no_such_crate(key)),
        false => Ok(Found {
            value: entry,
            outcome,
        }),
    }
}

fn no_such_crate(key: &IndexKey) -> Error {
    Error::absent(format!("{} has no crate {}", key.registry, key.name()))
}
