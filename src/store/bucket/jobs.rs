//! A bucket as what jobs need that go over a whole store. They block, and have their requests made for them on the runtime.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
};

use bytes::{Buf, Bytes};
use object_store::GetOptions;
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    backend::BucketBackend,
    body::{BucketBody, Got},
    objects::{remove_exactly, stored_at, version_of},
    waiting::wait,
};
use crate::{
    error::Result,
    store::{
        backend::{
            Bulk, IncomingBytes, ObjectBytes, ObjectInfo, OpenObject, Opening, scratch_elsewhere,
        },
        removal::Removal,
        sight::{Links, Next, Sight, Stored},
    },
};

/// So many objects are listed ahead of who looks at them.
const AHEAD: usize = 256;

impl BucketBackend {
    /// Has everything listed, as far as somebody takes it.
    fn listed(&self) -> mpsc::Receiver<Result<Stored>> {
        let (tell, told) = mpsc::channel(AHEAD);
        let requests = self.requests.clone();
        self.writes.runtime.spawn(async move {
            let mut listing = match requests.listing("").await {
                Ok(listing) => listing,
                Err(e) => return drop(tell.send(Err(e)).await),
            };
            while let Some(next) = listing.next().await {
                let next = next.map(|meta| stored_at(requests.places(), &meta));
                if let Some(next) = next.transpose()
                    && tell.send(next).await.is_err()
                {
                    return;
                }
            }
        });
        told
    }

    fn take_out(&self, stored: Stored) -> Option<Sight> {
        let (requests, path, version) = (
            self.requests.clone(),
            stored.path.clone(),
            stored.version.clone(),
        );
        let remove = async move { remove_exactly(&requests, &path, &version).await };
        match wait(&self.writes.runtime, remove) {
            Ok(Removal::Removed) => Some(Sight::Removed(stored)),
            Ok(Removal::Written | Removal::Replaced | Removal::Gone) => None,
            Err(e) => Some(Sight::Unchanged(e)),
        }
    }
}

impl Bulk for BucketBackend {
    fn walk(&self, _links: Links, visit: &mut dyn FnMut(Sight) -> Next) {
        let mut listed = self.listed();
        while let Some(next) = listed.blocking_recv() {
            let stored = match next {
                Ok(stored) => stored,
                Err(e) => {
                    visit(Sight::Unread(e));
                    return;
                }
            };
            let after = match visit(Sight::Object(stored.clone())) {
                // When something was used last isn't known here.
                Next::Go | Next::Touch => None,
                Next::Remove => self.take_out(stored),
                Next::Stop => return,
            };
            if let Some(sight) = after
                && visit(sight) == Next::Stop
            {
                return;
            }
        }
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<String>> {
        let (requests, folder) = (self.requests.clone(), folder.to_owned());
        wait(&self.writes.runtime, async move {
            requests.names(&folder).await
        })
    }

    fn info(&self, path: &str) -> Result<Option<ObjectInfo>> {
        let (requests, path) = (self.requests.clone(), path.to_owned());
        wait(&self.writes.runtime, async move {
            let there = requests.head(&path).await?;
            Ok(there.map(|meta| ObjectInfo {
                size: meta.size,
                stored: meta.last_modified.into(),
            }))
        })
    }

    fn open(&self, path: &str) -> io::Result<Opening> {
        let (requests, path) = (self.requests.clone(), path.to_owned());
        let opened = wait(&self.writes.runtime, async move {
            requests.get(&path, GetOptions::default()).await
        });
        let Some(Got { meta, body }) = opened.map_err(io::Error::other)? else {
            return Ok(Opening::Nothing);
        };
        Ok(Opening::Object(OpenObject {
            size: meta.size,
            version: version_of(&meta),
            bytes: Box::new(BucketBytes {
                body: Some(body),
                left: meta.size,
                come: Bytes::new(),
                runtime: self.writes.runtime.clone(),
            }),
        }))
    }

    fn incoming(&self) -> Result<Box<dyn IncomingBytes>> {
        self.writes.incoming()
    }

    fn flush(&self) -> Result<()> {
        self.writes.end()
    }

    fn scratch(&self) -> Result<File> {
        scratch_elsewhere()
    }

    fn locate(&self, path: &str) -> String {
        self.requests.places().locate(path)
    }
}

/// An object that a job reads.
struct BucketBytes {
    body: Option<BucketBody>,
    /// So many bytes are still to come.
    left: u64,
    /// What has come and isn't read.
    come: Bytes,
    runtime: Handle,
}

impl BucketBytes {
    /// Waits for more.
    fn more(&mut self) -> io::Result<Bytes> {
        let Some(mut body) = self.body.take() else {
            return Ok(Bytes::new());
        };
        let next = wait(&self.runtime, async move {
            let next = body.next().await.transpose()?;
            Ok((next, body))
        });
        let (next, body) = next.map_err(io::Error::other)?;
        match next {
            Some(next) => {
                self.body = Some(body);
                Ok(next)
            }
            None if self.left > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(Bytes::new()),
        }
    }
}

impl Read for BucketBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.come.is_empty() {
            self.come = self.more()?;
            self.left = self.left.saturating_sub(self.come.len() as u64);
        }
        let count = self.come.len().min(into.len());
        self.come.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

impl ObjectBytes for BucketBytes {
    fn is_unchanged(&self) -> bool {
        // One answer is of one state.
        true
    }
}
