//! [`Landing`]: where the bytes of a download land, each under a lease as it comes: into memory, as long as the file is small and there is room; else into a
//! file; and if there can be no file, into memory again as long as that lasts. Then it fails: nobody waits for memory while he holds some.

use bytes::Bytes;

use super::download::Download;
use crate::{
    allowance::{Allowance, Lease},
    domain::FileKey,
    error::{Error, Kind, Result},
    mirror::shared::Shared,
    store::Spool,
};

/// What a chunk takes beside its bytes: what is known of it, and what the allocator rounds up by, which is a fifth at the most.
fn charge(length: u64) -> u64 {
    length + length / 4 + 256
}

/// Where a download's bytes go.
pub(super) enum Landing {
    /// Into memory.
    Memory,
    /// Into a file.
    File(Spool),
    /// Into memory, because the disk has failed; with what is leased for it beforehand.
    OnlyMemory(Lease),
}

/// A chunk, with where it stands in the file and how long that is to be.
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) bytes: Bytes,
    pub(super) announced: Option<u64>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Landing {
    /// Adds a chunk to what `download` has.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when there is no room for it anywhere.
    pub(super) async fn add(
        self,
        chunk: Chunk,
        shared: &Shared,
        key: &FileKey,
        download: &Download,
    ) -> Result<Self> {
        match self {
            Self::Memory => {
                let expected = chunk.announced.unwrap_or(0).max(chunk.end());
                if expected <= shared.memory.largest()
                    && let Some(held) = hold(&shared.budget, &chunk.bytes)
                {
                    download.push(chunk.end(), held);
                    return Ok(Self::Memory);
                }
                let next = into_file(&chunk, shared, download).await?;
                Box::pin(next.add(chunk, shared, key, download)).await
            }
            Self::File(spool) => match spool.append(chunk.bytes.clone()).await {
                Ok(spool) => Ok(Self::File(spool)),
                Err(e) if e.kind() == Kind::Overloaded => Err(e),
                Err(e) => {
                    shared.store.complain(&e);
                    tracing::debug!(id = %key, "the disk fails: a download is held in memory while it arrives");
                    let hold = |bytes| hold(&shared.budget, &bytes).ok_or_else(|| no_room(key));
                    download.unspool(chunk.start, hold).await?;
                    let next = Self::OnlyMemory(shared.budget.nothing());
                    Box::pin(next.add(chunk, shared, key, download)).await
                }
            },
            Self::OnlyMemory(mut leased) => {
                // What can't fit in the end is refused before a client is sent the first half.
                let fits = charge(chunk.announced.unwrap_or(0)) <= shared.budget.most();
                let lease = match leased.split(charge(chunk.bytes.len() as u64)) {
                    Some(lease) => Some(lease.hold(Bytes::copy_from_slice(&chunk.bytes))),
                    None => hold(&shared.budget, &chunk.bytes),
                };
                let held = lease.filter(|_| fits).ok_or_else(|| no_room(key))?;
                download.push(chunk.end(), held);
                Ok(Self::OnlyMemory(leased))
            }
        }
    }
}

/// A copy of a chunk under a lease: the chunk itself may be a small part of what it keeps in memory.
fn hold(budget: &Allowance, chunk: &Bytes) -> Option<Bytes> {
    let lease = budget.try_take(charge(chunk.len() as u64))?;
    Some(lease.hold(Bytes::copy_from_slice(chunk)))
}

/// Moves what has come so far from memory into a file, before `next` is added.
async fn into_file(next: &Chunk, shared: &Shared, download: &Download) -> Result<Landing> {
    match spooled(shared, download).await {
        Ok(spool) => {
            download.spooled(spool.reader()?);
            Ok(Landing::File(spool))
        }
        Err(e) if e.kind() == Kind::Overloaded => Err(e),
        Err(e) => {
            shared.store.complain(&e);
            // Who has nothing yet may wait for memory; how much of it is upstream's word, but no more than for a small file.
            let small = next.announced.filter(|l| *l <= shared.memory.largest());
            let lease = match small.filter(|_| next.start == 0) {
                Some(length) => shared.budget.take(charge(length)).await?,
                None => shared.budget.nothing(),
            };
            Ok(Landing::OnlyMemory(lease))
        }
    }
}

/// A file with all that has come so far into memory.
pub(super) async fn spooled(shared: &Shared, download: &Download) -> Result<Spool> {
    let mut spool = shared.store.spool().await?;
    for chunk in download.chunks() {
        spool = spool.append(chunk).await?;
    }
    Ok(spool)
}

fn no_room(key: &FileKey) -> Error {
    Error::new(
        Kind::Overloaded,
        format!(
            "{} can't be passed on: this mirror's disk fails, and its memory is taken up; try again in a moment",
            key
        ),
    )
}
