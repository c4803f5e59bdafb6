//! [`Fetch`]: the task that brings one file from upstream, for all who wait for it and for the store.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    download::{BLOCK, Download, Downloads, Spooling},
    file::CheckedFile,
    landing::{Chunk, Landing, spooled},
    loads::Loads,
};
use crate::{
    domain::{FileKey, Hasher, Sha256},
    error::{Error, Kind, Result},
    mirror::{
        catalog::News,
        kept::WholeFile,
        shared::{Resident, Shared},
    },
    store::Doubt,
    upstream::{FileStream, Resume, Upstream},
};

/// A download of more bytes than this, by what upstream has announced or by what has come, is given up when its last client goes away. Others go on for the
/// store.
const UNWANTED: u64 = 32 << 20;

/// The task that brings one file from upstream.
pub(super) struct Fetch {
    pub(super) shared: Arc<Shared>,
    pub(super) loads: Arc<Loads>,
    pub(super) downloads: Arc<Downloads>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) key: FileKey,
    pub(super) download: Arc<Download>,
}

impl Fetch {
    pub(super) async fn run(self, now: SystemTime) {
        // Also when this panics: nobody may wait for a download that no task works on.
        let _ended = EndOfFetch(&self);
        if let Err(error) = self.fetch(now).await {
            if error.kind() == Kind::Absent {
                self.shared
                    .memory
                    .keep_file(&self.key, Resident::Absent(now));
            }
            match error.kind() {
                Kind::Cancelled => {
                    tracing::debug!(id = %self.key, "a download was given up: {error}");
                }
                kind if kind.is_fault() => {
                    tracing::error!(id = %self.key, "a download failed: {error}");
                }
                _ => tracing::warn!(id = %self.key, "a download failed: {error}"),
            }
            self.downloads.forget(&self.key, &self.download);
            self.download.fail(error);
        }
    }

    async fn fetch(&self, now: SystemTime) -> Result<()> {
        // Who looked before the last download landed may have asked after.
        if self.is_here(now).await? {
            return Ok(());
        }
        // Waiting for a permit, a download nobody waits for is given up; once begun it goes on for the store.
        let permit = tokio::select! {
            permit = self.upstream.permit() => permit,
            () = self.downloads.abandoned(&self.key, &self.download) => {
                return Err(Error::cancelled("nobody waits for this download any more"));
            }
        };
        let (landing, length) = self.receive().await?;
        // All has come; what a slow disk takes is no reason to let the network wait.
        drop(permit);
        self.land(landing, length).await;
        Ok(())
    }

    /// Whether the file is in memory or in the store by now; if so, whoever waits for this download is told.
    async fn is_here(&self, now: SystemTime) -> Result<bool> {
        match self.shared.memory.file(&self.key) {
            Some(Resident::File(whole)) => {
                self.is_whole(whole.content.bytes().clone());
                return Ok(true);
            }
            Some(Resident::Absent(since)) if self.shared.still_absent(since, now) => {
                return Err(Error::absent(format!(
                    "{} has no file for {}, although its {} names it",
                    self.key.registry(),
                    self.key,
                    self.key.told_by()
                )));
            }
            Some(Resident::Absent(_) | Resident::Index(_) | Resident::Toolchain(_)) | None => {}
        }
        match self.loads.if_stored(&self.key, now).await {
            Some(CheckedFile::Whole(whole)) => self.is_whole(whole.content.bytes().clone()),
            Some(CheckedFile::Stored(..)) => self.download.is_stored(),
            Some(CheckedFile::Arriving(..)) | None => return Ok(false),
        }
        Ok(true)
    }

    fn is_whole(&self, bytes: Bytes) {
        let length = bytes.len() as u64;
        self.download.push(length, bytes);
        self.download.land(length);
    }

