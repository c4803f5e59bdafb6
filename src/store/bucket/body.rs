//! [`BucketBody`]: the bytes of an answer as they come, none of them waited for without end.

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use object_store::{GetOptions, GetResult, ObjectMeta};
use tokio::time::timeout;

use super::requests::{BucketOperation, Requests};
use crate::{
    circuit::CircuitPass,
    error::{Error, Result},
};

/// What comes after the head of an answer.
pub(super) struct BucketBody {
    requests: Requests,
    path: String,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    /// Leave to read it, until how that went is told: a service may answer every head at once and then hang.
    pass: Option<CircuitPass>,
}

/// An answer that says what there is.
pub(super) struct Got {
    pub(super) meta: ObjectMeta,
    pub(super) body: BucketBody,
}

impl Requests {
    /// Reads from the object at `path`, all of it or as `options` say; `None` when there is none, or none that meets their conditions.
    pub(super) async fn get(&self, path: &str, options: GetOptions) -> Result<Option<Got>> {
        self.ready().await?;
        let at = self.places().at(path)?;
        let pass = self.body_pass(path)?;
        let get = self.objects().get_opts(&at, options);
        let got = self.attempt(BucketOperation::Get, path, self.limit(), get);
        Ok(got.await?.map(|got| Got {
            meta: got.meta.clone(),
            body: BucketBody::new(self.clone(), path, got, pass),
        }))
    }
}

impl BucketBody {
    fn new(requests: Requests, path: &str, got: GetResult, pass: CircuitPass) -> Self {
        Self {
            requests,
            path: path.to_owned(),
            stream: got.into_stream(),
            pass: Some(pass),
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes>> {
        let next = timeout(self.requests.limit(), self.stream.next()).await;
        match next {
            Ok(None) => {
                self.came_to_its_end();
                None
            }
            Ok(Some(Ok(bytes))) => {
                let count = bytes.len() as u64;
                self.requests.metrics().bucket_received_bytes.inc_by(count);
                Some(Ok(bytes))
            }
            Ok(Some(Err(e))) => Some(Err(self.broke_off(Some(e)))),
            Err(_) => Some(Err(self.broke_off(None))),
        }
    }

    /// All of them, of which there are `length`, in memory of their own.
    pub(super) async fn all(mut self, length: u64) -> Result<Bytes> {
        let limit = self.requests.limit_for(length);
        let whole = timeout(limit, self.all_of(length)).await;
        whole.unwrap_or_else(|_| Err(self.broke_off(None)))
    }

    async fn all_of(&mut self, length: u64) -> Result<Bytes> {
        let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(next) = self.next().await {
            all.extend_from_slice(&next?);
            if all.len() as u64 > length {
                return Err(self.other_length());
            }
        }
        match all.len() as u64 == length {
            true => Ok(all.into()),
            false => Err(self.other_length()),
        }
    }

    /// All of it has come.
    pub(super) fn came_to_its_end(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.requests.body_came(pass);
        }
    }

    /// A part has come. That is enough for those who wait to know whether bodies come at all: how fast the rest is read is up to whoever reads.
    pub(super) fn gets_on(&mut self) {
        if self.pass.as_ref().is_some_and(CircuitPass::is_probe) {
            self.came_to_its_end();
        }
    }

    fn broke_off(&mut self, error: Option<object_store::Error>) -> Error {
        self.requests
            .body_broke_off(self.pass.take(), &self.path, error)
    }

    fn other_length(&self) -> Error {
        let at = self.requests.places().locate(&self.path);
        Error::store(format!(
            "reading {at} failed: it has another length than was announced"
        ))
    }
}
