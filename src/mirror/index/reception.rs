//! Receptions: index files on their way from upstream into memory, each under a lease as it grows.
//!
//! What comes over the wire is kept in memory as long as there is a lease for it, and in a temporary file otherwise. When all has come it is decoded once
//! to be measured, and nothing of that is kept; then all the memory that it takes is leased at once, and it is decoded for good. Who has to wait for memory
//! holds none meanwhile: what had come is in a file by then.

use bytes::Bytes;

use super::{
    Inner,
    decoding::{Measured, Needs, Ready, Wanted, decode, finish, measure},
    index::make,
    pile::Pile,
};
use crate::{
    allowance::Allowance,
    error::{Error, Kind, Result},
    store::{Spool, Store},
    upstream::{Encoding, IndexStream, Upstream},
};

/// How many index files are looked into at once: it takes computing, which requests want too.
pub(super) const MAKING: usize = 4;

/// A body beyond this fills the buffers of its connection, which grow with it.
const LARGE: u64 = 1 << 20;
/// What these take: hyper reads up to 408 KiB at once, and what it has read may still be on its way to the disk.
const BUFFERS: u64 = 900 << 10;

/// An index file as it came over the wire.
pub(super) struct Received {
    landing: Landing,
    encoding: Encoding,
}

/// Where it is.
enum Landing {
    Memory(Pile),
    File(Spool),
}

/// What became of one in memory.
enum Made {
    Ready(Ready),
    /// There is no memory for all of it at the moment.
    Short(Pile, Needs),
}

impl Inner {
    /// Receives all of an index file.
    ///
    /// # Errors
    /// One of the upstream kinds, and [`Kind::Overloaded`] when there is neither memory for it nor room on the disk.
    pub(super) async fn receive(
        &self,
        upstream: &Upstream,
        stream: &mut IndexStream,
    ) -> Result<Received> {
        let mut landing = Landing::Memory(Pile::new(&self.allowance));
        let mut connection = self.allowance.nothing();
        while let Some(chunk) = upstream.next_of_index(stream).await? {
            landing = landing.add(&self.store, chunk).await?;
            if landing.length() > LARGE && connection.bytes() == 0 && !connection.try_grow(BUFFERS)
            {
                // Who waits for memory holds none.
                landing = Landing::File(landing.into_file(&self.store).await?);
                connection = self.allowance.take(BUFFERS).await?;
            }
        }
        Ok(Received {
            landing,
            encoding: stream.encoding(),
        })
    }

    /// Makes an index file ready to be served, which may have to wait for memory.
    ///
    /// # Errors
    /// [`Kind::UpstreamFault`] when it is no index file of that crate, [`Kind::Overloaded`] when there is no memory for it in time.
    pub(super) async fn make_ready(&self, wanted: Wanted, received: Received) -> Result<Ready> {
        let Received { landing, encoding } = received;
        let (spool, needs) = match landing {
            Landing::Memory(pile) => {
                let (wanted, allowance) = (wanted.clone(), self.allowance.clone());
                let made = self.make(move || at_once(pile, encoding, &wanted, &allowance));
                match made.await? {
                    Made::Ready(ready) => return Ok(ready),
                    Made::Short(pile, needs) => (into_file(pile, &self.store).await?, needs),
                }
            }
            Landing::File(spool) => match self.look_into(spool, encoding, wanted.clone()).await? {
                (_, Measured::Ready(ready)) => return Ok(ready),
                (spool, Measured::Needs(needs)) => (spool, needs),
            },
        };
        let lease = self.allowance.take(needs.bytes).await?;
        // The lease stays with what it is for, also when nobody waits for the disk any more.
        let decoded = spool.with(move |spool, pulse| {
            let decoded = decode(&(&spool, pulse), encoding, needs)?;
            Ok((decoded, lease))
        });
        let (decoded, lease) = decoded.await.map_err(no_room)?;
        self.make(move || finish(decoded, &wanted, lease)).await
    }

    /// Measures what is in a file.
    async fn look_into(
        &self,
        spool: Spool,
        encoding: Encoding,
        wanted: Wanted,
    ) -> Result<(Spool, Measured)> {
        let _turn = self.making.acquire().await;
        let measured = spool.with(move |spool, pulse| {
            let measured = measure(&(&spool, pulse), encoding, &wanted)?;
            Ok((spool, measured))
        });
        measured.await.map_err(no_room)
    }

    /// Runs such work when it is its turn.
    async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.making.acquire().await;
        make(work).await
    }
}

impl Landing {
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
fn at_once(pile: Pile, encoding: Encoding, wanted: &Wanted, allowance: &Allowance) -> Result<Made> {
    let needs = match measure(&pile, encoding, wanted)? {
        Measured::Ready(ready) => return Ok(Made::Ready(ready)),
        Measured::Needs(needs) => needs,
    };
    let Some(lease) = allowance.try_take_needed(needs.bytes) else {
        return Ok(Made::Short(pile, needs));
    };
    let decoded = decode(&pile, encoding, needs)?;
    // The memory that it came in isn't wanted any more.
    drop(pile);
    finish(decoded, wanted, lease).map(Made::Ready)
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
