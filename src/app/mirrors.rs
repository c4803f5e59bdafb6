//! A mirror that nobody listens for, made of its settings: its registries, its toolchains, and the memory that it may take.

use std::sync::Arc;

use super::rules::PolicySource;
use crate::{
    allowance::Allowance,
    block_budget::BlockBudget,
    config::{Config, RegistrySettings},
    domain::RegistryName,
    error::Result,
    metrics::Metrics,
    mirror::{GzipVariants, Mirror, Parts, Registry, ToolchainParts},
    store::Store,
    upstream::Upstream,
};

/// What bodies may take beside what is kept in memory: downloads in progress, and answers whose clients are slow. The rest of the 100 MB that
/// the process may exceed `memory.budget` by is for connections, code and the allocator.
const IN_FLIGHT: u64 = 24 << 20;

/// What of that is left to what is small and can't go through the disk.
const RESERVE: u64 = 6 << 20;

/// So many of the largest crates may be spooled at once where the store has no folder.
const SPOOLED: u64 = 4;

/// What clients may have taken of the memory that bodies may take, at most, in bytes.
pub(super) fn most_for_clients(config: &Config) -> u64 {
    config.memory.budget.get() + IN_FLIGHT - RESERVE
}

/// A mirror that nobody listens for: what the settings say, over `store`.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when a registry can't be set up.
pub fn mirror(
    config: Config,
    store: Store,
    metrics: Arc<Metrics>,
    gzip: GzipVariants,
) -> Result<Mirror> {
    let rules = PolicySource::open(&config, &metrics)?;
    mirror_under(&rules, config, store, metrics, gzip)
}

/// The same under rules that are known already.
///
/// # Errors
/// Those of [`mirror`].
pub fn mirror_under(
    rules: &PolicySource,
    config: Config,
    store: Store,
    metrics: Arc<Metrics>,
    gzip: GzipVariants,
) -> Result<Mirror> {
    let memory_budget = config.memory.budget.get();
    let told = i64::try_from(memory_budget).unwrap_or(i64::MAX);
    metrics.memory_budget.set(told);
    let allowance = Allowance::new(memory_budget + IN_FLIGHT, RESERVE);
    // Without a folder, spools are where this machine keeps temporary files.
    let room = match config.store.has_folder() {
        true => config.store.max_size.get(),
        false => SPOOLED * config.upstream.max_crate_size.get(),
    };
    let store = store
        .with_room(room)
        .with_block_budget(BlockBudget::of(allowance.clone()));
    let registries = registries(&config, &metrics)?;
    let toolchains = toolchains(&config, &metrics)?;
    Ok(Mirror::new(Parts {
        default: config.default_registry()?,
        freshness: config.freshness,
        read_ahead: config.read_ahead,
        memory_budget,
        allowance,
        gzip,
        store,
        registries,
        offline_index: config.offline.index,
        toolchains,
        policy: rules.policy(),
        metrics,
    }))
}

/// The registries that the settings name.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when an HTTP client can't be set up.
pub fn upstreams(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> impl Iterator<Item = Result<Upstream>> {
    config.registries.iter().map(|(name, registry)| {
        let settings = config.upstream.clone();
        Upstream::new(*name, registry, settings, metrics.clone())
    })
}

/// How toolchains are served, if they are.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when an HTTP client can't be set up.
fn toolchains(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<ToolchainParts>> {
    let settings = &config.toolchains;
    if !settings.enabled {
        return Ok(None);
    }
    let source = match config.offline.enabled {
        true => Registry::Offline(RegistryName::toolchains()),
        false => Registry::Online(Arc::new(toolchain_upstream(config, metrics)?)),
    };
    Ok(Some(ToolchainParts {
        source,
        fresh_for: *settings.fresh_for,
        channels: settings.channels.clone(),
    }))
}

/// The distribution host that the settings name.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when an HTTP client can't be set up.
pub fn toolchain_upstream(config: &Config, metrics: &Arc<Metrics>) -> Result<Upstream> {
    let host = RegistrySettings::at(config.toolchains.upstream.clone());
    let settings = config.upstream.clone();
    Upstream::new(RegistryName::toolchains(), &host, settings, metrics.clone())
}

/// The registries as they are served: with an upstream each, or offline, which needs neither a client nor certificates nor a network.
fn registries(config: &Config, metrics: &Arc<Metrics>) -> Result<Vec<Registry>> {
    for name in config.registries.keys() {
        metrics.begin_registry(name.as_str());
    }
    if config.offline.enabled {
        let names = config.registries.keys().copied();
        return Ok(names.map(Registry::Offline).collect());
    }
    let online = |made: Result<Upstream>| made.map(|u| Registry::Online(Arc::new(u)));
    upstreams(config, metrics).map(online).collect()
}
