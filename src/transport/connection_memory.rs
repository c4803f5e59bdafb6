//! [`ConnectionMemory`]: what one connection holds in memory, leased from the budget for all clients.
//!
//! hyper and h2 hold most of it, and they can't be asked. So what a connection holds is reckoned from what they were measured to take.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::{client_memory::ClientMemory, scheme::Scheme};
use crate::allowance::Lease;

/// A connection on which nothing is under way. Measured: 26 KB with HTTP/1.1, 16 KB with HTTP/2.
const CONNECTION: usize = 26 << 10;
/// What TLS takes beside it. Measured: 31 KB in all with HTTP/1.1, 29 KB with HTTP/2.
const TLS: usize = 8 << 10;
/// A request whose answer isn't out. Measured: 2.7 KB, its line for the log and a small answer of its own come on top.
const REQUEST: usize = 4 << 10;
/// What HTTP/2 keeps of each request that was under way with others, for the next one. Measured: 0.4 KB.
const KEPT: usize = 512;
/// How much of a head is in what a connection takes anyway.
const HEAD: usize = 8 << 10;
/// The step in which a larger head is leased.
const HEAD_STEP: usize = 8 << 10;
/// The most that a head takes, of both protocols' largest. Measured over HTTP/2: 78 KB with the connection.
const LARGEST_HEAD: usize = 64 << 10;
/// The step in which it leases from then on.
const STEP: usize = 64 << 10;

/// How many requests may be under way on all connections together within so many bytes.
pub(super) fn requests_within(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX) / REQUEST
}

/// What one connection holds, and its leases for that.
pub(super) struct ConnectionMemory {
    memory: Arc<ClientMemory>,
    /// What it takes in any case, in bytes: for itself, and for a request.
    first: usize,
    /// How many bytes the leases are for. Beside their lock, because each request asks.
    leased: AtomicUsize,
    leases: Mutex<Vec<(usize, Lease)>>,
    /// The most requests that were under way at once.
    most: AtomicUsize,
    /// What the head takes that isn't whole yet, in bytes.
    head: AtomicUsize,
    /// Bytes that are written, and that the client's side hasn't taken.
    untaken: AtomicUsize,
}

impl ConnectionMemory {
    /// That of a new connection of which so many bytes are `remembered`, if there is any left for one.
    pub(super) fn open(
        memory: &Arc<ClientMemory>,
        scheme: Scheme,
        remembered: usize,
    ) -> Option<Self> {
        let first = first(scheme) + remembered;
        let lease = memory.take(first)?;
        Some(Self {
            memory: memory.clone(),
            first,
            leased: AtomicUsize::new(first),
            leases: Mutex::new(vec![(first, lease)]),
            most: AtomicUsize::new(1),
            head: AtomicUsize::new(0),
            untaken: AtomicUsize::new(0),
        })
    }

    /// Whether there is memory for what the connection holds with so many requests under way. Leases what it lacks.
    pub(super) fn covers(&self, requests: usize) -> bool {
        let needed = self.needed(requests);
        let covers = needed <= self.leased.load(Ordering::Relaxed) || self.grow(needed, STEP);
        if covers && requests > self.most.load(Ordering::Relaxed) {
            self.most.store(requests, Ordering::Relaxed);
        }
        covers
    }

    /// The same at the end of a turn. It has left `untaken` bytes that the client's side hasn't taken, and `open` bytes of a head that isn't whole. Gives
    /// back what the connection has too much.
    pub(super) fn settles(&self, requests: usize, untaken: usize, open: usize) -> bool {
        let head = head(open);
        self.head.store(head, Ordering::Relaxed);
        self.untaken.store(untaken, Ordering::Relaxed);
        let needed = self.needed(requests);
        let leased = self.leased.load(Ordering::Relaxed);
        if leased > needed + 2 * STEP {
            self.shrink(needed + STEP);
        }
        let step = if head > 0 { HEAD_STEP } else { STEP };
        needed <= leased || self.grow(needed, step)
    }

    fn needed(&self, requests: usize) -> usize {
        let under_way = requests.max(1);
        let most = self.most.load(Ordering::Relaxed);
        let kept = most.saturating_sub(under_way) * KEPT;
        let untaken = self.untaken.load(Ordering::Relaxed);
        self.first + (under_way - 1) * REQUEST + kept + untaken + self.head.load(Ordering::Relaxed)
    }

