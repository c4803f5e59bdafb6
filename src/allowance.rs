//! [`Allowance`]: the memory that strangers may make us hold, handed out in leases.
//!
//! A leaf. The rule: whatever a stranger makes us hold (bodies, requests, answers) is leased as it grows, never by the stranger's word for its size. What
//! gets no lease goes through the disk, or waits and holds nothing meanwhile, or is refused. Nobody waits for more while holding some, because all who do may
//! wait for each other: a [`Lease`] can only [try to grow](Lease::try_grow), and [`Allowance::take`] is for who holds none.
//!
//! A lease lives as long as the last handle on the bytes it was taken for, so what caches, downloads in progress and slow clients hold together never
//! exceeds the allowance, whatever is requested. Blocks of files on their way out have a share of it (`block_budget.rs`).

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

use crate::error::{Error, Kind, Result};

/// Nobody waits longer for memory.
const WAIT: Duration = Duration::from_secs(10);
/// Who waits looks at least so often: what was evicted for him may be given back a moment later, and without a word.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Up to so many bytes a lease may be of what is set aside, and needn't stand in line behind those that want more.
const SMALL: u64 = 256 << 10;

/// A fixed number of bytes, handed out in leases. Cheap to clone.
#[derive(Clone)]
pub struct Allowance(Arc<Pool>);

struct Pool {
    whole: u64,
    reserve: u64,
    free: AtomicU64,
    /// Those who want much stand in line, so that what is given back adds up for the first of them.
    line: Semaphore,
    /// How many stand there.
    in_line: AtomicUsize,
    /// Told when something is given back.
    freed: Notify,
    relief: OnceLock<Relief>,
}

/// Has somebody give back so many bytes who can do without.
type Relief = Box<dyn Fn(u64) + Send + Sync>;

/// The right to hold so many bytes in memory.
#[must_use]
pub struct Lease {
    pool: Arc<Pool>,
    bytes: u64,
}

impl Allowance {
    /// An allowance of `bytes`, of which `reserve` are left to what is small and can't go elsewhere: crates can go through the disk, a request can't.
    ///
    /// A reserve in proportion to the whole would be a part of the memory that is kept full on purpose, and so keep everything new out of it.
    pub fn new(bytes: u64, reserve: u64) -> Self {
        Self(Arc::new(Pool {
            whole: bytes,
            reserve: reserve.min(bytes),
            free: AtomicU64::new(bytes),
            line: Semaphore::new(1),
            in_line: AtomicUsize::new(0),
            freed: Notify::new(),
            relief: OnceLock::new(),
        }))
    }

    /// For who waits in line for memory this is called with how much is missing, again and again until it is there: a cache gives back so much. Only
    /// the first that is named here is called.
    pub fn on_shortage(&self, relief: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.0.relief.set(Box::new(relief));
    }

    /// A lease on nothing, which can grow.
    pub fn nothing(&self) -> Lease {
        self.lease(0)
    }

    /// A lease on `bytes` for what can go elsewhere: if they are free now, and a reserve beside them, and nobody waits for memory.
    pub fn try_take(&self, bytes: u64) -> Option<Lease> {
        self.0.claim_spare(bytes).then(|| self.lease(bytes))
    }

    /// A lease on `bytes` for what can't go elsewhere: small ones may be of the reserve, and go before those who wait.
    pub fn try_take_needed(&self, bytes: u64) -> Option<Lease> {
        self.0.claim_needed(bytes).then(|| self.lease(bytes))
    }

    /// A lease on `bytes`, after waiting in line for it. For who holds no other lease.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when it takes too long, and at once for more than [`most`](Self::most).
    pub async fn take(&self, bytes: u64) -> Result<Lease> {
        self.has_as_much(bytes)?;
        let waited = timeout(WAIT, async {
            match bytes <= SMALL {
                true => self.until(|| self.0.claim_needed(bytes)).await,
                false => self.in_line(bytes).await,
            }
        });
        waited
            .await
            .map(|()| self.lease(bytes))
            .map_err(|_| taken_up())
    }

    /// The same for what nobody is to give anything back for: everybody else goes first.
    ///
    /// # Errors
    /// Those of [`take`](Self::take).
    pub async fn take_spare(&self, bytes: u64) -> Result<Lease> {
        self.has_as_much(bytes)?;
        let waited = timeout(WAIT, self.until(|| self.0.claim_spare(bytes))).await;
        waited.map(|()| self.lease(bytes)).map_err(|_| taken_up())
    }

