//! [`BucketBlocks`]: a large object read block by block: in order it takes one request, however many blocks there are.

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use object_store::{GetOptions, GetRange};
use tokio::sync::Mutex;

use super::{body::BucketBody, requests::Requests};
use crate::{
    error::{Error, Result},
    store::blocks::Blocks,
};

/// So many answers are kept open for readers who are at different places.
const OPEN: usize = 2;

/// An object of which a part is read now and then.
pub(super) struct BucketBlocks {
    requests: Requests,
    path: String,
    /// Which state of it; others are none.
    e_tag: Option<String>,
    length: u64,
    /// The answers that are open, the one used last at the end.
    open: Mutex<Vec<OpenAnswer>>,
}

/// An answer that was read up to some place.
struct OpenAnswer {
    offset: u64,
    body: BucketBody,
    /// What has come beyond that place.
    ahead: Bytes,
}

impl BucketBlocks {
    /// The object at `path`, whose bytes come from `body` on.
    pub(super) fn new(
        requests: Requests,
        path: &str,
        e_tag: Option<String>,
        length: u64,
        body: BucketBody,
    ) -> Self {
        let first = OpenAnswer {
            offset: 0,
            body,
            ahead: Bytes::new(),
        };
        Self {
            requests,
            path: path.to_owned(),
            e_tag,
            length,
            open: Mutex::new(vec![first]),
        }
    }

    async fn answer_from(&self, offset: u64) -> Result<OpenAnswer> {
        let kept = {
            let mut open = self.open.lock().await;
            let there = open.iter().position(|answer| answer.offset == offset);
            there.map(|place| open.remove(place))
        };
        if let Some(answer) = kept {
            return Ok(answer);
        }
        let options = GetOptions {
            range: Some(GetRange::Offset(offset)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        let Some(got) = self.requests.get(&self.path, options).await? else {
            let at = self.requests.places().locate(&self.path);
            return Err(Error::store(format!(
                "reading {at} failed: it was replaced or removed meanwhile"
            )));
        };
        Ok(OpenAnswer {
            offset,
            body: got.body,
            ahead: Bytes::new(),
        })
    }

    async fn keep(&self, answer: OpenAnswer) {
        let mut open = self.open.lock().await;
        if open.len() >= OPEN {
            open.remove(0);
        }
        open.push(answer);
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes> {
        let most = self.length.saturating_sub(offset).min(most as u64) as usize;
        if most == 0 {
            return Ok(Bytes::new());
        }
        let mut answer = self.answer_from(offset).await?;
        let mut block = BytesMut::with_capacity(most);
        while block.len() < most {
            if answer.ahead.is_empty() {
                match answer.body.next().await {
                    Some(next) => answer.ahead = next?,
                    None => break,
                }
            }
            let part = (most - block.len()).min(answer.ahead.len());
            block.extend_from_slice(&answer.ahead.split_to(part));
        }
        answer.offset += block.len() as u64;
        if answer.offset == self.length {
            answer.body.came_to_its_end();
        } else if block.len() == most {
            answer.body.gets_on();
            self.keep(answer).await;
        }
        Ok(block.freeze())
    }
}

impl Blocks for BucketBlocks {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.read_at(offset, most))
    }
}