    #[cold]
    fn grow(&self, needed: usize, step: usize) -> bool {
        let mut leases = self.lock();
        loop {
            let leased = self.leased.load(Ordering::Relaxed);
            let Some(lacks) = needed.checked_sub(leased).filter(|lacks| *lacks > 0) else {
                return true;
            };
            let step = lacks.max(step);
            let Some(lease) = self.memory.take(step) else {
                return false;
            };
            leases.push((step, lease));
            self.leased.store(leased + step, Ordering::Relaxed);
        }
    }

    #[cold]
    fn shrink(&self, needed: usize) {
        let mut leases = self.lock();
        let mut leased = self.leased.load(Ordering::Relaxed);
        // The first of them is the connection's own.
        while leases.len() > 1
            && leases
                .last()
                .is_some_and(|(size, _)| leased - size >= needed)
        {
            leased -= leases.pop().map_or(0, |(size, _)| size);
        }
        self.leased.store(leased, Ordering::Relaxed);
    }

    /// Only ever held for a moment, by a connection and its requests.
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Lease)>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection of that kind leases at first.
fn first(scheme: Scheme) -> usize {
    let tls = match scheme {
        Scheme::Http => 0,
        Scheme::Https => TLS,
    };
    CONNECTION + tls + REQUEST
}

/// What a head takes of which so many bytes are here. They grow in a buffer that doubles, or are kept twice: decoded, and as they came.
fn head(open: usize) -> usize {
    let beyond = 2 * open.saturating_sub(HEAD).min(LARGEST_HEAD);
    beyond.next_multiple_of(HEAD_STEP).min(LARGEST_HEAD)
}

#[cfg(test)]
mod tests {
    use super::{super::client_memory::OWN, *};

    impl ConnectionMemory {
        /// One that shares with nobody.
        pub(in super::super) fn of_its_own() -> Self {
            let memory = ClientMemory::new(0, |_| None);
            Self::open(&memory, Scheme::Http, 0).expect("memory for one")
        }
    }

    #[test]
    fn a_connection_takes_as_it_grows_and_gives_back() {
        let all = ClientMemory::new(0, |_| None);
        let memory = ConnectionMemory::open(&all, Scheme::Http, 0).expect("memory for one");
        let one = memory.needed(1);
        for requests in 1..=1000 {
            assert!(memory.covers(requests), "{requests}");
            let needed = memory.needed(requests);
            let leased = memory.leased.load(Ordering::Relaxed);
            assert!(needed <= leased && leased <= needed + STEP, "{requests}");
        }
        assert!(memory.settles(1, 0, 0));
        let kept = 999 * KEPT;
        let leased = memory.leased.load(Ordering::Relaxed);
        assert!(leased <= one + kept + 2 * STEP, "{leased}");
        drop(memory);
        let whole = all.take(OWN as usize);
        assert!(whole.is_some(), "something is still leased");
    }

    #[test]
    fn what_is_remembered_of_a_connection_is_leased_with_it() {
        let all = ClientMemory::new(0, |_| None);
        let open = |remembered| ConnectionMemory::open(&all, Scheme::Http, remembered);
        let (none, some) = (open(0).expect("memory"), open(1_000).expect("memory"));
        assert_eq!(some.needed(1), none.needed(1) + 1_000);
        assert!(open(OWN as usize).is_none());
    }

    #[test]
    fn where_there_is_no_memory_a_connection_holds_no_more() {
        let all = ClientMemory::new(0, |_| None);
        let memory = ConnectionMemory::open(&all, Scheme::Http, 0).expect("memory for one");
        let rest = all.take(OWN as usize - first(Scheme::Http) - STEP);
        let most = (1..).find(|requests| !memory.covers(*requests));
        let most = most.expect("an end");
        assert!((15..20).contains(&most), "{most}");
        assert!(!memory.settles(1, STEP, 0), "what isn't taken counts");
        assert!(memory.settles(1, 0, 0));
        drop(rest);
        assert!(memory.covers(most));
    }
}
