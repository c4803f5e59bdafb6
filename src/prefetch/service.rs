//! The service: what the operator's Cargo.lock files need is kept in the store although nobody asks.

use std::{path::PathBuf, time::SystemTime};

use super::{
    list::{List, lockfile},
    prefetcher::Prefetcher,
    readiness::CheckDepth,
    report::Report,
};
use crate::{
    config::{Origins, sections},
    error::{Error, Result},
    mirror::Mirror,
};

/// So many things are asked for at once: few, because clients wait for the same permits.
const AT_ONCE: usize = 4;

/// What to keep.
pub struct Warm {
    /// Which files, and how often they are looked at.
    pub settings: sections::PrefetchSettings,
    /// Which registries they mean.
    pub origins: Origins,
}

/// Fetches what the Cargo.lock files need and isn't here, at once and then again and again. A file that can't be read is looked at the next time. Never
/// returns; does nothing if there are no files.
pub async fn keep_warm(mirror: Mirror, warm: Warm, clock: fn() -> SystemTime) {
    if warm.settings.lockfiles.is_empty() {
        return;
    }
    loop {
        match once(&mirror, &warm, clock).await {
            Ok(report) => tell(&report, "looked after what the lockfiles need"),
            Err(e) => tracing::error!("the lockfiles' packages weren't looked after: {e}"),
        }
        tokio::time::sleep(*warm.settings.every).await;
    }
}

async fn once(mirror: &Mirror, warm: &Warm, clock: fn() -> SystemTime) -> Result<Report> {
    let paths: Vec<PathBuf> = warm
        .settings
        .lockfiles
        .iter()
        .map(|p| p.0.clone())
        .collect();
    let list = tokio::task::spawn_blocking(move || readable(paths))
        .await
        .map_err(|e| Error::ended_early("reading lockfiles", e))?;
    let (selected, aside) = list.selected(&warm.origins);
    let prefetcher = Prefetcher::new(mirror.clone(), AT_ONCE, CheckDepth::Glance, clock);
    let mut report = prefetcher.fetch(selected).await?;
    report.missing.extend(aside.strange);
    Ok(report)
}

/// Those of the files that can be read; the others are complained of.
fn readable(paths: Vec<PathBuf>) -> List {
    let mut list = List::default();
    for path in paths {
        match lockfile(&path) {
            Ok(read) => list
                .lockfiles
                .push((path.display().to_string().into(), read)),
            Err(e) => tracing::warn!("`prefetch.lockfiles`: {e}; it is looked at again later"),
        }
    }
    list
}

pub(super) fn tell(report: &Report, done: &str) {
    for missing in &report.missing {
        tracing::warn!(package = missing.what, "not prefetched: {}", missing.why);
    }
    tracing::info!(
        fetched = report.fetched,
        here = report.here,
        missing = report.missing.len(),
        "{done}"
    );
}
