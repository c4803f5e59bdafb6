//! [`Mirror`]: the application; the one place where store and upstream meet. Knows nothing of HTTP.
//!
//! A thin façade over two services: `index` for index files and `crates` for .crate files, which needs the index for their checksums. Both keep what they
//! serve in the same memory (`shared`, `kept`), and `eviction` keeps the store within its limits.

mod catalog;
mod crates;
mod eviction;
mod files;
mod git_index;
mod index;
mod kept;
mod registry;
mod search;
mod shared;
mod toolchains;
mod wanted;
mod web_search;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use catalog::{KnownCrate, NearCensus, RegistryCensus, StoreCensus};
pub use crates::{
    CrateJudgement, CrateOverview, Denied, Judgement, LicenseKnown, LinkMethod, VersionOverview,
};
pub use eviction::{Evicted, Target, Troubles, evict};
pub use files::{Clearance, FileBody, FileLink};
pub use git_index::{CHUNK as PACK_CHUNK, PackPlan, PackSource, Repository};
pub use index::GzipVariants;
pub use kept::{IndexEntry, Modified, Rendition};
pub use registry::Registry;
pub use search::{FoundCrate, Searched, Window};
pub use shared::{Found, Refusal, StaleCopy, WorkTurn};
pub use toolchains::{
    ServedText, StoredRelease, StoredToolchains, ToolchainAnswer, ToolchainAsker, ToolchainParts,
};

use bytes::Bytes;

use self::{
    catalog::{Catalog, News, Walk},
    crates::CrateService,
    files::FileService,
    git_index::GitIndex,
    index::{IndexService, IndexSettings, Trigger},
    search::{Refused, Search, Searches},
    shared::{Background, MemoryCache, Refusals, RulesInForce, Shared, StaleServed, StoredChanges},
    toolchains::ToolchainService,
    wanted::WantedList,
    web_search::WebSearch,
};
use crate::{
    allowance::{Allowance, Lease},
    config::sections::{FreshnessSettings, OfflineIndex, ReadAheadSettings},
    domain::{
        CrateId, CrateKey, CrateName, MissedRequest, RegistryName, View,
        toolchain::{ManifestName, ToolchainDocument, ToolchainName, ToolchainPath},
    },
    error::{Error, Kind, Result},
    metrics::Metrics,
    policy::Policy,
    store::{Store, StorePlace},
    upstream::Circuit,
};

/// What a mirror is made of.
pub struct Parts {
    /// How long copies are good for.
    pub freshness: FreshnessSettings,
    /// How far to follow dependencies ahead of clients.
    pub read_ahead: ReadAheadSettings,
    /// How many bytes of objects to keep in memory.
    pub memory_budget: u64,
    /// The memory that bodies may take, cached ones included.
    pub allowance: Allowance,
    /// Whether large index files are gzipped.
    pub gzip: GzipVariants,
    /// Where objects are kept.
    pub store: Store,
    /// The registries.
    pub registries: Vec<Registry>,
    /// What is shown of the index of registries that are offline.
    pub offline_index: OfflineIndex,
    /// The registry served when none is named.
    pub default: RegistryName,
    /// How toolchains are served, if they are.
    pub toolchains: Option<ToolchainParts>,
    /// What may come in.
    pub policy: Policy,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// A mirror of one or more registries. Cheap to clone.
#[derive(Clone)]
pub struct Mirror(Arc<Inner>);

struct Inner {
    registries: BTreeMap<RegistryName, Registry>,
    default: RegistryName,
    shared: Arc<Shared>,
    index: Arc<IndexService>,
    crates: CrateService,
    searches: Searches,
    wanted: WantedList,
    toolchains: Option<ToolchainService>,
    web_search: WebSearch,
    git_index: GitIndex,
}

impl Mirror {
    /// A mirror made of `parts`. Nothing is contacted or scanned.
    pub fn new(parts: Parts) -> Self {
        let catalog = Catalog::new(parts.memory_budget, &parts.allowance);
        let shared = Arc::new(Shared {
            freshness: parts.freshness,
            memory: MemoryCache::new(parts.memory_budget),
            budget: parts.allowance,
            store: parts.store,
            metrics: parts.metrics,
            rules: RulesInForce::new(parts.policy),
            background: Background::default(),
            stale: StaleServed::default(),
            refusals: Refusals::default(),
            stored_changes: StoredChanges::default(),
            catalog: Arc::new(catalog),
        });
        let settings = IndexSettings {
            read_ahead: parts.read_ahead,
            gzip: parts.gzip,
            offline: parts.offline_index,
        };
        let index = Arc::new(IndexService::new(shared.clone(), settings));
        // Weakly: the budget is what the index is made of.
        let keeper = Arc::downgrade(&index);
        shared.budget.on_shortage(move |missing| {
            if let Some(keeper) = keeper.upgrade() {
                keeper.make_way(missing);
            }
        });
        let files = Arc::new(FileService::new(shared.clone()));
        let registries = parts.registries.into_iter().map(|r| (r.name(), r));
        Self(Arc::new(Inner {
            registries: registries.collect(),
            default: parts.default,
            toolchains: parts
                .toolchains
                .map(|parts| ToolchainService::new(shared.clone(), files.clone(), parts)),
            crates: CrateService::new(shared.clone(), index.clone(), files),
            git_index: GitIndex::new(shared.clone(), parts.offline_index),
            searches: Searches::default(),
            wanted: WantedList::default(),
            web_search: WebSearch::new(parts.memory_budget, shared.budget.clone()),
            index,
            shared,
        }))
    }

