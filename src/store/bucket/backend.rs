//! [`BucketBackend`]: a bucket as what a store asks of a [`Backend`].

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use object_store::{
    GetOptions,
    signer::{Method, Signer},
};
use tempfile::NamedTempFile;

use super::{
    blocks::BucketBlocks,
    board::BucketBoard,
    body::Got,
    connect::Connected,
    marks::{ChangeMarks, MARK},
    missed::Missed,
    objects::{remove_exactly, stored_at, version_of},
    places::Places,
    requests::Requests,
    settings::BucketSettings,
    uploads::PartUploads,
    writes::Writes,
};
use crate::{
    domain::MissedRequest,
    error::Result,
    metrics::Metrics,
    secret::Secret,
    store::{
        backend::{Admit, Backend, Bulk, LargeObject, Late, LoadedObject},
        blocking::blocking,
        blocks::Blocks,
        board::Board,
        disk::{Disk, OnDisk, Touch},
        failed::failed_at,
        mark::Mark,
        removal::Removal,
        sight::Stored,
        signed::Signed,
        spool::Spool,
        version::ObjectVersion,
    },
};

/// A bucket, and who asks it.
pub(in crate::store) struct BucketBackend {
    pub(super) requests: Requests,
    uploads: PartUploads,
    marks: Arc<ChangeMarks>,
    missed: Missed,
    /// Large crates are spooled all the same, where this machine keeps temporary files.
    disk: Disk,
    signing: Option<Signing>,
    pub(super) writes: Writes,
}

/// Who signs URLs, and for how long they are good.
struct Signing {
    signer: Arc<dyn Signer>,
    good_for: Duration,
}

impl BucketBackend {
    /// The bucket that somebody is connected to; nothing is asked yet. Must be called within a tokio runtime.
    pub(in crate::store) fn new(
        settings: &BucketSettings,
        connected: Connected,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Connected { objects, signer } = connected;
        let places = Places::new(settings.at.clone());
        let requests = Requests::new(objects, places, settings.stall_timeout, metrics);
        let good_for = settings.signing.as_ref().map(|signing| signing.good_for);
        if good_for.is_some() {
            requests.begin_signing();
        }
        Self {
            uploads: PartUploads::new(requests.clone()),
            marks: ChangeMarks::new(requests.clone()),
            missed: Missed::new(requests.clone()),
            disk: Disk::default().with_stall_timeout(settings.stall_timeout),
            signing: signer
                .zip(good_for)
                .map(|(signer, good_for)| Signing { signer, good_for }),
            writes: Writes::new(requests.clone()),
            requests,
        }
    }

    /// Finds out whether the objects in it are laid out as this program knows it.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when they aren't, [`Kind::Store`](crate::error::Kind::Store) when the bucket can't be read.
    pub(in crate::store) async fn ready(&self) -> Result<()> {
        self.requests.ready().await
    }

    /// Whether the last request was answered.
    pub(in crate::store) fn answers(&self) -> bool {
        self.requests.answers()
    }

    /// Where those who share it tell each other something.
    pub(in crate::store) fn board(&self) -> Arc<dyn Board> {
        Arc::new(BucketBoard(self.requests.clone()))
    }

    /// Makes `length` bytes, read block by block, the object under `path`, in one step.
    pub(in crate::store) async fn send(
        &self,
        path: &str,
        length: u64,
        blocks: &dyn Blocks,
    ) -> Result<()> {
        self.uploads.send(path, length, blocks).await
    }

    /// Whether clients may be sent to it.
    pub(in crate::store) fn signs(&self) -> bool {
        self.signing.is_some()
    }

    /// Where anybody may get the object under `path` for a while, whether it is there or not; nothing when clients aren't to be sent there.
    pub(in crate::store) async fn signed(
        &self,
        path: &str,
        asks: Signed,
    ) -> Result<Option<Secret>> {
        let Some(Signing { signer, good_for }) = &self.signing else {
            return Ok(None);
        };
        let at = self.requests.places().at(path)?;
        let method = match asks {
            Signed::Get => Method::GET,
            Signed::Head => Method::HEAD,
        };
        let signed = signer.signed_url(method, &at, *good_for).await;
        let signed = signed.map_err(|e| self.requests.unsigned(path, &e));
        signed.map(|url| Some(Secret::new(url.into())))
    }
}

impl Backend for BucketBackend {
    fn bulk(&self) -> &dyn Bulk {
        self
    }

    fn load<'a>(
        &'a self,
        path: &'a str,
        _used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        Box::pin(async move {
            let got = self.requests.get(path, GetOptions::default()).await?;
            let Some(Got { meta, body }) = got else {
                return Ok(None);
            };
            let (version, length) = (version_of(&meta), meta.size);
            let Some(take) = admit(length) else {
                let requests = self.requests.clone();
                let blocks = BucketBlocks::new(requests, path, meta.e_tag, length, body);
                return Ok(Some(LoadedObject::Large(LargeObject {
                    length,
                    version,
                    blocks: Arc::new(blocks),
                })));
            };
            let bytes = body.all(length).await?;
            blocking(move || take(bytes)).await?;
            Ok(Some(LoadedObject::Taken(version)))
        })
    }

    fn save<'a>(
        &'a self,
        path: &'a str,
        pieces: Vec<Bytes>,
        _late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.requests.put(path, pieces.into_iter().collect()))
    }

    fn temporary(&self) -> BoxFuture<'_, Result<OnDisk<NamedTempFile>>> {
        Box::pin(async {
            let make = |_: &_| {
                let made = NamedTempFile::new();
                made.map_err(|e| failed_at("making a temporary file", e))
            };
            let file = self
                .disk
                .run(Touch::Save, "a new temporary file", make)
                .await?;
            let name = file.path().display().to_string();
            Ok(OnDisk::new(file, name, self.disk.clone()))
        })
    }

    fn commit<'a>(
        &'a self,
        path: &'a str,
        spool: Spool,
        _late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let length = spool.length();
            let blocks = spool.into_blocks()?;
            self.send(path, length, &blocks).await
        })
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        version: &'a ObjectVersion,
    ) -> BoxFuture<'a, Result<Removal>> {
        Box::pin(remove_exactly(&self.requests, path, version))
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<Stored>>> {
        Box::pin(async move {
            let listed = self.requests.list(folder).await?;
            let objects = listed.objects.iter();
            Ok(objects
                .filter_map(|meta| stored_at(self.requests.places(), meta))
                .collect())
        })
    }

    fn names_in<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<BTreeSet<String>>> {
        Box::pin(self.requests.names(folder))
    }

    fn size<'a>(
        &'a self,
        path: &'a str,
        _used: Option<SystemTime>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let there = self.requests.head(path).await?;
            Ok(there.map(|meta| meta.size))
        })
    }

    fn require(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.requests.ready())
    }

    fn look(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.requests.head(MARK).await.map(drop) })
    }

    fn mark(&self) -> BoxFuture<'_, Option<Mark>> {
        Box::pin(async { Some(self.marks.current().await) })
    }

    fn announce(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.marks.announce())
    }

    fn note_missed<'a>(
        &'a self,
        request: &'a MissedRequest,
        most: usize,
        _now: SystemTime,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.missed.note(request, most))
    }

    fn missed(&self) -> BoxFuture<'_, Result<Vec<(MissedRequest, SystemTime)>>> {
        Box::pin(self.missed.all())
    }

    fn forget_missed<'a>(&'a self, request: &'a MissedRequest) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.missed.forget(request))
    }
}
