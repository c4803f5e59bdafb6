//! [`Backend`] and [`Bulk`]: what a store needs of the place that holds its objects, a folder or something else.
//!
//! A backend keeps bytes under paths, which keys make, and says how it fares. It checks nothing, counts nothing and says nothing to the log about failures:
//! that is the store's part and the same for all of them. What is particular about a place stays behind these traits, the threads that wait for a disk just
//! as requests to a server.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use tempfile::NamedTempFile;

use super::{
    blocks::Blocks,
    board::Board,
    disk::OnDisk,
    failed::failed,
    mark::Mark,
    odd::Odd,
    removal::Removal,
    sight::{Links, Next, Sight, Stored},
    signed::Signed,
    spool::Spool,
    version::ObjectVersion,
};
use crate::{
    domain::MissedRequest,
    error::{Error, Result},
    secret::Secret,
};

/// Asked whether there is memory for an object of so many bytes; if so, it gives what takes them.
pub(super) type Admit = Box<dyn FnOnce(u64) -> Option<TakeBytes> + Send>;

/// Takes an object's bytes and checks them, which takes a while: to be called where they were read, on a thread that may block.
pub(super) type TakeBytes = Box<dyn FnOnce(Bytes) -> CheckVerdict + Send>;

/// What came of a check, for a backend that keeps copies: only what is good is worth one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckVerdict {
    Good,
    Wrong,
}

/// Told when a write takes longer than it may and goes on all the same.
pub(super) type Late<'a> = &'a (dyn Fn(&Error) + Send + Sync);

/// What serving needs. An operation whose future is dropped may go on; one that returns an error of kind [`Store`](crate::error::Kind::Store) has failed or
/// wasn't begun, and takes no longer than the backend lets the storage take without getting on. Only a write waits for its end: of two under one path, the
/// later one must not end first.
pub(super) trait Backend: Send + Sync {
    /// The same storage for jobs; of several places, the one that has everything.
    fn bulk(&self) -> &dyn Bulk;

    /// Reads the object under `path`, all of it if it is admitted; `None` when there is none. It counts as used from `used` on; without that time it is
    /// left as it is, and its version isn't good for removing it.
    fn load<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>>;

    /// Makes `pieces`, one after the other, the object under `path`, in one step.
    fn save<'a>(
        &'a self,
        path: &'a str,
        pieces: Vec<Bytes>,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>>;

    /// A file on a disk of this machine, for bytes that are to be an object when all of them have come.
    fn temporary(&self) -> BoxFuture<'_, Result<OnDisk<NamedTempFile>>>;

    /// Makes what was spooled into such a file the object under `path`, in one step.
    fn commit<'a>(
        &'a self,
        path: &'a str,
        spool: Spool,
        late: Late<'a>,
    ) -> BoxFuture<'a, Result<()>>;

    /// Removes the object under `path` if it is of that version, and with it what is kept beside it ([`license_path`](crate::domain::license_path)).
    fn remove<'a>(
        &'a self,
        path: &'a str,
        version: &'a ObjectVersion,
    ) -> BoxFuture<'a, Result<Removal>>;

    /// The objects right in `folder`, in no particular order; none when there is no such folder.
    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<Stored>>>;

    /// The names right in `folder`, those of folders and of objects; none when there is no such folder.
    fn names_in<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<BTreeSet<String>>>;

    /// The size of the object under `path`, which counts as used from `used` on if that is given; `None` when there is none.
    fn size<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
    ) -> BoxFuture<'a, Result<Option<u64>>>;

    /// Fails when the storage as a whole isn't there.
    fn require(&self) -> BoxFuture<'_, Result<()>>;

    /// Asks each place that it consists of for something small; fails when one of them doesn't answer.
    fn look(&self) -> BoxFuture<'_, Result<()>> {
        self.require()
    }

    /// The mark of change; `None` when the storage can't say.
    fn mark(&self) -> BoxFuture<'_, Option<Mark>>;

    /// Gives the store another mark, which every process that uses it will see.
    fn announce(&self) -> BoxFuture<'_, Result<()>>;

    /// Notes a missed request, or, if it is noted already, that it was missed again at `now`. Beyond `most` it takes no more.
    fn note_missed<'a>(
        &'a self,
        request: &'a MissedRequest,
        most: usize,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<()>>;

    /// All that are noted, each with when it was missed last.
    fn missed(&self) -> BoxFuture<'_, Result<Vec<(MissedRequest, SystemTime)>>>;

    /// Forgets a missed request, in whichever spelling it is noted.
    fn forget_missed<'a>(&'a self, request: &'a MissedRequest) -> BoxFuture<'a, Result<()>>;

    /// Waits until nothing that was saved is still on its way.
    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// The same as [`load`](Self::load) from where those who share the storage all see it, whatever is nearer.
    fn load_shared<'a>(
        &'a self,
        path: &'a str,
        used: Option<SystemTime>,
        admit: Admit,
    ) -> BoxFuture<'a, Result<Option<LoadedObject>>> {
        self.load(path, used, admit)
    }

    /// Where those who share the storage tell each other something.
    fn board(&self) -> Option<Arc<dyn Board>> {
        None
    }

    /// Whether it ever says where a client may get an object by itself.
    fn signs_urls(&self) -> bool {
        false
    }

    /// Where a client may get the object under `path` by itself, if this storage lets clients in, and this process knows that it has it and that it is good,
    /// and has it no nearer.
    fn signed_url<'a>(
        &'a self,
        _path: &'a str,
        _asks: Signed,
    ) -> BoxFuture<'a, Result<Option<Secret>>> {
        Box::pin(ready(Ok(None)))
    }
}

