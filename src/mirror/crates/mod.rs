//! .crate files: from memory, from the store, or from upstream by one shared download, and never without their checksum.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    CrateBody, Found, IndexEntry, Inner, Mirror, Registry, WholeCrate,
    download::Begun,
    fetch::Fetch,
    memory::Resident,
    not_here::{not_here, unreadable},
};
use crate::{
    allowance::Lease,
    domain::{CrateId, CrateKey, IndexKey, Outcome, RegistryName},
    error::{Error, Kind, Result},
    store::StoredCrate,
    upstream::{ANSWER_WITHIN, Upstream},
};

/// How much longer than for upstream to wait before the store is to blame.
const GRACE: Duration = Duration::from_millis(500);

/// How long the store may take over a .crate file before upstream is asked for it: a third of what a client waits.
const STORE_WITHIN: Duration = Duration::from_secs(ANSWER_WITHIN.as_secs() / 3);

/// What became of looking into the store.
#[derive(Clone)]
pub(super) enum Loaded {
    Whole(Arc<WholeCrate>),
    /// There, but too large to be shared in memory: every client reads it for itself.
    Large,
    Missing,
}

impl Mirror {
    /// The file of exactly this crate and version.
    ///
    /// The checksum comes from the index file, whatever its age, as long as the file is here: content under a checksum doesn't go stale. Only
    /// when upstream has to be asked anyway does the index have to be current first.
    ///
    /// # Errors
    /// [`Kind::Absent`] when there is no such crate or version, with the canonical name if there is one; one of the upstream kinds when upstream
    /// fails and the file isn't here; [`Kind::Offline`] and [`Kind::Corrupt`] when there is no upstream to ask.
    pub async fn crate_file(
        &self,
        registry: &Registry,
        id: &CrateId,
        now: SystemTime,
    ) -> Result<Found<CrateBody>> {
        if let Some(found) = self.crate_at_once(registry, id) {
            return Ok(found);
        }
        let index = IndexKey::new(registry.name(), id.name);
        let deadline = Instant::now() + ANSWER_WITHIN;
        let found = async {
            match registry {
                Registry::Online(upstream) => {
                    self.crate_beyond_memory(upstream, id, now, deadline).await
                }
                Registry::Offline(_) => self.0.offline_crate(&index, id, now).await,
            }
        };
        timeout_at(deadline + GRACE, found)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    Kind::Overloaded,
                    format!("{id} couldn't be read from this mirror's store in time; try again"),
                ))
            })
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub fn crate_at_once(&self, registry: &Registry, id: &CrateId) -> Option<Found<CrateBody>> {
        let index = IndexKey::new(registry.name(), id.name);
        let Resident::Index(entry) = self.0.memory.index(&index)? else {
            return None;
        };
        let key = key_in(&entry, index.registry, id)?;
        match self.0.memory.crate_file(&key)? {
            Resident::Crate(whole) => Some(found(CrateBody::Whole(whole), Outcome::Hit)),
            Resident::Absent(_) | Resident::Index(_) => None,
        }
    }

    async fn crate_beyond_memory(
        &self,
        upstream: &Arc<Upstream>,
        id: &CrateId,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Found<CrateBody>> {
        let index = IndexKey::new(upstream.registry(), id.name);
        let known = match self.0.known_index(&index, now).await {
            // Even if it is gone from upstream's index: what was served once is served again.
            Ok(Some(Resident::Index(entry))) => Some(entry),
            // A store that can't be read is one that has nothing.
            Ok(Some(Resident::Absent(_) | Resident::Crate(_)) | None) | Err(_) => None,
        };
        let old_key = known
            .as_deref()
            .and_then(|entry| key_in(entry, index.registry, id));
        if let Some(key) = old_key
            && let Some(body) = self.0.crate_if_stored(&key, now).await
        {
            return Ok(found(body, Outcome::Hit));
        }
        // A stale copy may do, but not for what was published since.
        let has_it = |entry: &IndexEntry| key_in(entry, index.registry, id).is_some();
        let refreshed = self.refreshed(upstream, index, now, deadline, has_it).await;
        let listed = refreshed.map(|found| (key_in(&found.value, index.registry, id), found));
        let key = match listed {
            Ok((Some(key), _)) => key,
            Ok((None, listing)) => {
                let entry = listing.value;
                let stored = self.0.withdrawn_crate(&index, id, Some(&entry), now).await;
                return stored.ok_or_else(|| match listing.outcome {
                    Outcome::Stale => not_known_yet(upstream, id),
                    Outcome::Hit
                    | Outcome::Revalidated
                    | Outcome::Miss
                    | Outcome::Absent
                    | Outcome::Offline => unknown_version(&entry, index.registry, id),
                });
            }
            Err(e) => {
                let known = known.as_deref();
                return match (
                    self.0.withdrawn_crate(&index, id, known, now).await,
                    e.kind(),
                ) {
                    (Some(stored), _) => Ok(stored),
                    (None, Kind::Absent) => {
                        Err(self.unknown_crate(upstream, id, now, deadline).await)
                    }
                    (None, _) => Err(e),
                };
            }
        };
        if old_key != Some(key)
            && let Some(body) = self.0.crate_if_stored(&key, now).await
        {
            return Ok(found(body, Outcome::Hit));
        }
        match self.download(upstream, key, now, deadline).await {
            Ok(found) => Ok(found),
            // Is it here, and the store doesn't give it? A file that it was stuck with a moment ago it isn't asked for again.
            Err(e) => match timeout(STORE_WITHIN, self.0.stored_crate(&key, now)).await {
                Ok(Err(store)) if store.kind() == Kind::Store => {
                    Err(unreadable(&key.id.to_string(), &e, &store))
                }
                Ok(_) | Err(_) => Err(e),
            },
        }
    }

    /// Joins or starts the download of `key` and waits until its first bytes may be sent.
    async fn download(
        &self,
        upstream: &Arc<Upstream>,
        key: CrateKey,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Found<CrateBody>> {
        loop {
            let mut reader = self.0.downloads.join(key, |download| {
                let fetch = Fetch {
                    inner: self.0.clone(),
                    upstream: upstream.clone(),
                    key,
                    download,
                };
                self.0.detach(fetch.run(now));
            });
            let begun = timeout_at(deadline, reader.begun()).await;
            let begun = begun.map_err(|_| {
                Error::upstream_timeout(format!(
                    "{} didn't arrive from {} in time; try again, it may be here by then",
                    key.id, key.registry
                ))
            })?;
            match begun.map_err(|e| not_here(&key.id.to_string(), &e))? {
                Begun::Arriving(length) => {
                    return Ok(found(CrateBody::Arriving(reader, length), Outcome::Miss));
                }
                Begun::Stored => {
                    if let Some(body) = self.0.crate_if_stored(&key, now).await {
                        return Ok(found(body, Outcome::Hit));
                    }
                    // It was there a moment ago, and is evicted or found to be corrupt by now.
                }
            }
        }
    }

    /// What to say to who asks for a crate that isn't in the index under that name. Cargo asks for names as the index has them; what comes here
    /// was written by hand or generated.
    async fn unknown_crate(
        &self,
        upstream: &Arc<Upstream>,
        id: &CrateId,
        now: SystemTime,
        deadline: Instant,
    ) -> Error {
        let registry = upstream.registry();
        for variant in id.name.separator_variants() {
            let key = IndexKey::new(registry, variant);
            if let Ok(found) = self.refreshed(upstream, key, now, deadline, |_| true).await {
                let canonical = found.value.file().name();
                return Error::absent(format!(
                    "{registry} has no crate {}; its name is {canonical}",
                    id.name
                ));
            }
        }
        Error::absent(format!("{registry} has no crate {}", id.name))
    }
}

/// The key of the file that the index names for `id`.
pub(super) fn key_in(entry: &IndexEntry, registry: RegistryName, id: &CrateId) -> Option<CrateKey> {
    let version = entry.file().find(id)?;
    Some(CrateKey {
        registry,
        id: *id,
        sha256: version.sha256,
    })
}

/// A copy of the index that is due for a check can't know what was published since; "absent" would be final for cargo.
fn not_known_yet(upstream: &Upstream, id: &CrateId) -> Error {
    Error::upstream_unavailable(format!(
        "the copy of the index here has no {id}, and {} didn't say in time whether it has it now; try again",
        upstream.registry()
    ))
}

fn unknown_version(entry: &IndexEntry, registry: RegistryName, id: &CrateId) -> Error {
    let canonical = entry.file().name();
    Error::absent(match canonical == id.name {
        true => format!("{registry} has no version {} of {canonical}", id.version),
        false => format!(
            "{registry} has no crate {}; its name is {canonical}",
            id.name
        ),
    })
}

pub(super) fn found(value: CrateBody, outcome: Outcome) -> Found<CrateBody> {
    Found { value, outcome }
}

impl Inner {
    /// What the store has under `key`, read once for all who ask.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, [`Kind::Corrupt`] when what it has fails its check.
    pub(super) async fn stored_crate(
        self: &Arc<Self>,
        key: &CrateKey,
        now: SystemTime,
    ) -> Result<Option<CrateBody>> {
        let load = self.loads.join(*key, &self.tasks, |_| {
            let (inner, key) = (self.clone(), *key);
            async move { inner.load_crate(&key, now).await }
        });
        Ok(match load.result.await? {
            Loaded::Whole(whole) => Some(CrateBody::Whole(whole)),
            Loaded::Missing => None,
            Loaded::Large => {
                let stored = self.store.load_crate(key, now, |_| None::<Lease>).await?;
                stored.map(|stored| match stored {
                    StoredCrate::Whole(bytes, _) => {
                        CrateBody::Whole(WholeCrate::new(key, bytes.into()))
                    }
                    StoredCrate::Large(reader) => CrateBody::Stored(reader),
                })
            }
        })
    }

    /// The same when upstream can still be asked: a store that can't be read is one that has nothing.
    pub(super) async fn crate_if_stored(
        self: &Arc<Self>,
        key: &CrateKey,
        now: SystemTime,
    ) -> Option<CrateBody> {
        let stored = timeout(STORE_WITHIN, self.stored_crate(key, now)).await;
        let stored = stored.unwrap_or_else(|_| Err(Error::store("it took too long")));
        stored.unwrap_or_else(|e| {
            tracing::debug!(id = %key.id, "not loaded: {e}");
            None
        })
    }

    /// Looks into the store; what is there and not too large goes into memory.
    async fn load_crate(self: Arc<Self>, key: &CrateKey, now: SystemTime) -> Result<Loaded> {
        if let Some(Resident::Crate(whole)) = self.memory.crate_file(key) {
            return Ok(Loaded::Whole(whole));
        }
        let (allowance, largest) = (self.allowance.clone(), self.memory.largest());
        let admit = move |size| match size <= largest {
            // For a moment it is there twice: as it was read, and in pages of its own.
            true => allowance.try_take(2 * size),
            false => None,
        };
        Ok(match self.store.load_crate(key, now, admit).await? {
            None => Loaded::Missing,
            Some(StoredCrate::Large(_)) => Loaded::Large,
            Some(StoredCrate::Whole(bytes, mut lease)) => {
                let content = self.pages.content([&bytes[..]].into_iter());
                let content = content.unwrap_or_else(|| bytes.into());
                lease.shrink_to(content.bytes().len() as u64);
                let whole = WholeCrate::new(key, content.map(|bytes| lease.hold(bytes)));
                self.memory.keep_crate(key, Resident::Crate(whole.clone()));
                Loaded::Whole(whole)
            }
        })
    }
}
