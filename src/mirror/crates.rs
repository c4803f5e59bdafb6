//! .crate files: from memory, from the store, or from upstream by one shared download, and never without their checksum.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{
    Found, IndexEntry, Inner, Mirror,
    download::{Download, Reader},
    memory::Resident,
};
use crate::{
    allowance::Lease,
    domain::{CrateId, CrateKey, Hasher, IndexKey, Outcome},
    error::{Error, Kind, Result},
    store::{CrateReader, Spool, StoredCrate},
    upstream::{ANSWER_WITHIN, Upstream},
};

/// No .crate file is larger; crates.io's largest is near 300 MB.
const MAX_CRATE: u64 = 2 << 30;

/// A .crate file, whole or on its way.
pub enum CrateBody {
    /// All of it, checked.
    Whole(Bytes),
    /// From the store, too large for memory; checked on the way.
    Stored(Box<CrateReader>),
    /// From upstream; checked on the way.
    Arriving(Reader, Option<u64>),
}

impl CrateBody {
    /// The file's size in bytes, if it is known yet.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Stored(reader) => Some(reader.length()),
            Self::Arriving(_, length) => *length,
        }
    }
}

/// What became of looking into the store.
#[derive(Clone)]
pub(super) enum Loaded {
    Whole(Bytes),
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
    /// fails and the file isn't here.
    pub async fn crate_file(
        &self,
        upstream: &Arc<Upstream>,
        id: &CrateId,
        now: SystemTime,
    ) -> Result<Found<CrateBody>> {
        let index = IndexKey::new(upstream.registry(), id.name);
        if let Some(Resident::Index(entry)) = self.0.memory.index(&index).await
            && let Some(key) = key_in(&entry, upstream, id)
            && let Some(Resident::Crate(bytes)) = self.0.memory.crate_file(&key).await
        {
            return Ok(found(CrateBody::Whole(bytes), Outcome::Hit));
        }
        let deadline = Instant::now() + ANSWER_WITHIN;
        self.crate_beyond_memory(upstream, id, now, deadline).await
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
            Some(Resident::Index(entry)) => Some(entry),
            // Gone from upstream's index, but what was served once is served again.
            Some(_) => self.0.stored_index(&index, now).await,
            None => None,
        };
        let old_key = known.and_then(|entry| key_in(&entry, upstream, id));
        if let Some(key) = old_key
            && let Some(body) = self.stored_crate(&key, now).await
        {
            return Ok(found(body, Outcome::Hit));
        }
        let entry = match self.refreshed(upstream, index, now, deadline).await {
            Ok(entry) => entry.value,
            Err(e) if e.kind() == Kind::Absent => {
                return Err(self.unknown_crate(upstream, id, now, deadline).await);
            }
            Err(e) => return Err(e),
        };
        let Some(key) = key_in(&entry, upstream, id) else {
            return Err(unknown_version(&entry, upstream, id));
        };
        if old_key != Some(key)
            && let Some(body) = self.stored_crate(&key, now).await
        {
            return Ok(found(body, Outcome::Hit));
        }
        self.download(upstream, key, now, deadline).await
    }

    /// What the store has under `key`, read once for all who ask. A store that can't be read is one that has nothing.
    async fn stored_crate(&self, key: &CrateKey, now: SystemTime) -> Option<CrateBody> {
        let load = self.0.loads.join(*key, &self.0.tasks, || {
            let (inner, key) = (self.0.clone(), *key);
            async move { inner.load_crate(&key, now).await }
        });
        match load.result.await {
            Ok(Loaded::Whole(bytes)) => Some(CrateBody::Whole(bytes)),
            Ok(Loaded::Missing) => None,
            Ok(Loaded::Large) => {
                let stored = self.0.store.load_crate(key, now, |_| None::<Lease>).await;
                match stored.ok().flatten()? {
                    StoredCrate::Whole(bytes, _) => Some(CrateBody::Whole(bytes)),
                    StoredCrate::Large(reader) => Some(CrateBody::Stored(reader)),
                }
            }
            Err(e) => {
                tracing::warn!("{e}");
                None
            }
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
        let length = begun.unwrap_or_else(|_| {
            Err(Error::upstream_timeout(format!(
                "{} didn't arrive from {} in time; try again, it may be here by then",
                key.id, key.registry
            )))
        })?;
        Ok(found(CrateBody::Arriving(reader, length), Outcome::Miss))
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
            if let Ok(found) = self.refreshed(upstream, key, now, deadline).await {
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
fn key_in(entry: &IndexEntry, upstream: &Upstream, id: &CrateId) -> Option<CrateKey> {
    let version = entry.file().find(id)?;
    Some(CrateKey {
        registry: upstream.registry(),
        id: *id,
        sha256: version.sha256,
    })
}

fn unknown_version(entry: &IndexEntry, upstream: &Upstream, id: &CrateId) -> Error {
    let (registry, canonical) = (upstream.registry(), entry.file().name());
    Error::absent(match canonical == id.name {
        true => format!("{registry} has no version {} of {canonical}", id.version),
        false => format!(
            "{registry} has no crate {}; its name is {canonical}",
            id.name
        ),
    })
}

fn found(value: CrateBody, outcome: Outcome) -> Found<CrateBody> {
    Found { value, outcome }
}

impl Inner {
    /// Looks into the store; what is there and not too large goes into memory.
    async fn load_crate(self: Arc<Self>, key: &CrateKey, now: SystemTime) -> Result<Loaded> {
        if let Some(Resident::Crate(bytes)) = self.memory.crate_file(key).await {
            return Ok(Loaded::Whole(bytes));
        }
        let (allowance, largest) = (self.allowance.clone(), self.memory.largest());
        let admit = move |size| match size <= largest {
            true => allowance.try_take(size),
            false => None,
        };
        Ok(match self.store.load_crate(key, now, admit).await? {
            None => Loaded::Missing,
            Some(StoredCrate::Large(_)) => Loaded::Large,
            Some(StoredCrate::Whole(bytes, lease)) => {
                let bytes = lease.hold(bytes);
                self.memory
                    .keep_crate(key, Resident::Crate(bytes.clone()))
                    .await;
                Loaded::Whole(bytes)
            }
        })
    }
}

/// The task that brings one .crate file from upstream.
struct Fetch {
    inner: Arc<Inner>,
    upstream: Arc<Upstream>,
    key: CrateKey,
    download: Arc<Download>,
}

/// Where a download's bytes go.
enum Landing {
    /// Into memory, under a lease for twice the size: chunks, and the one piece they become.
    Memory(Option<Lease>),
    /// Into a file.
    Spool(Spool),
}

impl Fetch {
    async fn run(self, now: SystemTime) {
        // Also when this panics: nobody may wait for a download that no task works on.
        let _ended = Ended(&self);
        if let Err(error) = self.fetch(now).await {
            if error.kind() == Kind::Absent {
                self.inner
                    .memory
                    .keep_crate(&self.key, Resident::Absent(now))
                    .await;
            }
            tracing::warn!(id = %self.key.id, "a download failed: {error}");
            self.inner.downloads.forget(&self.key);
            self.download.fail(error);
        }
    }

    async fn fetch(&self, now: SystemTime) -> Result<()> {
        // Who looked before the last download landed may have asked after.
        match self.inner.memory.crate_file(&self.key).await {
            Some(Resident::Crate(bytes)) => {
                let length = bytes.len() as u64;
                self.download.push(length, bytes);
                self.download.land(length);
                return Ok(());
            }
            Some(Resident::Absent(since)) if self.inner.still_absent(since, now) => {
                return Err(Error::absent(format!(
                    "{} has no file for {}, although its index lists this version",
                    self.key.registry, self.key.id
                )));
            }
            Some(Resident::Absent(_) | Resident::Index(_)) | None => {}
        }
        let (landing, length) = self.receive().await?;
        self.land(landing, length).await;
        Ok(())
    }

    /// Receives the file; all but its last chunk is readable by then, and the checksum of the whole holds.
    async fn receive(&self) -> Result<(Landing, u64)> {
        let mut attempts = self.upstream.attempts();
        let mut arrived = Arrived::default();
        loop {
            let before = arrived.length;
            let Err(error) = self.receive_rest(&mut arrived).await else {
                break;
            };
            if arrived.length > before {
                // A long download over a bad line may break off often, as long as it gets on.
                attempts = self.upstream.attempts();
            }
            if !attempts.again(&error).await {
                return Err(error);
            }
        }
        let actual = arrived.hasher.finish();
        if actual != self.key.sha256 {
            return Err(Error::upstream_fault(format!(
                "{} sent a file for {} whose checksum is {actual}, not {} as its index says; it is not passed on",
                self.key.registry, self.key.id, self.key.sha256
            )));
        }
        Ok((
            arrived.landing.unwrap_or(Landing::Memory(None)),
            arrived.length,
        ))
    }

    /// One attempt: what hasn't arrived yet, until upstream says that this is all.
    async fn receive_rest(&self, arrived: &mut Arrived) -> Result<()> {
        let Self { key, download, .. } = self;
        let mut stream = self
            .upstream
            .fetch_crate(&key.id, &key.sha256, arrived.length)
            .await?;
        if arrived.landing.is_none() {
            arrived.landing = Some(self.landing(stream.length()).await?);
            download.begin(stream.length());
        }
        while let Some(chunk) = self.upstream.next(&mut stream).await? {
            let before = arrived.length;
            arrived.length += chunk.len() as u64;
            if arrived.length > MAX_CRATE {
                return Err(Error::upstream_fault(format!(
                    "{} is larger than {MAX_CRATE} bytes",
                    key.id
                )));
            }
            arrived.hasher.update(&chunk);
            arrived.landing = match arrived.landing.take() {
                Some(Landing::Spool(spool)) => Some(Landing::Spool(spool.append(chunk).await?)),
                memory => {
                    download.push(arrived.length, chunk);
                    memory
                }
            };
            // All but this chunk: it may turn out to be the last one.
            download.release(before);
        }
        Ok(())
    }

    /// Memory if it is small and there is room, else a file; memory again if there can be no file.
    async fn landing(&self, length: Option<u64>) -> Result<Landing> {
        let small = length.filter(|l| *l <= self.inner.memory.largest());
        if let Some(lease) = small.and_then(|l| self.inner.allowance.try_take(l * 2)) {
            return Ok(Landing::Memory(Some(lease)));
        }
        match self.inner.store.spool().await {
            Ok(spool) => {
                self.download.spooled(spool.reader()?);
                Ok(Landing::Spool(spool))
            }
            Err(e) => {
                tracing::warn!("{e}; {} is held in memory while it arrives", self.key.id);
                let expected = length.unwrap_or(MAX_CRATE) * 2;
                Ok(Landing::Memory(Some(
                    self.inner.allowance.take(expected).await,
                )))
            }
        }
    }

    /// Hands out the last chunk, keeps the file in memory and puts it into the store.
    async fn land(&self, landing: Landing, length: u64) {
        self.download.land(length);
        let saved = match landing {
            Landing::Spool(spool) => self.inner.store.commit(&self.key, spool).await,
            Landing::Memory(lease) => {
                let own = |bytes| match lease {
                    Some(mut lease) => {
                        lease.shrink_to(length);
                        lease.hold(bytes)
                    }
                    None => bytes,
                };
                let whole = self.download.consolidate(own).unwrap_or_default();
                if length <= self.inner.memory.largest() {
                    let resident = Resident::Crate(whole.clone());
                    self.inner.memory.keep_crate(&self.key, resident).await;
                }
                self.inner.store.save_crate(&self.key, whole).await
            }
        };
        if let Err(e) = saved {
            tracing::warn!("{e}; {} was served and will be fetched again", self.key.id);
        }
    }
}

/// What one download has brought so far, over all its attempts.
#[derive(Default)]
struct Arrived {
    landing: Option<Landing>,
    hasher: Hasher,
    length: u64,
}

/// The end of a [`Fetch`], however it comes.
struct Ended<'a>(&'a Fetch);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.inner.downloads.forget(&self.0.key);
        self.0.download.fail(Error::internal(format!(
            "the download of {} ended early; see the mirror's log",
            self.0.key.id
        )));
    }
}