/// What jobs need that go over a whole store: exports, imports, eviction, verification. All of it blocks, for as long as the storage takes.
pub(super) trait Bulk: Send + Sync {
    /// Shows everything stored to `visit`, in no particular order, and does with each object as it says. Needs no more memory for a million objects than
    /// for a hundred.
    fn walk(&self, links: Links, visit: &mut dyn FnMut(Sight) -> Next);

    /// The names right in `folder`, or of the registries when it is empty; none when there is no such folder.
    fn names(&self, folder: &str) -> Result<BTreeSet<String>>;

    /// What is known of the object at `path` without reading it; `None` when there is none.
    fn info(&self, path: &str) -> Result<Option<ObjectInfo>>;

    /// Opens the object under `path`. It doesn't count as used.
    fn open(&self, path: &str) -> io::Result<Opening>;

    /// A place for an object's bytes.
    fn incoming(&self) -> Result<Box<dyn IncomingBytes>>;

    /// Waits until everything published so far outlasts a power cut, if this store promises that.
    fn flush(&self) -> Result<()>;

    /// A file without a name, gone when it is closed, for what a job has to remember but not in memory.
    fn scratch(&self) -> Result<File>;

    /// How to call what is at `path` in messages to people.
    fn locate(&self, path: &str) -> String;
}

/// An object that was found under its path.
pub(super) enum LoadedObject {
    /// It was admitted, and who admitted it has its bytes.
    Taken(ObjectVersion),
    /// There was no memory for it.
    Large(LargeObject),
}

/// An object to be read block by block. Cheap to clone.
#[derive(Clone)]
pub(super) struct LargeObject {
    /// As it was when the object was opened.
    pub(super) length: u64,
    pub(super) version: ObjectVersion,
    pub(super) blocks: Arc<dyn Blocks>,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectInfo {
    /// Its size in bytes.
    pub(super) size: u64,
    /// When it was put here, or, if that isn't known, when it was last used, which is later.
    pub(super) stored: SystemTime,
}

/// What a job finds under a path.
pub(super) enum Opening {
    Object(OpenObject),
    Odd(Odd),
    Nothing,
}

/// An object, open for a job to read.
pub(super) struct OpenObject {
    pub(super) bytes: Box<dyn ObjectBytes>,
    pub(super) size: u64,
    pub(super) version: ObjectVersion,
}

/// The bytes of an object, one after the other.
pub(super) trait ObjectBytes: Read + Send {
    /// Whether nobody has written into it since it was opened.
    fn is_unchanged(&self) -> bool;
}

/// An object's bytes on their way into the store; dropped, they leave nothing.
pub(super) trait IncomingBytes: Write + Send {
    /// No more are to come.
    fn finish(self: Box<Self>) -> Result<Box<dyn StagedBytes>>;
}

/// All bytes of an object that has no path yet; dropped, they leave nothing. There may be a thousand at once, so that none keeps a file open.
pub(super) trait StagedBytes: Send {
    /// Makes them the object under `path`, in one step, which lasts only once the store was [flushed](Bulk::flush).
    fn publish(self: Box<Self>, path: &str) -> Result<()>;
}

/// A file without a name where this machine keeps temporary ones, which is not in the store.
pub(super) fn scratch_elsewhere() -> Result<File> {
    tempfile::tempfile().map_err(|e| failed("writing into", &std::env::temp_dir(), e))
}
