//! [`Mirror`]: the application; the one place where store and upstream meet. Knows nothing of HTTP.
//!
//! A thin façade over services: `index` for index files, `crates` for .crate files, which needs the index for their checksums, `toolchains`, `git_index`. They keep what they
//! serve in the same memory (`shared`, `kept`), and `eviction` keeps the store within its limits. What clients ask for is in `serving`, what pages and commands are told in
//! `showing`, what goes on beside requests in `upkeep`.

mod catalog;
mod crates;
mod eviction;
mod files;
mod git_index;
mod index;
mod kept;
mod registry;
mod search;
mod serving;
mod shared;
mod showing;
mod toolchains;
mod upkeep;
mod wanted;
mod web_search;

use std::{collections::BTreeMap, sync::Arc};

pub use catalog::{KnownCrate, NearCensus, RegistryCensus, StoreCensus, ToolchainCensus};
pub use crates::{
    CrateJudgement, CrateOverview, Denied, Judgement, LicenseKnown, LinkMethod, VersionOverview,
};
pub use eviction::{Evicted, Target, Troubles, evict};
pub use files::{Clearance, FileBody, FileLink};
pub use git_index::{CHUNK as PACK_CHUNK, GitPatience, PackPlan, PackSource, Repository};
pub use index::GzipVariants;
pub use kept::{IndexEntry, Modified, Rendition};
pub use registry::Registry;
pub use search::{FoundCrate, Searched, Window};
pub use shared::{Found, Refusal, StaleCopy, WorkTurn};
pub use toolchains::{
    ServedText, StoredRelease, StoredToolchains, ToolchainAnswer, ToolchainAsker, ToolchainParts,
};

use self::{
    catalog::Catalog,
    crates::CrateService,
    files::FileService,
    git_index::GitIndex,
    index::{IndexService, IndexSettings},
    search::Searches,
    shared::{
        Background, MemoryCache, Mistold, Refusals, RulesInForce, Shared, StaleServed,
        StoredChanges,
    },
    toolchains::ToolchainService,
    wanted::WantedList,
    web_search::WebSearch,
};
use crate::{
    allowance::Allowance,
    config::sections::{FreshnessSettings, OfflineIndex, ReadAheadSettings},
    domain::{RegistryName, View},
    error::{Error, Kind, Result},
    metrics::Metrics,
    policy::Policy,
    store::{Store, StorePlace},
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
            mistold: Mistold::default(),
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
}
