//! Offline: what is stored, shown so that a resolver picks only what can be downloaded, and what was asked for in vain.
//!
//! What stands in for asking upstream is a look into the store. It is taken again when an import has announced a change, which is looked for every
//! ten milliseconds at most, and otherwise after `freshness.fresh_for`, for whoever copies files in by hand.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use tokio::time::{Instant, timeout_at};

use super::{
    CrateBody, Found, Inner,
    crates::{found, key_in},
    entry::{Ahead, Due, IndexEntry, Shown, content},
    index::{Answer, make, shown},
    memory::Resident,
};
use crate::{
    allowance::Lease,
    config::sections::OfflineIndex,
    domain::{CrateId, CrateKey, CrateName, IndexFile, IndexKey, MissedRequest, Outcome, Version},
    error::{Error, Kind, Result},
    policy::render,
    store::{IndexRecord, Mark},
    upstream::ANSWER_WITHIN,
};

impl Inner {
    /// The index file under `key`, from what is stored alone.
    pub(super) async fn offline_index(self: &Arc<Self>, key: IndexKey, now: SystemTime) -> Answer {
        match self.looked_up(key, now).await {
            Ok(Found { value, outcome }) => shown(&key, value, outcome),
            Err(e) if e.kind() == Kind::Offline => {
                let missed = MissedRequest {
                    registry: key.registry,
                    name: key.name(),
                    version: None,
                };
                self.note_missed(missed, now);
                Err(e)
            }
            Err(e) => Err(e),
        }
    }

    /// The .crate file of `id`, whose index file is under `index`, from what is stored alone.
    pub(super) async fn offline_crate(
        self: &Arc<Self>,
        index: &IndexKey,
        id: &CrateId,
        now: SystemTime,
    ) -> Result<Found<CrateBody>> {
        let entry = match self.looked_up(*index, now).await {
            Ok(found) => Some(found.value),
            Err(e) if e.kind() == Kind::Offline => None,
            Err(e) => return Err(e),
        };
        let canonical = entry.as_ref().map(|entry| entry.file().name());
        if let Some(canonical) = canonical.filter(|name| *name != id.name) {
            return Err(other_spelling(index, id, canonical));
        }
        // Also of a crate that upstream has withdrawn: what was served once is served again.
        let listed = entry.as_deref();
        let body = match listed.and_then(|entry| key_in(entry, index.registry, id)) {
            Some(key) => {
                let stored = self.stored_crate(&key, now).await;
                stored.map_err(|e| told(id, &e))?
            }
            None => {
                let stored = self.withdrawn_crate(index, id, listed, now).await;
                stored.map(|found| found.value)
            }
        };
        if let Some(body) = body {
            return Ok(found(body, Outcome::Hit));
        }
        self.store.require().await.map_err(|e| told(id, &e))?;
        let missed = MissedRequest {
            registry: index.registry,
            name: id.name,
            version: Some(id.version),
        };
        self.note_missed(missed, now);
        Err(not_in_store(&missed))
    }

    /// The answer that what is in memory allows, if the store is known to be as it was when it was looked into.
    pub(super) fn offline_answer(
        &self,
        key: &IndexKey,
        known: Resident,
        now: SystemTime,
    ) -> Option<Answer> {
        let entry = self.unchanged(known, self.store.change_mark_at_once()?, now)?;
        Some(shown(key, entry, Outcome::Hit))
    }

    fn unchanged(&self, known: Resident, mark: Mark, now: SystemTime) -> Option<Arc<IndexEntry>> {
        let Resident::Index(entry) = known else {
            return None;
        };
        let is_due = !matches!(entry.due(&self.freshness, now), Due::Nothing);
        (!is_due && entry.seen == Some(mark)).then_some(entry)
    }

    /// The entry under `key`, from memory as long as the store is as it was when it was looked into; whatever its age when the store fails.
    async fn looked_up(self: &Arc<Self>, key: IndexKey, now: SystemTime) -> Answer {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let looked = timeout_at(deadline, self.look_up_now(key, now)).await;
        let looked = looked.unwrap_or_else(|_| Err(Error::store("it took too long")));
        let failed = |e: &Error| !matches!(e.kind(), Kind::Offline | Kind::Corrupt);
        match (looked, self.memory.index(&key)) {
            (Err(e), Some(Resident::Index(entry))) if failed(&e) => {
                tracing::warn!(name = %key.name(), "served from memory, because the store fails: {e}");
                Ok(hit(entry))
            }
            (Err(e), _) => Err(told(&key.name(), &e)),
            (Ok(found), _) => Ok(found),
        }
    }

    async fn look_up_now(self: &Arc<Self>, key: IndexKey, now: SystemTime) -> Answer {
        let came = Instant::now();
        loop {
            let mark = self.store.change_mark().await;
            let known = self.memory.index(&key);
            if let Some(entry) = known.and_then(|known| self.unchanged(known, mark, now)) {
                return Ok(hit(entry));
            }
            let flight = self.refreshes.join(key, &self.tasks, |_| {
                let inner = self.clone();
                async move { inner.look_up(key, now).await }
            });
            let began = flight.started;
            let looked = flight.result.await;
            // A look that began before may have missed what has been imported since.
            if began >= came {
                return looked;
            }
        }
    }