    /// The most that one lease can be of.
    pub fn most(&self) -> u64 {
        self.0.whole - self.0.reserve
    }

    /// How many bytes are leased at the moment.
    pub fn taken(&self) -> u64 {
        self.0.whole - self.0.free.load(Ordering::Acquire)
    }

    /// Whether there could ever be a lease on so many bytes.
    fn has_as_much(&self, bytes: u64) -> Result<()> {
        match bytes <= self.most() {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Overloaded,
                format!(
                    "what upstream sent takes {bytes} bytes of memory, more than the {} that this mirror can give to one answer; raise `memory.budget`",
                    self.most()
                ),
            )),
        }
    }

    async fn in_line(&self, bytes: u64) {
        let _here = InLine::enter(&self.0);
        let Ok(_first) = self.0.line.acquire().await else {
            return std::future::pending().await;
        };
        self.until(|| {
            let free = self.0.claim(bytes, self.0.reserve);
            if let (Err(missing), Some(relief)) = (free, self.0.relief.get()) {
                relief(missing);
            }
            free.is_ok()
        })
        .await;
    }

    /// Returns when `claim` has succeeded; it is tried whenever something is given back.
    async fn until(&self, claim: impl Fn() -> bool) {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if claim() {
                return;
            }
            tokio::select! {
                () = freed => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn lease(&self, bytes: u64) -> Lease {
        Lease {
            pool: self.0.clone(),
            bytes,
        }
    }
}

fn taken_up() -> Error {
    Error::new(
        Kind::Overloaded,
        "this mirror's memory is taken up by other requests; try again in a moment",
    )
}

impl Pool {
    /// Takes `bytes` if they are free beside `kept`; else says how many are missing.
    fn claim(&self, bytes: u64, kept: u64) -> Result<(), u64> {
        let wanted = bytes.saturating_add(kept);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let claimed = self
            .free
            .fetch_update(set, fetch, |free| (free >= wanted).then(|| free - bytes));
        claimed.map(drop).map_err(|free| wanted - free)
    }

    fn claim_spare(&self, bytes: u64) -> bool {
        self.in_line.load(Ordering::Acquire) == 0 && self.claim(bytes, self.reserve).is_ok()
    }

    fn claim_needed(&self, bytes: u64) -> bool {
        match bytes <= SMALL {
            true => self.claim(bytes, 0).is_ok(),
            false => self.claim_spare(bytes),
        }
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.free.fetch_add(bytes, Ordering::AcqRel);
            self.freed.notify_waiters();
        }
    }
}

/// A place in the line for much memory.
struct InLine<'a>(&'a Pool);

