//! [`Tiers`]: a folder in front of a bucket, or the bucket alone, as what a store asks of a [`Backend`].

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join, ready};
use tempfile::NamedTempFile;

use super::{
    copying::{CopiedBlocks, Copying},
    journal::Journal,
    lent::LentAdmit,
    queue::{Pieces, QueuedBytes},
    tier::Tier,
    turns::WriteTurns,
    uploads::Uploads,
    vouched::Vouched,
};
use crate::{
    domain::{Key, MissedRequest},
    error::{Error, Result},
    metrics::Metrics,
    secret::Secret,
    store::{
        backend::{Admit, Backend, Bulk, CheckVerdict, LargeObject, Late, LoadedObject, TakeBytes},
        blocking::blocking,
        blocks::Blocks,
        board::Board,
        bucket::BucketBackend,
        disk::OnDisk,
        mark::Mark,
        needed::IsNeeded,
        removal::Removal,
        sight::Stored,
        signed::Signed,
        spool::Spool,
        version::ObjectVersion,
    },
};

/// What tiers are made of.
pub(in crate::store) struct TiersParts {
    /// The nearer one, if there is one, and where it is written down there what is to be written into the other.
    pub(in crate::store) folder: Option<(Arc<dyn Backend>, Journal)>,
    /// The one that all mirrors share.
    pub(in crate::store) bucket: Arc<BucketBackend>,
    /// Counts what is written into the folder beside what the store writes.
    pub(in crate::store) written: Arc<AtomicU64>,
    pub(in crate::store) metrics: Arc<Metrics>,
}

/// The tiers, the nearer one first.
pub(in crate::store) struct Tiers {
    folder: Option<Arc<dyn Backend>>,
    bucket: Arc<BucketBackend>,
    turns: WriteTurns,
    copying: Option<Copying>,
    uploads: Uploads,
    vouched: Arc<Vouched>,
    /// What of the folder was offered to the bucket, in case it has lost it or never had it.
    offered: Vouched,
    changes: Changes,
}

/// What has changed beside what others announce.
#[derive(Default)]
struct Changes {
    /// Whether a list was shown that lacks what the bucket has.
    lacked: AtomicBool,
    /// How often that came to light when the bucket was back, or something was announced here.
    told: AtomicU64,
}

impl Changes {
    /// How many there were; `answers` says whether the bucket does.
    fn count(&self, answers: bool) -> u64 {
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let lacked = &self.lacked;
        if answers && lacked.compare_exchange(true, false, set, fetch).is_ok() {
            self.told.fetch_add(1, set);
        }
        self.told.load(fetch)
    }
}

impl Tiers {
    /// Begins to write into the bucket what is given to it. Must be called within a tokio runtime.
    pub(in crate::store) fn new(parts: TiersParts) -> Self {
        let TiersParts {
            folder,
            bucket,
            written,
            metrics,
        } = parts;
        let (turns, vouched) = (WriteTurns::default(), Arc::<Vouched>::default());
        let uploads = Uploads::start(folder, bucket.clone(), vouched.clone(), metrics);
        let folder = uploads.folder();
        let copying = folder
            .clone()
            .map(|folder| Copying::new(folder, turns.clone(), vouched.clone(), written));
        Self {
            uploads,
            folder,
            bucket,
            turns,
            copying,
            vouched,
            offered: Vouched::default(),
            changes: Changes::default(),
        }
    }

    /// What says whether an object of the folder is still to be written into the bucket, so that the folder has to keep it.
    pub(in crate::store) fn waiting(&self) -> IsNeeded {
        self.uploads.waiting()
    }

    /// Whether the bucket may not have what the folder has, as far as this process knows; asked for the second time, it was offered.
    fn may_be_lacking(&self, path: &str) -> bool {
        !self.vouched.contains(path)
            && self.uploads.held(path).is_none()
            && self.offered.is_first(path)
    }

