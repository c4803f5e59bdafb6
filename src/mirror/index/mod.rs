//! Index files: from memory, from the store, or refreshed upstream by one shared request.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Found, Inner, Mirror, Registry,
    entry::{Ahead, Content, Due, IndexEntry, Shown, content},
    memory::Resident,
    refresh::{Asker, Interested},
    rendition::COMPRESS_AT_ONCE,
};
use crate::{
    allowance::Lease,
    domain::{CrateName, IndexFile, IndexKey, Measure, Outcome},
    error::{Error, Kind, Result},
    store::{IndexRecord, StoredIndex},
    upstream::{ANSWER_WITHIN, Upstream},
};

/// How long the store may take altogether before upstream is asked as if nothing were stored: the other half is upstream's.
const STORE_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() / 2);

/// An index file for who asked for it.
pub(super) type Answer = Result<Found<Arc<IndexEntry>>>;

impl Mirror {
    /// The index file of `name`, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't know the crate; one of the upstream kinds when it fails and there is no copy; [`Kind::Offline`]
    /// and [`Kind::Corrupt`] when there is no upstream to ask.
    pub fn index(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
    ) -> impl Future<Output = Answer> {
        self.index_for(registry, name, now, Asker::Client)
    }

    /// The same for who knows already what else it needs: no dependency is read ahead.
    ///
    /// # Errors
    /// Those of [`index`](Self::index).
    pub fn index_alone(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
    ) -> impl Future<Output = Answer> {
        self.index_for(registry, name, now, Asker::Alone)
    }

