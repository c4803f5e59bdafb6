//! [`Requests`]: how a bucket is asked: within a time limit, as long as its circuit is closed, counted.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    Error as ObjectError, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    layout,
    layout_look::{LayoutLook, LayoutVerdict},
    places::Places,
    trouble::{BucketTrouble, said},
};
use crate::{
    circuit::{CircuitPass, Circuits, Resource},
    domain::Key,
    error::{Error, Kind, Result},
    metrics::Metrics,
};

/// What is sent in a second at the least, in bytes: a body that comes or goes more slowly hangs.
const SLOWEST: u64 = 128 << 10;
/// So many requests are under way at once, as with a registry.
const AT_ONCE: usize = 64;
/// A listing of one folder may take so many times as long as one thing.
const PAGES: u32 = 4;

/// What a bucket is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketOperation {
    Get,
    Head,
    Put,
    List,
    Delete,
}

impl BucketOperation {
    const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Put, Self::List, Self::Delete];

    /// The word used in metrics.
    fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }

    /// What is being done, as the beginning of a sentence.
    fn doing(self) -> &'static str {
        match self {
            Self::Get => "reading",
            Self::Head => "looking at",
            Self::Put => "writing",
            Self::List => "listing",
            Self::Delete => "removing",
        }
    }
}

/// What may come of an operation, with its name, as metrics have it.
fn results(operation: BucketOperation) -> impl Iterator<Item = [&'static str; 2]> {
    let nothing = [Nothing::Missing, Nothing::Other].map(Nothing::label);
    let troubles = BucketTrouble::ALL.map(BucketTrouble::label);
    let results = ["ok"].into_iter().chain(nothing).chain(troubles);
    results.map(move |result| [operation.label(), result])
}

/// Who asks a bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    places: Places,
    circuits: Arc<Circuits>,
    layout: LayoutLook,
    limit: Duration,
    answers: AtomicBool,
    permits: Semaphore,
    metrics: Arc<Metrics>,
}

impl Requests {
    pub(super) fn new(
        objects: Arc<dyn ObjectStore>,
        places: Places,
        limit: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.begin_bucket(BucketOperation::ALL.into_iter().flat_map(results));
        Self(Arc::new(Inner {
            objects,
            places,
            circuits: Arc::default(),
            layout: LayoutLook::default(),
            limit,
            answers: AtomicBool::new(true),
            permits: Semaphore::new(AT_ONCE),
            metrics,
        }))
    }

