//! [`BlockBudget`]: the memory for files that are read block by block on their way to clients.
//!
//! A client takes a block when it likes, and thousands may take none. So each block is leased before it is read, and goes with its last byte. Who gets no
//! lease waits for nobody: it reads on in blocks of 2 KiB, one at a time. What a request is reckoned at covers one of those.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::allowance::{Allowance, Lease};

/// The largest block, in bytes: large enough to make the trip to a blocking thread cheap.
const LARGE: u64 = 64 << 10;
/// A block for which there is no lease, in bytes. Reading so little at a time is some ten times as slow, and still faster than most lines.
const SMALL: u64 = 2 << 10;
/// The most that large blocks may take together, in bytes. It is part of the memory that they share with everything else.
const MOST: u64 = 8 << 20;

/// What a block takes, rounded up as the allocator does: a fifth at the most, and what keeps the lease.
fn charge(length: u64) -> u64 {
    length + length / 4 + 256
}

/// The memory for blocks. Cheap to clone.
#[derive(Clone)]
pub struct BlockBudget {
    own: Allowance,
    shared: Allowance,
}

impl BlockBudget {
    /// A part of `shared`, of which it leaves the reserve alone: 8 MiB at the most.
    pub fn of(shared: Allowance) -> Self {
        let own = Allowance::new(MOST, 0);
        Self { own, shared }
    }

    /// As much as anybody wants, for who reads one file after the other.
    pub fn unlimited() -> Self {
        let all = Allowance::new(u64::MAX, 0);
        let (own, shared) = (all.clone(), all);
        Self { own, shared }
    }

    /// What somebody needs to read one file.
    pub fn reading(&self) -> Reading {
        Reading {
            budget: self.clone(),
            small: Arc::new(Semaphore::new(1)),
        }
    }

    fn try_take(&self, bytes: u64) -> Option<(Lease, Lease)> {
        Some((self.own.try_take(bytes)?, self.shared.try_take(bytes)?))
    }
}

/// One file on its way to one client.
pub struct Reading {
    budget: BlockBudget,
    /// Taken while a small block isn't out.
    small: Arc<Semaphore>,
}

impl Reading {
    /// Leave to read the next block of what has so many bytes `left`. It may wait until this client has taken the last small block, and for nobody else.
    pub async fn next(&self, left: u64) -> BlockLease {
        let size = left.min(LARGE);
        if let Some(leases) = self.try_large(size) {
            return BlockLease::of(size, Holds::Large(leases));
        }
        // Never closed, so always a permit.
        let permit = self.small.clone().acquire_owned().await.ok();
        match self.try_large(size) {
            Some(leases) => BlockLease::of(size, Holds::Large(leases)),
            None => BlockLease::of(size.min(SMALL), Holds::Small(permit)),
        }
    }

    fn try_large(&self, size: u64) -> Option<(Lease, Lease)> {
        match size <= SMALL {
            true => None,
            false => self.budget.try_take(charge(size)),
        }
    }
}

/// Leave to read one block.
#[must_use]
pub struct BlockLease {
    size: u64,
    #[expect(dead_code, reason = "held for its drop")]
    holds: Holds,
}

/// What ends with a block.
#[expect(dead_code, reason = "held for its drop")]
enum Holds {
    /// Of the memory for blocks, and of that for everything.
    Large((Lease, Lease)),
    /// The turn of the next small block.
    Small(Option<OwnedSemaphorePermit>),
}

impl BlockLease {
    fn of(size: u64, holds: Holds) -> Self {
        Self { size, holds }
    }

    /// How many bytes the block may have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Ties the lease to the block: it ends when the last handle on its bytes is dropped.
    pub fn hold(self, block: Bytes) -> Bytes {
        struct Held(
            Bytes,
            #[expect(dead_code, reason = "held for its drop")] BlockLease,
        );
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Held(block, self))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn block(lease: BlockLease) -> Bytes {
        let length = lease.size() as usize;
        lease.hold(vec![0; length].into())
    }

    #[tokio::test]
    async fn blocks_are_large_as_long_as_there_is_memory_and_small_from_then_on() {
        let shared = Allowance::new(64 << 20, 0);
        let budget = BlockBudget::of(shared.clone());
        let mut held = Vec::new();
        let small = loop {
            let reading = budget.reading();
            let lease = reading.next(1 << 30).await;
            if lease.size() == SMALL {
                break block(lease);
            }
            held.push((block(lease), reading));
        };
        assert!(held.len() as u64 * LARGE <= MOST && held.len() as u64 * LARGE > MOST / 2);
        assert!(shared.taken() <= MOST);
        // Whoever holds one gets one more, and only one.
        let (_, reading) = &held[0];
        let another = block(reading.next(1 << 30).await);
        assert_eq!(another.len() as u64, SMALL);
        assert!(reading.next(1 << 30).now_or_never().is_none(), "a third");
        drop(another);
        assert_eq!(reading.next(1 << 30).await.size(), SMALL);
        drop((small, held));
        assert_eq!(shared.taken(), 0, "something is still leased");
        assert_eq!(budget.reading().next(1 << 30).await.size(), LARGE);
    }

    #[tokio::test]
    async fn no_more_is_leased_than_there_is_left() {
        let shared = Allowance::new(64 << 20, 0);
        let reading = BlockBudget::of(shared.clone()).reading();
        let lease = reading.next(10_000).await;
        assert_eq!((lease.size(), shared.taken()), (10_000, charge(10_000)));
        let last = reading.next(7).await;
        assert_eq!(last.size(), 7);
        assert_eq!(shared.taken(), charge(10_000), "what is small needs none");
    }

    /// The memory that everything shares may be taken by others.
    #[tokio::test]
    async fn where_memory_is_short_blocks_are_small() {
        let shared = Allowance::new(1 << 20, 1 << 20);
        let reading = BlockBudget::of(shared).reading();
        assert_eq!(reading.next(1 << 30).await.size(), SMALL);
    }
}