    /// The registry of that name, or the default one; the name comes back in a form that is known to be served.
    ///
    /// # Errors
    /// [`Kind::NoSuchRegistry`] when no such registry is configured.
    pub fn registry(&self, name: Option<RegistryName>) -> Result<&Registry> {
        let name = name.unwrap_or(self.0.default);
        self.0.registries.get(&name).ok_or_else(|| {
            let known: Vec<_> = self.0.registries.keys().map(RegistryName::as_str).collect();
            let known = known.join(", ");
            let sentence = format!("this mirror has no registry {name}; it has {known}");
            Error::new(Kind::NoSuchRegistry, sentence)
        })
    }

    /// The registry that is seen in `view`, where a named one says itself which one it is.
    ///
    /// # Errors
    /// [`Kind::NoSuchRegistry`] when there is no such registry or view.
    pub fn place(&self, registry: Option<RegistryName>, view: View) -> Result<&Registry> {
        let View::Named(name) = view else {
            return self.registry(registry);
        };
        let policy = self.0.shared.rules.policy();
        if let Some(registry) = policy.registry_of(name) {
            return self.registry(registry);
        }
        let views: Vec<_> = policy.views().map(|name| name.to_string()).collect();
        let known = match views.is_empty() {
            true => "none".to_owned(),
            false => views.join(", "),
        };
        let sentence = format!("this mirror has no view {name}; it has {known}");
        Err(Error::new(Kind::NoSuchRegistry, sentence))
    }

    /// The rules about what may come in that hold now.
    pub fn policy(&self) -> Arc<Policy> {
        self.0.shared.rules.policy()
    }

