//! Refreshes: upstream asked whether an index file is current, and what it says kept.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    Found, Inner,
    decoding::{Ready, Wanted},
    entry::{Ahead, Due, IndexEntry},
    flight::Interest,
    index::{Answer, no_such_crate, shown},
    memory::Resident,
    not_here::{not_here, too_old, unreadable},
    reception::Received,
};
use crate::{
    domain::{IndexFile, IndexKey, Outcome, Validators},
    error::{Error, Kind, Result},
    upstream::{Fetched, Permit, Upstream},
};

/// A confirmation by upstream is written down when the one written before is this old. Finer would turn every 304 into a write; coarser would
/// let a restart during an outage take a copy for older than it is by more than this.
const CONFIRMATION_GRAIN: Duration = Duration::from_secs(3600);

/// Whether anybody still waits for an index file.
pub(super) type Interested = Interest<IndexKey, Found<Arc<IndexEntry>>>;

/// On whose behalf upstream is asked.
pub(super) enum Asker {
    /// Clients, as long as they wait.
    Client(Interested),
    /// Somebody who wants nothing else, as long as it waits.
    Alone(Interested),
    /// Nobody yet, in a place that no client waited for.
    Ahead(Permit),
}

/// What came of asking upstream for an index file.
enum Brought {
    /// One, and what to ask with next time.
    New(Received, Validators),
    /// What is known is current; and what to ask with next time.
    NotModified(Validators),
    /// There is no such crate.
    Absent,
    /// Nothing, put into words.
    Empty(Error),
}

/// What came of what was received.
enum Readied {
    New(Box<IndexEntry>),
    /// It is what is known.
    Unchanged,
    /// There is nothing in it.
    Empty,
}

impl Inner {
    /// One refresh, shared by all who wait for it.
    pub(super) async fn refresh(
        self: Arc<Self>,
        upstream: &Arc<Upstream>,
        key: IndexKey,
        now: SystemTime,
        asker: Asker,
    ) -> Answer {
        let (known, unread) = match self.known_index(&key, now).await {
            Ok(known) => (known, None),
            Err(e) => (None, Some(e)),
        };
        if let Some(known) = &known
            && let Some(answer) = self.answer(&key, known.clone(), now)
        {
            return answer;
        }
        let known = match known {
            Some(Resident::Index(entry)) => Some(entry),
            Some(Resident::Absent(_) | Resident::Crate(_)) | None => None,
        };
        let wants_more = matches!(asker, Asker::Client(_));
        let (place, ahead) = match asker {
            Asker::Ahead(place) => (place, true),
            Asker::Client(interest) | Asker::Alone(interest) => {
                if wants_more && let Some(entry) = &known {
                    self.read_ahead(upstream, entry, now);
                }
                // In the line for upstream a refresh nobody waits for is given up; once asked, what comes is kept.
                tokio::select! {
                    place = upstream.permit() => (place, false),
                    () = interest.lost() => return Err(Error::cancelled("nobody waits for this index file any more")),
                }
            }
        };
        let answer = self.ask(upstream, key, known, place, now).await;
        let answer = answer.map_err(|e| match &unread {
            Some(store) => unreadable(&format!("the index file of {}", key.name()), &e, store),
            None => e,
        });
        if let Ok(found) = &answer
            && matches!(found.outcome, Outcome::Miss | Outcome::Revalidated)
        {
            match ahead {
                true => {
                    self.metrics.read_ahead_fetched.inc();
                    found.value.came_ahead();
                }
                false if wants_more => self.read_ahead(upstream, &found.value, now),
                false => {}
            }
        }
        answer
    }

