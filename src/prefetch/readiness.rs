//! Readiness: can Cargo.lock files be built from a store alone? Nothing here knows of any upstream.

use std::{sync::Arc, time::SystemTime};

use tokio::task::spawn_blocking;

use super::missing::Missing;
use crate::{
    domain::{CrateKey, History, IndexFile, IndexKey, Key, Selected},
    error::{Error, Kind, Result},
    policy::{Gate, Known},
    store::{Store, Verification},
};

/// What is stored of a crate's index.
struct StoredIndexFile {
    file: IndexFile,
    history: Arc<History>,
    modified_at: SystemTime,
}

/// How closely .crate files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckDepth {
    /// Whether they are there and not empty.
    Glance,
    /// Whether they hash to what they must.
    Whole,
}

/// What of `selected` can't be had from `store` without any network by the rules of `gate`, in its order. The store is left as it is.
///
/// # Errors
/// [`Kind::Store`] when the storage can't be read.
pub async fn lacking(
    store: &Store,
    selected: &[Selected],
    depth: CheckDepth,
    gate: &Gate,
) -> Result<Vec<Missing>> {
    let mut by_crate: Vec<_> = selected
        .iter()
        .map(|selected| (selected.index(), selected))
        .enumerate()
        .collect();
    // Each index file is read once, and one at a time is in memory.
    by_crate.sort_by_cached_key(|(_, (index, _))| index.path());
    let (mut missing, mut known) = (Vec::new(), None);
    for (at, (index, selected)) in by_crate {
        let same = known.take().filter(|(of, _)| *of == index);
        let file = match same {
            Some((_, file)) => file,
            None => index_file(store, &index).await?,
        };
        let why = match &file {
            Ok(file) => lack(store, file, selected, depth, gate).await?,
            Err(why) => Some(why.clone()),
        };
        known = Some((index, file));
        let (what, by) = (selected.label(), selected.by.clone());
        missing.extend(why.map(|why| (at, Missing { what, why, by })));
    }
    missing.sort_by_key(|(at, _)| *at);
    Ok(missing.into_iter().map(|(_, missing)| missing).collect())
}

/// The index file under `index`, or why there is none to be used.
async fn index_file(
    store: &Store,
    index: &IndexKey,
) -> Result<Result<Arc<StoredIndexFile>, String>> {
    let record = match store.peek_record(index).await {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(Err("its index file isn't here".into())),
        Err(e) if e.kind() == Kind::Corrupt => return Ok(Err(e.to_string())),
        Err(e) => return Err(e),
    };
    if record.gone {
        return Ok(Err(format!(
            "{} had no such crate any more when it was last asked",
            index.registry
        )));
    }
    let file = IndexFile::parse(index.path, record.body).map_err(|e| e.to_string());
    Ok(file.map(|file| {
        Arc::new(StoredIndexFile {
            file,
            history: record.history,
            modified_at: record.modified_at,
        })
    }))
}

/// Why a package that `file` should list can't be had; `None` when it can.
async fn lack(
    store: &Store,
    stored: &Arc<StoredIndexFile>,
    selected: &Selected,
    depth: CheckDepth,
    gate: &Gate,
) -> Result<Option<String>> {
    let Selected { registry, id, .. } = selected;
    let Some(listed) = stored.file.find(id) else {
        return Ok(Some("the index file here doesn't list it".into()));
    };
    let sha256 = listed.sha256;
    if let Some(locked) = selected.sha256
        && locked != sha256
    {
        let why = format!("its checksum must be {locked}, but the index file here says {sha256}");
        return Ok(Some(why));
    }
    let key = CrateKey {
        registry: *registry,
        id: *id,
        sha256,
    };
    match lack_of_file(store, key, depth).await? {
        Some(why) => Ok(Some(why)),
        None => denial(store, stored, key, gate).await,
    }
}

/// Why a file that is here wouldn't be handed out.
async fn denial(
    store: &Store,
    stored: &Arc<StoredIndexFile>,
    key: CrateKey,
    gate: &Gate,
) -> Result<Option<String>> {
    let (store, stored, gate) = (store.clone(), stored.clone(), gate.clone());
    // Where licences matter, the file is unpacked.
    let asked = spawn_blocking(move || {
        let known = Known {
            file: &stored.file,
            history: &stored.history,
            modified_at: stored.modified_at,
        };
        let open = || {
            let opened = store.open_object(&Key::from(key))?;
            Ok::<_, Error>(opened.map(|(file, _)| file))
        };
        gate.denial(&key, known, open)
    });
    asked
        .await
        .map_err(|e| Error::ended_early("asking the rules", e))?
}

async fn lack_of_file(store: &Store, key: CrateKey, depth: CheckDepth) -> Result<Option<String>> {
    let key = Key::from(key);
    match store.size_of(&key).await? {
        None => return Ok(Some("its .crate file isn't here".into())),
        Some(0) => return Ok(Some("its .crate file is empty".into())),
        Some(_) => {}
    }
    if depth == CheckDepth::Glance {
        return Ok(None);
    }
    Ok(match store.verify(&key).await? {
        Verification::Good => None,
        Verification::Bad(flaw) => Some(format!("its .crate file is bad: {}", flaw.why)),
        Verification::Unread(why) => Some(format!("its .crate file can't be read: {why}")),
        Verification::Odd(odd) => Some(format!("its .crate file is {odd} and not a file")),
        Verification::Gone => Some("its .crate file isn't here".into()),
    })
}