    pub(super) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.0.objects
    }

    pub(super) fn places(&self) -> &Places {
        &self.0.places
    }

    /// How long the bucket may take over one thing without getting on.
    pub(super) fn limit(&self) -> Duration {
        self.0.limit
    }

    /// Whether the last request was answered.
    pub(super) fn answers(&self) -> bool {
        self.0.answers.load(Ordering::Acquire)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What there is at `path`, without its bytes.
    pub(super) async fn head(&self, path: &str) -> Result<Option<ObjectMeta>> {
        self.ready().await?;
        let at = self.0.places.at(path)?;
        let head = self.0.objects.head(&at);
        self.attempt(BucketOperation::Head, path, self.0.limit, head)
            .await
    }

    /// Writes an object in one request.
    pub(super) async fn put(&self, path: &str, payload: PutPayload) -> Result<()> {
        self.ready().await?;
        self.put_unready(path, payload).await
    }

    async fn put_unready(&self, path: &str, payload: PutPayload) -> Result<()> {
        let at = self.0.places.at(path)?;
        let bytes = payload.content_length() as u64;
        let put = self.0.objects.put(&at, payload);
        self.attempt(BucketOperation::Put, path, self.limit_for(bytes), put)
            .await?
            .ok_or_else(|| self.refused(BucketOperation::Put, path))?;
        self.0.metrics.bucket_sent_bytes.inc_by(bytes);
        Ok(())
    }

    /// Removes an object, whichever it is.
    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        self.ready().await?;
        let at = self.0.places.at(path)?;
        let delete = self.0.objects.delete(&at);
        let deleted = self.attempt(BucketOperation::Delete, path, self.0.limit, delete);
        deleted.await.map(drop)
    }

    /// Does anything else within the time that so many bytes may take.
    pub(super) async fn with<T>(
        &self,
        operation: BucketOperation,
        path: &str,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        self.ready().await?;
        let done = self.attempt(operation, path, self.limit_for(bytes), request);
        done.await?.ok_or_else(|| self.refused(operation, path))
    }

    /// How long so many bytes may take.
    pub(super) fn limit_for(&self, bytes: u64) -> Duration {
        self.0.limit + Duration::from_millis(bytes * 1_000 / SLOWEST)
    }

    fn refused(&self, operation: BucketOperation, path: &str) -> Error {
        let (doing, at) = (operation.doing(), self.0.places.locate(path));
        Error::store(format!(
            "{doing} {at} failed: the bucket says that there is nothing"
        ))
    }

    /// Makes sure that the objects are laid out as this program knows it, and that it is written there how they are.
    pub(super) async fn ready(&self) -> Result<()> {
        let this = self.clone();
        let verdict = self.0.layout.verdict(|| this.look_at_layout());
        verdict.await
    }

    async fn look_at_layout(self) -> Result<LayoutVerdict> {
        let at = self.0.places.at(layout::LAYOUT)?;
        let get = async {
            let got = self.0.objects.get(&at).await?;
            match got.meta.size <= layout::LARGEST {
                true => got.bytes().await,
                false => Ok(Bytes::new()),
            }
        };
        let got = self.attempt(BucketOperation::Get, layout::LAYOUT, self.0.limit, get);
        let Some(object) = got.await? else {
            // Nobody waits for it, and who may only read finds it missing the next time, too.
            tokio::spawn(async move {
                let written = self.put_unready(layout::LAYOUT, layout::written().into());
                if let Err(e) = written.await {
                    tracing::debug!("the version of the layout isn't written: {e}");
                }
            });
            return Ok(Ok(()));
        };
        let read = layout::read(&self.0.places.name(), &object);
        // Only what says so is another one; anything else may be a page that somebody on the way has put into its place.
        match read {
            Err(e) if e.kind() != Kind::Config => Err(e),
            read => Ok(read),
        }
    }

    /// One request: `None` when the answer is that there is nothing, or nothing that meets its conditions.
    pub(super) async fn attempt<T>(
        &self,
        operation: BucketOperation,
        path: &str,
        limit: Duration,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>> {
        let pass = self.pass(operation, path)?;
        // Never closed, so always a permit in time; without one it fails as what isn't answered does.
        let permitted = async {
            let _permit = self.0.permits.acquire().await;
            request.await
        };
        let answered = timeout(limit, permitted).await;
        let (label, done) = match answered {
            Ok(Ok(answer)) => ("ok", Ok(Some(answer))),
            Ok(Err(e)) => match Nothing::of(&e) {
                Some(nothing) => (nothing.label(), Ok(None)),
                None => {
                    let trouble = BucketTrouble::of(&e);
                    (trouble.label(), Err((trouble, Some(e))))
                }
            },
            Err(_) => {
                let late = BucketTrouble::Late;
                (late.label(), Err((late, None)))
            }
        };
        self.0.metrics.bucket_request(operation.label(), label);
        self.0.answers.store(done.is_ok(), Ordering::Release);
        match done {
            Ok(answer) => {
                pass.succeeded();
                self.note_circuit();
                Ok(answer)
            }
            Err((trouble, error)) => Err(self.failed(pass, operation, path, trouble, error)),
        }
    }

    /// Leave to send a request.
    fn pass(&self, operation: BucketOperation, path: &str) -> Result<CircuitPass> {
        let name = self.0.places.name();
        // A bucket that takes nothing may be read all the same.
        match operation {
            BucketOperation::Get | BucketOperation::Head | BucketOperation::List => {
                self.pass_of(&name, path)
            }
            BucketOperation::Put | BucketOperation::Delete => {
                self.pass_of(&format!("{name} (writing)"), path)
            }
        }
    }

    /// Leave to read a body. It may hang after every head, and where large ones do, small ones may come: each has a circuit of its own, which heads and
    /// other requests don't close.
    pub(super) fn body_pass(&self, path: &str) -> Result<CircuitPass> {
        let name = self.0.places.name();
        match Key::from_path(path) {
            Some(Key::File(_)) => self.pass_of(&format!("{name} (files)"), path),
            Some(Key::Record(_)) | None => self.pass_of(&format!("{name} (records)"), path),
        }
    }

    fn pass_of(&self, name: &str, path: &str) -> Result<CircuitPass> {
        let (circuits, now) = (&self.0.circuits, Instant::now());
        let pass = circuits.pass(name, Resource::at(path), now);
        pass.map_err(|_| {
            Error::store(format!(
                "{name} has failed too often lately and isn't asked at the moment"
            ))
        })
    }

    /// Has the failures of [`unsigned`](Self::unsigned) among what is counted, at 0.
    pub(super) fn begin_signing(&self) {
        let failures = BucketTrouble::ALL.map(|trouble| ["sign", trouble.label()]);
        self.0.metrics.begin_bucket(failures);
    }

    /// Notes that no URL could be signed: there may be no key to sign with, or the machine's role isn't told in time.
    pub(super) fn unsigned(&self, path: &str, error: &ObjectError) -> Error {
        let trouble = BucketTrouble::of(error);
        self.0.metrics.bucket_request("sign", trouble.label());
        let at = self.0.places.locate(path);
        let failed = Error::store(format!(
            "no URL could be signed for {at}: {}",
            trouble.words()
        ));
        failed.because(said(error))
    }

    /// Notes that all of a body has come, or enough of it.
    pub(super) fn body_came(&self, pass: CircuitPass) {
        pass.succeeded();
        self.note_circuit();
    }

    /// Notes that a body broke off, or didn't get on. Whoever has told before how it went has no pass any more.
    pub(super) fn body_broke_off(
        &self,
        pass: Option<CircuitPass>,
        path: &str,
        error: Option<ObjectError>,
    ) -> Error {
        let pass = pass.map_or_else(|| self.body_pass(path), Ok);
        self.broke_off(pass, BucketOperation::Get, path, error)
    }

    /// Notes that an answer broke off, or didn't get on.
    fn broke_off(
        &self,
        pass: Result<CircuitPass>,
        operation: BucketOperation,
        path: &str,
        error: Option<ObjectError>,
    ) -> Error {
        let trouble = error
            .as_ref()
            .map_or(BucketTrouble::Late, BucketTrouble::of);
        self.0
            .metrics
            .bucket_request(operation.label(), trouble.label());
        match pass {
            Ok(pass) => self.failed(pass, operation, path, trouble, error),
            Err(resting) => resting,
        }
    }

    fn failed(
        &self,
        pass: CircuitPass,
        operation: BucketOperation,
        path: &str,
        trouble: BucketTrouble,
        error: Option<ObjectError>,
    ) -> Error {
        let (doing, at) = (operation.doing(), self.0.places.locate(path));
        let mut failed = Error::store(format!("{doing} {at} failed: {}", trouble.words()));
        if let Some(error) = error {
            failed = failed.because(said(&error));
        }
        pass.failed(trouble.failure(), &failed, Instant::now());
        self.note_circuit();
        failed
    }

    fn note_circuit(&self) {
        let open = self.0.circuits.is_any_open();
        self.0.metrics.bucket_circuit_open.set(i64::from(open));
    }

    /// Everything below `folder`, page by page as it is asked for.
    pub(super) async fn listing(&self, folder: &str) -> Result<ObjectListing> {
        self.ready().await?;
        // A listing is no way to find out whether the bucket is back: its pages come later.
        drop(self.pass(BucketOperation::List, folder)?);
        let at = self.0.places.at(folder)?;
        let at = (!at.is_root()).then_some(&at);
        Ok(ObjectListing {
            stream: self.0.objects.list(at),
            folder: folder.to_owned(),
            requests: self.clone(),
        })
    }

    /// What is right in `folder`: the objects, and the names of folders.
    pub(super) async fn list(&self, folder: &str) -> Result<ListResult> {
        self.ready().await?;
        let at = self.0.places.at(folder)?;
        let at = (!at.is_root()).then_some(&at);
        let list = self.0.objects.list_with_delimiter(at);
        // However many pages there are: a crate has few, and the whole store is listed in folders.
        let limit = self.0.limit * PAGES;
        let listed = self.attempt(BucketOperation::List, folder, limit, list);
        listed
            .await?
            .ok_or_else(|| self.refused(BucketOperation::List, folder))
    }

    /// The names right in `folder`, those of folders and of objects.
    pub(super) async fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        let listed = self.list(folder).await?;
        let objects = listed.objects.iter().map(|meta| &meta.location);
        let names = listed.common_prefixes.iter().chain(objects);
        let names = names.filter_map(|at| at.filename());
        Ok(names.map(str::to_owned).collect())
    }
}