    /// Receives the file; all but its last chunk is readable by then, and the checksum of the whole holds.
    async fn receive(&self) -> Result<(Landing, u64)> {
        let mut arrived = Arrived {
            announced: None,
            landing: match self.download.spooling() {
                Spooling::Allowed => Landing::Memory,
                Spooling::Avoided => Landing::OnlyMemory(self.shared.budget.nothing()),
            },
            hasher: Hasher::default(),
            so_far: Resume::default(),
            released: (0, Hasher::default()),
        };
        let received = self.receive_all(&mut arrived).await;
        if let Some(doubt) = arrived.doubt()
            && received.is_err()
        {
            self.shared.store.doubt(self.key, doubt);
        }
        received.map(|length| (arrived.landing, length))
    }

    async fn receive_all(&self, arrived: &mut Arrived) -> Result<u64> {
        let mut attempts = self.upstream.attempts();
        loop {
            let before = arrived.so_far.offset;
            let Err(error) = self.receive_rest(arrived).await else {
                break;
            };
            if arrived.so_far.offset > before {
                // A long download over a bad line may break off often, as long as it gets on.
                attempts = self.upstream.attempts();
            }
            if !attempts.again(&error).await {
                return Err(error);
            }
        }
        let actual = arrived.hasher.clone().finish();
        if actual != self.key.sha256() {
            if let FileKey::Toolchain(_) = self.key {
                self.shared.mistold.note(&self.key);
            }
            return Err(Error::upstream_fault(format!(
                "{} sent a file for {} whose checksum is {actual}, not {} as its {} says; it is not passed on",
                self.key.registry(),
                self.key,
                self.key.sha256(),
                self.key.told_by()
            )));
        }
        Ok(arrived.so_far.offset)
    }

