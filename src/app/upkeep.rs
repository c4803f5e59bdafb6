//! [`Upkeep`]: what goes on beside serving.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::{config::Config, mirror::Mirror, prefetch};

/// What goes on beside serving: the store is kept within its limits, and filled with what is to be in it.
pub(super) struct Upkeep {
    offline: bool,
    max_size: u64,
    max_age: Option<Duration>,
    warm: prefetch::Warm,
    git_index: prefetch::FreshIndex,
}

impl Upkeep {
    /// As the settings say.
    pub(super) fn of(config: &Config) -> Self {
        let mut settings = config.prefetch.clone();
        let mut git_index = config.git_index.clone();
        if config.offline.enabled {
            settings.lockfiles.clear();
            git_index.crates.clear();
            settings.toolchains.clear();
        }
        Self {
            offline: config.offline.enabled,
            max_size: config.store.max_size.get(),
            max_age: config.store.max_age.map(|age| *age),
            warm: prefetch::Warm {
                settings,
                origins: config.origins().clone(),
            },
            git_index: prefetch::FreshIndex {
                settings: git_index,
                origins: config.origins().clone(),
            },
        }
    }

    /// Begins, until `stop` is cancelled.
    pub(super) fn start(self, mirror: &Mirror, stop: &CancellationToken) {
        let Self {
            offline,
            max_size,
            max_age,
            warm,
            git_index,
        } = self;
        let keeper = mirror.clone();
        let kept = async move { keeper.keep_within(max_size, max_age).await };
        // Offline nothing can be fetched again, so nothing is removed unless somebody says so (`crate-mirror evict`). That holds for a folder in front of a
        // bucket, too: the bucket may not have what is in it.
        if !offline {
            tokio::spawn(stop.clone().run_until_cancelled_owned(kept));
        }
        let known = mirror.clone();
        let catalog = async move { known.keep_catalog(SystemTime::now).await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(catalog));
        let listener = mirror.clone();
        let heard = async move { listener.hear_siblings().await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(heard));
        let watcher = mirror.clone();
        let watched = async move { watcher.watch_store().await };
        tokio::spawn(stop.clone().run_until_cancelled_owned(watched));
        let warmed = prefetch::keep_warm(mirror.clone(), warm, SystemTime::now);
        tokio::spawn(stop.clone().run_until_cancelled_owned(warmed));
        let fresh = prefetch::keep_fresh(mirror.clone(), git_index, SystemTime::now);
        tokio::spawn(stop.clone().run_until_cancelled_owned(fresh));
    }
}
