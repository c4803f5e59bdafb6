//! [`UnsentChunks`]: chunks of answers that HTTP/2 was handed and hasn't sent yet, so that a client that doesn't take one is noticed.
//!
//! Each answer has to get on, and not only the connection. A client could keep the connection moving, or send pings, and hold a large body's memory with
//! each of two hundred other answers: HTTP/2 takes whatever it is given, and keeps it until the client's window opens. So it is given chunks, and a chunk
//! says by being dropped that it is sent. Small answers are chunks, too: 75,000 of them that nobody takes are a gigabyte of whatever HTTP/2 keeps for
//! each. Where nothing is handed over nothing is late: with an answer that waits for its source, or a connection without requests.
//!
//! Over HTTP/1.1 a connection has one answer at a time, and how it gets on can be seen from what the socket takes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// How large a chunk is at most, in bytes: what a client may take the whole time limit for. A chunk waits for the one before it, so HTTP/2 has to move two
/// within the limit. With the usual two minutes that is some 550 bytes a second: well above the 10 at which cargo takes a transfer for dead after 30 s,
/// and below any line in use. Smaller chunks would cost more: each is one more trip through HTTP/2's queues.
pub(super) const CHUNK: usize = 32 << 10;

/// The time limit in ticks: a chunk is late when it has been unsent for all of so many.
const LIMIT: usize = 2;
/// The same while the connection is full, because then many answers share it, and each waits for its turn. Ten times as long, but not for ever: a client
/// can keep its connection full on purpose.
const SHARED_LIMIT: usize = 10 * LIMIT;
/// More than any chunk lives to see.
const TICKS: usize = 32;

/// The unsent chunks of one connection, counted by the tick in which they were handed over. That takes a few atomic additions for each, and no list.
#[derive(Default)]
pub(super) struct UnsentChunks {
    now: AtomicUsize,
    waiting: [AtomicUsize; TICKS],
}

/// The tick in which a chunk was handed over.
#[derive(Clone, Copy)]
pub(super) struct Tick(usize);

impl UnsentChunks {
    /// Notes that a chunk was handed over, and says when: to be told to [`sent`](Self::sent).
    pub(super) fn handed_over(&self) -> Tick {
        let since = Tick(self.now.load(Ordering::Relaxed));
        self.waiting_since(since.0).fetch_add(1, Ordering::Relaxed);
        since
    }

    /// Notes that a chunk is sent.
    pub(super) fn sent(&self, since: Tick) {
        self.waiting_since(since.0).fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns when the client hasn't taken a chunk for `limit`, give or take half of it, or for ten times that while the connection is full.
    pub(super) async fn late(&self, limit: Duration, is_full: impl Fn() -> bool) {
        loop {
            tokio::time::sleep(limit / LIMIT as u32).await;
            let now = self.now.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let limit = match is_full() {
                true => SHARED_LIMIT,
                false => LIMIT,
            };
            // A chunk that was handed over in the midst of a tick has seen one less in full.
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
    async fn a_chunk_that_is_not_taken_is_noticed_among_many_that_are() {
        let chunks = UnsentChunks::default();
        let held = chunks.handed_over();
        let before = Instant::now();
        let moving = async {
            loop {
                chunks.sent(chunks.handed_over());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = chunks.late(LIMIT, || false) => {}
            () = moving => {}
        }
        let took = before.elapsed();
        assert!(LIMIT <= took && took <= LIMIT * 3 / 2, "{took:?}");
        chunks.sent(held);
    }

    /// A kilobyte a second is slow, and alive; also for days.
    #[tokio::test(start_paused = true)]
    async fn chunks_that_are_taken_slowly_are_not_late() {
        let chunks = UnsentChunks::default();
        let slow = async {
            for _ in 0..5_000 {
                let held = chunks.handed_over();
                tokio::time::sleep(Duration::from_secs(32)).await;
                chunks.sent(held);
            }
            // Waiting for upstream.
            tokio::time::sleep(LIMIT * 100).await;
        };
        tokio::select! {
            () = chunks.late(LIMIT, || false) => panic!("called late"),
            () = slow => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_full_connection_each_waits_for_its_turn_but_not_for_ever() {
        let chunks = UnsentChunks::default();
        let held = chunks.handed_over();
        let early = timeout(LIMIT * 9, chunks.late(LIMIT, || true)).await;
        assert!(early.is_err());
        let in_time = timeout(LIMIT * 2, chunks.late(LIMIT, || true)).await;
        assert!(in_time.is_ok());
        chunks.sent(held);
    }
}
