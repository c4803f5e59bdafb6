//! [`IndexService`]: index files, from memory, else from what stands behind it, obtained once for all who ask.

mod blocking;
mod copies;
mod decoding;
mod from_store;
mod from_upstream;
mod gzip_variants;
mod last_served;
mod pile;
mod read_ahead;
mod reception;
mod records;
mod refresh;
mod shown;
mod siblings;
mod source;
mod view;
mod views;
mod write_behind;

use std::{sync::Arc, time::SystemTime};

use tokio::time::{Instant, timeout_at};

pub use gzip_variants::GzipVariants;

pub(in crate::mirror) use from_store::not_among;
pub(in crate::mirror) use from_upstream::Trigger;
pub(in crate::mirror) use shown::IndexFound;
pub(in crate::mirror) use view::Viewpoint;

use self::{
    from_store::{IndexFromStore, Lookup},
    from_upstream::IndexFromUpstream,
    gzip_variants::GzipMaker,
    read_ahead::ReadAhead,
    records::StoredRecords,
    refresh::Refresher,
    shown::shown,
    siblings::Siblings,
    source::IndexSource,
    view::{denied, shown_again},
    views::ViewCache,
};
use super::{
    kept::IndexEntry,
    registry::Registry,
    shared::{Flight, Found, Resident, Shared, SingleFlight, note_missed},
};
use crate::{
    config::sections::{OfflineIndex, ReadAheadSettings},
    domain::{CrateName, IndexKey, MissedCrate, Outcome, View},
    error::{Kind, Result},
    upstream::{ANSWER_WITHIN, Upstream},
};

/// How index files are served.
pub(super) struct IndexSettings {
    pub(super) read_ahead: ReadAheadSettings,
    pub(super) gzip: GzipVariants,
    pub(super) offline: OfflineIndex,
}

/// The index files of all registries.
pub(super) struct IndexService {
    shared: Arc<Shared>,
    records: Arc<StoredRecords>,
    refresher: Arc<Refresher>,
    read_ahead: Arc<ReadAhead>,
    from_store: IndexFromStore,
    views: Arc<ViewCache>,
    siblings: Arc<Siblings>,
    /// What is being obtained.
    flights: SingleFlight<IndexKey, IndexFound>,
}

impl IndexService {
    pub(super) fn new(shared: Arc<Shared>, settings: IndexSettings) -> Self {
        let flights = SingleFlight::default();
        let gzip = Arc::new(GzipMaker::new(shared.clone(), settings.gzip));
        let records = Arc::new(StoredRecords::new(shared.clone(), gzip.clone()));
        let siblings = Arc::new(Siblings::new(shared.clone()));
        let refresher = Refresher::new(
            shared.clone(),
            records.clone(),
            gzip.clone(),
            siblings.clone(),
        );
        let refresher = Arc::new(refresher);
        let read_ahead = ReadAhead::new(
            settings.read_ahead,
            shared.clone(),
            records.clone(),
            refresher.clone(),
            flights.clone(),
        );
        let views = Arc::new(ViewCache::new(shared.clone(), gzip.clone()));
        let lookup = Lookup::new(shared.clone(), records.clone(), gzip, settings.offline);
        Self {
            shared,
            records,
            refresher,
            read_ahead: Arc::new(read_ahead),
            from_store: IndexFromStore(Arc::new(lookup)),
            views,
            siblings,
            flights,
        }
    }

    /// Tells others who share the store what upstream says, and listens to them, for ever.
    pub(super) async fn hear_siblings(&self) {
        self.siblings.run().await;
    }

    /// Tells them nothing more.
    pub(super) async fn leave_siblings(&self) {
        self.siblings.leave().await;
    }

