//! Trying a bucket: what serving needs of it, done once with an object of its own.

use bytes::Bytes;
use object_store::GetOptions;

use super::backend::BucketBackend;
use crate::error::{Error, Result};

impl BucketBackend {
    /// Writes, reads, lists and removes an object of its own.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) with the first thing that can't be done, and why; [`Kind::Config`](crate::error::Kind::Config) when the
    /// objects are laid out as this program doesn't know it.
    pub(in crate::store) async fn try_out(&self) -> Result<()> {
        let requests = &self.requests;
        requests.ready().await?;
        requests.list("").await?;
        let path = format!(".probe-{:016x}", fastrand::u64(..));
        let bytes = Bytes::from(format!("crate-mirror check {path}\n"));
        requests.put(&path, bytes.clone().into()).await?;
        let read = self.read_back(&path, &bytes).await;
        let removed = requests.delete(&path).await;
        read.and(removed)
    }

    async fn read_back(&self, path: &str, written: &Bytes) -> Result<()> {
        let got = self.requests.get(path, GetOptions::default()).await?;
        let at = self.requests.places().locate(path);
        let Some(got) = got else {
            return Err(Error::store(format!(
                "reading {at} failed: it was written just before, and isn't there"
            )));
        };
        match got.body.all(written.len() as u64).await? == *written {
            true => Ok(()),
            false => Err(Error::store(format!(
                "reading {at} failed: it isn't what was written"
            ))),
        }
    }
}
