//! [`Faulty`]: a backend that does what a test makes it do instead of what it was asked: fail as a broken disk would, or panic.

use std::{collections::BTreeSet, io, path::Path, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tempfile::NamedTempFile;

use crate::{
    domain::MissedRequest,
    error::Result,
    secret::Secret,
    store::{
        backend::{Admit, Backend, Bulk, LargeObject, Late, LoadedObject},
        blocks::Blocks,
        board::Board,
        disk::{OnDisk, Touch},
        failed::failed,
        mark::Mark,
        removal::Removal,
        sight::Stored,
        signed::Signed,
        spool::Spool,
        version::ObjectVersion,
    },
};

/// Called before each operation of serving; with an error the storage is not touched, and the error is what it would have said.
pub type Fault = Arc<dyn Fn(Touch) -> io::Result<()> + Send + Sync>;

/// A backend that meets a fault before whatever it does.
pub(super) struct Faulty {
    backend: Arc<dyn Backend>,
    fault: Fault,
}

impl Faulty {
    pub(super) fn new(backend: Arc<dyn Backend>, fault: Fault) -> Self {
        Self { backend, fault }
    }

    fn meet(&self, what: Touch, path: &str) -> Result<()> {
        meet(&self.fault, what, path)
    }
}

fn meet(fault: &Fault, what: Touch, path: &str) -> Result<()> {
    fault(what).map_err(|e| failed("touching", Path::new(path), e))
}

/// The blocks of a large object, each of which may fail.
struct FaultyBlocks {
    blocks: Arc<dyn Blocks>,
    fault: Fault,
    path: String,
}

impl Blocks for FaultyBlocks {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            meet(&self.fault, Touch::Read, &self.path)?;
            self.blocks.read(offset, most).await
        })
    }

    fn was_good(&self) {
        self.blocks.was_good();
    }
}

impl Backend for Faulty {
    fn bulk(&self) -> &dyn Bulk {
        self.backend.bulk()
    }

    fn load<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        Box::pin(async move {
            self.meet(Touch::Load, path)?;
            Ok(match self.backend.load(path, used, admit).await? {
                Some(LoadedObject::Large(object)) => Some(LoadedObject::Large(LargeObject {
                    blocks: Arc::new(FaultyBlocks {
                        blocks: object.blocks,
                        fault: self.fault.clone(),
                        path: path.to_owned(),
                    }),
                    ..object
                })),
                loaded @ (Some(LoadedObject::Taken(_)) | None) => loaded,
            })
        })
    }

    fn save<'a>(
        &'a self,
        path: &'a str,
        pieces: Vec<Bytes>,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.meet(Touch::Save, path)?;
            self.backend.save(path, pieces, late).await
        })
    }

    fn temporary(&self) -> BoxFuture<'_, Result<OnDisk<NamedTempFile>>> {
        Box::pin(async {
            self.meet(Touch::Save, "a temporary file")?;
            self.backend.temporary().await
        })
    }

    fn commit<'a>(
        &'a self,
        path: &'a str,
        spool: Spool,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.meet(Touch::Save, path)?;
            self.backend.commit(path, spool, late).await
        })
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        version: &'a ObjectVersion,
    ) -> BoxFuture<'a, Result<Removal>> {
        self.backend.remove(path, version)
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<Stored>>> {
        Box::pin(async move {
            self.meet(Touch::List, folder)?;
            self.backend.list(folder).await
        })
    }

    fn names_in<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<BTreeSet<String>>> {
        Box::pin(async move {
            self.meet(Touch::List, folder)?;
            self.backend.names_in(folder).await
        })
    }

    fn size<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        self.backend.size(path, used)
    }

    fn require(&self) -> BoxFuture<'_, Result<()>> {
        self.backend.require()
    }

    fn mark(&self) -> BoxFuture<'_, Option<Mark>> {
        self.backend.mark()
    }

    fn announce(&self) -> BoxFuture<'_, Result<()>> {
        self.backend.announce()
    }

    fn note_missed<'a>(
        &'a self,
        request: &'a MissedRequest,
        most: usize,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<()>> {
        self.backend.note_missed(request, most, now)
    }

    fn missed(&self) -> BoxFuture<'_, Result<Vec<(MissedRequest, SystemTime)>>> {
        self.backend.missed()
    }

    fn forget_missed<'a>(&'a self, request: &'a MissedRequest) -> BoxFuture<'a, Result<()>> {
        self.backend.forget_missed(request)
    }

    fn load_shared<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        Box::pin(async move {
            self.meet(Touch::Load, path)?;
            self.backend.load_shared(path, used, admit).await
        })
    }

    fn board(&self) -> Option<Arc<dyn Board>> {
        self.backend.board()
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        self.backend.settle()
    }

    fn signs_urls(&self) -> bool {
        self.backend.signs_urls()
    }

    fn signed_url<'a>(
        &'a self,
        path: &'a str,
        asks: Signed,
    ) -> BoxFuture<'a, Result<Option<Secret>>> {
        self.backend.signed_url(path, asks)
    }
}