    /// What both tiers list of a folder, what the bucket has first; or what one of them lists when the other can't.
    fn merged<T: IntoIterator + Extend<T::Item>>(
        &self,
        folder: &str,
        here: Result<T>,
        there: Result<T>,
    ) -> Result<T> {
        match (here, there) {
            (Ok(here), Ok(there)) => {
                let mut all = there;
                all.extend(here);
                Ok(all)
            }
            (Ok(here), Err(e)) => {
                // What is there can't be served at the moment either.
                tracing::debug!(folder, "what the bucket has isn't shown: {e}");
                self.changes.lacked.store(true, Ordering::Release);
                Ok(here)
            }
            (Err(e), Ok(there)) => {
                tracing::debug!(folder, "what the folder has isn't shown: {e}");
                Ok(there)
            }
            (Err(e), Err(_)) => Err(e),
        }
    }

    async fn load_from_bucket(
        &self,
        path: &str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> Result<Option<LoadedObject>> {
        if self.uploads.knows_wrong(path) {
            return Ok(None);
        }
        let good = Arc::new(Mutex::new(None));
        let found = self.bucket.load(path, used, told(admit, good.clone()));
        let Some(found) = found.await? else {
            return Ok(None);
        };
        let copying = self.copying.clone();
        // A look leaves everything as it is, but for what is kept beside an object, which nobody uses otherwise.
        let copying = copying.filter(|_| used.is_some() || path.ends_with(".license"));
        Ok(Some(match found {
            LoadedObject::Taken(version) => {
                let good = good.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(bytes) = good {
                    self.vouched.add(path);
                    if let Some(copying) = copying {
                        copying.small(path, bytes);
                    }
                }
                LoadedObject::Taken(Tier::Bucket.mark(&version))
            }
            LoadedObject::Large(object) => {
                let (length, vouched) = (object.length, self.vouched.clone());
                let blocks = CopiedBlocks::new(object.blocks, path, length, vouched, copying);
                LoadedObject::Large(LargeObject {
                    length,
                    version: Tier::Bucket.mark(&object.version),
                    blocks: Arc::new(blocks),
                })
            }
        }))
    }
}

/// The same with what was admitted and turned out good noted in `good`.
fn told(admit: Admit, good: Arc<Mutex<Option<Bytes>>>) -> Admit {
    Box::new(move |size| {
        let take = admit(size)?;
        let take: TakeBytes = Box::new(move |bytes: Bytes| {
            let verdict = take(bytes.clone());
            if verdict == CheckVerdict::Good {
                *good.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
            }
            verdict
        });
        Some(take)
    })
}

/// What is still on its way into the bucket.
async fn load_held(held: QueuedBytes, admit: Admit) -> Result<Option<LoadedObject>> {
    let version = Tier::Bucket.mark(&ObjectVersion::new(""));
    let (length, blocks): (u64, Arc<dyn Blocks>) = match held {
        QueuedBytes::Folder => return Ok(None),
        QueuedBytes::Memory(pieces) => (pieces.length(), Arc::new(pieces)),
        QueuedBytes::File { blocks, length } => (length, blocks),
    };
    Ok(Some(match admit(length) {
        None => LoadedObject::Large(LargeObject {
            length,
            version,
            blocks,
        }),
        Some(take) => {
            let whole = usize::try_from(length).unwrap_or(usize::MAX);
            let bytes = blocks.read(0, whole).await?;
            blocking(move || take(bytes)).await?;
            LoadedObject::Taken(version)
        }
    }))
}

/// Where the bytes of an object are that was to be written into the folder.
fn from_folder_or(written: &Result<()>, otherwise: impl FnOnce() -> QueuedBytes) -> QueuedBytes {
    match written {
        Ok(()) => QueuedBytes::Folder,
        Err(_) => otherwise(),
    }
}

fn from_folder(found: LoadedObject) -> LoadedObject {
    match found {
        LoadedObject::Taken(version) => LoadedObject::Taken(Tier::Folder.mark(&version)),
        LoadedObject::Large(object) => LoadedObject::Large(LargeObject {
            version: Tier::Folder.mark(&object.version),
            ..object
        }),
    }
}

impl Backend for Tiers {
    /// All of it is the bucket's, which has everything.
    fn bulk(&self) -> &dyn Bulk {
        &*self.bucket
    }

