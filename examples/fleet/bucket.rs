//! The bucket of the simulation: it keeps nothing of crate files but that they are there, because their bytes follow from their names, and counts requests.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path,
};

use crate::population::{file, number};

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
    /// Bytes of what is stored, as large as they would be without scale.
    pub(crate) stored: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    inner: InMemory,
    pub(crate) asked: Arc<Asked>,
    scale: u64,
}

impl Bucket {
    pub(crate) fn new(scale: u64) -> Bucket {
        Bucket {
            inner: InMemory::new(),
            asked: Arc::default(),
            scale,
        }
    }

    /// The bytes of a crate file under its key: `…/c0000012/1.2.0.SHA256.crate`.
    fn file(&self, location: &Path) -> Option<Bytes> {
        let mut parts = location.as_ref().rsplit('/');
        let (version, _) = parts.next()?.strip_suffix(".crate")?.rsplit_once('.')?;
        Some(file(number(parts.next()?)?, version, self.scale))
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
        let found = self.inner.get_opts(
            location,
            GetOptions {
                range: None,
                ..options.clone()
            },
        );
        let found = found.await;
        let counter = match (is_crate(location), is_index(location), found.is_ok()) {
            _ if is_head => &self.asked.other_reads,
            (true, _, true) => &self.asked.crates_read,
            (true, _, false) => &self.asked.crates_missed,
            (false, true, true) => &self.asked.index_read,
            (false, true, false) => &self.asked.index_missed,
            (false, false, _) => &self.asked.other_reads,
        };
        counter.fetch_add(1, Relaxed);
        let found = found?;
        let Some(bytes) = self.file(location) else {
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