/// Objects in no particular order, some hundreds of which are known at a time.
pub(super) struct ObjectListing {
    stream: BoxStream<'static, object_store::Result<ObjectMeta>>,
    folder: String,
    requests: Requests,
}

impl ObjectListing {
    /// The next one; after an error there is none.
    pub(super) async fn next(&mut self) -> Option<Result<ObjectMeta>> {
        let (requests, operation) = (&self.requests, BucketOperation::List);
        let next = timeout(requests.0.limit, self.stream.next()).await;
        let error = match next {
            Ok(None) => return None,
            Ok(Some(Ok(meta))) => return Some(Ok(meta)),
            Ok(Some(Err(e))) => Some(e),
            Err(_) => None,
        };
        self.stream = stream::empty().boxed();
        let pass = requests.pass(operation, &self.folder);
        Some(Err(requests.broke_off(
            pass,
            operation,
            &self.folder,
            error,
        )))
    }
}

/// An answer that says that there is nothing.
#[derive(Clone, Copy)]
enum Nothing {
    /// No such object.
    Missing,
    /// None that meets the conditions.
    Other,
}

impl Nothing {
    fn of(error: &ObjectError) -> Option<Self> {
        match error {
            ObjectError::NotFound { .. } if BucketTrouble::of(error) == BucketTrouble::NoBucket => {
                None
            }
            ObjectError::NotFound { .. } => Some(Self::Missing),
            ObjectError::Precondition { .. } | ObjectError::NotModified { .. } => Some(Self::Other),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Other => "unchanged",
        }
    }
}
