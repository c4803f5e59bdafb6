//! Missed requests in a bucket: one small object each, which was last written when it was missed last.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::GetOptions;
use tokio::time::Instant;

use super::requests::Requests;
use crate::{domain::MissedRequest, error::Result};

/// Where they are; no registry can be called so.
const FOLDER: &str = ".wanted";
/// None is longer.
const LARGEST: u64 = 1 << 10;
/// So many are read at once.
const AT_ONCE: usize = 16;
/// How many there are is counted so often.
const COUNT_EVERY: Duration = Duration::from_secs(600);

/// The path of the object in which it is noted, the same for all spellings and the same as in a folder.
fn path_of(request: &MissedRequest) -> String {
    format!("{FOLDER}/{}", request.folded())
}

/// The missed requests that are noted in a bucket.
pub(super) struct Missed {
    requests: Requests,
    /// How many there were, and when they were counted.
    counted: Mutex<Option<(usize, Instant)>>,
}

impl Missed {
    pub(super) fn new(requests: Requests) -> Self {
        Self {
            requests,
            counted: Mutex::default(),
        }
    }

    /// Writes it down, whether it is written down already or not: that says when it was missed last.
    pub(super) async fn note(&self, request: &MissedRequest, most: usize) -> Result<()> {
        if self.count().await? >= most {
            return Ok(());
        }
        let text = request.in_full();
        self.requests.put(&path_of(request), text.into()).await?;
        if let Some((count, _)) = &mut *self.lock() {
            *count += 1;
        }
        Ok(())
    }

    /// About how many there are.
    async fn count(&self) -> Result<usize> {
        let known = *self.lock();
        if let Some((count, at)) = known
            && at.elapsed() < COUNT_EVERY
        {
            return Ok(count);
        }
        let count = self.listed().await?.len();
        *self.lock() = Some((count, Instant::now()));
        Ok(count)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(usize, Instant)>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are written down.
    pub(super) async fn all(&self) -> Result<Vec<(MissedRequest, SystemTime)>> {
        let read = stream::iter(self.listed().await?)
            .map(|(name, at)| self.read(name, at))
            .buffer_unordered(AT_ONCE);
        let found: Vec<_> = read.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn listed(&self) -> Result<Vec<(String, SystemTime)>> {
        let mut listing = self.requests.listing(FOLDER).await?;
        let mut listed = Vec::new();
        while let Some(next) = listing.next().await {
            let meta = next?;
            if let Some(name) = meta.location.filename() {
                listed.push((name.to_owned(), meta.last_modified.into()));
            }
        }
        Ok(listed)
    }

    /// The missed request in an object; what isn't ours, or has been forgotten meanwhile, is none.
    async fn read(
        &self,
        name: String,
        at: SystemTime,
    ) -> Result<Option<(MissedRequest, SystemTime)>> {
        let path = format!("{FOLDER}/{name}");
        let Some(got) = self.requests.get(&path, GetOptions::default()).await? else {
            return Ok(None);
        };
        if got.meta.size > LARGEST {
            return Ok(None);
        }
        let bytes = got.body.all(got.meta.size).await?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let request = MissedRequest::parse(text).filter(|request| request.folded() == name);
        Ok(request.map(|request| (request, at)))
    }

    pub(super) async fn forget(&self, request: &MissedRequest) -> Result<()> {
        self.requests.delete(&path_of(request)).await
    }
}
