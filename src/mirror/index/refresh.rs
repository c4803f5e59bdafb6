//! [`Refresher`]: upstream asked whether an index file is current, and what it says kept.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use moka::sync::Cache;
use tokio::time::Instant;

use super::{
    copies::Copies,
    decoding::{Expected, Made, Ready},
    gzip_variants::GzipMaker,
    reception::{Received, Reception},
    records::StoredRecords,
    shown::{IndexFound, permitted},
    siblings::Siblings,
    view::{Viewpoint, shown_again},
};
use crate::{
    domain::{IndexKey, Validators},
    error::{Error, Kind, Result},
    mirror::{
        kept::{Due, IndexEntry, ReadAheadMark},
        shared::{Resident, Shared, unreadable},
    },
    upstream::{Fetched, Permit, Upstream},
};

/// While upstream fails, it is looked so often for each index file whether another mirror knows more, and for so many files.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOKED: u64 = 10_000;

/// Who revalidates index files.
pub(super) struct Refresher {
    shared: Arc<Shared>,
    records: Arc<StoredRecords>,
    reception: Reception,
    copies: Copies,
    siblings: Arc<Siblings>,
    /// Of which index files it was looked lately whether other mirrors know more.
    looked: Cache<IndexKey, ()>,
}

/// What there is to do about an index file that somebody waits for.
pub(super) enum RefreshStep {
    /// Nothing: it was done a moment ago, or upstream needn't be asked.
    Permitted(Result<IndexFound>),
    /// Upstream is asked about this.
    Ask(LocalCopy),
}

/// The copy of an index file, if there is one.
pub(super) struct LocalCopy {
    pub(super) entry: Option<Arc<IndexEntry>>,
    /// Why it couldn't be read, if the store may have one.
    unread: Option<Error>,
    /// Whether the store is to be looked into once more before anything takes the place of what it has.
    look_again: bool,
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

impl Readied {
    /// The same, with word on whether the store may have a record that couldn't be read.
    fn incomplete(self, incomplete: bool) -> Self {
        match self {
            Self::New(entry) => Self::New(Box::new(IndexEntry {
                incomplete: incomplete || entry.incomplete,
                ..*entry
            })),
            Self::Unchanged | Self::Empty => self,
        }
    }
}

impl Refresher {
    pub(super) fn new(
        shared: Arc<Shared>,
        records: Arc<StoredRecords>,
        gzip: Arc<GzipMaker>,
        siblings: Arc<Siblings>,
    ) -> Self {
        Self {
            reception: Reception::new(shared.clone()),
            copies: Copies::new(shared.clone(), gzip, records.clone(), siblings.clone()),
            looked: Cache::builder()
                .max_capacity(LOOKED)
                .time_to_live(LOOK_EVERY)
                .build(),
            siblings,
            records,
            shared,
        }
    }

    /// Looks at what is here before upstream is asked. What is shown of it holds then.
    pub(super) async fn begin(&self, key: &IndexKey, now: SystemTime) -> RefreshStep {
        let (known, unread) = match self.records.known(key, now).await {
            Ok(known) => (known, None),
            Err(e) => (None, Some(e)),
        };
        let Some(known) = known else {
            return RefreshStep::Ask(LocalCopy {
                entry: None,
                look_again: unread.is_some(),
                unread,
            });
        };
        let known = self.completed(key, known, now).await;
        let known = self.heard(key, known, now).await;
        let known = match self.valid(key, known, now).await {
            Ok(known) => known,
            Err(e) => return RefreshStep::Permitted(Err(e)),
        };
        if let Some(permitted) = permitted(&self.shared, key, known.clone(), now) {
            return RefreshStep::Permitted(permitted);
        }
        let entry = match known {
            Resident::Index(entry) => Some(entry),
            Resident::Absent(_) | Resident::File(_) | Resident::Toolchain(_) => None,
        };
        RefreshStep::Ask(LocalCopy {
            // Something may have been imported since upstream said that there is no such crate.
            look_again: entry.is_none(),
            entry,
            unread,
        })
    }