    fn load<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        Box::pin(async move {
            // What the folder has may be older, if it couldn't be written.
            if let Some(held @ (QueuedBytes::Memory(_) | QueuedBytes::File { .. })) =
                self.uploads.held(path)
            {
                return load_held(held, admit).await;
            }
            let Some(folder) = &self.folder else {
                return self.load_from_bucket(path, used, admit).await;
            };
            let lent = LentAdmit::new(admit);
            let near = folder.load(path, used, lent.lend()).await;
            if let Ok(Some(found)) = near {
                // It may have been here before the bucket was, or before a restart.
                if is_file(path) && used.is_some() && self.may_be_lacking(path) {
                    let _ = self.uploads.add(path, QueuedBytes::Folder);
                }
                return Ok(Some(from_folder(found)));
            }
            let Some(admit) = lent.take_back() else {
                return near;
            };
            match (self.load_from_bucket(path, used, admit).await?, near) {
                (Some(found), _) => Ok(Some(found)),
                (None, near) => near,
            }
        })
    }

    fn save<'a>(
        &'a self,
        path: &'a str,
        pieces: Vec<Bytes>,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(folder) = &self.folder else {
                return self.uploads.add(path, QueuedBytes::Memory(Pieces(pieces)));
            };
            let held = || QueuedBytes::Memory(Pieces(pieces.clone()));
            // The bucket doesn't wait for a disk that hangs.
            let late = |e: &Error| {
                late(e);
                let _ = self.uploads.add(path, held());
            };
            let turn = self.turns.wait(path).await;
            let saved = folder.save(path, pieces.clone(), &late).await;
            drop(turn);
            // What is lost for the bucket is in the folder all the same, and counted.
            let _ = self.uploads.add(path, from_folder_or(&saved, held));
            saved
        })
    }

    /// In the folder, or, where that can't have one, with this machine's temporary files: the bucket is to get it all the same.
    fn temporary(&self) -> BoxFuture<'_, Result<OnDisk<NamedTempFile>>> {
        let Some(folder) = &self.folder else {
            return self.bucket.temporary();
        };
        Box::pin(async move {
            match folder.temporary().await {
                Ok(file) => Ok(file),
                Err(e) => self.bucket.temporary().await.map_err(|_| e),
            }
        })
    }

    fn commit<'a>(
        &'a self,
        path: &'a str,
        spool: Spool,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(folder) = &self.folder else {
                let length = spool.length();
                let blocks = Arc::new(spool.into_blocks()?);
                return self.uploads.add(path, QueuedBytes::File { blocks, length });
            };
            // The bucket gets it also when the folder doesn't, or not yet.
            let length = spool.length();
            let blocks = Arc::new(spool.open_blocks()?);
            let held = || {
                let blocks = blocks.clone();
                QueuedBytes::File { blocks, length }
            };
            let late = |e: &Error| {
                late(e);
                let _ = self.uploads.add(path, held());
            };
            let committed = folder.commit(path, spool, &late).await;
            let _ = self.uploads.add(path, from_folder_or(&committed, held));
            committed
        })
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        version: &'a ObjectVersion,
    ) -> BoxFuture<'a, Result<Removal>> {
        Box::pin(async move {
            match (Tier::of(version), &self.folder) {
                (Some((Tier::Folder, version)), Some(folder)) => {
                    folder.remove(path, &version).await
                }
                // It isn't removed: it may have been changed only on its way here, and others may have nothing else. It is passed over, and what comes
                // from upstream is written over it.
                (Some((Tier::Bucket, _)), _) => {
                    self.uploads.is_wrong(path);
                    Ok(Removal::Removed)
                }
                (Some((Tier::Folder, _)), None) | (None, _) => Ok(Removal::Replaced),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<Stored>>> {
        Box::pin(async move {
            let Some(near) = &self.folder else {
                return self.bucket.list(folder).await;
            };
            let (here, there) = join(near.list(folder), self.bucket.list(folder)).await;
            let mut all = self.merged(folder, here, there)?;
            let mut seen = HashSet::new();
            all.retain(|stored| seen.insert(stored.path.clone()));
            Ok(all)
        })
    }

    fn names_in<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<BTreeSet<String>>> {
        Box::pin(async move {
            let Some(near) = &self.folder else {
                return self.bucket.names_in(folder).await;
            };
            let (here, there) = join(near.names_in(folder), self.bucket.names_in(folder)).await;
            self.merged(folder, here, there)
        })
    }

    fn size<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let near = match &self.folder {
                Some(folder) => folder.size(path, used).await,
                None => Ok(None),
            };
            if let Ok(Some(size)) = near {
                return Ok(Some(size));
            }
            match self.uploads.held(path) {
                // It isn't there any more.
                Some(QueuedBytes::Folder) | None => {}
                Some(held) => return Ok(Some(held.length())),
            }
            match self.bucket.size(path, used).await? {
                Some(size) => Ok(Some(size)),
                None => near,
            }
        })
    }

    /// The bucket may be gone for a while, as a disk may; whoever serves goes on.
    fn require(&self) -> BoxFuture<'_, Result<()>> {
        match &self.folder {
            Some(folder) => folder.require(),
            None => self.bucket.require(),
        }
    }

    fn look(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if let Some(folder) = &self.folder {
                folder.look().await?;
            }
            self.bucket.look().await
        })
    }

    fn mark(&self) -> BoxFuture<'_, Option<Mark>> {
        Box::pin(async move {
            let far = self.bucket.mark().await;
            let near = match &self.folder {
                Some(folder) => folder.mark().await,
                None => Some(Mark::NONE),
            };
            let (far, near) = (far?, near?);
            let told = self.changes.count(self.bucket.answers());
            if (far, near, told) == (Mark::NONE, Mark::NONE, 0) {
                return Some(Mark::NONE);
            }
            let mut hasher = DefaultHasher::new();
            (far.number(), near.number(), told).hash(&mut hasher);
            Some(Mark::of(hasher.finish()))
        })
    }

    /// This process knows at once; the others hear of it when the bucket does, for which nobody waits.
    fn announce(&self) -> BoxFuture<'_, Result<()>> {
        self.changes.told.fetch_add(1, Ordering::AcqRel);
        let bucket = self.bucket.clone();
        tokio::spawn(async move {
            if let Err(e) = bucket.announce().await {
                tracing::debug!("other mirrors aren't told of a change: {e}");
            }
        });
        Box::pin(ready(Ok(())))
    }

    fn note_missed<'a>(
        &'a self,
        request: &'a MissedRequest,
        most: usize,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match (
                self.bucket.note_missed(request, most, now).await,
                &self.folder,
            ) {
                (Err(_), Some(folder)) => folder.note_missed(request, most, now).await,
                (noted, _) => noted,
            }
        })
    }

    fn missed(&self) -> BoxFuture<'_, Result<Vec<(MissedRequest, SystemTime)>>> {
        Box::pin(async move {
            let mut all = self.bucket.missed().await?;
            if let Some(folder) = &self.folder {
                all.extend(folder.missed().await?);
            }
            Ok(all)
        })
    }

    fn forget_missed<'a>(&'a self, request: &'a MissedRequest) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let near = match &self.folder {
                Some(folder) => folder.forget_missed(request).await,
                None => Ok(()),
            };
            self.bucket.forget_missed(request).await.and(near)
        })
    }

    fn load_shared<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        Box::pin(self.load_from_bucket(path, used, admit))
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        Some(self.bucket.board())
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.uploads.settle())
    }

    fn signs_urls(&self) -> bool {
        self.bucket.signs()
    }

    fn signed_url<'a>(
        &'a self,
        path: &'a str,
        asks: Signed,
    ) -> BoxFuture<'a, Result<Option<Secret>>> {
        Box::pin(async move {
            if !self.vouched.contains(path) {
                return Ok(None);
            }
            if let Some(folder) = &self.folder
                && folder
                    .size(path, None)
                    .await
                    .is_ok_and(|size| size.is_some())
            {
                return Ok(None);
            }
            // Somebody may have removed it, and the bucket may be gone: then there is nowhere to be sent.
            match self.bucket.size(path, None).await {
                Ok(Some(_)) => self.bucket.signed(path, asks).await,
                Ok(None) => {
                    self.vouched.forget(path);
                    Ok(None)
                }
                Err(_) => Ok(None),
            }
        })
    }
}

/// Whether an object never changes once it is there.
fn is_file(path: &str) -> bool {
    matches!(Key::from_path(path), Some(Key::File(_)))
}
