//! [`Documents`]: what says which files toolchains have, as fresh as it has to be: from memory, the store, or upstream, once for all who ask.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    asking::{DocumentReply, ask},
    former::FormerContents,
};
use crate::{
    domain::{
        Outcome, RegistryName, Sha256,
        freshness::Lifetimes,
        toolchain::{ComponentFile, ManifestName, ToolchainDocument, ToolchainItem, ToolchainKey},
    },
    error::{Error, Kind, Result},
    mirror::{
        kept::{DocumentContent, DocumentDue, DocumentSays, KeptDocument},
        registry::Registry,
        shared::{
            Found, Resident, Shared, SingleFlight, Waiters, not_here, too_old, unreadable_offline,
        },
    },
    store::{ListedManifest, Mark, StoredRecord},
    upstream::Upstream,
};

/// A document, and where it came from.
pub(super) type DocumentFound = Found<Arc<KeptDocument>>;

/// A confirmation by upstream is written down when the one written before is this old.
const CONFIRMATION_GRAIN: Duration = Duration::from_secs(3600);
/// What a look at a stored document takes beside its bytes, a multiple of them: what is known of the files that it names, while that is put in order.
const WORKING: u64 = 2;
/// Offline, of so many it is remembered that they aren't here.
const MOST_NOWHERE: u64 = 8_192;
/// So many components' checksums are known by heart, of 300 bytes each: those of a few releases.
const MOST_COMPONENTS: u64 = 16_384;

/// Who waits for a document.
type DocumentWaiters = Waiters<ToolchainDocument, DocumentFound>;

/// The documents of toolchains. Cheap to clone.
#[derive(Clone)]
pub(super) struct Documents {
    pub(super) shared: Arc<Shared>,
    source: Registry,
    lifetimes: Lifetimes,
    flights: SingleFlight<ToolchainDocument, DocumentFound>,
    /// What documents were a moment ago.
    pub(super) former: Arc<FormerContents>,
    /// Offline, what wasn't here when the store was in that state, and when that was seen.
    nowhere: Cache<ToolchainDocument, (Mark, SystemTime)>,
    /// How many have come from upstream.
    come: Arc<AtomicU64>,
    /// What components must hash to that have been looked up.
    components: Cache<ComponentFile, Sha256>,
}