    /// What is `known`, or what the store has, if that couldn't be read before and can be now.
    async fn completed(&self, key: &IndexKey, known: Resident, now: SystemTime) -> Resident {
        let Resident::Index(entry) = &known else {
            return known;
        };
        if !entry.incomplete {
            return known;
        }
        match self.records.stored(key, now).await {
            Ok(Some(stored)) => Resident::Index(stored),
            // There is nothing that could be lost.
            Ok(None) => Resident::Index(Arc::new(IndexEntry {
                incomplete: false,
                ..(**entry).clone()
            })),
            Err(_) => known,
        }
    }

    /// What is `known`, or what another mirror that shares the store has learnt since.
    async fn heard(&self, key: &IndexKey, known: Resident, now: SystemTime) -> Resident {
        let Resident::Index(entry) = &known else {
            return known;
        };
        let is_due = !matches!(entry.due(&self.shared.freshness, now), Due::Nothing);
        let Some((sha256, at)) = self.siblings.heard(key, entry, now).filter(|_| is_due) else {
            return known;
        };
        if sha256 == entry.content.sha256 {
            return Resident::Index(self.copies.confirmed_elsewhere(key, entry, at));
        }
        match self.records.shared(key, now).await {
            Ok(Some(stored))
                if stored.content.sha256 == sha256
                    && !stored.gone
                    && stored.modified_at >= entry.modified_at =>
            {
                let new = self.copies.replaced_elsewhere(*key, entry, stored, at);
                Resident::Index(new)
            }
            // It isn't there yet, or another one is by now: upstream knows.
            Ok(_) | Err(_) => known,
        }
    }

    /// What is `known`, with what is shown of it made anew if it doesn't hold any more.
    async fn valid(&self, key: &IndexKey, known: Resident, now: SystemTime) -> Result<Resident> {
        let Resident::Index(entry) = known else {
            return Ok(known);
        };
        if entry.rendition().is_valid(self.shared.rules.version(), now) {
            return Ok(Resident::Index(entry));
        }
        let from = Viewpoint::usual(&self.shared, now);
        let again = Arc::new(shown_again(&self.shared, *key, &entry, from).await?);
        let replaced = |current: &Arc<IndexEntry>| Arc::ptr_eq(current, &entry);
        self.shared
            .memory
            .change_index(key, |current| replaced(current).then(|| again.clone()));
        Ok(Resident::Index(again))
    }

    /// Asks upstream whether the copy is current, and keeps what it says.
    ///
    /// # Errors
    /// One of the upstream kinds when it fails and there is no copy that may be served; [`Kind::Absent`](crate::error::Kind::Absent) when there is no
    /// such crate.
    pub(super) async fn ask(
        &self,
        upstream: &Upstream,
        key: IndexKey,
        copy: LocalCopy,
        permit: Permit,
        now: SystemTime,
    ) -> Result<IndexFound> {
        let LocalCopy {
            entry,
            unread,
            look_again,
        } = copy;
        let asked = self.ask_about(upstream, key, entry, look_again, permit, now);
        let found = asked.await;
        found.map_err(|e| match &unread {
            Some(store) => unreadable(&format!("the index file of {}", key.name()), &e, store),
            None => e,
        })
    }

    async fn ask_about(
        &self,
        upstream: &Upstream,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        look_again: bool,
        permit: Permit,
        now: SystemTime,
    ) -> Result<IndexFound> {
        let nothing = Validators::default();
        let validators = known.as_ref().map_or(&nothing, |entry| &entry.validators);
        let asked = Instant::now();
        let fetched = self.fetch(upstream, key, validators).await;
        // All has come; making it ready is no reason to let the network wait.
        drop(permit);
        // It may have taken long; what is learnt is from now.
        let now = now + asked.elapsed();
        let copies = &self.copies;
        let (received, validators, known) = match (fetched, known) {
            (Ok(Brought::New(received, validators)), known) => (received, validators, known),
            (Ok(Brought::NotModified(validators)), Some(entry)) => {
                return Ok(copies.confirm(key, &entry, validators, now));
            }
            (Ok(Brought::NotModified(_)), None) => {
                return Err(Error::upstream_fault(
                    "upstream answered 304 to a request without conditions",
                ));
            }
            (Ok(Brought::Absent), known) => return copies.withdraw(key, known, now),
            (Ok(Brought::Empty(said)), known) => return copies.take_empty(key, known, said, now),
            (Err(e), known) => return self.fall_back(key, known, e, now).await,
        };
        let looked = match look_again {
            true => self.records.stored(&key, now).await,
            false => Ok(None),
        };
        // What can't be read at all is replaced; what there was only no memory for is still good.
        let incomplete = looked.as_ref().is_err_and(|e| e.kind() == Kind::Overloaded);
        let known = known.or(looked.unwrap_or_default());
        let ready = self.ready(key, received, known.as_ref(), validators.clone(), now);
        let ready = ready.await.map(|ready| ready.incomplete(incomplete));
        match (ready, known) {
            (Ok(Readied::New(entry)), known) => Ok(copies.replace(key, known, *entry)),
            (Ok(Readied::Unchanged), Some(entry)) => {
                Ok(copies.confirm(key, &entry, validators, now))
            }
            (Ok(Readied::Unchanged), None) => {
                Err(Error::internal("nothing is the same as nothing"))
            }
            (Ok(Readied::Empty), known) => {
                let said = upstream.empty_body(key.path);
                copies.take_empty(key, known, said, now)
            }
            (Err(e), known) => {
                if e.kind() == Kind::UpstreamFault {
                    upstream.note_failure(&e);
                }
                self.fall_back(key, known, e, now).await
            }
        }
    }

