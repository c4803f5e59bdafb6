//! [`Fetch`]: the task that brings one .crate file from upstream, for all who wait for it and for the store.

use std::{sync::Arc, time::SystemTime};

use super::{Inner, WholeCrate, download::Download, memory::Resident};
use crate::{
    allowance::Lease,
    domain::{CrateKey, Hasher, Sha256},
    error::{Error, Kind, Result},
    store::{Doubt, Spool},
    upstream::{Resume, Upstream},
};

/// No .crate file is larger; crates.io's largest is near 300 MB.
const MAX_CRATE: u64 = 2 << 30;

/// The task that brings one .crate file from upstream.
pub(super) struct Fetch {
    pub(super) inner: Arc<Inner>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) key: CrateKey,
    pub(super) download: Arc<Download>,
}

/// Where a download's bytes go.
enum Landing {
    /// Into memory, under a lease for twice the size: chunks, and the one piece they become.
    Memory(Option<Lease>),
    /// Into a file.
    Spool(Spool),
}

impl Fetch {
    pub(super) async fn run(self, now: SystemTime) {
        // Also when this panics: nobody may wait for a download that no task works on.
        let _ended = Ended(&self);
        if let Err(error) = self.fetch(now).await {
            if error.kind() == Kind::Absent {
                self.inner
                    .memory
                    .keep_crate(&self.key, Resident::Absent(now));
            }
            match error.kind() {
                Kind::Internal => {
                    tracing::debug!(id = %self.key.id, "a download was given up: {error}")
                }
                _ => tracing::warn!(id = %self.key.id, "a download failed: {error}"),
            }
            self.inner.downloads.forget(&self.key, &self.download);
            self.download.fail(error);
        }
    }

