//! Writing into a bucket: small objects in one request, large ones in parts, with little of them in memory at a time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::sync::Semaphore;

use super::requests::{BucketOperation, Requests};
use crate::{
    error::{Error, Result},
    store::blocks::Blocks,
};

/// What is sent at once, in bytes; every service takes parts of so many, and the last one may be smaller.
const PART: u64 = 8 << 20;
/// What is read of files on their way into a bucket may take so many bytes of memory, counted in units.
const MEMORY: u64 = 16 << 20;
const UNIT: u64 = 4 << 10;
/// What is read at once.
const BLOCK: usize = 256 << 10;

/// Who writes files into a bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct PartUploads {
    requests: Requests,
    memory: Arc<Semaphore>,
}

impl PartUploads {
    pub(super) fn new(requests: Requests) -> Self {
        Self {
            requests,
            memory: Arc::new(Semaphore::new((MEMORY / UNIT) as usize)),
        }
    }

    /// Makes `length` bytes, read block by block, the object at `path`, in one step.
    pub(super) async fn send(&self, path: &str, length: u64, blocks: &dyn Blocks) -> Result<()> {
        let units = length.min(PART).div_ceil(UNIT).max(1) as u32;
        // Never closed, so always a permit.
        let _memory = self.memory.acquire_many(units).await.ok();
        if length <= PART {
            let bytes = part(blocks, 0, length).await?;
            return self.requests.put(path, bytes.into()).await;
        }
        let at = self.requests.places().at(path)?;
        let objects = self.requests.objects().clone();
        let begin = objects.put_multipart(&at);
        let upload = self.requests.with(BucketOperation::Put, path, 0, begin);
        let mut upload = upload.await?;
        let sent = self.send_parts(path, length, blocks, &mut *upload).await;
        if sent.is_err() {
            // What it leaves behind is for the bucket's own rules.
            let abort = upload.abort();
            let _ = self
                .requests
                .with(BucketOperation::Delete, path, 0, abort)
                .await;
        }
        sent
    }

    async fn send_parts(
        &self,
        path: &str,
        length: u64,
        blocks: &dyn Blocks,
        upload: &mut dyn MultipartUpload,
    ) -> Result<()> {
        let mut offset = 0;
        while offset < length {
            let size = PART.min(length - offset);
            let sent = upload.put_part(part(blocks, offset, size).await?.into());
            self.requests
                .with(BucketOperation::Put, path, size, sent)
                .await?;
            self.requests.metrics().bucket_sent_bytes.inc_by(size);
            offset += size;
        }
        let complete = upload.complete();
        let completed = self.requests.with(BucketOperation::Put, path, 0, complete);
        completed.await.map(drop)
    }
}

/// Exactly `size` bytes from `offset` on.
async fn part(blocks: &dyn Blocks, offset: u64, size: u64) -> Result<Bytes> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut part = BytesMut::with_capacity(size);
    while part.len() < size {
        let most = BLOCK.min(size - part.len());
        let block = blocks.read(offset + part.len() as u64, most).await?;
        if block.is_empty() {
            return Err(Error::store("a file was cut off while it was sent"));
        }
        part.extend_from_slice(&block);
    }
    Ok(part.freeze())
}
