//! [`FolderBackend`]: a folder as what a store asks of a [`Backend`], with the threads on which its disk is waited for.

use std::{collections::BTreeSet, fs::File, io, path::Path, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use tempfile::NamedTempFile;

use super::{
    files::Files,
    identity::Seen,
    incoming::incoming,
    mark::MARK,
    missed::path_of,
    read::FoundFile,
    settings::FolderSettings,
    usable::{require_readable, require_writable, unusable, why_unwritable},
};
use crate::{
    domain::MissedRequest,
    error::{Error, Result},
    store::{
        backend::{
            Admit, Backend, Bulk, IncomingBytes, LargeObject, Late, LoadedObject, ObjectInfo,
            Opening,
        },
        blocking::blocking,
        disk::{Disk, OnDisk, Pulse, Touch},
        failed::{failed, failed_at},
        file_blocks::FileBlocks,
        mark::Mark,
        removal::Removal,
        sight::{Links, Next, Sight, Stored},
        spool::Spool,
        version::ObjectVersion,
    },
};

/// A folder and the threads for its disk.
pub(in crate::store) struct FolderBackend {
    files: Arc<Files>,
    disk: Disk,
}

impl FolderBackend {
    /// The folder, which nobody has looked at yet.
    pub(in crate::store) fn new(settings: FolderSettings) -> Self {
        Self {
            files: Arc::new(Files::new(settings.root, settings.sync)),
            disk: settings.disk,
        }
    }

    /// Fails when the folder can't be looked through. Blocks.
    pub(in crate::store) fn require_readable(&self) -> Result<()> {
        require_readable(&self.files)
    }

    /// Makes the folder when it is missing, and fails when it can't be written to. Blocks.
    pub(in crate::store) fn require_writable(&self, now: SystemTime) -> Result<()> {
        require_writable(&self.files, now)
    }

    /// Makes the folder when it is missing, and finds out why it can't be written to, if so. It waits for that as long as the disk may take over one thing.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when there is none and none can be made, and when it may neither be written to nor looked through.
    pub(in crate::store) fn why_unwritable(&self, now: SystemTime) -> Result<Option<Error>> {
        let (tell, told) = std::sync::mpsc::channel();
        let files = self.files.clone();
        // On a thread of its own: a dead mount keeps it for good.
        std::thread::spawn(move || tell.send(why_unwritable(&files, now)));
        let in_time = told.recv_timeout(self.disk.stall_timeout());
        in_time.unwrap_or_else(|_| {
            let why = unusable(self.files.root(), &"its disk doesn't answer");
            Ok(Some(Error::store(why)))
        })
    }

    /// Does `work` with the file at `path` on one of the disk's threads.
    fn run<'a, T: Send + 'static>(
        &'a self,
        what: Touch,
        path: &'a str,
        work: impl FnOnce(&Files, &Pulse) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'a, Result<T>> {
        let files = self.files.clone();
        let work = move |pulse: &Pulse| work(&files, pulse);
        Box::pin(self.disk.run(what, path, work))
    }

    /// Writes, and waits until that has come to its end however long it takes: of two writes under the same path, the later one must not end first. Nobody
    /// who asked for an object waits for this. How much memory such writes hold is bounded by how many there can be; a disk that hangs refuses more.
    fn to_its_end<'a>(
        &'a self,
        path: &'a str,
        late: Late<'a>,
        write: impl FnOnce(&Files) -> Result<()> + Send + 'static,
    ) -> BoxFuture<'a, Result<()>> {
        let files = self.files.clone();
        Box::pin(async move {
            let write = move |_: &Pulse| write(&files);
            let mut working = self.disk.begin(Touch::Save, path, write).await?;
            if let Some(done) = working.in_time().await {
                return done;
            }
            late(&working.late());
            working.ended().await
        })
    }
}

impl Backend for FolderBackend {
    fn bulk(&self) -> &dyn Bulk {
        self
    }