    async fn fetch(&self, now: SystemTime) -> Result<()> {
        // Who looked before the last download landed may have asked after.
        match self.inner.memory.crate_file(&self.key) {
            Some(Resident::Crate(whole)) => {
                let bytes = whole.content.bytes();
                let length = bytes.len() as u64;
                self.download.push(length, bytes.clone());
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
        // In the line for upstream a download nobody waits for is given up; once begun it goes on for the store.
        let _place = tokio::select! {
            place = self.upstream.place() => place,
            () = self.inner.downloads.abandoned(&self.key, &self.download) => {
                return Err(Error::internal("nobody waits for this download any more"));
            }
        };
        let (landing, length) = self.receive().await?;
        self.land(landing, length).await;
        Ok(())
    }

    /// Receives the file; all but its last chunk is readable by then, and the checksum of the whole holds.
    async fn receive(&self) -> Result<(Landing, u64)> {
        let mut arrived = Arrived::default();
        let received = self.receive_all(&mut arrived).await;
        if received.is_err()
            && let Some(doubt) = arrived.doubt()
        {
            self.inner.store.doubt(self.key, doubt);
        }
        received
    }

    async fn receive_all(&self, arrived: &mut Arrived) -> Result<(Landing, u64)> {
        let mut attempts = self.upstream.attempts();
        loop {
            let before = arrived.so_far.offset;
            let Err(error) = self.receive_rest(arrived).await else {
                break;
            };
            // Only the end of the answer is lost: a rest that isn't there can't be asked for.
            if arrived.is_all_of(&self.key.sha256) {
                break;
            }
            if arrived.so_far.offset > before {
                // A long download over a bad line may break off often, as long as it gets on.
                attempts = self.upstream.attempts();
            }
            if !attempts.again(&error).await {
                return Err(error);
            }
        }
        let actual = arrived.hasher.clone().finish();
        if actual != self.key.sha256 {
            return Err(Error::upstream_fault(format!(
                "{} sent a file for {} whose checksum is {actual}, not {} as its index says; it is not passed on",
                self.key.registry, self.key.id, self.key.sha256
            )));
        }
        Ok((
            arrived.landing.take().unwrap_or(Landing::Memory(None)),
            arrived.so_far.offset,
        ))
    }

    /// One attempt: what hasn't arrived yet, until upstream says that this is all.
    async fn receive_rest(&self, arrived: &mut Arrived) -> Result<()> {
        let Self { key, download, .. } = self;
        let mut stream = self
            .upstream
            .fetch_crate(&key.id, &key.sha256, &arrived.so_far)
            .await?;
        if arrived.landing.is_none() {
            arrived.landing = Some(self.landing(stream.length()).await?);
            download.begin(stream.length());
            arrived.announced = stream.length();
            arrived.so_far.validator = stream.validator();
        }
        while let Some(chunk) = self.upstream.next(&mut stream).await? {
            let before = arrived.so_far.offset;
            arrived.so_far.offset += chunk.len() as u64;
            if arrived.so_far.offset > MAX_CRATE {
                return Err(Error::upstream_fault(format!(
                    "{} is larger than {MAX_CRATE} bytes",
                    key.id
                )));
            }
            // Clients take the announced length for the end: what would be released beyond it completes a file whose checksum can't hold any more.
            if arrived.announced.is_some_and(|l| arrived.so_far.offset > l) {
                return Err(Error::upstream_fault(format!(
                    "{} sent more of {} than the length it had announced",
                    key.registry, key.id
                )));
            }
            let released = arrived.hasher.clone();
            arrived.hasher.update(&chunk);
            arrived.landing = match arrived.landing.take() {
                Some(Landing::Spool(spool)) => match spool.append(chunk.clone()).await {
                    Ok(spool) => Some(Landing::Spool(spool)),
                    Err(e) => {
                        self.inner.store.complain(&e);
                        let memory = self.leave_spool(before, stream.length()).await?;
                        download.push(arrived.so_far.offset, chunk);
                        Some(memory)
                    }
                },
                memory => {
                    download.push(arrived.so_far.offset, chunk);
                    memory
                }
            };
            // All but this chunk: it may turn out to be the last one.
            download.release(before);
            arrived.released = (before, released);
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
            Err(_) => self.memory_at_any_price(length).await,
        }
    }

    /// Memory although the file is large or memory is short: the disk has failed, and serving goes on.
    async fn memory_at_any_price(&self, length: Option<u64>) -> Result<Landing> {
        let id = &self.key.id;
        tracing::debug!(%id, "the disk fails: a download is held in memory while it arrives");
        let expected = length.unwrap_or(MAX_CRATE).saturating_mul(2);
        let lease = self.inner.allowance.take(expected).await?;
        Ok(Landing::Memory(Some(lease)))
    }

    /// The disk is full or broken in mid-download: the `so_far` bytes in the file are read back, and memory takes over.
    async fn leave_spool(&self, so_far: u64, expected: Option<u64>) -> Result<Landing> {
        let landing = self.memory_at_any_price(expected).await?;
        self.download.unspool(so_far).await?;
        Ok(landing)
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
                let is_kept = length <= self.inner.memory.largest();
                let pages = is_kept.then_some(&self.inner.pages);
                let whole = self.download.consolidate(pages, own);
                let bytes = whole.as_ref().map(|whole| whole.bytes().clone());
                if let Some(whole) = whole.filter(|_| is_kept) {
                    let resident = Resident::Crate(WholeCrate::new(&self.key, whole));
                    self.inner.memory.keep_crate(&self.key, resident);
                }
                let bytes = bytes.unwrap_or_default();
                self.inner.store.save_crate(&self.key, bytes).await
            }
        };
        if saved.is_err() {
            tracing::debug!(id = %self.key.id, "served but not stored; it will be fetched again");
        }
    }
}

/// What one download has brought so far, over all its attempts.
#[derive(Default)]
struct Arrived {
    landing: Option<Landing>,
    hasher: Hasher,
    so_far: Resume,
    /// The length that the first attempt announced, and that clients have been told.
    announced: Option<u64>,
    /// How many bytes clients may have, and what these hash to.
    released: (u64, Hasher),
}

impl Arrived {
    /// What clients are left with if this is all.
    fn doubt(&self) -> Option<Doubt> {
        let (length, hasher) = &self.released;
        (*length > 0).then(|| Doubt::Beginning {
            length: *length,
            sha256: hasher.clone().finish(),
        })
    }
}

impl Arrived {
    /// Whether what is here is the whole file, whatever became of the answer that brought it.
    fn is_all_of(&self, sha256: &Sha256) -> bool {
        let length = self.so_far.offset;
        length > 0
            && self.announced.is_none_or(|announced| announced == length)
            && self.hasher.clone().finish() == *sha256
    }
}

/// The end of a [`Fetch`], however it comes.
struct Ended<'a>(&'a Fetch);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.inner.downloads.forget(&self.0.key, &self.0.download);
        self.0.download.fail(Error::internal(format!(
            "the download of {} ended early; see the mirror's log",
            self.0.key.id
        )));
    }
}