    /// Looks into the store and keeps in memory what is to be shown of it.
    async fn look_up(self: Arc<Self>, key: IndexKey, now: SystemTime) -> Answer {
        // Before looking: what changes meanwhile is looked at again.
        let seen = Some(self.store.change_mark().await);
        let Some(leased) = self.leased_record(&key, now, 1).await? else {
            self.store.require().await?;
            return Err(not_in_store(&MissedRequest {
                registry: key.registry,
                name: key.name(),
                version: None,
            }));
        };
        let stored = match self.offline_index {
            OfflineIndex::Stored => Some(self.store.crates_of(&key).await?),
            OfflineIndex::Full => None,
        };
        let entry = self.entry_of(key, leased, stored, now).await?;
        let entry = Arc::new(IndexEntry { seen, ..entry });
        self.memory.keep_index(&key, Resident::Index(entry.clone()));
        Ok(hit(entry))
    }

    /// Makes an entry of a record; with a list of what is `stored`, every other version is shown as yanked.
    async fn entry_of(
        self: &Arc<Self>,
        key: IndexKey,
        (record, lease): (IndexRecord, Lease),
        stored: Option<Vec<CrateKey>>,
        now: SystemTime,
    ) -> Result<IndexEntry> {
        let _turn = self.readying.acquire().await;
        let IndexRecord {
            body,
            sha256,
            validators,
            modified_at,
            gone,
            ..
        } = record;
        let made = make(move || {
            let file = IndexFile::parse(key.path, body)?;
            let shown = stored.and_then(|stored| only_stored(&file, &key, &stored));
            let shown = shown.map_or(Shown::AsIs(None), Shown::Other);
            Ok(content(file, sha256, modified_at, shown, lease))
        });
        // What the store checked and can't be an index file was stored as one by somebody else.
        let content = made.await.map_err(|e| match e.kind() {
            Kind::UpstreamFault => Error::corrupt(e.message()),
            _ => e,
        })?;
        self.make_twin(key, &content);
        Ok(IndexEntry {
            content,
            validators,
            fetched_at: modified_at,
            checked_at: now,
            recorded_at: now,
            failed_at: None,
            gone,
            seen: None,
            ahead: Ahead::default(),
        })
    }

    /// Remembers what was asked for in vain, beside the answer.
    fn note_missed(self: &Arc<Self>, missed: MissedRequest, now: SystemTime) {
        tracing::info!(wanted = %missed, "asked for and not here");
        let inner = self.clone();
        self.detach(async move {
            // Who can't write it down (a store on a read-only disk) still serves.
            let _ = inner.store.note_missed(missed, now).await;
        });
    }
}

/// `file` with every version yanked whose .crate file isn't among `stored`; nothing when all are there.
fn only_stored(file: &IndexFile, key: &IndexKey, stored: &[CrateKey]) -> Option<bytes::Bytes> {
    let stored: HashSet<String> = stored.iter().map(CrateKey::path).collect();
    let (registry, name) = (key.registry, file.name());
    let missing = |version: &Version| {
        let id = CrateId {
            name,
            version: *version.version(),
        };
        let sha256 = version.sha256;
        let key = CrateKey {
            registry,
            id,
            sha256,
        };
        !stored.contains(&key.path())
    };
    render(file, missing)
}

fn hit(entry: Arc<IndexEntry>) -> Found<Arc<IndexEntry>> {
    Found {
        value: entry,
        outcome: Outcome::Hit,
    }
}

/// What to say to who asks for what isn't here: that nobody will fetch it, and who can bring it.
fn not_in_store(missed: &MissedRequest) -> Error {
    let MissedRequest { registry, name, .. } = missed;
    let what = match missed.version {
        Some(version) => format!("{name} {version}"),
        None => format!("crate {name}"),
    };
    Error::offline(format!(
        "this mirror is offline and {what} of {registry} is not in it; to bring it in, run `crate-mirror prefetch {missed}` and \
         `crate-mirror export -o bundle.tar.zst` where there is a network, and `crate-mirror import bundle.tar.zst` here"
    ))
}

/// What to say of `what` when nobody can fetch it again: that it isn't here, that it is corrupt, or that it can't be read at the moment. The causes
/// are for the log.
fn told(what: &dyn std::fmt::Display, error: &Error) -> Error {
    match error.kind() {
        Kind::Offline => error.clone(),
        Kind::Corrupt => Error::corrupt(format!(
            "what this mirror has stored of {what} is corrupt, and it is offline and can't fetch it again; import it anew"
        )),
        _ => {
            tracing::warn!("{what} can't be served: {error}");
            let sentence = format!(
                "what this mirror has stored of {what} can't be read at the moment; try again"
            );
            Error::new(Kind::Overloaded, sentence)
        }
    }
}

fn other_spelling(index: &IndexKey, id: &CrateId, canonical: CrateName) -> Error {
    Error::absent(format!(
        "{} has no crate {}; its name is {canonical}",
        index.registry, id.name
    ))
}