    /// Upstream failed, for this mirror at least: what there is is served, which may be what another mirror that shares the store has had since.
    async fn fall_back(
        &self,
        key: IndexKey,
        known: Option<Arc<IndexEntry>>,
        error: Error,
        now: SystemTime,
    ) -> Result<IndexFound> {
        let known = match known {
            Some(known) if error.kind() != Kind::Denied => {
                Some(self.newest(&key, known, now).await)
            }
            known => known,
        };
        self.copies.fall_back(key, known, error, now)
    }

    /// What is `known`, or what the store that others share has if that was confirmed later.
    async fn newest(
        &self,
        key: &IndexKey,
        known: Arc<IndexEntry>,
        now: SystemTime,
    ) -> Arc<IndexEntry> {
        let store = &self.shared.store;
        if !store.is_shared() || self.looked.contains_key(key) {
            return known;
        }
        self.looked.insert(*key, ());
        let Ok(Some(head)) = store.peek_record_head(key).await else {
            return known;
        };
        if head.checked_at <= known.checked_at || head.age().is_ahead_of(now) {
            return known;
        }
        if head.sha256 == known.content.sha256 && head.gone == known.gone {
            let at = head.checked_at.min(now);
            return self.copies.confirmed_elsewhere(key, &known, at);
        }
        match self.records.shared(key, now).await {
            Ok(Some(stored)) if stored.checked_at > known.checked_at => {
                let at = stored.checked_at.min(now);
                self.copies.replaced_elsewhere(*key, &known, stored, at)
            }
            Ok(_) | Err(_) => known,
        }
    }

    /// Asks upstream for an index file and receives all of it, repeating what fails.
    async fn fetch(
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
                        let received = self.reception.receive(upstream, &mut stream).await?;
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
        &self,
        key: IndexKey,
        received: Received,
        known: Option<&Arc<IndexEntry>>,
        validators: Validators,
        now: SystemTime,
    ) -> Result<Readied> {
        let modified = validators.modified(known.map(|entry| entry.modified_at), now);
        let expected = Expected {
            key,
            known: known.cloned(),
            modified,
            from: Viewpoint::usual(&self.shared, now),
        };
        let Made {
            content,
            rendition,
            history,
        } = match self.reception.make_ready(expected, received).await? {
            Ready::Unchanged => return Ok(Readied::Unchanged),
            Ready::Empty => return Ok(Readied::Empty),
            Ready::New(made) => made,
        };
        if content.file.unreadable() > 0 {
            let lines = content.file.unreadable();
            tracing::warn!(name = %key.name(), lines, "upstream's index file has lines that can't be read; they are passed on");
        }
        Ok(Readied::New(Box::new(IndexEntry {
            content,
            rendition,
            validators,
            history,
            not_stored: Arc::default(),
            modified_at: modified,
            checked_at: now,
            recorded_at: now,
            leads: false,
            failed_at: None,
            gone: false,
            seen: None,
            incomplete: known.is_some_and(|known| known.incomplete),
            read_ahead: ReadAheadMark::default(),
        })))
    }
}
