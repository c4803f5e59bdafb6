//! [`Unwell`]: objects in memory whose service does what a test makes it do instead of what it was asked: fail, refuse or hang.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};

/// What is done with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketRequest {
    Get,
    Put,
    Delete,
    List,
}

/// What it does instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// "503 SlowDown".
    SlowDown,
    /// "403 AccessDenied".
    Denied,
    /// Nothing, for ever.
    Hangs,
    /// What it is asked to read, half of it, and then nothing for ever.
    HangsInTheMiddle,
}

type Mood = Box<dyn Fn(BucketRequest, &str) -> Option<Instead> + Send + Sync>;

/// Objects in memory, and a service before them.
#[derive(Clone)]
pub(super) struct Unwell {
    objects: Arc<InMemory>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<(BucketRequest, String)>>>,
}

impl Unwell {
    pub(super) fn new() -> Self {
        let well: Mood = Box::new(|_, _| None);
        Self {
            objects: Arc::default(),
            mood: Arc::new(Mutex::new(well)),
            asked: Arc::default(),
        }
    }

    /// From now on it does this.
    pub(super) fn when(
        &self,
        mood: impl Fn(BucketRequest, &str) -> Option<Instead> + Send + Sync + 'static,
    ) {
        *self.mood.lock().expect("no panic") = Box::new(mood);
    }

    /// From now on it does what it is asked.
    pub(super) fn well(&self) {
        self.when(|_, _| None);
    }

    /// How often it was asked to do that with an object whose path has this in it.
    pub(super) fn count(&self, what: BucketRequest, part: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        let counted = asked
            .iter()
            .filter(|(a, at)| *a == what && at.contains(part));
        counted.count()
    }

    /// What is there, unasked.
    pub(super) fn objects(&self) -> &InMemory {
        &self.objects
    }

    fn mood(&self, what: BucketRequest, at: &Path) -> Option<Instead> {
        self.mood.lock().expect("no panic")(what, at.as_ref())
    }

    async fn meet(&self, what: BucketRequest, at: &Path) -> Result<()> {
        let met = self.mood(what, at);
        let asked = (what, at.to_string());
        self.asked.lock().expect("no panic").push(asked);
        let code = match met {
            None | Some(Instead::HangsInTheMiddle) => return Ok(()),
            Some(Instead::Hangs) => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                "Hung"
            }
            Some(Instead::SlowDown) => "SlowDown",
            Some(Instead::Denied) => "AccessDenied",
        };
        Err(Error::Generic {
            store: "S3",
            source: format!("<Error><Code>{code}</Code></Error>").into(),
        })
    }
}

/// An answer of which one half never comes.
fn half_of(got: GetResult) -> GetResult {
    let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
    let half = got
        .into_stream()
        .map(|bytes| bytes.map(|bytes| bytes.slice(..bytes.len() / 2)));
    let never = stream::once(futures_util::future::pending());
    GetResult {
        payload: GetResultPayload::Stream(half.chain(never).boxed()),
        meta,
        range,
        attributes,
        extensions: Default::default(),
    }
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwell")
    }
}

impl fmt::Debug for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwell")
    }
}

#[async_trait]
impl ObjectStore for Unwell {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.meet(BucketRequest::Put, location).await?;
        self.objects.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.meet(BucketRequest::Put, location).await?;
        self.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meet(BucketRequest::Get, location).await?;
        let got = self.objects.get_opts(location, options).await?;
        match self.mood(BucketRequest::Get, location) {
            Some(Instead::HangsInTheMiddle) => Ok(half_of(got)),
            Some(_) | None => Ok(got),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let met = locations.then(move |location| {
            let this = this.clone();
            async move {
                let location = location?;
                this.meet(BucketRequest::Delete, &location).await?;
                Ok(location)
            }
        });
        self.objects.delete_stream(met.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, at) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = self.objects.list(prefix);
        let met = stream::once(async move { this.meet(BucketRequest::List, &at).await });
        let refused = met.filter_map(|met| async { met.err().map(Err) });
        refused.chain(listed).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meet(BucketRequest::List, prefix.unwrap_or(&Path::ROOT))
            .await?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
