//! [`RecordHeads`]: reading what stored index files say of themselves, without their bodies: two are compared a hundred thousand times for each time that one
//! has to be read whole.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::{
    blocking::blocking,
    blocks::Blocks,
    record::{RecordHead, StoreRecord},
};
use crate::error::Result;

/// What is read at first; hardly any head is longer.
const FIRST: usize = 16 << 10;
/// So many of the others are in memory at once, 2 MB each.
const LONG_AT_ONCE: usize = 2;

/// Who reads them. Cheap to clone.
#[derive(Clone)]
pub(super) struct RecordHeads {
    long: Arc<Semaphore>,
}

impl Default for RecordHeads {
    fn default() -> Self {
        let long = Arc::new(Semaphore::new(LONG_AT_ONCE));
        Self { long }
    }
}

impl RecordHeads {
    /// The head of the record that `blocks` are, which has so many bytes; none when it is no record, or not all of one.
    pub(super) async fn read(
        &self,
        length: u64,
        blocks: &dyn Blocks,
    ) -> Result<Option<RecordHead>> {
        if StoreRecord::fits(length).is_err() {
            return Ok(None);
        }
        let first = read(blocks, 0, FIRST).await?;
        let head = match RecordHead::read(&first) {
            Ok(Some(head)) => head,
            Ok(None) if (first.len() as u64) < length => match self.long(first, blocks).await? {
                Some(head) => head,
                None => return Ok(None),
            },
            Ok(None) | Err(_) => return Ok(None),
        };
        Ok(Some(head).filter(|head| head.stored_size() == length))
    }

    async fn long(&self, first: Bytes, blocks: &dyn Blocks) -> Result<Option<RecordHead>> {
        // Never closed, so always a permit.
        let _permit = self.long.acquire().await.ok();
        let left = RecordHead::LONGEST - first.len();
        let rest = read(blocks, first.len(), left).await?;
        let parse = move || RecordHead::read(&[first, rest].concat());
        Ok(blocking(parse).await?.unwrap_or_default())
    }
}

/// Up to `most` bytes from `offset` on.
async fn read(blocks: &dyn Blocks, offset: usize, most: usize) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while all.len() < most {
        let left = (most - all.len()).min(FIRST);
        let block = blocks.read((offset + all.len()) as u64, left).await?;
        if block.is_empty() {
            break;
        }
        all.extend_from_slice(&block);
    }
    Ok(all.freeze())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::SystemTime,
    };

    use futures_util::future::{BoxFuture, ready};

    use super::*;
    use crate::domain::{CrateVersion, History, Remembered, Sha256, Validators};

    /// Bytes, and how many of them were read.
    struct Counted(Bytes, AtomicU64);

    impl Blocks for Counted {
        fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
            let start = self.0.len().min(offset as usize);
            let block = self.0.slice(start..self.0.len().min(start + most));
            self.1.fetch_add(block.len() as u64, Ordering::Relaxed);
            Box::pin(ready(Ok(block)))
        }
    }

    fn record(body: usize, remembered: usize) -> StoreRecord {
        let body = Bytes::from(vec![b'x'; body]);
        let versions = (0..remembered).map(|n| {
            let version = CrateVersion::parse(&format!("1.0.{n}")).expect("a version");
            let sha256 = Some(Sha256::of(&n.to_le_bytes()));
            let first_seen = None;
            (version, Remembered { first_seen, sha256 })
        });
        StoreRecord {
            sha256: Sha256::of(&body),
            body,
            validators: Validators::default(),
            modified_at: SystemTime::UNIX_EPOCH,
            checked_at: SystemTime::UNIX_EPOCH,
            gone: false,
            history: Arc::new(History::from_parts(versions)),
            sum: None,
        }
    }

    async fn head_of(stored: Bytes) -> (Option<RecordHead>, u64) {
        let (length, blocks) = (stored.len() as u64, Counted(stored, AtomicU64::new(0)));
        let head = RecordHeads::default().read(length, &blocks).await;
        (head.expect("read"), blocks.1.into_inner())
    }

    /// Two records of up to 66 MB were read whole to compare their times, by eight writers at once.
    #[tokio::test]
    async fn hardly_more_than_the_head_is_read() {
        let record = record(8 << 20, 1);
        let (head, read) = head_of(record.encode().concat().into()).await;
        let head = head.expect("a head");
        assert_eq!((head.sha256, head.age()), (record.sha256, record.age()));
        assert_eq!(head.history, record.history);
        assert_eq!(read, FIRST as u64);
    }

    #[tokio::test]
    async fn a_long_head_is_read_to_its_end_and_a_damaged_or_cut_record_has_none() {
        let record = record(1_000, 3_000);
        let stored = record.encode().concat();
        let (head, _) = head_of(stored.clone().into()).await;
        assert_eq!(head.expect("a head").history, record.history);
        for cut in [0, 1, FIRST, stored.len() - 1] {
            let (head, _) = head_of(stored[..cut].to_vec().into()).await;
            assert!(head.is_none(), "{cut} of {} bytes", stored.len());
        }
        let mut flipped = stored;
        flipped[20] ^= 1;
        assert!(head_of(flipped.into()).await.0.is_none());
    }
}