impl<'a> InLine<'a> {
    fn enter(pool: &'a Pool) -> Self {
        pool.in_line.fetch_add(1, Ordering::AcqRel);
        Self(pool)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.in_line.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lease {
    /// How many bytes it is of.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it one on `more` bytes more if they could be had as a lease of their own, for what can go elsewhere; see [`Allowance::try_take`].
    #[must_use]
    pub fn try_grow(&mut self, more: u64) -> bool {
        let grown = self.pool.claim_spare(more);
        self.bytes += if grown { more } else { 0 };
        grown
    }

    /// The same, and if there isn't as much, whoever gives back when memory is short ([`on_shortage`](Allowance::on_shortage)) is asked to first, once.
    pub fn try_grow_making_way(&mut self, more: u64) -> bool {
        self.try_grow(more) || {
            if let Some(relief) = self.pool.relief.get() {
                relief(more);
            }
            self.try_grow(more)
        }
    }

    /// The same for what can't go elsewhere; see [`Allowance::try_take_needed`]. It is the lease as a whole that has to be small.
    #[must_use]
    pub fn try_grow_needed(&mut self, more: u64) -> bool {
        let grown = match self.bytes.saturating_add(more) <= SMALL {
            true => self.pool.claim(more, 0).is_ok(),
            false => self.pool.claim_spare(more),
        };
        self.bytes += if grown { more } else { 0 };
        grown
    }

    /// Gives back what is more than `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.pool.give_back(surplus);
    }

    /// A part of the lease as one of its own.
    pub fn split(&mut self, bytes: u64) -> Option<Lease> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        let pool = self.pool.clone();
        Some(Lease { pool, bytes })
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

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    #[test]
    fn a_lease_ends_with_the_last_handle_on_its_bytes() {
        let allowance = Allowance::new(10 * KIB, KIB);
        let lease = allowance.try_take(8 * KIB).expect("all is free");
        let bytes = lease.hold(Bytes::from(vec![0; 8 * 1024]));
        let handle = bytes.slice(..1);
        drop(bytes);
        assert!(allowance.try_take(2 * KIB).is_none());
        drop(handle);
        assert!(allowance.try_take(2 * KIB).is_some());
    }

    /// With a reserve of an eighth of the whole, a memory of 2 GiB took in nothing new from 1.8 GiB on.
    #[test]
    fn all_of_a_large_memory_can_be_filled() {
        const GIB: u64 = 1 << 30;
        let allowance = Allowance::new(2 * GIB + 32 * MIB, 8 * MIB);
        let crate_size = 145 * KIB;
        let leases: Vec<_> = std::iter::from_fn(|| allowance.try_take(crate_size)).collect();
        assert!(leases.len() as u64 * crate_size > 2 * GIB);
    }

    #[test]
    fn what_turns_out_smaller_is_given_back_and_what_grows_is_leased() {
        let allowance = Allowance::new(10 * KIB, KIB);
        let mut lease = allowance.try_take(9 * KIB).expect("all is free");
        assert!(!lease.try_grow(1), "it would be of the reserve");
        lease.shrink_to(KIB);
        let part = lease.split(KIB / 2).expect("a part");
        assert!((lease.bytes(), part.bytes()) == (KIB / 2, KIB / 2) && lease.split(KIB).is_none());
        assert!(lease.try_grow(8 * KIB) && lease.try_grow_needed(KIB));
        assert!(!lease.try_grow_needed(1), "all is taken");
        drop((lease, part));
        assert!(allowance.try_take(9 * KIB).is_some());
    }

    /// Crates in flight used to take all there was, and every index file waited for them.
    #[tokio::test(start_paused = true)]
    async fn something_is_left_for_those_who_have_to_wait_and_none_waits_for_ever() {
        let allowance = Allowance::new(80 * KIB, 10 * KIB);
        let held: Vec<_> = std::iter::from_fn(|| allowance.try_take(KIB)).collect();
        assert_eq!(held.len(), 70);
        let small = allowance.take(10 * KIB).await;
        assert!(small.is_ok());
        let refused = allowance.take(10 * KIB).await.map(drop);
        assert_eq!(refused.map_err(|e| e.kind()), Err(Kind::Overloaded));
        let never = allowance.take(71 * KIB).await.map(drop);
        assert_eq!(never.map_err(|e| e.kind()), Err(Kind::Overloaded));
    }

    /// Who asked for a thousand dates had the cache give back what everybody asks for.
    #[tokio::test(start_paused = true)]
    async fn nobody_gives_anything_back_for_what_is_spare() {
        let allowance = Allowance::new(10 * MIB, MIB);
        allowance.on_shortage(|_| panic!("somebody is to give something back"));
        let lease = allowance.try_take(8 * MIB).expect("all is free");
        let refused = allowance.take_spare(2 * MIB).await.map(drop);
        assert_eq!(refused.map_err(|e| e.kind()), Err(Kind::Overloaded));
        let (taken, ()) = tokio::join!(allowance.take_spare(2 * MIB), async { drop(lease) });
        assert_eq!(taken.map(|lease| lease.bytes()).ok(), Some(2 * MIB));
    }

    /// Who waits for much is given what a cache gives back for him, and the next one what he gives back himself; small ones don't stand behind them.
    #[tokio::test(start_paused = true)]
    async fn one_after_the_other_who_waits_for_much_gets_it() {
        let allowance = Allowance::new(10 * MIB, MIB);
        let cached = Arc::new(Mutex::new(
            allowance.try_take(9 * MIB).expect("all is free"),
        ));
        let cache = cached.clone();
        allowance.on_shortage(move |missing| {
            let mut cache = cache.lock().expect("the cache");
            let left = cache.bytes().saturating_sub(missing);
            cache.shrink_to(left);
        });
        let taker = async || {
            let lease = allowance.take(5 * MIB).await.expect("in time");
            assert!(allowance.try_take_needed(SMALL).is_some());
            tokio::task::yield_now().await;
            drop(lease);
        };
        let others = async {
            assert!(allowance.try_take(1).is_none(), "somebody waits");
        };
        tokio::join!(taker(), taker(), others);
        assert!(cached.lock().expect("the cache").bytes() <= 4 * MIB);
        assert!(allowance.try_take(1).is_some());
    }
}
