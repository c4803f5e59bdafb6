//! The bucket of the simulation: it keeps nothing of crate files but that they are there, because their bytes follow from their names, and counts requests.
//!
//! A full one has every crate file and every index record without keeping any, as if a day of builds had been there before.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    domain::{Sha256, Validators},
    store::StoreRecord,
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};

use crate::population::{IndexFiles, changes, file, number, tag};

/// How old the oldest confirmation in a full bucket is: then records are written anew (`SHARED_GRAIN` in src/mirror/index/copies.rs).
const OLDEST: Duration = Duration::from_secs(12 * 3600);

/// What it was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) crates_read: AtomicU64,
    pub(crate) crates_missed: AtomicU64,
    pub(crate) crates_written: AtomicU64,
    pub(crate) index_read: AtomicU64,
    pub(crate) index_missed: AtomicU64,
    pub(crate) index_written: AtomicU64,
    /// Anything else that is charged like a read: marks, the layout, HEAD.
    pub(crate) other_reads: AtomicU64,
    /// Anything else that is charged like a write: lists, marks.
    pub(crate) other_writes: AtomicU64,
    /// Bytes of notes that were read.
    pub(crate) note_bytes: AtomicU64,
    /// Bytes of what is stored, as large as they would be without scale.
    pub(crate) stored: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    inner: InMemory,
    pub(crate) asked: Arc<Asked>,
    scale: u64,
    full: Option<Full>,
}

/// What is in a full one.
#[derive(Debug)]
struct Full {
    files: Arc<IndexFiles>,
    since: SystemTime,
    /// Its records were confirmed some time within this before the oldest are due to be written anew.
    spread: Duration,
}

impl Bucket {
    /// An empty one.
    pub(crate) fn new(scale: u64) -> Bucket {
        Bucket {
            inner: InMemory::new(),
            asked: Arc::default(),
            scale,
            full: None,
        }
    }

    /// One that has everything. Time passes so many times as fast as it should.
    pub(crate) fn full(scale: u64, files: Arc<IndexFiles>, times: u32) -> Bucket {
        Bucket {
            full: Some(Full {
                files,
                since: SystemTime::now(),
                spread: OLDEST / times,
            }),
            ..Bucket::new(scale)
        }
    }

    /// The bytes of a crate file under its key: `…/c0000012/1.2.0.SHA256.crate`.
    fn file(&self, location: &Path) -> Option<Bytes> {
        let mut parts = location.as_ref().rsplit('/');
        let (version, _) = parts.next()?.strip_suffix(".crate")?.rsplit_once('.')?;
        Some(file(number(parts.next()?)?, version, self.scale))
    }

    fn count(&self, location: &Path, is_head: bool, found: Option<&GetResult>) {
        let asked = &*self.asked;
        let counter = match (is_crate(location), is_index(location), found) {
            _ if is_head => &asked.other_reads,
            (true, _, Some(_)) => &asked.crates_read,
            (true, _, None) => &asked.crates_missed,
            (false, true, Some(_)) => &asked.index_read,
            (false, true, None) => &asked.index_missed,
            (false, false, found) => {
                let size = found.map_or(0, |found| found.meta.size);
                asked.note_bytes.fetch_add(size, Relaxed);
                &asked.other_reads
            }
        };
        counter.fetch_add(1, Relaxed);
    }

    /// What a full one has although nobody has put it there.
    fn always(&self, location: &Path) -> Option<Bytes> {
        let full = self.full.as_ref()?;
        match is_crate(location) {
            true => self.file(location),
            false if is_index(location) => full.record(location),
            false => None,
        }
    }
}

impl Full {
    fn record(&self, location: &Path) -> Option<Bytes> {
        let number = number(location.filename()?)?;
        let body = self.files.get(number, changes(number, 0))?;
        // Each has its own moment within the spread.
        let part = (number as u32).wrapping_mul(0x9e37_79b9) as f64 / f64::from(u32::MAX);
        let at = self.since - (OLDEST - self.spread.mul_f64(part));
        let record = StoreRecord {
            sha256: Sha256::of(&body),
            validators: Validators {
                etag: Some(tag(number, changes(number, 0))),
                last_modified: None,
            },
            modified_at: at - Duration::from_secs(24 * 3600),
            checked_at: at,
            gone: false,
            history: Arc::default(),
            sum: None,
            body,
        };
        Some(record.encode().concat().into())
    }
}

/// An answer without a stored object.
fn made(location: &Path, bytes: &Bytes) -> GetResult {
    let size = bytes.len() as u64;
    GetResult {
        payload: GetResultPayload::Stream(stream::iter([Ok(bytes.clone())]).boxed()),
        meta: ObjectMeta {
            location: location.clone(),
            last_modified: SystemTime::UNIX_EPOCH.into(),
            size,
            e_tag: Some("always".to_owned()),
            version: None,
        },
        range: 0..size,
        attributes: Default::default(),
        extensions: Default::default(),
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket that counts")
    }
}

fn is_crate(location: &Path) -> bool {
    location.as_ref().ends_with(".crate")
}

fn is_index(location: &Path) -> bool {
    location.as_ref().contains("/index/")
}

#[async_trait::async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let size = payload.content_length() as u64;
        match (is_crate(location), is_index(location)) {
            (true, _) => {
                self.asked.crates_written.fetch_add(1, Relaxed);
                self.asked.stored.fetch_add(size * self.scale, Relaxed);
                let nothing = PutPayload::from_static(b"");
                self.inner.put_opts(location, nothing, options).await
            }
            (false, true) => {
                self.asked.index_written.fetch_add(1, Relaxed);
                self.inner.put_opts(location, payload, options).await
            }
            (false, false) => {
                self.asked.other_writes.fetch_add(1, Relaxed);
                self.inner.put_opts(location, payload, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.asked.other_writes.fetch_add(1, Relaxed);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (range, is_head) = (options.range.clone(), options.head);
        let whole = GetOptions {
            range: None,
            ..options.clone()
        };
        let (mut found, mut bytes) = (self.inner.get_opts(location, whole).await, None);
        if let (Err(Error::NotFound { .. }), Some(always)) = (&found, self.always(location)) {
            found = Ok(made(location, &always));
            bytes = Some(always);
        }
        self.count(location, is_head, found.as_ref().ok());
        let found = found?;
        let bytes = bytes.or_else(|| is_crate(location).then(|| self.file(location))?);
        let Some(bytes) = bytes else {
            return match range {
                None => Ok(found),
                Some(_) => self.inner.get_opts(location, options).await,
            };
        };
        let all = bytes.len() as u64;
        let part: Range<u64> = match range {
            None => 0..all,
            Some(range) => range.as_range(all).unwrap_or(0..all),
        };
        let bytes = bytes.slice(part.start as usize..part.end as usize);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed()),
            meta: ObjectMeta {
                size: all,
                ..found.meta
            },
            range: part,
            ..found
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.asked.other_writes.fetch_add(1, Relaxed);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.asked.other_writes.fetch_add(1, Relaxed);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
