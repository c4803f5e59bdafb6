//! [`IndexFromStore`]: offline, index files are shown as what is stored allows, so that a resolver picks only what can be downloaded.
//!
//! What stands in for asking upstream is a look into the store. It is taken again when an import has announced a change, which is looked for every
//! ten milliseconds at most, and otherwise after `freshness.fresh_for`, for whoever copies files in by hand.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;

use super::{
    blocking::make,
    gzip_variants::GzipMaker,
    records::StoredRecords,
    shown::{IndexFound, IndexWaiters},
    source::IndexSource,
    view::Viewpoint,
};
use crate::{
    allowance::Lease,
    config::sections::OfflineIndex,
    domain::{CrateId, CrateKey, IndexFile, IndexKey, MissedCrate, Version},
    error::{Error, Kind, Result},
    mirror::{
        kept::{Due, IndexEntry, ReadAheadMark, keep},
        shared::{Found, Resident, Shared, not_in_store, unreadable_offline},
    },
    policy::{Known, Marks},
    store::{Mark, StoreRecord},
};

/// The store, looked into in upstream's place. There is nothing in here to ask an upstream with.
pub(super) struct IndexFromStore(pub(super) Arc<Lookup>);

/// Who looks into the store.
pub(super) struct Lookup {
    shared: Arc<Shared>,
    records: Arc<StoredRecords>,
    gzip: Arc<GzipMaker>,
    setting: OfflineIndex,
}

impl IndexSource for IndexFromStore {
    /// A look that began before may have missed what has been imported since.
    const SERVES_LATECOMERS: bool = false;

    fn permits(
        &self,
        _key: &IndexKey,
        known: Resident,
        now: SystemTime,
    ) -> Option<Result<IndexFound>> {
        let mark = self.0.shared.store.change_mark_at_once()?;
        let entry = self.0.unchanged(known, mark, now)?;
        Some(Ok(Found::here(entry)))
    }

    async fn remembered(&self, key: &IndexKey, now: SystemTime) -> Option<Result<IndexFound>> {
        let Shared { store, memory, .. } = &*self.0.shared;
        let mark = store.change_mark().await;
        let entry = self.0.unchanged(memory.index(key)?, mark, now)?;
        Some(Ok(Found::here(entry)))
    }

    fn obtain(
        &self,
        key: IndexKey,
        now: SystemTime,
        _waiters: IndexWaiters,
    ) -> BoxFuture<'static, Result<IndexFound>> {
        let lookup = self.0.clone();
        Box::pin(async move { lookup.look_up(key, now).await })
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn meanwhile(&self, _key: &IndexKey, _now: SystemTime) -> Option<Arc<IndexEntry>> {
        None
    }

    fn late(&self, _key: &IndexKey) -> Error {
        Error::store("it took too long")
    }

    /// Whatever its age, what is in memory is served when the store fails.
    fn failed(&self, key: &IndexKey, error: Error) -> Result<IndexFound> {
        let failed = !matches!(error.kind(), Kind::Offline | Kind::Corrupt);
        match self.0.shared.memory.index(key) {
            Some(Resident::Index(entry)) if failed => {
                tracing::warn!(name = %key.name(), "served from memory, because the store fails: {error}");
                Ok(Found::here(entry))
            }
            Some(
                Resident::Index(_)
                | Resident::Absent(_)
                | Resident::File(_)
                | Resident::Toolchain(_),
            )
            | None => Err(unreadable_offline(&key.name(), &error)),
        }
    }
}

impl Lookup {
    pub(super) fn new(
        shared: Arc<Shared>,
        records: Arc<StoredRecords>,
        gzip: Arc<GzipMaker>,
        setting: OfflineIndex,
    ) -> Self {
        Self {
            shared,
            records,
            gzip,
            setting,
        }
    }

    /// What is in memory, if the store is known to be as it was when it was looked into, and the rules show the same of it.
    fn unchanged(&self, known: Resident, mark: Mark, now: SystemTime) -> Option<Arc<IndexEntry>> {
        let Resident::Index(entry) = known else {
            return None;
        };
        let is_due = !matches!(entry.due(&self.shared.freshness, now), Due::Nothing);
        let is_valid = entry.rendition().is_valid(self.shared.rules.version(), now);
        (!is_due && is_valid && entry.seen == Some(mark)).then_some(entry)
    }

    /// Looks into the store and keeps in memory what is to be shown of it.
    async fn look_up(&self, key: IndexKey, now: SystemTime) -> Result<IndexFound> {
        let Shared { store, memory, .. } = &*self.shared;
        // Before looking: what changes meanwhile is looked at again.
        let seen = Some(store.change_mark().await);
        let Some(leased) = self.records.leased_newest(&key, now, 1).await? else {
            store.require().await?;
            return Err(not_in_store(&MissedCrate {
                registry: key.registry,
                name: key.name(),
                version: None,
            }));
        };
        let stored = match self.setting {
            OfflineIndex::Stored => Some(store.crates_of(&key).await?),
            OfflineIndex::Full => None,
        };
        let entry = self.entry_of(key, leased, stored, now).await?;
        let entry = Arc::new(IndexEntry { seen, ..entry });
        memory.keep_index(&key, Resident::Index(entry.clone()));
        Ok(Found::here(entry))
    }

    /// Makes an entry of a record; with a list of what is `stored`, every other version is shown as yanked.
    async fn entry_of(
        &self,
        key: IndexKey,
        (record, lease): (StoreRecord, Lease),
        stored: Option<Vec<CrateKey>>,
        now: SystemTime,
    ) -> Result<IndexEntry> {
        let from = Viewpoint::usual(&self.shared, now);
        let _permit = self.records.permit().await;
        let made = make(move || {
            let StoreRecord {
                body,
                sha256,
                validators,
                modified_at,
                gone,
                history,
                ..
            } = record;
            let file = IndexFile::parse(key.path, body)?;
            let known = Known {
                file: &file,
                history: &history,
                modified_at,
            };
            let not_stored = stored.map(|stored| not_among(&file, &key, &stored));
            let not_stored = not_stored.unwrap_or_default();
            let (shown, ruling) = from.see(&key, known, &not_stored, None);
            let (content, rendition) = keep(file, sha256, modified_at, shown, ruling, lease);
            Ok(IndexEntry {
                content,
                rendition,
                validators,
                history,
                not_stored: Arc::new(not_stored),
                modified_at,
                checked_at: now,
                recorded_at: now,
                leads: false,
                failed_at: None,
                gone,
                seen: None,
                incomplete: false,
                read_ahead: ReadAheadMark::default(),
            })
        });
        // What the store checked and can't be an index file was stored as one by somebody else.
        let entry = made.await.map_err(|e| match e.kind() {
            Kind::UpstreamFault => Error::corrupt(e.message()),
            _ => e,
        })?;
        self.gzip.make(key, &entry.rendition);
        Ok(entry)
    }
}

/// The versions whose .crate file isn't among `stored`.
pub(in crate::mirror) fn not_among(file: &IndexFile, key: &IndexKey, stored: &[CrateKey]) -> Marks {
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
    Marks::of(file.versions().len(), |place| {
        missing(&file.versions()[place])
    })
}
