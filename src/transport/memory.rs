//! [`Room`]: the memory that clients may make this mirror take beside bodies, with connections, requests that wait, and answers that aren't taken;
//! and [`Account`]: what one connection has of it.
//!
//! hyper and h2 hold most of that, and are asked for nothing: what a connection holds is reckoned from what they were measured to take.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    allowance::{Allowance, Lease},
    error::{Error, Kind},
};

/// What is clients' alone, in bytes: eight hundred connections. More comes out of what memory holds for all.
const OWN: u64 = 24 << 20;

/// A connection on which nothing is under way. Measured: 26 KB with HTTP/1.1, 16 KB with HTTP/2.
const CONNECTION: usize = 26 << 10;
/// A request whose answer isn't out. Measured: 2.7 KB, its line for the log and a small answer of its own come on top.
const REQUEST: usize = 4 << 10;
/// What HTTP/2 keeps of each request that was under way with others, for the next one. Measured: 0.4 KB.
const PLACE: usize = 512;
/// So much of a head has room in what a connection takes anyway.
const HEAD: usize = 8 << 10;
/// What a larger head takes at a time.
const HEAD_STEP: usize = 8 << 10;
/// The most that one takes, of both protocols' largest. Measured over HTTP/2: 78 KB with the connection.
const LARGEST_HEAD: usize = 64 << 10;
/// What a connection takes at first: itself, and a request.
const FIRST: usize = CONNECTION + REQUEST;
/// What it takes at a time from then on.
const STEP: usize = 64 << 10;

/// The memory for clients.
pub(crate) struct Room {
    own: Allowance,
    more: Box<More>,
}

/// Gives a lease on so many bytes, if there are as many.
type More = dyn Fn(u64) -> Option<Lease> + Send + Sync;

/// What one connection has of it, and holds.
pub(crate) struct Account {
    room: Arc<Room>,
    /// How much the leases are for; beside their lock, because each request asks.
    leased: AtomicUsize,
    leases: Mutex<Vec<(usize, Lease)>>,
    /// The most requests that were under way at once.
    most: AtomicUsize,
    /// What the head takes that isn't whole yet.
    head: AtomicUsize,
    /// Bytes that are written, and that the client's side hasn't taken.
    untaken: AtomicUsize,
}

/// What a client is told for which there is no room.
pub(crate) fn no_room() -> Error {
    Error::new(
        Kind::Overloaded,
        "this mirror has as many requests under way as its memory has room for; try again in a moment",
    )
}

impl Room {
    /// Room of which `more` comes when what is clients' alone is taken.
    pub(crate) fn new(more: impl Fn(u64) -> Option<Lease> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            own: Allowance::new(OWN, 0),
            more: Box::new(more),
        })
    }

    /// A lease on so many bytes, if there are as many.
    pub(crate) fn take(&self, bytes: usize) -> Option<Lease> {
        let bytes = bytes as u64;
        let own = self.own.try_take(bytes);
        own.or_else(|| (self.more)(bytes))
    }

    /// The account of a new connection, if there is room for one.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Account> {
        let lease = self.take(FIRST)?;
        Some(Account {
            room: self.clone(),
            leased: AtomicUsize::new(FIRST),
            leases: Mutex::new(vec![(FIRST, lease)]),
            most: AtomicUsize::new(1),
            head: AtomicUsize::new(0),
            untaken: AtomicUsize::new(0),
        })
    }
}

impl Account {
    /// Whether there is room for what the connection holds with so many requests under way. It takes what it lacks.
    pub(crate) fn covers(&self, requests: usize) -> bool {
        let needed = self.needed(requests);
        let covers = needed <= self.leased.load(Ordering::Relaxed) || self.grow(needed, STEP);
        if covers && requests > self.most.load(Ordering::Relaxed) {
            self.most.store(requests, Ordering::Relaxed);
        }
        covers
    }

    /// The same at the end of a turn, which has left so many bytes that the client's side hasn't taken, and so many of a head that isn't
    /// whole. It gives back what it has too much.
    pub(crate) fn settles(&self, requests: usize, untaken: usize, open: usize) -> bool {
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
        let places = most.saturating_sub(under_way) * PLACE;
        let untaken = self.untaken.load(Ordering::Relaxed);
        FIRST + (under_way - 1) * REQUEST + places + untaken + self.head.load(Ordering::Relaxed)
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
            let Some(lease) = self.room.take(step) else {
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

/// What a head takes of which so many bytes are here: they grow in a buffer that doubles, or are kept decoded and beside that as they came.
fn head(open: usize) -> usize {
    let beyond = 2 * open.saturating_sub(HEAD).min(LARGEST_HEAD);
    beyond.next_multiple_of(HEAD_STEP).min(LARGEST_HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Account {
        /// One that shares with nobody.
        pub(crate) fn of_its_own() -> Self {
            let room = Room::new(|_| None);
            room.open().expect("room for one")
        }
    }

    #[test]
    fn a_connection_takes_as_it_grows_and_gives_back() {
        let room = Room::new(|_| None);
        let account = room.open().expect("room for one");
        let one = account.needed(1);
        for requests in 1..=1000 {
            assert!(account.covers(requests), "{requests}");
            let needed = account.needed(requests);
            let leased = account.leased.load(Ordering::Relaxed);
            assert!(needed <= leased && leased <= needed + STEP, "{requests}");
        }
        assert!(account.settles(1, 0, 0));
        let places = 999 * PLACE;
        let leased = account.leased.load(Ordering::Relaxed);
        assert!(leased <= one + places + 2 * STEP, "{leased}");
        drop(account);
        let all = room.take(OWN as usize);
        assert!(all.is_some(), "something is still leased");
    }

    #[test]
    fn where_there_is_no_room_a_connection_holds_no_more() {
        let room = Room::new(|_| None);
        let account = room.open().expect("room for one");
        let rest = room.take(OWN as usize - FIRST - STEP);
        let most = (1..).find(|requests| !account.covers(*requests));
        let most = most.expect("an end");
        assert!((15..20).contains(&most), "{most}");
        assert!(!account.settles(1, STEP, 0), "what isn't taken counts");
        assert!(account.settles(1, 0, 0));
        drop(rest);
        assert!(account.covers(most));
    }

    #[test]
    fn more_comes_from_elsewhere() {
        let other = Allowance::new(10 << 20, 0);
        let room = Room::new(move |bytes| other.try_take(bytes));
        let leases: Vec<_> = std::iter::from_fn(|| room.take(1 << 20)).collect();
        assert_eq!(leases.len() as u64, (OWN >> 20) + 10);
    }
}