    fn load<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        let (at, disk) = (path.to_owned(), self.disk.clone());
        self.run(Touch::Load, path, move |files, pulse| {
            let found = files.load(&at, used, pulse, admit)?;
            Ok(found.map(|found| match found {
                FoundFile::Taken(seen) => LoadedObject::Taken(seen.version()),
                FoundFile::Large { file, length, seen } => LoadedObject::Large(LargeObject {
                    length,
                    version: seen.version(),
                    blocks: Arc::new(FileBlocks {
                        file: file.into(),
                        path: at,
                        disk,
                    }),
                }),
            }))
        })
    }

    fn save<'a>(
        &'a self,
        path: &'a str,
        pieces: Vec<Bytes>,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        let at = path.to_owned();
        self.to_its_end(path, late, move |files| files.save(&at, &pieces))
    }

    fn temporary(&self) -> BoxFuture<'_, Result<OnDisk<NamedTempFile>>> {
        Box::pin(async {
            let make = |files: &Files, _: &Pulse| {
                let made = files.temporary();
                made.map_err(|e| failed_at("making a temporary file", e))
            };
            let file = self.run(Touch::Save, "a new temporary file", make).await?;
            let name = file.path().display().to_string();
            Ok(OnDisk::new(file, name, self.disk.clone()))
        })
    }

    fn commit<'a>(
        &'a self,
        path: &'a str,
        spool: Spool,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        let at = path.to_owned();
        self.to_its_end(path, late, move |files| {
            let publish = |file| files.publish(file, &at);
            spool
                .persist(publish)?
                .map_err(|e| failed("writing", Path::new(&at), e))
        })
    }

    fn remove<'a>(
        &'a self,
        path: &'a str,
        version: &'a ObjectVersion,
    ) -> BoxFuture<'a, Result<Removal>> {
        if Seen::of_version(version) == Seen::Fresh {
            return Box::pin(ready(Ok(Removal::Written)));
        }
        let (at, version) = (path.to_owned(), version.clone());
        let remove = move |files: &Files, _: &Pulse| files.remove(&at, &version);
        self.run(Touch::Remove, path, remove)
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<Stored>>> {
        let at = folder.to_owned();
        self.run(Touch::List, folder, move |files, _| files.list(&at))
    }

    fn names_in<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<BTreeSet<String>>> {
        let at = folder.to_owned();
        self.run(Touch::List, folder, move |files, _| files.names(&at))
    }

    fn size<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        let at = path.to_owned();
        self.run(Touch::Look, path, move |files, _| match used {
            None => files.size(&at),
            Some(now) => files.mark_used(&at, now),
        })
    }

    fn require(&self) -> BoxFuture<'_, Result<()>> {
        let look = |files: &Files, _: &Pulse| match files.is_there() {
            true => Ok(()),
            false => Err(Error::store(format!(
                "the folder {} is gone",
                files.root().display()
            ))),
        };
        self.run(Touch::Look, "the store's folder", look)
    }

    fn mark(&self) -> BoxFuture<'_, Option<Mark>> {
        Box::pin(async {
            let look = |files: &Files, _: &Pulse| Ok(files.mark());
            self.run(Touch::Look, MARK, look).await.ok().flatten()
        })
    }

    fn announce(&self) -> BoxFuture<'_, Result<()>> {
        self.run(Touch::Save, MARK, |files, _| files.announce())
    }

    fn note_missed<'a>(
        &'a self,
        request: &'a MissedRequest,
        most: usize,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<()>> {
        let (path, request) = (path_of(request), *request);
        Box::pin(async move {
            let note = move |files: &Files, _: &Pulse| files.note_missed(&request, most, now);
            self.run(Touch::Save, &path, note).await
        })
    }

    fn missed(&self) -> BoxFuture<'_, Result<Vec<(MissedRequest, SystemTime)>>> {
        let files = self.files.clone();
        Box::pin(async move { blocking(move || files.missed()).await? })
    }

    fn forget_missed<'a>(&'a self, request: &'a MissedRequest) -> BoxFuture<'a, Result<()>> {
        let (path, request) = (path_of(request), *request);
        Box::pin(async move {
            let forget = move |files: &Files, _: &Pulse| files.forget_missed(&request);
            self.run(Touch::Remove, &path, forget).await
        })
    }
}

impl Bulk for FolderBackend {
    fn walk(&self, links: Links, visit: &mut dyn FnMut(Sight) -> Next) {
        self.files.walk(links, visit);
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        self.files.names(folder)
    }

    fn info(&self, path: &str) -> Result<Option<ObjectInfo>> {
        self.files.info(path)
    }

    fn open(&self, path: &str) -> io::Result<Opening> {
        self.files.open(path)
    }

    fn incoming(&self) -> Result<Box<dyn IncomingBytes>> {
        incoming(&self.files)
    }

    fn flush(&self) -> Result<()> {
        self.files.sync_all()
    }

    fn scratch(&self) -> Result<File> {
        self.files.scratch()
    }

    fn locate(&self, path: &str) -> String {
        self.files.at(path).display().to_string()
    }
}
