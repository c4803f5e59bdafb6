//! [`Mirror`]: the application; the one place where store and upstream meet. Knows nothing of HTTP.

mod crate_body;
mod crates;
mod decoding;
mod download;
mod entry;
mod evict;
mod fetch;
mod flight;
mod index;
mod landing;
mod memory;
mod not_here;
mod offline;
mod parts;
mod pile;
mod read_ahead;
mod reception;
mod refresh;
mod registry;
mod rendition;
mod saves;
mod twin;
mod withdrawn;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use crate_body::{CrateBody, WholeCrate};
pub use download::Reader as DownloadReader;
pub use entry::IndexEntry;
pub use evict::{Evicted, Target, Troubles, evict};
pub use registry::Registry;
pub use rendition::{Form, Modified, Rendition};
pub use twin::Twins;

use crate::{
    allowance::{Allowance, Lease},
    config::sections::{Freshness, OfflineIndex, ReadAhead},
    domain::{CrateKey, IndexKey, Outcome, RegistryName},
    error::{Error, Result},
    metrics::Metrics,
    store::Store,
    upstream::Circuit,
    zero_copy::PagePool,
};

/// What a mirror is made of.
pub struct Parts {
    /// How long copies are good for.
    pub freshness: Freshness,
    /// How far to follow dependencies ahead of clients.
    pub read_ahead: ReadAhead,
    /// How many bytes of objects to keep in memory.
    pub memory_budget: u64,
    /// The memory that bodies may take, cached ones included.
    pub allowance: Allowance,
    /// Whether large index files are gzipped.
    pub twins: Twins,
    /// Where objects are kept.
    pub store: Store,
    /// The registries.
    pub registries: Vec<Registry>,
    /// What is shown of the index of registries that are offline.
    pub offline_index: OfflineIndex,
    /// The registry served when none is named.
    pub default: RegistryName,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// A mirror of one or more registries. Cheap to clone.
#[derive(Clone)]
pub struct Mirror(Arc<Inner>);

struct Inner {
    freshness: Freshness,
    memory: memory::Memory,
    allowance: Allowance,
    pages: PagePool,
    store: Store,
    registries: BTreeMap<RegistryName, Registry>,
    offline_index: OfflineIndex,
    gzip: Twins,
    read_ahead: read_ahead::ReadAhead,
    default: RegistryName,
    metrics: Arc<Metrics>,
    /// Refreshes under way.
    refreshes: flight::Flights<IndexKey, Found<Arc<IndexEntry>>>,
    /// Crates being read from the store.
    loads: flight::Flights<CrateKey, crates::Loaded>,
    /// Crates being fetched from upstream.
    downloads: download::Downloads,
    /// Index records being written.
    saves: saves::Saves,
    /// Stored index files being made ready; bounded, because each keeps a core busy. Nobody waits for the store with such a turn in hand.
    readying: tokio::sync::Semaphore,
    /// Index files from upstream being made ready; bounded, because each keeps a core busy.
    making: tokio::sync::Semaphore,
    /// Gzip twins being made; bounded, because each keeps a core busy.
    twins: tokio::sync::Semaphore,
    /// Cancelled when it is time to stop: what nobody waits for isn't begun any more.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Something found, and where.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// What was found.
    pub value: T,
    /// Where it came from.
    pub outcome: Outcome,
}

/// How many stored index files are made ready at once.
const READYING: usize = 8;

impl Mirror {
    /// A mirror made of `parts`. Nothing is contacted or scanned.
    pub fn new(parts: Parts) -> Self {
        let registries = parts.registries.into_iter().map(|r| (r.name(), r));
        let inner = Arc::new(Inner {
            freshness: parts.freshness,
            memory: memory::Memory::new(parts.memory_budget),
            allowance: parts.allowance,
            pages: PagePool::default(),
            store: parts.store,
            registries: registries.collect(),
            offline_index: parts.offline_index,
            gzip: parts.twins,
            read_ahead: read_ahead::ReadAhead::new(parts.read_ahead),
            default: parts.default,
            metrics: parts.metrics,
            refreshes: flight::Flights::default(),
            loads: flight::Flights::default(),
            downloads: download::Downloads::default(),
            saves: saves::Saves::default(),
            readying: tokio::sync::Semaphore::new(READYING),
            making: tokio::sync::Semaphore::new(reception::MAKING),
            twins: tokio::sync::Semaphore::new(twin::TWINS_AT_ONCE),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let keeper = Arc::downgrade(&inner);
        inner.allowance.on_shortage(move |missing| {
            if let Some(keeper) = keeper.upgrade() {
                keeper.memory.make_way(missing);
            }
        });
        Self(inner)
    }

    /// The registry of that name, or the default one; the name comes back in a form that is known to be served.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when no such registry is configured.
    pub fn registry(&self, name: Option<RegistryName>) -> Result<&Registry> {
        let name = name.unwrap_or(self.0.default);
        self.0.registries.get(&name).ok_or_else(|| {
            let known: Vec<_> = self.0.registries.keys().map(RegistryName::as_str).collect();
            Error::not_found(format!(
                "this mirror has no registry {name}; it has {}",
                known.join(", ")
            ))
        })
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
        &self.0.store
    }

    /// A lease on so many bytes of what memory is for, if there are as many; what was used least recently makes way for them.
    pub fn make_room(&self, bytes: u64) -> Option<Lease> {
        let Inner {
            allowance, memory, ..
        } = &*self.0;
        allowance.try_take(bytes).or_else(|| {
            memory.make_way(bytes);
            allowance.try_take(bytes)
        })
    }

    /// Where this mirror counts, with what is in memory brought up to date.
    pub fn metrics(&self) -> &Metrics {
        let usage = self.0.memory.usage();
        self.0.metrics.memory_entries.set(usage.entries);
        self.0.metrics.memory_bytes.set(usage.bytes);
        let metrics = &self.0.metrics;
        let unasked = metrics.read_ahead_fetched.get()
            - metrics
                .read_ahead_useful
                .get()
                .min(metrics.read_ahead_fetched.get());
        metrics
            .read_ahead_unasked
            .set(i64::try_from(unasked).unwrap_or(i64::MAX));
        let circuits: Vec<_> = self.circuits().collect();
        let circuits = circuits.iter();
        metrics.circuits(circuits.map(|(name, host, open)| (name.as_str(), host.as_str(), *open)));
        &self.0.metrics
    }

    /// Every upstream host asked so far, by registry, and whether it is left alone at the moment because it keeps failing.
    pub fn circuits(&self) -> impl Iterator<Item = (RegistryName, String, bool)> {
        let upstreams = self.0.registries.values().filter_map(Registry::upstream);
        upstreams.flat_map(|upstream| {
            let circuits = upstream.circuits().into_iter();
            let registry = upstream.registry();
            circuits
                .map(move |(host, circuit)| (registry, host, !matches!(circuit, Circuit::Closed)))
        })
    }

    /// Waits until what is being fetched and written is in the store, at most `grace`.
    pub async fn close(&self, grace: Duration) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait())
            .await
            .is_err()
        {
            let left = self.0.tasks.len();
            tracing::warn!("{left} fetches or writes were not finished in time and are dropped");
        }
    }
}

impl Inner {
    /// Runs `work` to its end, whatever becomes of who asked for it.
    fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }
}