    /// The index file of `name` as it is seen in `view`, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Denied`] when the rules refuse the crate; [`Kind::Absent`] when upstream doesn't know it; one of the upstream kinds when it fails and there is no
    /// copy; [`Kind::Offline`] and [`Kind::Corrupt`] when there is no upstream to ask.
    pub(super) async fn get(
        &self,
        registry: &Registry,
        name: CrateName,
        view: &View,
        now: SystemTime,
        trigger: Trigger,
    ) -> Result<IndexFound> {
        if let Some(found) = self.get_at_once(registry, name, *view, now) {
            return found;
        }
        let key = IndexKey::new(registry.name(), name);
        // Before upstream is asked for it: what may not go out needn't come in.
        denied(&self.shared, &key, name, *view, now)?;
        let found = self.seen(registry, &key, view, now, trigger).await;
        found.inspect_err(|e| {
            if e.kind() == Kind::Offline {
                self.note_missed(&key, now);
            }
        })
    }

    /// The same for who only looks at it: the rules refuse nothing, and nothing is counted, noted as wanted, or read ahead because of it.
    ///
    /// # Errors
    /// Those of [`get`](Self::get) but [`Kind::Denied`].
    pub(super) async fn look(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Result<IndexFound> {
        if let Some(found) = self.get_at_once(registry, name, view, now) {
            return found;
        }
        let key = IndexKey::new(registry.name(), name);
        let trigger = Trigger::NoReadAhead;
        self.seen(registry, &key, &view, now, trigger).await
    }

    /// The same of what is at hand, whatever its age: no upstream is asked. `None` when there is nothing, or no memory for what is seen of it.
    pub(super) async fn look_at_hand(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Option<Arc<IndexEntry>> {
        let key = IndexKey::new(registry.name(), name);
        let entry = match registry {
            Registry::Online(_) => self.at_hand(&key, now).await?,
            Registry::Offline(_) => {
                let found = self.look(registry, name, view, now).await;
                return found.ok().map(|found| found.value);
            }
        };
        match entry.gone {
            true => None,
            false => self.seen_of(&key, entry, view, now).await.ok(),
        }
    }

    /// Keys and views are lent all the way down: a hundred thousand may wait here, and each copy is one more in each of them.
    async fn seen(
        &self,
        registry: &Registry,
        key: &IndexKey,
        view: &View,
        now: SystemTime,
        trigger: Trigger,
    ) -> Result<IndexFound> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let found = match registry {
            Registry::Online(upstream) => {
                let source = self.upstream_source(upstream, trigger);
                self.obtained(&source, key, now, deadline, |_| true).await
            }
            Registry::Offline(_) => self.looked_up(key, now, deadline).await,
        };
        let Found { value, outcome } = self.given(key, found)?;
        let value = self.seen_of(key, value, *view, now).await?;
        Ok(Found { value, outcome })
    }

    /// What is seen of an entry in a view, by the rules that hold now.
    async fn seen_of(
        &self,
        key: &IndexKey,
        entry: Arc<IndexEntry>,
        view: View,
        now: SystemTime,
    ) -> Result<Arc<IndexEntry>> {
        match view {
            // Boxed: whoever waits for upstream would have to hold all that it takes.
            View::Usual => match entry.rendition().is_valid(self.shared.rules.version(), now) {
                true => Ok(entry),
                false => Box::pin(self.in_force(key, entry, now)).await,
            },
            View::Named(_) | View::AsOf(_) => Box::pin(self.views.of(*key, view, entry, now)).await,
        }
    }

    /// An entry with what the rules make of it now: they may have changed while it was being obtained.
    async fn in_force(
        &self,
        key: &IndexKey,
        entry: Arc<IndexEntry>,
        now: SystemTime,
    ) -> Result<Arc<IndexEntry>> {
        let from = Viewpoint::usual(&self.shared, now);
        let again = Arc::new(shown_again(&self.shared, *key, &entry, from).await?);
        let is_it = |current: &Arc<IndexEntry>| Arc::ptr_eq(current, &entry);
        self.shared
            .memory
            .change_index(key, |current| is_it(current).then(|| again.clone()));
        Ok(again)
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub(super) fn get_at_once(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Option<Result<IndexFound>> {
        let key = IndexKey::new(registry.name(), name);
        let known = self.shared.memory.index(&key)?;
        let found = match registry {
            Registry::Online(upstream) => {
                let source = self.upstream_source(upstream, Trigger::Client);
                source.permits(&key, known, now)?
            }
            Registry::Offline(_) => self.from_store.permits(&key, known, now)?,
        };
        let found = match found {
            Ok(found) => found,
            Err(e) => return Some(self.given(&key, Err(e))),
        };
        let value = self.views.at_once(&key, view, &found.value, now)?;
        // Why it is refused takes longer to say.
        if value.rendition().ruling().crate_is_denied {
            return None;
        }
        Some(self.given(&key, Ok(Found { value, ..found })))
    }

    /// What memory, else the store, has of an index file, whatever its age, also when the crate is gone from upstream's index. A store that can't be read
    /// is one that has nothing.
    pub(super) async fn at_hand(&self, key: &IndexKey, now: SystemTime) -> Option<Arc<IndexEntry>> {
        match self.records.known(key, now).await {
            Ok(Some(Resident::Index(entry))) => Some(entry),
            Ok(Some(Resident::Absent(_) | Resident::File(_) | Resident::Toolchain(_)) | None)
            | Err(_) => None,
        }
    }

    /// Gives back memory at once: what is kept for days before anything that all share, as much of that as there is beyond the budget less `bytes`.
    pub(super) fn make_way(&self, bytes: u64) {
        if !self.views.forget_days() {
            self.shared.memory.make_way(bytes);
        }
    }

    /// What memory alone has of an index file as it is seen in `view`, whatever its age.
    pub(super) fn seen_in_memory(
        &self,
        key: &IndexKey,
        view: View,
        now: SystemTime,
    ) -> Option<Arc<IndexEntry>> {
        match self.shared.memory.index(key)? {
            Resident::Index(entry) => self.views.at_once(key, view, &entry, now),
            Resident::Absent(_) | Resident::File(_) | Resident::Toolchain(_) => None,
        }
    }

    /// The index file after a revalidation, or the stale copy if that takes longer than a client has patience for and `will_do` accepts the copy.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't know the crate; one of the upstream kinds when it fails and there is no copy; [`Kind::Offline`]
    /// and [`Kind::Corrupt`] when there is no upstream to ask.
    pub(super) async fn revalidated(
        &self,
        upstream: &Arc<Upstream>,
        key: IndexKey,
        now: SystemTime,
        deadline: Instant,
        will_do: impl Fn(&IndexEntry) -> bool,
    ) -> Result<IndexFound> {
        let source = self.upstream_source(upstream, Trigger::Client);
        let found = self.obtained(&source, &key, now, deadline, will_do).await;
        shown(&key, found?)
    }

    /// The index file as the store has it, also when the crate is gone from upstream's index.
    ///
    /// # Errors
    /// [`Kind::Offline`] when it isn't there, [`Kind::Corrupt`] when it isn't whole, [`Kind::Overloaded`] when it can't be read.
    pub(super) async fn looked_up(
        &self,
        key: &IndexKey,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<IndexFound> {
        let found = self.obtained(&self.from_store, key, now, deadline, |_| true);
        found.await
    }

    fn upstream_source<'a>(
        &'a self,
        upstream: &'a Arc<Upstream>,
        trigger: Trigger,
    ) -> IndexFromUpstream<'a> {
        IndexFromUpstream {
            shared: &self.shared,
            refresher: &self.refresher,
            read_ahead: &self.read_ahead,
            upstream,
            trigger,
        }
    }

    /// What memory allows, or else what the source comes to, which is asked once for all who wait.
    async fn obtained<S: IndexSource>(
        &self,
        source: &S,
        key: &IndexKey,
        now: SystemTime,
        deadline: Instant,
        will_do: impl Fn(&IndexEntry) -> bool,
    ) -> Result<IndexFound> {
        let came = Instant::now();
        loop {
            if let Some(found) = source.remembered(key, now).await {
                return found;
            }
            let tasks = self.shared.background.tasks();
            let flight = self
                .flights
                .join(*key, tasks, |waiters| source.obtain(*key, now, waiters));
            let is_mine = S::SERVES_LATECOMERS || flight.started >= came;
            let landed = self.landed(source, key, flight, now, deadline, &will_do);
            let found = landed.await;
            if is_mine || Instant::now() >= deadline {
                return found;
            }
        }
    }

    /// What a flight comes to, or the copy that will do meanwhile.
    async fn landed<S: IndexSource>(
        &self,
        source: &S,
        key: &IndexKey,
        flight: Flight<IndexFound>,
        now: SystemTime,
        deadline: Instant,
        will_do: &impl Fn(&IndexEntry) -> bool,
    ) -> Result<IndexFound> {
        let patience = source.patience().map(|patience| flight.started + patience);
        let patience_ends = patience.unwrap_or(deadline).min(deadline);
        let landed = match timeout_at(patience_ends, flight.result.clone()).await {
            Ok(landed) => landed,
            Err(_) => {
                if let Some(entry) = source.meanwhile(key, now).filter(|entry| will_do(entry)) {
                    self.flights.leave_running(key, flight);
                    self.shared.stale.served(*key, &entry, now);
                    return Ok(Found {
                        value: entry,
                        outcome: Outcome::Stale,
                    });
                }
                let landed = timeout_at(deadline, flight.result).await;
                landed.unwrap_or_else(|_| Err(source.late(key)))
            }
        };
        landed.or_else(|e| source.failed(key, e))
    }

    /// What is shown of what was found. If it was read ahead, that was worth it.
    fn given(&self, key: &IndexKey, found: Result<IndexFound>) -> Result<IndexFound> {
        let found = shown(key, found?)?;
        if found.value.was_ahead() {
            self.shared.metrics.read_ahead_useful.inc();
        }
        Ok(found)
    }

    fn note_missed(&self, key: &IndexKey, now: SystemTime) {
        let missed = MissedCrate {
            registry: key.registry,
            name: key.name(),
            version: None,
        };
        let Shared {
            store, background, ..
        } = &*self.shared;
        note_missed(store, background, missed, now);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        allowance::Allowance,
        config::{
            self, BaseUrl,
            sections::{self, FreshnessSettings},
        },
        domain::{IndexFile, RegistryName, Sha256, Validators},
        metrics::Metrics,
        mirror::{
            catalog::Catalog,
            kept::{ReadAheadMark, Shown, keep},
            shared::{
                Background, MemoryCache, Mistold, Refusals, RulesInForce, StaleServed,
                StoredChanges,
            },
        },
        policy::{Ruling, RulingValidity},
        store::Store,
    };

    pub(super) const MIB: u64 = 1 << 20;

    pub(super) fn service() -> IndexService {
        let metrics = Arc::new(Metrics::new());
        let budget = Allowance::new(MIB, 0);
        let shared = Arc::new(Shared {
            freshness: FreshnessSettings::default(),
            memory: MemoryCache::new(MIB),
            catalog: Arc::new(Catalog::new(MIB, &budget)),
            budget,
            store: Store::in_memory(metrics.clone()),
            metrics,
            background: Background::default(),
            rules: RulesInForce::default(),
            stale: StaleServed::default(),
            refusals: Refusals::default(),
            mistold: Mistold::default(),
            stored_changes: StoredChanges::default(),
        });
        let settings = IndexSettings {
            read_ahead: ReadAheadSettings::default(),
            gzip: GzipVariants::Made,
            offline: OfflineIndex::default(),
        };
        IndexService::new(shared, settings)
    }

    /// An entry confirmed just now, what is shown of which holds as long as `validity` says.
    pub(super) fn entry(
        service: &IndexService,
        key: &IndexKey,
        validity: RulingValidity,
        now: SystemTime,
    ) {
        entry_of(service, key, 20, validity, now);
    }

    /// The same of so many lines, of some 150 bytes each.
    pub(super) fn entry_of(
        service: &IndexService,
        key: &IndexKey,
        lines: usize,
        validity: RulingValidity,
        now: SystemTime,
    ) {
        let body = format!(
            r#"{{"name":"{}","vers":"1.0.0","deps":[],"cksum":"{}","features":{{}},"yanked":false}}"#,
            key.name(),
            "0".repeat(64)
        );
        let body = Bytes::from(body.repeat(lines).replace("}{", "}\n{"));
        let sha256 = Sha256::of(&body);
        let file = IndexFile::parse(key.path, body).expect("an index file");
        let lease = service.shared.budget.try_take(100_000).expect("memory");
        let ruling = Ruling {
            validity,
            ..Ruling::default()
        };
        let (content, rendition) = keep(file, sha256, now, Shown::AsIs(None), ruling, lease);
        let entry = IndexEntry {
            content,
            rendition,
            validators: Validators::default(),
            history: Arc::default(),
            not_stored: Arc::default(),
            modified_at: now,
            checked_at: now,
            recorded_at: now,
            leads: false,
            failed_at: None,
            gone: false,
            seen: None,
            incomplete: false,
            read_ahead: ReadAheadMark::default(),
        };
        let resident = Resident::Index(Arc::new(entry));
        service.shared.memory.keep_index(key, resident);
    }

    /// A hundred thousand may wait in a stampede: whatever is copied into each of them on the way down is there as often.
    #[test]
    fn who_waits_for_an_index_file_takes_little() {
        let (service, now) = (service(), SystemTime::now());
        let name = RegistryName::parse("nobody").expect("a name");
        let url = BaseUrl::parse("http://127.0.0.1:9/").expect("a URL");
        let nobody = config::RegistrySettings::at(url);
        let settings = sections::UpstreamSettings::default();
        let upstream = Upstream::new(name, &nobody, settings, service.shared.metrics.clone());
        let registry = Registry::Online(Arc::new(upstream.expect("an upstream")));
        let tiny = CrateName::parse("tiny").expect("a name");
        let waiting = service.get(&registry, tiny, &View::Usual, now, Trigger::Client);
        let size = size_of_val(&waiting);
        eprintln!("a request for an index file that waits: {size} bytes");
        assert!(size <= 1_100, "{size}");
    }

    /// A version that ripens does so without upstream's doing, also when upstream is down.
    #[tokio::test]
    async fn what_is_shown_is_made_anew_of_what_is_kept_when_its_time_has_come() {
        let (service, now) = (service(), SystemTime::now());
        let name = RegistryName::parse("nobody").expect("a name");
        let url = BaseUrl::parse("http://127.0.0.1:9/").expect("a URL");
        let (nobody, settings) = (
            config::RegistrySettings::at(url),
            sections::UpstreamSettings::default(),
        );
        let upstream = Upstream::new(name, &nobody, settings, service.shared.metrics.clone());
        let registry = Registry::Online(Arc::new(upstream.expect("an upstream")));
        let tiny = CrateName::parse("tiny").expect("a name");
        let key = IndexKey::new(name, tiny);
        let until = Some(now + std::time::Duration::from_secs(10));
        let rules = service.shared.rules.version();
        entry(&service, &key, RulingValidity { rules, until }, now);
        let before = service
            .get_at_once(&registry, tiny, View::Usual, now)
            .expect("a hit");
        let before = before.expect("an entry").value;

        let then = now + std::time::Duration::from_secs(10);
        assert!(
            service
                .get_at_once(&registry, tiny, View::Usual, then)
                .is_none(),
            "it is to be made anew"
        );
        let after = service
            .get(&registry, tiny, &View::Usual, then, Trigger::Client)
            .await;
        let after = after.expect("an entry");
        assert_eq!(after.outcome, Outcome::Hit, "upstream wasn't asked");
        assert!(after.value.rendition().is_valid(rules, then));
        assert!(!before.rendition().is_valid(rules, then));
        let [before, after] = [&before, &after.value].map(|entry| entry.rendition());
        assert_eq!(before.index_file, after.index_file);
        assert_eq!(before.body.as_ptr(), after.body.as_ptr(), "the same bytes");
        assert_eq!(before.gzip(), after.gzip());
        let again = service.get_at_once(&registry, tiny, View::Usual, then);
        assert!(again.is_some(), "kept in memory");
    }
}
