//! [`FreshIndex`]: index files that are kept fresh although nobody asks upstream for them: who reads the git index doesn't.

use std::{collections::BTreeMap, io, time::SystemTime};

use super::{
    list::List, prefetcher::Prefetcher, readiness::CheckDepth, report::Report, service::tell,
};
use crate::{
    config::{Origins, sections},
    domain::IndexKey,
    error::{Error, Result},
    mirror::Mirror,
};

/// So many are asked for at once: few, because clients wait for the same permits.
const AT_ONCE: usize = 4;

/// Which index files.
pub struct FreshIndex {
    /// In which files they are named, and how often upstream is asked.
    pub settings: sections::GitIndexSettings,
    /// Which registries these mean.
    pub origins: Origins,
}

/// Has upstream asked for the named crates, at once and then again and again. A file that can't be read is looked at the next time. Never returns; does nothing if
/// there are no files.
pub async fn keep_fresh(mirror: Mirror, fresh: FreshIndex, clock: fn() -> SystemTime) {
    if fresh.settings.crates.is_empty() {
        return;
    }
    loop {
        match once(&mirror, &fresh, clock).await {
            Ok(report) => tell(&report, "looked after what the git index always has"),
            Err(e) => tracing::error!("the git index's crates weren't looked after: {e}"),
        }
        tokio::time::sleep(*fresh.settings.every).await;
    }
}

async fn once(mirror: &Mirror, fresh: &FreshIndex, clock: fn() -> SystemTime) -> Result<Report> {
    let files = fresh.settings.crates.iter();
    let files: Vec<_> = files.map(|file| file.0.display().to_string()).collect();
    let lists = tokio::task::spawn_blocking(move || readable(&files))
        .await
        .map_err(|e| Error::ended_early("reading lists", e))?;
    let mut keys = BTreeMap::new();
    let mut strange = Vec::new();
    for list in lists {
        let (selected, aside) = list.selected(&fresh.origins);
        let locked = selected.iter().map(|selected| selected.index());
        let named = list.requests.iter();
        let named = named.map(|request| IndexKey::new(request.registry, request.name));
        keys.extend(locked.chain(named).map(|key| (key.path(), key)));
        strange.extend(aside.strange);
    }
    let prefetcher = Prefetcher::new(mirror.clone(), AT_ONCE, CheckDepth::Glance, clock);
    let mut report = prefetcher.refresh(keys.into_values().collect()).await?;
    report.missing.extend(strange);
    Ok(report)
}

/// Those of the files that can be read; the others are complained of.
fn readable(files: &[String]) -> Vec<List> {
    let read = |file: &String| match List::read(std::slice::from_ref(file), io::empty()) {
        Ok(list) => Some(list),
        Err(e) => {
            tracing::warn!("`git_index.crates`: {e}; it is looked at again later");
            None
        }
    };
    files.iter().filter_map(read).collect()
}