    /// One attempt: what hasn't arrived yet, until upstream says that this is all.
    async fn receive_rest(&self, arrived: &mut Arrived) -> Result<()> {
        let Self { key, download, .. } = self;
        let mut stream = self.upstream.fetch_file(key, &arrived.so_far).await?;
        if arrived.announced.is_none() {
            self.check_size(stream.length().unwrap_or(0))?;
            download.begin(stream.length());
            arrived.announced = Some(Announced(stream.length()));
            arrived.so_far.validator = stream.validator();
        }
        loop {
            let bytes = match self.next(&mut stream, arrived).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(()),
                // Only the end of the answer is lost: a rest that isn't there can't be asked for.
                Err(_) if arrived.is_all_of(&key.sha256()) => {
                    stream.is_whole();
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            let start = arrived.so_far.offset;
            let end = start + bytes.len() as u64;
            self.check_size(end)?;
            // Clients take the announced length for the end: what would be released beyond it completes a file whose checksum can't hold any more.
            if arrived.announced().is_some_and(|l| end > l) {
                return Err(Error::upstream_fault(format!(
                    "{} sent more of {} than the length it had announced",
                    key.registry(),
                    key
                )));
            }
            // The end of this chunk is held back: it may turn out to be the last one.
            let readable = end - (end - start).min(BLOCK);
            let (before, held_back) = bytes.split_at((readable - start) as usize);
            let mut hasher = arrived.hasher.clone();
            hasher.update(before);
            let released = (readable, hasher.clone());
            hasher.update(held_back);
            let chunk = Chunk {
                start,
                bytes: bytes.clone(),
                announced: arrived.announced(),
            };
            let landing = std::mem::replace(&mut arrived.landing, Landing::Memory);
            arrived.landing = landing.add(chunk, &self.shared, key, download).await?;
            // Only what has landed has arrived.
            arrived.so_far.offset = end;
            arrived.hasher = hasher;
            download.release(readable);
            arrived.released = released;
        }
    }

    /// The next bytes, unless nobody wants them any more.
    async fn next(&self, stream: &mut FileStream, arrived: &Arrived) -> Result<Option<Bytes>> {
        let next = self.upstream.next(stream);
        let expected = arrived.announced().unwrap_or(0).max(arrived.so_far.offset);
        if expected <= UNWANTED {
            return next.await;
        }
        tokio::select! {
            next = next => next,
            () = self.downloads.abandoned(&self.key, &self.download) => {
                Err(Error::cancelled("nobody waits for this download any more, and it is large"))
            }
        }
    }

    /// Refuses what is larger than a crate may be, or than the store may ever hold.
    fn check_size(&self, size: u64) -> Result<()> {
        let limits = [
            self.upstream.max_size(&self.key),
            (self.shared.store.room(), "`store.max_size`"),
        ];
        match limits.into_iter().find(|(limit, _)| size > *limit) {
            None => Ok(()),
            Some((limit, key)) => Err(Error::upstream_fault(format!(
                "the file of {} is larger than the {limit} bytes that {key} allows",
                self.key
            ))),
        }
    }

    /// Hands out the last chunk, keeps the file in memory and puts it into the store.
    async fn land(&self, landing: Landing, length: u64) {
        self.download.land(length);
        let saved = match landing {
            Landing::File(spool) => self.shared.store.commit(&self.key, spool).await,
            Landing::Memory | Landing::OnlyMemory(_) => self.save(length).await,
        };
        match saved {
            Ok(()) => {
                if let FileKey::Crate(key) = self.key {
                    self.shared.catalog.tell(News::Stored(key));
                }
            }
            Err(_) => {
                tracing::debug!(id = %self.key, "served but not stored; it will be fetched again");
            }
        }
    }

    /// Keeps a file that has come into memory if it is small and there is room for it in one piece, and puts it into the store.
    async fn save(&self, length: u64) -> Result<()> {
        let Shared {
            memory,
            budget,
            store,
            ..
        } = &*self.shared;
        let small = Some(length).filter(|l| *l <= memory.largest());
        match small.and_then(|length| budget.try_take(length)) {
            Some(lease) => {
                let whole = self.download.consolidate(self.loads.pages(), lease);
                let bytes = whole.bytes().clone();
                let resident = Resident::File(WholeFile::new(&self.key, whole));
                memory.keep_file(&self.key, resident);
                store.save_file(&self.key, bytes).await
            }
            None => {
                let spool = spooled(&self.shared, &self.download).await?;
                store.commit(&self.key, spool).await
            }
        }
    }
}

/// What one download has brought so far, over all its attempts.
struct Arrived {
    landing: Landing,
    hasher: Hasher,
    so_far: Resume,
    /// What the first attempt announced, and clients have been told; nothing before it.
    announced: Option<Announced>,
    /// How many bytes clients may have, and what these hash to.
    released: (u64, Hasher),
}

/// The length that upstream has announced; `None` when it has begun to send without a word.
#[derive(Clone, Copy)]
struct Announced(Option<u64>);

impl Arrived {
    /// What clients are left with if this is all.
    fn doubt(&self) -> Option<Doubt> {
        let (length, hasher) = &self.released;
        (*length > 0).then(|| Doubt::Beginning {
            length: *length,
            sha256: hasher.clone().finish(),
        })
    }

    fn announced(&self) -> Option<u64> {
        self.announced.and_then(|Announced(length)| length)
    }

    /// Whether what is here is the whole file, whatever became of the answer that brought it.
    fn is_all_of(&self, sha256: &Sha256) -> bool {
        let length = self.so_far.offset;
        length > 0
            && self.announced().is_none_or(|announced| announced == length)
            && self.hasher.clone().finish() == *sha256
    }
}

/// The end of a [`Fetch`], however it comes.
struct EndOfFetch<'a>(&'a Fetch);

impl Drop for EndOfFetch<'_> {
    fn drop(&mut self) {
        self.0.downloads.forget(&self.0.key, &self.0.download);
        self.0.download.fail(Error::internal(format!(
            "the download of {} ended early; see the mirror's log",
            self.0.key
        )));
    }
}
