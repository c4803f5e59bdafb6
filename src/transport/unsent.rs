//! [`Pieces`]: parts of answers that were handed to HTTP/2 and aren't on the wire yet, so that a client that doesn't take them is noticed.
//!
//! Each answer has to get on, and not only the connection: a client could keep one moving, or send pings, and hold a crate's memory with each of
//! two hundred others. HTTP/2 takes whatever it is given and keeps it until the client's window opens; so it is given pieces, and a piece says by
//! being dropped that it is out. Small answers are pieces, too: 75,000 that nobody takes are a gigabyte of whatever HTTP/2 has to keep for them. Where nothing is handed over (an answer that waits for upstream, a connection without requests) nothing is late.
//!
//! Over HTTP/1.1 a connection has one answer at a time, and [`Watched`](super::stall::Watched) sees how it gets on.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// The most that a client may take the whole time limit for; since a piece waits for the one before it, HTTP/2 has to move two meanwhile. With the
/// usual two minutes that is some 550 bytes a second: well above the 10 at which cargo takes a transfer for dead after 30 s, and below any line in
/// use. Smaller pieces would cost more: each is one more trip through HTTP/2's queues.
pub(crate) const PIECE: usize = 32 << 10;

/// The time limit in ticks: a piece is late when it has been out for all of so many.
const LIMIT: usize = 2;
/// The same for a client whose line is full: many answers share it, and each waits for its turn. Ten times as long, and not for ever, because a
/// client can fill its line on purpose.
const SHARED_LIMIT: usize = 10 * LIMIT;
/// More than any piece lives to see.
const TICKS: usize = 32;

/// The pieces of one connection, counted by the tick in which they were handed over: that costs each a few atomic additions, and nobody a list.
#[derive(Default)]
pub(crate) struct Pieces {
    now: AtomicUsize,
    waiting: [AtomicUsize; TICKS],
}

/// The tick in which a piece was handed over.
#[derive(Clone, Copy)]
pub(crate) struct Since(usize);

impl Pieces {
    /// Notes that a piece was handed over, and says when: to be told to [`Pieces::out`].
    pub(crate) fn handed_over(&self) -> Since {
        let since = Since(self.now.load(Ordering::Relaxed));
        self.waiting_since(since.0).fetch_add(1, Ordering::Relaxed);
        since
    }

    /// Notes that a piece is out.
    pub(crate) fn out(&self, since: Since) {
        self.waiting_since(since.0).fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns when the client hasn't taken a piece for `limit`, give or take half of it, or for ten times that while its line is full.
    pub(crate) async fn late(&self, limit: Duration, line_is_full: impl Fn() -> bool) {
        loop {
            tokio::time::sleep(limit / LIMIT as u32).await;
            let now = self.now.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let limit = match line_is_full() {
                true => SHARED_LIMIT,
                false => LIMIT,
            };
            // Handed over in the midst of its first tick, a piece has seen one less in full.
            let mut late = limit + 1..TICKS;
            if late.any(|age| self.are_waiting_since(now.wrapping_sub(age))) {
                return;
            }
        }
    }

    fn are_waiting_since(&self, tick: usize) -> bool {
        self.waiting_since(tick).load(Ordering::Relaxed) > 0
    }

    fn waiting_since(&self, tick: usize) -> &AtomicUsize {
        &self.waiting[tick % TICKS]
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_is_not_taken_is_noticed_among_many_that_are() {
        let pieces = Pieces::default();
        let held = pieces.handed_over();
        let before = Instant::now();
        let moving = async {
            loop {
                pieces.out(pieces.handed_over());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = pieces.late(LIMIT, || false) => {}
            () = moving => {}
        }
        let took = before.elapsed();
        assert!(LIMIT <= took && took <= LIMIT * 3 / 2, "{took:?}");
        pieces.out(held);
    }

    /// A kilobyte a second is slow, and alive; also for days.
    #[tokio::test(start_paused = true)]
    async fn pieces_that_are_taken_slowly_are_not_late() {
        let pieces = Pieces::default();
        let slow = async {
            for _ in 0..5_000 {
                let held = pieces.handed_over();
                tokio::time::sleep(Duration::from_secs(32)).await;
                pieces.out(held);
            }
            // Waiting for upstream.
            tokio::time::sleep(LIMIT * 100).await;
        };
        tokio::select! {
            () = pieces.late(LIMIT, || false) => panic!("called late"),
            () = slow => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_full_line_each_waits_for_its_turn_but_not_for_ever() {
        let pieces = Pieces::default();
        let held = pieces.handed_over();
        let early = timeout(LIMIT * 9, pieces.late(LIMIT, || true)).await;
        assert!(early.is_err());
        let in_time = timeout(LIMIT * 2, pieces.late(LIMIT, || true)).await;
        assert!(in_time.is_ok());
        pieces.out(held);
    }
}