    async fn index_for(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
        asker: fn(Interested) -> Asker,
    ) -> Answer {
        if let Some(answer) = self.index_at_once(registry, name, now) {
            return answer;
        }
        let key = IndexKey::new(registry.name(), name);
        let upstream = match registry {
            Registry::Online(upstream) => upstream,
            // Boxed for the others, who are many more and would keep room for it.
            Registry::Offline(_) => return Box::pin(self.0.offline_index(key, now)).await,
        };
        let deadline = Instant::now() + ANSWER_WITHIN;
        let answer = self
            .refreshed_for(asker, upstream, key, now, deadline, |_| true)
            .await;
        self.0.note_asked(&answer);
        answer
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub fn index_at_once(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
    ) -> Option<Answer> {
        let key = IndexKey::new(registry.name(), name);
        let known = self.0.memory.index(&key)?;
        let answer = match registry {
            Registry::Online(_) => self.0.answer(&key, known, now)?,
            Registry::Offline(_) => self.0.offline_answer(&key, known, now)?,
        };
        self.0.note_asked(&answer);
        Some(answer)
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
        self.refreshed_for(Asker::Client, upstream, key, now, deadline, will_do)
            .await
    }

    async fn refreshed_for(
        &self,
        asker: fn(Interested) -> Asker,
        upstream: &Arc<Upstream>,
        key: IndexKey,
        now: SystemTime,
        deadline: Instant,
        will_do: impl Fn(&IndexEntry) -> bool,
    ) -> Answer {
        let flight = self.0.refreshes.join(key, &self.0.tasks, |interest| {
            let (inner, upstream) = (self.0.clone(), upstream.clone());
            async move { inner.refresh(&upstream, key, now, asker(interest)).await }
        });
        let patience_ends = flight.started + *self.0.freshness.patience;
        if let Ok(result) = timeout_at(patience_ends.min(deadline), flight.result.clone()).await {
            return result;
        }
        // The flight puts the copy it found in the store into memory before it asks upstream.
        if let Some(Resident::Index(entry)) = self.0.memory.index(&key)
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
    /// Notes that what was fetched ahead was worth it.
    fn note_asked(&self, answer: &Answer) {
        if let Ok(found) = answer
            && found.value.was_ahead()
        {
            self.metrics.read_ahead_useful.inc();
        }
    }

    /// The answer that what is in memory allows without asking upstream, if it does.
    pub(super) fn answer(
        &self,
        key: &IndexKey,
        known: Resident,
        now: SystemTime,
    ) -> Option<Answer> {
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

    /// What memory, else the store, knows of an index file; what comes from the store goes into memory.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read, or not in time: it may have a copy all the same.
    pub(super) async fn known_index(
        self: &Arc<Self>,
        key: &IndexKey,
        now: SystemTime,
    ) -> Result<Option<Resident>> {
        if let Some(resident) = self.memory.index(key) {
            return Ok(Some(resident));
        }
        let stored = timeout(STORE_WITHIN, self.stored_index(key, now)).await;
        let stored = stored.unwrap_or_else(|_| {
            let path = key.path();
            Err(Error::store(format!("reading {path} took too long")))
        })?;
        // A refresh may have brought a newer one meanwhile.
        Ok(stored.map(|entry| {
            let entry = Resident::Index(entry);
            self.memory.keep_index_unless_known(key, entry)
        }))
    }

    /// The index record under `key`, with a lease that it had before it was read, on all that is made of it and on `copies` of its body.
    ///
    /// # Errors
    /// Those of [`load_index`](crate::store::Store::load_index), and [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it.
    pub(super) async fn leased_record(
        &self,
        key: &IndexKey,
        now: SystemTime,
        copies: usize,
    ) -> Result<Option<(IndexRecord, Lease)>> {
        let mut waited_for = None;
        // Once as it may be, once with memory for its size, once with memory for what was found in it; and it may be replaced at any moment.
        for _ in 0..3 {
            let (allowance, lease) = (self.allowance.clone(), waited_for.take());
            let admit = move |size| match lease {
                Some(lease) => Some(lease).filter(|lease: &Lease| lease.bytes() >= size),
                None => allowance.try_take_needed(size),
            };
            let needs = match self.store.load_index(key, now, admit).await? {
                None => return Ok(None),
                Some(StoredIndex::Large(size)) => size,
                Some(StoredIndex::Whole(record, lease)) => {
                    match make(move || Ok(with_room(record, lease, copies))).await? {
                        Room::Enough(record, lease) => return Ok(Some((record, lease))),
                        Room::Short(needs) => needs,
                    }
                }
            };
            // What was read of it is given back before.
            waited_for = Some(self.allowance.take(needs).await?);
        }
        let sentence = "this mirror's memory is taken up by other requests; try again in a moment";
        Err(Error::new(Kind::Overloaded, sentence))
    }

    /// What the store has of an index file.
    async fn stored_index(
        self: &Arc<Self>,
        key: &IndexKey,
        now: SystemTime,
    ) -> Result<Option<Arc<IndexEntry>>> {
        let (record, lease) = match self.leased_record(key, now, 0).await {
            Ok(Some(leased)) => leased,
            Ok(None) => return Ok(None),
            // Without memory for a copy there is none; what is corrupt is dropped by now.
            Err(e) if matches!(e.kind(), Kind::Overloaded | Kind::Corrupt) => return Ok(None),
            Err(e) => return Err(e),
        };
        let (path, times) = (key.path, (record.modified_at, record.checked_at));
        let gone = record.gone;
        let _turn = self.readying.acquire().await;
        let made = make(move || {
            let file = IndexFile::parse(path, record.body)?;
            Ok((
                content(file, record.sha256, times.0, Shown::AsIs(None), lease),
                record.validators,
            ))
        });
        match made.await {
            Ok((content, validators)) => {
                self.make_twin(*key, &content);
                Ok(Some(Arc::new(IndexEntry {
                    content,
                    validators,
                    fetched_at: times.0,
                    checked_at: times.1,
                    recorded_at: times.1,
                    failed_at: None,
                    gone,
                    seen: None,
                    ahead: Ahead::default(),
                })))
            }
            Err(e) => {
                tracing::warn!(object = key.path(), "a stored index file is not used: {e}");
                Ok(None)
            }
        }
    }
}

/// Whether there is memory for all that is made of a stored index file.
enum Room {
    Enough(IndexRecord, Lease),
    /// There isn't for so many bytes; what there was is given back.
    Short(u64),
}

/// Has the lease grow to all that is made of a record, with `copies` of its body. It stays with the record: who waits for this may be gone before it ends.
fn with_room(record: IndexRecord, mut lease: Lease, copies: usize) -> Room {
    let body = &record.body;
    let mut measure = Measure::default();
    measure.add(body);
    let twin = body.len().min(COMPRESS_AT_ONCE);
    let needs = measure.needs() + copies * body.len() + twin + size_of::<Content>();
    let more = (needs as u64).saturating_sub(lease.bytes());
    match lease.try_grow_needed(more) {
        true => Room::Enough(record, lease),
        false => Room::Short(needs as u64),
    }
}

/// Runs work that takes milliseconds of computing where it holds nobody up.
pub(super) async fn make<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("making an index file ready ended early: {e}")))?
}

/// What an entry comes to for who asked for the file.
pub(super) fn shown(key: &IndexKey, entry: Arc<IndexEntry>, outcome: Outcome) -> Answer {
    match entry.gone {
        true => Err(no_such_crate(key)),
        false => Ok(Found {
            value: entry,
            outcome,
        }),
    }
}

pub(super) fn no_such_crate(key: &IndexKey) -> Error {
    Error::absent(format!("{} has no crate {}", key.registry, key.name()))
}
