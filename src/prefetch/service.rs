//! The service: what the operator's Cargo.lock files need, and the toolchains that are named, is kept in the store although nobody asks.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use super::{
    list::{List, lockfile},
    prefetcher::Prefetcher,
    readiness::CheckDepth,
    report::Report,
    toolchains::{ToolchainReport, ToolchainWish, this_machine},
};
use crate::{
    config::{Origins, WarmToolchain, sections},
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

/// Fetches what the Cargo.lock files and the toolchains need and isn't here, at once and then again and again. A file that can't be read is looked at the next time. Never
/// returns; does nothing if there are no files.
pub async fn keep_warm(mirror: Mirror, warm: Warm, clock: fn() -> SystemTime) {
    if warm.settings.lockfiles.is_empty() && warm.settings.toolchains.is_empty() {
        return;
    }
    loop {
        match once(&mirror, &warm, clock).await {
            Ok(report) => tell(&report, "looked after what the lockfiles need"),
            Err(e) => tracing::error!("the lockfiles' packages weren't looked after: {e}"),
        }
        match toolchains(&mirror, &warm, clock).await {
            Ok(report) => tell_toolchains(&report),
            Err(e) => tracing::error!("the toolchains weren't looked after: {e}"),
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

async fn toolchains(
    mirror: &Mirror,
    warm: &Warm,
    clock: fn() -> SystemTime,
) -> Result<ToolchainReport> {
    let toolchains = &warm.settings.toolchains;
    if toolchains.is_empty() {
        return Ok(ToolchainReport::default());
    }
    let wish = |WarmToolchain(pinned): &WarmToolchain| {
        let by: Arc<str> = "prefetch.toolchains".into();
        (by, ToolchainWish::Toolchain(pinned.clone()))
    };
    let wishes = toolchains.iter().map(wish).collect();
    let prefetcher = Prefetcher::new(mirror.clone(), AT_ONCE, CheckDepth::Glance, clock);
    prefetcher.toolchains(wishes, &this_machine()?).await
}

fn tell_toolchains(report: &ToolchainReport) {
    for missing in &report.missing {
        tracing::warn!(what = missing.what, "not prefetched: {}", missing.why);
    }
    if !report.kept.is_empty() {
        tracing::info!(
            fetched = report.fetched,
            here = report.here,
            missing = report.missing.len(),
            "looked after the toolchains"
        );
    }
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
