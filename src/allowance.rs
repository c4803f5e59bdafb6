//! [`Allowance`]: the memory that bodies may take, handed out in leases.
//!
//! A leaf. A lease lives as long as the last handle on the bytes it was taken for, so what caches, downloads in progress and slow
//! clients hold together never exceeds the allowance, whatever is requested.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Leases are counted in units of this many bytes; a semaphore counts no further than 2^61, a permit no further than 2^32.
const UNIT: u64 = 1 << 10;

/// A fixed number of bytes, handed out in leases.
#[derive(Clone)]
pub struct Allowance {
    free: Arc<Semaphore>,
    units: u32,
}

/// The right to hold so many bytes in memory.
#[must_use]
pub struct Lease(OwnedSemaphorePermit);

impl Allowance {
    /// An allowance of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let units = units(bytes);
        Self {
            free: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// A lease on `bytes` if they are free now.
    pub fn try_take(&self, bytes: u64) -> Option<Lease> {
        let permit = self.free.clone().try_acquire_many_owned(units(bytes));
        permit.ok().map(Lease)
    }

    /// A lease on `bytes`, after waiting in line for it. Nobody gets more than a quarter of the whole, so that nobody waits for ever.
    pub async fn take(&self, bytes: u64) -> Lease {
        let units = units(bytes).min(self.units / 4).max(1);
        let permit = self.free.clone().acquire_many_owned(units).await;
        Lease(permit.expect("the semaphore is never closed"))
    }
}

impl Lease {
    /// Gives back what is more than `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(surplus));
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
        let allowance = Allowance::new(10 * UNIT);
        let lease = allowance.try_take(8 * UNIT).expect("all is free");
        let bytes = lease.hold(Bytes::from(vec![0; 8 * 1024]));
        let handle = bytes.slice(..1);
        drop(bytes);
        assert!(allowance.try_take(8 * UNIT).is_none());
        drop(handle);
        assert!(allowance.try_take(8 * UNIT).is_some());
    }

    #[test]
    fn what_turns_out_smaller_is_given_back() {
        let allowance = Allowance::new(10 * UNIT);
        let mut lease = allowance.try_take(10 * UNIT).expect("all is free");
        lease.shrink_to(UNIT);
        assert!(allowance.try_take(9 * UNIT).is_some());
        assert!(allowance.try_take(10 * UNIT).is_none());
    }
}
