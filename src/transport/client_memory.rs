//! [`ClientMemory`]: the memory budget for what clients make this process hold beside bodies: connections, requests that wait, and answers that aren't
//! taken.

use std::sync::Arc;

use crate::allowance::{Allowance, Lease};

/// What is clients' alone, in bytes: eight hundred connections. More comes out of what memory holds for all.
pub(super) const OWN: u64 = 24 << 20;

/// The memory budget for clients.
pub struct ClientMemory {
    own: Allowance,
    more: Box<More>,
    /// How many bytes there are at most.
    most: u64,
}

/// Gives a lease on so many bytes, if there are as many.
type More = dyn Fn(u64) -> Option<Lease> + Send + Sync;

impl ClientMemory {
    /// A budget of 24 MiB. When that is taken, `more` is asked for leases, on `most_more` bytes in all.
    pub fn new(
        most_more: u64,
        more: impl Fn(u64) -> Option<Lease> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            own: Allowance::new(OWN, 0),
            more: Box::new(more),
            most: OWN + most_more,
        })
    }

    /// How many bytes there are at most, for all clients together.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// A lease on so many bytes, if there are as many.
    pub fn take(&self, bytes: usize) -> Option<Lease> {
        let bytes = bytes as u64;
        let own = self.own.try_take(bytes);
        own.or_else(|| (self.more)(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_comes_from_elsewhere() {
        let other = Allowance::new(10 << 20, 0);
        let memory = ClientMemory::new(10 << 20, move |bytes| other.try_take(bytes));
        let leases: Vec<_> = std::iter::from_fn(|| memory.take(1 << 20)).collect();
        assert_eq!(leases.len() as u64, (OWN >> 20) + 10);
    }
}