impl Documents {
    pub(super) fn new(shared: Arc<Shared>, source: Registry, fresh_for: Duration) -> Self {
        let lifetimes = Lifetimes {
            fresh_for,
            max_stale: shared.freshness.lifetimes().max_stale,
        };
        Self {
            former: Arc::new(FormerContents::of(shared.memory.largest())),
            shared,
            source,
            lifetimes,
            flights: SingleFlight::default(),
            nowhere: Cache::new(MOST_NOWHERE),
            come: Arc::default(),
            components: Cache::builder()
                .max_capacity(MOST_COMPONENTS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }

    /// How many have come from upstream so far, for who remembers what none of them says.
    pub(super) fn come(&self) -> u64 {
        self.come.load(Ordering::Acquire)
    }

    /// What a component must hash to, if that is known by heart.
    pub(super) fn component(&self, file: &ComponentFile) -> Option<Sha256> {
        self.components.get(file)
    }

    /// Remembers what a component must hash to.
    pub(super) fn keep_component(&self, file: ComponentFile, sha256: Sha256) {
        self.components.insert(file, sha256);
    }

    /// Forgets that.
    pub(super) fn forget_component(&self, file: &ComponentFile) {
        self.components.invalidate(file);
    }

    /// Whether there is nobody to ask.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self.source, Registry::Offline(_))
    }

    /// A document if it takes nothing but a look into memory.
    pub(super) fn at_once(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Option<Result<DocumentFound>> {
        let known = self.shared.memory.toolchain(document)?;
        if let (Registry::Offline(_), Resident::Toolchain(kept)) = (&self.source, &known) {
            let mark = self.shared.store.change_mark_at_once()?;
            return (kept.seen == Some(mark)).then(|| Ok(Found::here(kept.clone())));
        }
        self.permitted(document, known, now)
    }

    /// What may be given of what is `known`, without asking upstream.
    fn permitted(
        &self,
        document: &ToolchainDocument,
        known: Resident,
        now: SystemTime,
    ) -> Option<Result<DocumentFound>> {
        match known {
            Resident::Toolchain(kept) => {
                let outcome = match kept.due(document, self.lifetimes, now) {
                    DocumentDue::Nothing => Outcome::Hit,
                    DocumentDue::NotYet => Outcome::Stale,
                    DocumentDue::Refresh | DocumentDue::Replace => return None,
                };
                Some(Ok(Found {
                    value: kept,
                    outcome,
                }))
            }
            Resident::Absent(since) if self.shared.still_absent(since, now) => {
                Some(Err(no_such(document)))
            }
            Resident::Absent(_) | Resident::File(_) | Resident::Index(_) => None,
        }
    }

    /// A document, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't have it; one of the upstream kinds when it fails and there is no copy; [`Kind::Offline`] and [`Kind::Corrupt`] when there
    /// is no upstream to ask.
    pub(super) async fn get(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<DocumentFound> {
        match &self.source {
            Registry::Offline(_) => self.stored_here(document, now).await,
            Registry::Online(upstream) => self.online(upstream, document, now, deadline).await,
        }
    }

    /// The same, asked for anew although it isn't due: what it said turned out to be wrong.
    pub(super) async fn anew(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<DocumentFound> {
        let Registry::Online(upstream) = &self.source else {
            return self.get(document, now, deadline).await;
        };
        let known = self.known(document, now).await.unwrap_or(None);
        let (this, upstream, document) = (self.clone(), upstream.clone(), *document);
        let tasks = self.shared.background.tasks();
        let flight = self.flights.join(document, tasks, |waiters| async move {
            this.refreshed(&upstream, &document, known, waiters, now)
                .await
        });
        landed(flight.result, deadline, &document).await
    }

    async fn online(
        &self,
        upstream: &Arc<Upstream>,
        document: &ToolchainDocument,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<DocumentFound> {
        if let Some(found) = self.at_once(document, now) {
            return found;
        }
        let (this, upstream, key) = (self.clone(), upstream.clone(), *document);
        let tasks = self.shared.background.tasks();
        let flight = self.flights.join(key, tasks, |waiters| async move {
            let known = match this.known(&key, now).await {
                Ok(known) => known,
                Err(e) => {
                    tracing::warn!(%key, "its stored copy can't be read: {e}");
                    None
                }
            };
            if let Some(known) = &known {
                let resident = Resident::Toolchain(known.clone());
                if let Some(permitted) = this.permitted(&key, resident, now) {
                    return permitted;
                }
            }
            this.refreshed(&upstream, &key, known, waiters, now).await
        });
        let patience = *self.shared.freshness.patience;
        if let Ok(landed) = timeout(patience, flight.result.clone()).await {
            return landed;
        }
        // The copy will do, unless it is too old; upstream is asked on.
        if let Some(Resident::Toolchain(kept)) = self.shared.memory.toolchain(document)
            && kept.due(document, self.lifetimes, now) != DocumentDue::Replace
        {
            self.flights.leave_running(document, flight);
            return Ok(Found {
                value: kept,
                outcome: Outcome::Stale,
            });
        }
        landed(flight.result, deadline, document).await
    }

    /// What is in memory or in the store, whatever its age; from now on it is in memory.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read.
    async fn known(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<Option<Arc<KeptDocument>>> {
        let kept = self.peek(document, now).await?;
        Ok(kept.map(|kept| self.keep_unless_known(document, kept)))
    }

    /// The same without a place in memory for what isn't there.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read.
    pub(super) async fn peek(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<Option<Arc<KeptDocument>>> {
        if let Some(Resident::Toolchain(kept)) = self.shared.memory.toolchain(document) {
            return Ok(Some(kept));
        }
        match self.load(document, now).await {
            Ok(kept) => Ok(kept.map(Arc::new)),
            // What is corrupt is dropped by now.
            Err(e) if e.kind() == Kind::Corrupt => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Gives what the store had a place in memory, unless something is there: what came from upstream meanwhile is newer. Gives what is there then.
    pub(super) fn keep_unless_known(
        &self,
        document: &ToolchainDocument,
        kept: Arc<KeptDocument>,
    ) -> Arc<KeptDocument> {
        let memory = &self.shared.memory;
        if let Some(Resident::Absent(_)) = memory.toolchain(document) {
            memory.keep_toolchain(document, Resident::Toolchain(kept.clone()));
            return kept;
        }
        let resident = Resident::Toolchain(kept.clone());
        match memory.keep_toolchain_unless_known(document, resident) {
            Resident::Toolchain(known) => known,
            Resident::Absent(_) | Resident::Index(_) | Resident::File(_) => kept,
        }
    }

    async fn load(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<Option<KeptDocument>> {
        let Shared { store, budget, .. } = &*self.shared;
        let mut lease = budget.nothing();
        let loaded = loop {
            let (admitted, leased) = (lease, budget.clone());
            let admit = move |size: u64| {
                let mut lease = admitted;
                (lease.bytes() >= WORKING * size || {
                    lease = leased.nothing();
                    lease.try_grow_making_way(WORKING * size)
                })
                .then_some(lease)
            };
            match store.load_record(document, now, admit).await? {
                None => return Ok(None),
                Some(StoredRecord::Whole(record, lease)) => break (record, lease),
                // Who waits for memory holds none.
                Some(StoredRecord::Large(size)) => lease = budget.take(WORKING * size).await?,
            }
        };
        let (record, lease) = loaded;
        let document = *document;
        let read = move || KeptDocument::of_record(&document, record, lease);
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|e| Error::ended_early("reading a manifest", e))?;
        read.map(Some)
            .map_err(|why| Error::corrupt(format!("the stored copy of {document} is wrong: {why}")))
    }

    /// Asks upstream whether the copy is current, and keeps what it says.
    async fn refreshed(
        &self,
        upstream: &Arc<Upstream>,
        document: &ToolchainDocument,
        known: Option<Arc<KeptDocument>>,
        waiters: DocumentWaiters,
        now: SystemTime,
    ) -> Result<DocumentFound> {
        // What nobody waits for any more stands in nobody's way, and takes nobody's memory.
        let permit = tokio::select! {
            permit = upstream.permit() => permit,
            () = waiters.gone() => {
                return Err(Error::cancelled("nobody waits for this document any more"));
            }
        };
        let asked = ask(&self.shared, upstream, document, known.as_deref(), now).await;
        drop(permit);
        match (asked, known) {
            (Ok(DocumentReply::Confirmed), Some(known)) => Ok(Found {
                value: self.confirm(document, &known, now),
                outcome: Outcome::Revalidated,
            }),
            (Ok(DocumentReply::Confirmed), None) => Err(Error::internal("nothing was confirmed")),
            (Ok(DocumentReply::New(content, validators)), known) => {
                if let Some(known) = known {
                    self.moved_on(document, &known, &content);
                }
                let kept = Arc::new(KeptDocument {
                    content,
                    validators,
                    checked_at: now,
                    recorded_at: now,
                    failed_at: None,
                    seen: None,
                });
                self.keep(document, &kept);
                Ok(Found {
                    value: kept,
                    outcome: Outcome::Miss,
                })
            }
            (Ok(DocumentReply::Absent), None) => {
                let absent = Resident::Absent(now);
                self.shared.memory.keep_toolchain(document, absent);
                Err(no_such(document))
            }
            // What was served once is served again.
            (Ok(DocumentReply::Absent), Some(known)) => {
                let gone = Error::absent(format!("{} has {document} no more", upstream.registry()));
                self.fall_back(document, &known, gone, now)
            }
            (Err(e), Some(known)) => self.fall_back(document, &known, e, now),
            (Err(e), None) => Err(not_here(&document.to_string(), &e)),
        }
    }

    /// Notes what a document was: somebody may have been given its checksum a moment ago.
    fn moved_on(&self, document: &ToolchainDocument, before: &KeptDocument, now: &DocumentContent) {
        if before.content.sha256 == now.sha256 {
            return;
        }
        self.former.add(document, before.content.clone());
        let former = self.former.clone();
        let forget = async move { former.forget_old().await };
        self.shared.background.run_until_stopped(forget);
    }

    fn confirm(
        &self,
        document: &ToolchainDocument,
        known: &KeptDocument,
        now: SystemTime,
    ) -> Arc<KeptDocument> {
        let mut confirmed = KeptDocument {
            checked_at: now,
            failed_at: None,
            ..known.clone()
        };
        let written = now.duration_since(known.recorded_at).unwrap_or_default();
        let is_due = written >= CONFIRMATION_GRAIN;
        if is_due {
            confirmed.recorded_at = now;
        }
        let confirmed = Arc::new(confirmed);
        let resident = Resident::Toolchain(confirmed.clone());
        self.shared.memory.keep_toolchain(document, resident);
        if is_due {
            self.save(*document, &confirmed);
        }
        confirmed
    }

    /// Keeps what is new, in memory and in the store. A manifest of today is the manifest of its day, too: under that name it stays when the channel moves on, so that
    /// its components can be checked for as long as somebody has it. A day may be published twice: then what is in memory of it isn't true any more.
    fn keep(&self, document: &ToolchainDocument, kept: &Arc<KeptDocument>) {
        let resident = Resident::Toolchain(kept.clone());
        self.shared
            .memory
            .keep_toolchain(document, resident.clone());
        if let Some(dated) = dated(document, &kept.content) {
            self.shared.memory.keep_toolchain(&dated, resident);
            self.save(dated, kept);
        }
        self.save(*document, kept);
        self.come.fetch_add(1, Ordering::AcqRel);
        if let DocumentSays::Manifest(hashes) = &kept.content.said {
            for (file, sha256) in hashes.files() {
                if self.component(&file).is_some_and(|known| known != sha256) {
                    self.forget_component(&file);
                }
            }
        }
    }

    fn save(&self, document: ToolchainDocument, kept: &Arc<KeptDocument>) {
        let (shared, kept) = (self.shared.clone(), kept.clone());
        self.shared.background.run(async move {
            let saved = shared.store.save_record(document, &kept.record()).await;
            if saved.is_err() {
                tracing::debug!(%document, "served but not stored; it will be fetched again");
            }
        });
    }

    /// Upstream failed: the copy we have, unless it is too old.
    fn fall_back(
        &self,
        document: &ToolchainDocument,
        known: &KeptDocument,
        error: Error,
        now: SystemTime,
    ) -> Result<DocumentFound> {
        let failed = Arc::new(KeptDocument {
            failed_at: Some(now),
            ..known.clone()
        });
        let resident = Resident::Toolchain(failed.clone());
        self.shared.memory.keep_toolchain(document, resident);
        if error.kind() == Kind::Denied {
            return Err(error);
        }
        if known.due(document, self.lifetimes, now) == DocumentDue::Replace {
            return Err(too_old(&document.to_string(), &error));
        }
        tracing::warn!(%document, "an old copy is served: {error}");
        Ok(Found {
            value: failed,
            outcome: Outcome::Stale,
        })
    }

    /// Offline: what the store has, looked up once for all who ask. Of a channel it is the newest that is here.
    async fn stored_here(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<DocumentFound> {
        if let Some(found) = self.at_once(document, now) {
            return found;
        }
        let (this, key) = (self.clone(), *document);
        let tasks = self.shared.background.tasks();
        let flight = self.flights.join(key, tasks, |_| async move {
            this.looked_up_here(&key, now).await
        });
        flight.result.await
    }

    async fn looked_up_here(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<DocumentFound> {
        let Shared { store, memory, .. } = &*self.shared;
        // Before looking: what changes meanwhile is looked at again.
        let mark = store.change_mark().await;
        let seen = Some(mark);
        let before = match memory.toolchain(document) {
            Some(Resident::Toolchain(kept)) if kept.seen == seen => return Ok(Found::here(kept)),
            Some(Resident::Toolchain(kept)) => Some(kept),
            Some(Resident::Absent(_) | Resident::Index(_) | Resident::File(_)) | None => None,
        };
        if let Some((then, since)) = self.nowhere.get(document)
            && then == mark
            && self.shared.still_absent(since, now)
        {
            return Err(not_in_store(document));
        }
        let found = self.newest(document, now).await;
        let kept = match found {
            Ok(Some(kept)) => KeptDocument { seen, ..kept },
            Ok(None) => {
                store
                    .require()
                    .await
                    .map_err(|e| unreadable_offline(document, &e))?;
                self.nowhere.insert(*document, (mark, now));
                return Err(not_in_store(document));
            }
            // Whatever its age, what is in memory is served when the store fails.
            Err(e) => match before {
                Some(kept) if e.kind() != Kind::Corrupt => return Ok(Found::here(kept)),
                Some(_) | None => return Err(unreadable_offline(document, &e)),
            },
        };
        if let Some(before) = before {
            self.moved_on(document, &before, &kept.content);
        }
        let kept = Arc::new(kept);
        memory.keep_toolchain(document, Resident::Toolchain(kept.clone()));
        Ok(Found::here(kept))
    }

    /// The stored document; of a manifest without a date, the newest that any of its days has.
    async fn newest(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<Option<KeptDocument>> {
        let own = self.load(document, now).await?;
        let ToolchainDocument::Manifest(ManifestName { day: None, channel }) = *document else {
            return Ok(own);
        };
        let of_day = |kept: &KeptDocument| match &kept.content.said {
            DocumentSays::Manifest(hashes) => Some(hashes.day()),
            DocumentSays::Release | DocumentSays::Sum(_) => None,
        };
        let newest = own.as_ref().and_then(of_day);
        let days = match (self.shared.store.toolchain_days().await, &own) {
            (Ok(days), _) => days,
            (Err(e), Some(_)) => {
                tracing::debug!(%document, "whether there is a newer one can't be seen: {e}");
                Vec::new()
            }
            (Err(e), None) => return Err(e),
        };
        for day in days.into_iter().rev() {
            if newest.is_some_and(|newest| newest >= day) {
                break;
            }
            let day = Some(day);
            let dated = ToolchainDocument::Manifest(ManifestName { day, channel });
            if let Some(kept) = self.load(&dated, now).await? {
                return Ok(Some(kept));
            }
        }
        Ok(own)
    }

    /// The manifests that may name a file, as they are here: those of its day, and those without one; the likeliest first.
    pub(super) async fn manifests_of(
        &self,
        file: &ComponentFile,
        is_allowed: impl Fn(&ManifestName) -> bool,
    ) -> Result<Vec<ListedManifest>> {
        let store = &self.shared.store;
        let mut manifests = store.toolchain_manifests(Some(file.day)).await?;
        manifests.extend(store.toolchain_manifests(None).await?);
        manifests.retain(|manifest| is_allowed(&manifest.name));
        let likely = file.name.channels();
        manifests.sort_by_key(|manifest| !likely.contains(&manifest.name.channel));
        Ok(manifests)
    }

    /// The stored file of `item`, if there is exactly one: its name says its checksum.
    pub(super) async fn stored_file(&self, item: &ToolchainItem) -> Result<Option<ToolchainKey>> {
        let mut stored = self.shared.store.toolchain_files(item).await?;
        Ok(match stored.len() {
            1 => stored.pop(),
            _ => None,
        })
    }
}

/// What the manifest of today is called among those of its day.
pub(super) fn dated(
    document: &ToolchainDocument,
    content: &DocumentContent,
) -> Option<ToolchainDocument> {
    match (document, &content.said) {
        (
            ToolchainDocument::Manifest(ManifestName { day: None, channel }),
            DocumentSays::Manifest(hashes),
        ) => Some(ToolchainDocument::Manifest(ManifestName {
            day: Some(hashes.day()),
            channel: *channel,
        })),
        (
            ToolchainDocument::Manifest(_)
            | ToolchainDocument::RustupRelease
            | ToolchainDocument::InitSum(_),
            _,
        ) => None,
    }
}

async fn landed(
    flight: impl Future<Output = Result<DocumentFound>>,
    deadline: Instant,
    document: &ToolchainDocument,
) -> Result<DocumentFound> {
    timeout_at(deadline, flight).await.unwrap_or_else(|_| {
        Err(Error::upstream_timeout(format!(
            "{document} didn't arrive from {} in time; try again, it may be here by then",
            RegistryName::toolchains()
        )))
    })
}

fn no_such(document: &ToolchainDocument) -> Error {
    Error::absent(format!(
        "the distribution host has no {}",
        document.path_of()
    ))
}

fn not_in_store(document: &ToolchainDocument) -> Error {
    Error::offline(format!(
        "this mirror is offline and {document} is not in it; to bring it in, run `crate-mirror prefetch --toolchain NAME` and \
         `crate-mirror export -o bundle.tar.zst` where there is a network, and `crate-mirror import bundle.tar.zst` here"
    ))
}
