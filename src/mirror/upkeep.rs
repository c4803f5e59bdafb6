//! What goes on in a mirror beside requests, until it is closed; and what it counts.

use std::time::{Duration, SystemTime};

use super::{
    Mirror,
    catalog::{News, Walk},
    eviction,
    shared::Shared,
};
use crate::{
    allowance::Lease,
    domain::{CrateKey, RegistryName},
    metrics::Metrics,
};

/// How often it is looked whether a store that couldn't be read can be.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Mirror {
    /// Where this mirror counts, with what is in memory brought up to date.
    pub fn metrics(&self) -> &Metrics {
        let Shared {
            memory, metrics, ..
        } = &*self.0.shared;
        let usage = memory.usage();
        metrics.memory_entries.set(usage.entries);
        metrics.memory_bytes.set(usage.bytes);
        if let Some(census) = self.census() {
            // One of which nothing is stored isn't in there.
            let of_others = census.registries.keys().copied();
            for registry in self.registries().chain(of_others) {
                let kept = census.registries.get(&registry);
                let kept = kept.copied().unwrap_or_default();
                let registry = registry.as_str();
                metrics.stored(registry, "crate", kept.crates, kept.crate_bytes);
                metrics.stored(registry, "index", kept.records, kept.record_bytes);
            }
            let (name, of) = (RegistryName::toolchains(), census.toolchains);
            if self.has_toolchains() {
                metrics.stored(name.as_str(), "component", of.files, of.file_bytes);
                metrics.stored(name.as_str(), "manifest", of.documents, of.document_bytes);
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
        metrics
            .circuits(circuits.map(|(name, of)| (name.as_str(), of.host.as_str(), of.is_open())));
        metrics
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
            let removed = || {
                self.0.shared.stored_changes.note_any();
                self.0.shared.catalog.outdate();
            };
            eviction::keep_within(&near, memory, max_size, max_age, removed).await;
        }
    }

    /// Tells other mirrors that share the store what upstream has confirmed, and listens to them, for ever; ends at once where nobody can.
    pub async fn hear_siblings(&self) {
        self.0.index.hear_siblings().await;
    }

    /// Looks again and again, for ever, whether a store that couldn't be read can be.
    pub async fn watch_store(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.0.shared.store.look_again().await;
        }
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
}