    /// What the rules say of this version, whether they are enforced or only tried; its index file is obtained if it isn't here.
    ///
    /// # Errors
    /// Those of [`index`](Self::index), and [`Kind::Absent`] when there is no such version.
    pub fn judge(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> impl Future<Output = Result<Judgement>> {
        self.0.crates.judge(registry, id, view, now)
    }

    /// What the rules say of this crate and all its versions.
    ///
    /// # Errors
    /// Those of [`index`](Self::index).
    pub fn judge_crate(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> impl Future<Output = Result<CrateJudgement>> {
        self.0.crates.judge_crate(registry, name, view, now)
    }

    /// All that is known here of a crate as it is seen in `view`; its index file is obtained if it isn't here.
    ///
    /// # Errors
    /// Those of [`index`](Self::index), and [`Kind::NotFound`] when there is no such registry or view.
    pub async fn overview(
        &self,
        registry: Option<RegistryName>,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Result<CrateOverview> {
        let registry = self.place(registry, view)?;
        self.0.crates.overview(registry, name, view, now).await
    }

    /// The crates that fit `words`, by what is known here.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such registry or view.
    pub async fn search(
        &self,
        registry: Option<RegistryName>,
        view: View,
        words: &str,
        window: Window,
        now: SystemTime,
    ) -> Result<Searched> {
        let search = Search {
            registry: self.place(registry, view)?,
            view,
            words,
            window,
            refused: Refused::Shown,
        };
        self.search_here(search, now).await
    }

    /// The crates that fit `words`, by what upstream's web API says, or else by what is known here; without those that the rules refuse. Upstream is asked at most
    /// once a second, and an answer is good for ten minutes.
    ///
    /// # Errors
    /// Those of [`search`](Self::search).
    pub async fn search_offered(
        &self,
        registry: Option<RegistryName>,
        view: View,
        words: &str,
        window: Window,
        now: SystemTime,
    ) -> Result<Searched> {
        let search = Search {
            registry: self.place(registry, view)?,
            view,
            words,
            window,
            refused: Refused::LeftOut,
        };
        let Inner {
            shared,
            index,
            web_search,
            ..
        } = &*self.0;
        let upstream = search.registry.upstream();
        if let Some(upstream) = upstream.filter(|_| !words.is_empty())
            && let Some(listed) = web_search.ask(upstream, words, window, now).await
        {
            return Ok(search::offered(shared, index, search, &listed, now).await);
        }
        self.search_here(search, now).await
    }

    async fn search_here(&self, search: Search<'_>, now: SystemTime) -> Result<Searched> {
        let Inner {
            searches,
            shared,
            index,
            ..
        } = &*self.0;
        search::search(searches, shared, index, search, now).await
    }

    /// From now on these rules hold, for what is in memory too.
    pub fn enforce(&self, policy: Policy) {
        self.0.shared.rules.replace(policy);
    }

    /// The names of all registries.
    pub fn registries(&self) -> impl Iterator<Item = RegistryName> {
        self.0.registries.keys().copied()
    }

    /// The registry served when none is named.
    pub fn default_registry(&self) -> RegistryName {
        self.0.default
    }

    /// The index file of `name` as it is seen in `view`, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't know the crate; one of the upstream kinds when it fails and there is no copy; [`Kind::Offline`]
    /// and [`Kind::Corrupt`] when there is no upstream to ask.
    ///
    /// [`Kind::Absent`]: crate::error::Kind::Absent
    /// [`Kind::Offline`]: crate::error::Kind::Offline
    /// [`Kind::Corrupt`]: crate::error::Kind::Corrupt
    pub fn index(
        &self,
        registry: &Registry,
        name: CrateName,
        view: &View,
        now: SystemTime,
    ) -> impl Future<Output = Result<Found<Arc<IndexEntry>>>> {
        self.0.index.get(registry, name, view, now, Trigger::Client)
    }

    /// The same as everybody sees it, for who knows already what else it needs: no dependency is read ahead.
    ///
    /// # Errors
    /// Those of [`index`](Self::index).
    pub fn index_alone(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
    ) -> impl Future<Output = Result<Found<Arc<IndexEntry>>>> {
        let view = &View::Usual;
        let trigger = Trigger::NoReadAhead;
        self.0.index.get(registry, name, view, now, trigger)
    }

    /// The same as [`index`](Self::index) if it takes nothing but a look into memory; `None` when it takes more.
    pub fn index_at_once(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Option<Result<Found<Arc<IndexEntry>>>> {
        self.0.index.get_at_once(registry, name, view, now)
    }

    /// The file of exactly this crate and version, for who sees the registry in `view`.
    ///
    /// The checksum comes from the index file, whatever its age, as long as the file is here: content under a checksum doesn't go stale. Only
    /// when upstream has to be asked anyway does the index have to be current first.
    ///
    /// # Errors
    /// [`Kind::Absent`] when there is no such crate or version, with the canonical name if there is one; one of the upstream kinds when upstream
    /// fails and the file isn't here; [`Kind::Offline`] and [`Kind::Corrupt`] when there is no upstream to ask.
    ///
    /// [`Kind::Absent`]: crate::error::Kind::Absent
    /// [`Kind::Offline`]: crate::error::Kind::Offline
    /// [`Kind::Corrupt`]: crate::error::Kind::Corrupt
    pub fn crate_file(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> impl Future<Output = Result<Found<FileBody>>> {
        self.0.crates.get(registry, id, view, now)
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub fn crate_at_once(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> Option<Result<Found<FileBody>>> {
        self.0.crates.get_at_once(registry, id, view, now)
    }

    /// Where a client gets the file by itself, if it isn't here and the store can let clients have it; `None` when it is handed out from here as any other.
    ///
    /// # Errors
    /// [`Kind::Denied`] when it may not go out.
    pub fn crate_link(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        asks: LinkMethod,
        now: SystemTime,
    ) -> impl Future<Output = Result<Option<Found<FileLink>>>> {
        self.0.crates.link(registry, id, view, asks, now)
    }

    /// Whether toolchains are served.
    pub fn has_toolchains(&self) -> bool {
        self.0.toolchains.is_some()
    }

    fn toolchains(&self) -> Result<&ToolchainService> {
        self.0.toolchains.as_ref().ok_or_else(|| {
            Error::not_found(
                "this mirror serves no toolchains; whoever runs it can set `toolchains.enabled`",
            )
        })
    }

    /// What rustup asks for, if it takes nothing but a look into memory; `None` when it takes more.
    pub fn toolchain_at_once(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        now: SystemTime,
    ) -> Option<Result<Found<ToolchainAnswer>>> {
        match self.toolchains() {
            Ok(toolchains) => toolchains.at_once(path, asker, now),
            Err(e) => Some(Err(e)),
        }
    }

    /// What rustup asks for. What says which files there are is as fresh as it has to be; a file has the checksum that one of these says, or never comes to its end.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't have it, [`Kind::Denied`] when its channel may not be asked for, [`Kind::NotFound`] when toolchains aren't served; one of
    /// the upstream kinds when upstream fails and it isn't here; [`Kind::Offline`] and [`Kind::Corrupt`] when there is no upstream to ask.
    ///
    /// [`Kind::Absent`]: crate::error::Kind::Absent
    /// [`Kind::Offline`]: crate::error::Kind::Offline
    /// [`Kind::Corrupt`]: crate::error::Kind::Corrupt
    pub async fn toolchain(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        now: SystemTime,
    ) -> Result<Found<ToolchainAnswer>> {
        self.toolchains()?.get(path, asker, now).await
    }

    /// The same for nobody in particular.
    ///
    /// # Errors
    /// Those of [`toolchain`](Self::toolchain).
    pub async fn toolchain_unasked(
        &self,
        path: &ToolchainPath,
        now: SystemTime,
    ) -> Result<Found<ToolchainAnswer>> {
        self.toolchain(path, &ToolchainAsker::nobody(), now).await
    }

    /// Where a client gets a component by itself, if it isn't here and the store can let clients have it.
    ///
    /// # Errors
    /// Those of [`toolchain`](Self::toolchain).
    pub async fn toolchain_link(
        &self,
        path: &ToolchainPath,
        asks: LinkMethod,
        now: SystemTime,
    ) -> Result<Option<Found<FileLink>>> {
        self.toolchains()?.link(path, asks, now).await
    }

    /// The manifest of a toolchain, as fresh as it has to be, for who chooses from it.
    ///
    /// # Errors
    /// Those of [`toolchain`](Self::toolchain).
    pub async fn toolchain_manifest(&self, name: &ToolchainName, now: SystemTime) -> Result<Bytes> {
        let ToolchainName { channel, day } = *name;
        let document = ToolchainDocument::Manifest(ManifestName { day, channel });
        self.toolchains()?.manifest(&document, now).await
    }

    /// What is stored of toolchains.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when they aren't served, [`Kind::Store`] when the store can't be read.
    pub async fn stored_toolchains(&self) -> Result<Arc<StoredToolchains>> {
        self.toolchains()?.stored().await
    }

    /// The length of a file of which a client asks for a part, if it can be given one: the length must be known, for which a download may have to go on
    /// for a while, and whatever clients may hold of this file unchecked must be how this file begins. Nothing of `body` is read.
    pub fn divisible(&self, body: &mut FileBody) -> impl Future<Output = Option<u64>> {
        self.0.crates.divisible(body)
    }

    /// What is stored of a registry's index as it is seen in a view, as a git repository with this config.json in it. Nothing is fetched for it; the index as of a day isn't kept so.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, [`Kind::Overloaded`] when there is no memory for it, or it takes too long the first time.
    pub fn git_index(
        &self,
        registry: &Registry,
        view: View,
        config: &Bytes,
        now: SystemTime,
    ) -> impl Future<Output = Result<Arc<Repository>>> {
        self.0.git_index.repository(registry, view, config, now)
    }

    /// Leave to make a part of a pack of such a repository; a few are made at once.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when that takes longer than eight seconds.
    pub fn git_turn(&self) -> impl Future<Output = Result<WorkTurn>> {
        self.0.git_index.turn()
    }

    /// Where its objects are kept.
    pub fn store(&self) -> &Store {
        &self.0.shared.store
    }

    /// Whether that is a bucket, with a folder in front of it or none.
    pub fn has_bucket(&self) -> bool {
        match self.store().place() {
            StorePlace::One => false,
            StorePlace::Bucket | StorePlace::BucketBehindFolder => true,
        }
    }

    /// A lease on so many bytes of what memory is for, if there are as many; what was used least recently makes way for them.
    pub fn make_room(&self, bytes: u64) -> Option<Lease> {
        let budget = &self.0.shared.budget;
        // Twice: what is kept for days may be enough, and goes first.
        for _ in 0..2 {
            if let Some(lease) = budget.try_take(bytes) {
                return Some(lease);
            }
            self.0.index.make_way(bytes);
        }
        budget.try_take(bytes)
    }

    /// Where this mirror counts, with what is in memory brought up to date.
    pub fn metrics(&self) -> &Metrics {
        let Shared {
            memory, metrics, ..
        } = &*self.0.shared;
        let usage = memory.usage();
        metrics.memory_entries.set(usage.entries);
        metrics.memory_bytes.set(usage.bytes);
        if let Some(census) = self.census() {
            for (registry, of_it) in &census.registries {
                let (registry, kept) = (registry.as_str(), of_it);
                metrics.stored(registry, "crate", kept.crates, kept.crate_bytes);
                metrics.stored(registry, "index", kept.records, kept.record_bytes);
            }
        }
        let unasked = metrics.read_ahead_fetched.get()
            - metrics
                .read_ahead_useful
                .get()
                .min(metrics.read_ahead_fetched.get());
        metrics
            .read_ahead_unasked
            .set(i64::try_from(unasked).unwrap_or(i64::MAX));
        let waiting = match self.policy().has_versions_wait() {
            true => memory.waiting(),
            false => 0,
        };
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        metrics.policy_waiting.set(waiting);
        let circuits: Vec<_> = self.circuits().collect();
        let circuits = circuits.iter();
        metrics.circuits(circuits.map(|(name, host, open)| (name.as_str(), host.as_str(), *open)));
        metrics
    }

    /// Every upstream host asked so far, by registry, and whether it is left alone at the moment because it keeps failing.
    pub fn circuits(&self) -> impl Iterator<Item = (RegistryName, String, bool)> {
        let toolchains = self.0.toolchains.iter().map(ToolchainService::source);
        let sources = self.0.registries.values().chain(toolchains);
        let upstreams = sources.filter_map(Registry::upstream);
        upstreams.flat_map(|upstream| {
            let circuits = upstream.circuits().into_iter();
            let registry = upstream.registry();
            circuits
                .map(move |(host, circuit)| (registry, host, !matches!(circuit, Circuit::Closed)))
        })
    }

    /// The oldest copy that was served within the last five minutes although it was due, of the registries that `is_meant` accepts.
    pub fn oldest_stale(
        &self,
        is_meant: impl Fn(RegistryName) -> bool,
        now: SystemTime,
    ) -> Option<StaleCopy> {
        self.0.shared.stale.oldest(is_meant, now)
    }

    /// What the rules refused lately, the last of it first; at most fifty of each registry.
    pub fn refused_lately(&self) -> Vec<Refusal> {
        self.0.shared.refusals.lately()
    }

    /// What was asked for offline and still isn't here, in the order of its text, as of a moment ago: the store is looked at for all who ask, and not changed.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read.
    pub async fn missed(&self, now: SystemTime) -> Result<Arc<[MissedRequest]>> {
        let Shared { store, budget, .. } = &*self.0.shared;
        self.0.wanted.get(store, budget, now).await
    }

    /// What was in the store when it was looked through last; `None` before that has been done.
    pub fn census(&self) -> Option<Arc<StoreCensus>> {
        self.0.shared.catalog.census()
    }

    /// How many names of crates are known of a registry, and how many of these crates are stored.
    pub fn known_crates(&self, registry: RegistryName) -> (usize, usize) {
        self.0.shared.catalog.counts(registry)
    }

    /// Keeps up to date which crates are known here, for ever: by what comes in, and by a look through the store now and then.
    pub async fn keep_catalog(&self, now: fn() -> SystemTime) {
        let walk = Walk {
            catalog: self.0.shared.catalog.clone(),
            store: self.0.shared.store.clone(),
            tasks: self.0.shared.background.tasks().clone(),
        };
        tokio::join!(walk.keep(now), self.hear_news(now));
    }

    /// Adds what comes in to what is known, one after the other.
    async fn hear_news(&self, now: fn() -> SystemTime) {
        let catalog = &self.0.shared.catalog;
        let Some(mut told) = catalog.told() else {
            return;
        };
        while let Some(news) = told.recv().await {
            match news {
                News::Seen(registry, name) => catalog.add_names(registry, [name].into_iter()),
                News::Stored(key) => {
                    let (this, now) = (self.clone(), now());
                    let learn = async move { this.learn(key, now).await };
                    // Stopping waits for it: nothing is written behind its back.
                    let _ = self.0.shared.background.tasks().spawn(learn).await;
                }
            }
        }
    }

    /// Adds what a stored crate says of itself to what is known.
    async fn learn(&self, key: CrateKey, now: SystemTime) {
        if let Some(manifest) = self.0.crates.manifest_of(&key, now).await {
            self.0.shared.catalog.add_stored(&key, &manifest);
        }
    }

    /// Keeps the store, or the folder in front of a bucket, within `max_size` bytes and `max_age`, for ever. What is in memory counts as used now: a hit from there doesn't touch the disk.
    pub async fn keep_within(&self, max_size: u64, max_age: Option<Duration>) {
        let Shared { store, memory, .. } = &*self.0.shared;
        if let Some(near) = store.near() {
            let removed = || self.0.shared.stored_changes.note_any();
            eviction::keep_within(&near, memory, max_size, max_age, removed).await;
        }
    }

    /// Tells other mirrors that share the store what upstream has confirmed, and listens to them, for ever; ends at once where nobody can.
    pub async fn hear_siblings(&self) {
        self.0.index.hear_siblings().await;
    }

    /// Waits until what is being fetched and written is in the store, at most `grace`.
    pub async fn close(&self, grace: Duration) {
        let end = tokio::time::Instant::now() + grace;
        self.0.shared.background.close(grace).await;
        let settle = async {
            self.0.shared.store.settle().await;
            self.0.index.leave_siblings().await;
        };
        let settled = tokio::time::timeout_at(end, settle).await;
        if settled.is_err() {
            tracing::warn!(
                "some of what was fetched isn't in the bucket yet; it stays in the folder, if there is one"
            );
        }
    }
}
