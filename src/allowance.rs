//! [`Allowance`]: the memory that bodies may take, handed out in leases.
//!
//! A leaf. A lease lives as long as the last handle on the bytes it was taken for, so what caches, downloads in progress and slow
//! clients hold together never exceeds the allowance, whatever is requested. The small blocks of files that are read on their way out come on top.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::error::{Error, Kind, Result};

/// Leases are counted in units of this many bytes; a semaphore counts no further than 2^61, a permit no further than 2^32.
const UNIT: u64 = 1 << 10;
/// Nobody waits longer: those who wait hold what others wait for.
const WAIT: Duration = Duration::from_secs(10);

/// A fixed number of bytes, handed out in leases.
#[derive(Clone)]
pub struct Allowance {
    free: Arc<Semaphore>,
    units: u32,
    reserve: u32,
}

/// The right to hold so many bytes in memory.
#[must_use]
pub struct Lease(OwnedSemaphorePermit);

impl Allowance {
    /// An allowance of `bytes`, of which `reserve` are left to those who have to wait: crates can go through the disk, index files can't.
    ///
    /// A reserve in proportion to the whole would be a part of the memory that is kept full on purpose, and so keep everything new out of it.
    pub fn new(bytes: u64, reserve: u64) -> Self {
        let whole = units(bytes);
        Self {
            free: Arc::new(Semaphore::new(whole as usize)),
            units: whole,
            reserve: units(reserve),
        }
    }

    /// A lease on `bytes` if they are free now, and a reserve beside them.
    pub fn try_take(&self, bytes: u64) -> Option<Lease> {
        if self.free.available_permits() < (units(bytes).saturating_add(self.reserve)) as usize {
            return None;
        }
        let permit = self.free.clone().try_acquire_many_owned(units(bytes));
        permit.ok().map(Lease)
    }

    /// A lease on `bytes`, after waiting in line for it. Nobody gets more than a quarter of the whole.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when it takes too long.
    pub async fn take(&self, bytes: u64) -> Result<Lease> {
        let units = units(bytes).min(self.units / 4).max(1);
        match timeout(WAIT, self.free.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Lease(permit)),
            Ok(Err(_)) | Err(_) => Err(Error::new(
                Kind::Overloaded,
                "this mirror's memory is taken up by slow clients; try again in a moment",
            )),
        }
    }
}

impl Lease {
    /// Gives back what is more than `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(surplus));
    }

    /// A part of the lease as one of its own.
    pub fn split(&mut self, bytes: u64) -> Option<Lease> {
        self.0.split(units(bytes) as usize).map(Lease)
    }

    /// Ties the lease to `bytes`: it ends when their last handle is dropped.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        struct Held(
            Bytes,
            #[expect(dead_code, reason = "held for its drop")] Lease,
        );
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Held(bytes, self))
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_with_the_last_handle_on_its_bytes() {
        let allowance = Allowance::new(10 * UNIT, UNIT);
        let lease = allowance.try_take(8 * UNIT).expect("all is free");
        let bytes = lease.hold(Bytes::from(vec![0; 8 * 1024]));
        let handle = bytes.slice(..1);
        drop(bytes);
        assert!(allowance.try_take(2 * UNIT).is_none());
        drop(handle);
        assert!(allowance.try_take(2 * UNIT).is_some());
    }

    /// With a reserve of an eighth of the whole, a memory of 2 GiB took in nothing new from 1.8 GiB on.
    #[test]
    fn all_of_a_large_memory_can_be_filled() {
        const GIB: u64 = 1 << 30;
        let allowance = Allowance::new(2 * GIB + (32 << 20), 8 << 20);
        let crate_size = 145 << 10;
        let leases: Vec<_> = std::iter::from_fn(|| allowance.try_take(crate_size)).collect();
        assert!(leases.len() as u64 * crate_size > 2 * GIB);
    }

    #[test]
    fn what_turns_out_smaller_is_given_back() {
        let allowance = Allowance::new(10 * UNIT, UNIT);
        let mut lease = allowance.try_take(9 * UNIT).expect("all is free");
        lease.shrink_to(UNIT);
        assert!(allowance.try_take(8 * UNIT).is_some());
        assert!(allowance.try_take(10 * UNIT).is_none());
    }

    /// Crates in flight used to take all there was, and every index file waited for them.
    #[tokio::test(start_paused = true)]
    async fn something_is_left_for_those_who_have_to_wait_and_none_waits_for_ever() {
        let allowance = Allowance::new(80 * UNIT, 10 * UNIT);
        let mut held = Vec::new();
        while let Some(lease) = allowance.try_take(UNIT) {
            held.push(lease);
        }
        let small = allowance.take(10 * UNIT).await;
        assert!(small.is_ok());
        let refused = allowance.take(10 * UNIT).await.map(drop);
        assert_eq!(refused.map_err(|e| e.kind()), Err(Kind::Overloaded));
    }
}