    /// Asks upstream whether what is `known` is current, and keeps what it says.
    async fn ask(
        self: &Arc<Self>,
        upstream: &Upstream,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        place: Permit,
        now: SystemTime,
    ) -> Answer {
        let nothing = Validators::default();
        let validators = known.as_ref().map_or(&nothing, |entry| &entry.validators);
        let asked = Instant::now();
        let fetched = self.fetch_index(upstream, key, validators).await;
        // All has come; making it ready is no reason to let the network wait.
        drop(place);
        // It may have taken long; what is learnt is from now.
        let now = now + asked.elapsed();
        match (fetched, known) {
            (Ok(Brought::New(received, validators)), known) => {
                let body = known.as_ref().map(|entry| entry.file().body().clone());
                let before = known.as_ref().map(|entry| entry.fetched_at);
                let modified = validators.modified(before, now);
                let told = validators.clone();
                let ready = self.ready(key, received, body, told, modified, now);
                match (ready.await, known) {
                    (Ok(Readied::New(entry)), known) => self.replace(key, known, *entry).await,
                    (Ok(Readied::Unchanged), Some(entry)) => {
                        self.confirm(key, &entry, validators, now).await
                    }
                    (Ok(Readied::Unchanged), None) => {
                        Err(Error::internal("nothing is the same as nothing"))
                    }
                    (Ok(Readied::Empty), known) => {
                        let said = upstream.empty(StatusCode::OK, key.path);
                        self.take_empty(key, known, said, now).await
                    }
                    (Err(e), known) => self.fall_back(key, known, e, now).await,
                }
            }
            (Ok(Brought::NotModified(validators)), Some(entry)) => {
                self.confirm(key, &entry, validators, now).await
            }
            (Ok(Brought::NotModified(_)), None) => Err(Error::upstream_fault(
                "upstream answered 304 to a request without conditions",
            )),
            (Ok(Brought::Absent), known) => self.withdraw(key, known, now).await,
            (Ok(Brought::Empty(said)), known) => self.take_empty(key, known, said, now).await,
            (Err(e), known) => self.fall_back(key, known, e, now).await,
        }
    }

    /// Asks upstream for an index file and receives all of it, repeating what fails.
    async fn fetch_index(
        &self,
        upstream: &Upstream,
        key: IndexKey,
        known: &Validators,
    ) -> Result<Brought> {
        let mut attempts = upstream.attempts();
        loop {
            let attempt = async {
                Ok(match upstream.fetch_index(key.path, known).await? {
                    Fetched::New(mut stream) => {
                        let received = self.receive(upstream, &mut stream).await?;
                        Brought::New(received, stream.validators().clone())
                    }
                    Fetched::NotModified { validators } => Brought::NotModified(validators),
                    Fetched::Absent => Brought::Absent,
                    Fetched::Empty(said) => Brought::Empty(said),
                })
            };
            match attempt.await {
                Err(e) if attempts.again(&e).await => {}
                done => return done,
            }
        }
    }

    /// Makes an entry of what came from upstream just now.
    async fn ready(
        self: &Arc<Self>,
        key: IndexKey,
        received: Received,
        known: Option<Bytes>,
        validators: Validators,
        modified: SystemTime,
        now: SystemTime,
    ) -> Result<Readied> {
        let wanted = Wanted {
            path: key.path,
            known,
            modified,
        };
        let content = match self.make_ready(wanted, received).await? {
            Ready::Unchanged => return Ok(Readied::Unchanged),
            Ready::Empty => return Ok(Readied::Empty),
            Ready::New(content) => content,
        };
        if content.file.unreadable() > 0 {
            let lines = content.file.unreadable();
            tracing::warn!(name = %key.name(), lines, "upstream's index file has lines that can't be read; they are passed on");
        }
        Ok(Readied::New(Box::new(IndexEntry {
            content,
            validators,
            fetched_at: modified,
            checked_at: now,
            recorded_at: now,
            failed_at: None,
            gone: false,
            seen: None,
            ahead: Ahead::default(),
        })))
    }

    /// Upstream sent nothing: to who has no copy that says that there is no such crate.
    async fn take_empty(
        self: &Arc<Self>,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        said: Error,
        now: SystemTime,
    ) -> Answer {
        match known {
            None => self.withdraw(key, None, now).await,
            // Too weak a word to take back what it had before.
            Some(_) => self.fall_back(key, known, said, now).await,
        }
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
            None => self.memory.keep_index(&key, Resident::Absent(now)),
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
        self.make_twin(key, &entry.content);
        self.memory.keep_index(&key, Resident::Index(entry.clone()));
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
            ..(*entry).clone()
        });
        self.memory.keep_index(&key, Resident::Index(stale.clone()));
        shown(&key, stale, Outcome::Stale)
    }
}
