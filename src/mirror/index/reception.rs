//! [`Reception`]: index files on their way from upstream into memory, each under a lease as it grows.
//!
//! What comes over the wire is kept in memory as long as there is a lease for it, and in a temporary file otherwise. When all has come it is decoded once
//! to be measured, and nothing of that is kept; then all the memory that it takes is leased at once, and it is decoded for good. Who has to wait for memory
//! holds none meanwhile: what had come is in a file by then.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{
    blocking::make,
    decoding::{Expected, Measured, Needs, Ready, decode, finish, measure},
    pile::Pile,
};
use crate::{
    allowance::Allowance,
    error::{Error, Kind, Result},
    mirror::shared::Shared,
    store::{Spool, Store},
    upstream::{Encoding, IndexStream, Upstream},
};

/// How many index files are looked into at once: it takes computing, which requests want too.
const AT_ONCE: usize = 4;

/// A body beyond this fills the buffers of its connection, which grow with it.
const LARGE: u64 = 1 << 20;
/// What these take: hyper reads up to 408 KiB at once, and what it has read may still be on its way to the disk.
const BUFFERS: u64 = 900 << 10;

/// Who receives index files and makes them ready.
pub(super) struct Reception {
    shared: Arc<Shared>,
    permits: Semaphore,
}

/// An index file as it came over the wire.
pub(super) struct Received {
    collected: Collected,
    encoding: Encoding,
}

/// Where it is.
enum Collected {
    Memory(Pile),
    File(Spool),
}

/// What became of one in memory.
enum Made {
    Ready(Ready),
    /// There is no memory for all of it at the moment.
    Short(Pile, Needs),
}

impl Reception {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            permits: Semaphore::new(AT_ONCE),
        }
    }

    /// Receives all of an index file.
    ///
    /// # Errors
    /// One of the upstream kinds, and [`Kind::Overloaded`] when there is neither memory for it nor room on the disk.
    pub(super) async fn receive(
        &self,
        upstream: &Upstream,
        stream: &mut IndexStream,
    ) -> Result<Received> {
        let Shared { budget, store, .. } = &*self.shared;
        let mut collected = Collected::Memory(Pile::new(budget));
        let mut connection = budget.nothing();
        while let Some(chunk) = upstream.next_of_index(stream).await? {
            collected = collected.add(store, chunk).await?;
            if collected.length() > LARGE
                && connection.bytes() == 0
                && !connection.try_grow(BUFFERS)
            {
                // Who waits for memory holds none.
                collected = Collected::File(collected.into_file(store).await?);
                connection = budget.take(BUFFERS).await?;
            }
        }
        Ok(Received {
            collected,
            encoding: stream.encoding(),
        })
    }

    /// Makes an index file ready to be served, which may have to wait for memory.
    ///
    /// # Errors
    /// [`Kind::UpstreamFault`] when it is no index file of that crate, [`Kind::Overloaded`] when there is no memory for it in time.
    pub(super) async fn make_ready(&self, expected: Expected, received: Received) -> Result<Ready> {
        let Received {
            collected,
            encoding,
        } = received;
        let (spool, needs) = match collected {
            Collected::Memory(pile) => {
                let (expected, budget) = (expected.clone(), self.shared.budget.clone());
                let made = self.make(move || at_once(pile, encoding, &expected, &budget));
                match made.await? {
                    Made::Ready(ready) => return Ok(ready),
                    Made::Short(pile, needs) => (into_file(pile, &self.shared.store).await?, needs),
                }
            }
            Collected::File(spool) => {
                match self.look_into(spool, encoding, expected.clone()).await? {
                    (_, Measured::Ready(ready)) => return Ok(ready),
                    (spool, Measured::Needs(needs)) => (spool, needs),
                }
            }
        };
        let lease = self.shared.budget.take(needs.bytes).await?;
        // The lease stays with what it is for, also when nobody waits for the disk any more.
        let decoded = spool.with(move |spool, pulse| {
            let decoded = decode(&(&spool, pulse), encoding, needs)?;
            Ok((decoded, lease))
        });
        let (decoded, lease) = decoded.await.map_err(no_room)?;
        self.make(move || finish(decoded, &expected, lease)).await
    }

    /// Measures what is in a file.
    async fn look_into(
        &self,
        spool: Spool,
        encoding: Encoding,
        expected: Expected,
    ) -> Result<(Spool, Measured)> {
        let _permit = self.permits.acquire().await;
        let measured = spool.with(move |spool, pulse| {
            let measured = measure(&(&spool, pulse), encoding, &expected)?;
            Ok((spool, measured))
        });
        measured.await.map_err(no_room)
    }

    /// Runs such work when there is a permit for it.
    async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.permits.acquire().await;
        make(work).await
    }
}

impl Collected {
    async fn add(mut self, store: &Store, chunk: Bytes) -> Result<Self> {
        if let Self::Memory(pile) = &mut self
            && pile.try_add(&chunk)
        {
            return Ok(self);
        }
        let spool = self.into_file(store).await?;
        spool.append(chunk).await.map(Self::File).map_err(no_room)
    }

    async fn into_file(self, store: &Store) -> Result<Spool> {
        match self {
            Self::Memory(pile) => into_file(pile, store).await,
            Self::File(spool) => Ok(spool),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Memory(pile) => pile.length() as u64,
            Self::File(spool) => spool.length(),
        }
    }
}

/// Makes what is in memory ready if there is memory for all of it now.
fn at_once(
    pile: Pile,
    encoding: Encoding,
    expected: &Expected,
    budget: &Allowance,
) -> Result<Made> {
    let needs = match measure(&pile, encoding, expected)? {
        Measured::Ready(ready) => return Ok(Made::Ready(ready)),
        Measured::Needs(needs) => needs,
    };
    let Some(lease) = budget.try_take_needed(needs.bytes) else {
        return Ok(Made::Short(pile, needs));
    };
    let decoded = decode(&pile, encoding, needs)?;
    // The memory that it came in isn't needed any more.
    drop(pile);
    finish(decoded, expected, lease).map(Made::Ready)
}

async fn into_file(pile: Pile, store: &Store) -> Result<Spool> {
    let mut spool = store.spool().await.map_err(no_room)?;
    let (blocks, _lease) = pile.into_blocks();
    for block in blocks {
        spool = spool.append(block.into()).await.map_err(no_room)?;
    }
    Ok(spool)
}

/// A disk that fails has no room for it, either.
fn no_room(error: Error) -> Error {
    match error.kind() {
        Kind::Store | Kind::Overloaded => {
            let sentence = "this mirror's memory is taken up by other requests, and its disk has no room for more; try again in a moment";
            Error::new(Kind::Overloaded, sentence).caused_by(error)
        }
        _ => error,
    }
}
