//! Readiness: can Cargo.lock files be built from a store alone? Nothing here knows of any upstream.

use std::time::SystemTime;

use super::prefetch::Needed;
use crate::{
    domain::{CrateKey, IndexFile, IndexKey, Key},
    error::{Kind, Result},
    store::{Store, Stored, Verdict},
};

/// How closely .crate files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Whether they are there and not empty.
    Glance,
    /// Whether they hash to what they must.
    Whole,
}

/// Why a package can't be had from `store` without any network; `None` when it can.
///
/// # Errors
/// [`Kind::Store`] when the storage can't be read.
pub async fn lack(
    store: &Store,
    needed: &Needed,
    look: Look,
    now: SystemTime,
) -> Result<Option<String>> {
    let Needed { registry, id, .. } = needed;
    let index = IndexKey::new(*registry, id.name);
    let record = match store.load_index(&index, now).await {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(Some("its index file isn't here".into())),
        Err(e) if e.kind() == Kind::Corrupt => return Ok(Some(e.to_string())),
        Err(e) => return Err(e),
    };
    if record.gone {
        let why = format!("{registry} had no such crate any more when it was last asked");
        return Ok(Some(why));
    }
    let file = match IndexFile::parse(index.path, record.body) {
        Ok(file) => file,
        Err(e) => return Ok(Some(e.to_string())),
    };
    let Some(listed) = file.find(id) else {
        return Ok(Some("the index file here doesn't list it".into()));
    };
    let sha256 = listed.sha256;
    if let Some(wanted) = needed.sha256
        && wanted != sha256
    {
        let why = format!("its checksum must be {wanted}, but the index file here says {sha256}");
        return Ok(Some(why));
    }
    let key = CrateKey {
        registry: *registry,
        id: *id,
        sha256,
    };
    lack_of_file(store, key, look, now).await
}

async fn lack_of_file(
    store: &Store,
    key: CrateKey,
    look: Look,
    now: SystemTime,
) -> Result<Option<String>> {
    let (key, path) = (Key::Crate(key), key.path());
    let size = match store.size_of(&key).await? {
        None => return Ok(Some("its .crate file isn't here".into())),
        Some(0) => return Ok(Some("its .crate file is empty".into())),
        Some(size) => size,
    };
    if look == Look::Glance {
        return Ok(None);
    }
    let stored = Stored {
        key,
        path,
        size,
        used: now,
    };
    Ok(match store.verify(&stored).await? {
        Verdict::Good => None,
        Verdict::Bad(why) => Some(format!("its .crate file is bad: {why}")),
        Verdict::Gone => Some("its .crate file isn't here".into()),
    })
}
