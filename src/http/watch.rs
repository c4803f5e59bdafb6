//! [`Watched`]: a connection that knows when bytes last moved on it, so that one on which nothing moves can be closed.
//!
//! It is what keeps a client that stalls from holding a crate's memory for ever. Over HTTP/1.1 its socket is full: nothing is accepted, or so
//! little at a time that it counts as nothing. Over HTTP/2 its window may be closed while other things move: see [`Pieces`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::pieces::{PIECE, Pieces};
use crate::metrics::Metrics;

/// When bytes last moved.
#[derive(Clone)]
pub(super) struct Activity(Arc<Moved>);

struct Moved {
    opened: Instant,
    /// Milliseconds after `opened`.
    last: AtomicU64,
    /// Requests whose answers aren't out yet.
    in_flight: AtomicUsize,
    /// Whether the client has been sent more than it has taken so far.
    full: AtomicBool,
    pieces: Arc<Pieces>,
    /// Reached from here, because what all connections share costs each request a trip to the same place in memory.
    metrics: Arc<Metrics>,
}

/// A request whose answer isn't out yet.
pub(super) struct InFlight(Activity);

/// A stream that notes when bytes move on it.
pub(super) struct Watched<S> {
    inner: S,
    activity: Activity,
    /// Bytes the client took while there were more to take, since that last counted as movement.
    taken: usize,
}

impl Activity {
    fn note(&self) {
        let since = self.0.opened.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.0.last.store(since, Ordering::Relaxed);
    }

    /// Notes a request, until what is returned is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Returns when nothing has moved for `limit`, unless it is for us to answer, or when the client hasn't taken a piece of an answer for about
    /// that long.
    pub(super) async fn stalls_for(&self, limit: Duration) {
        let line_is_full = || self.0.full.load(Ordering::Relaxed);
        let client_is_silent = async {
            loop {
                self.ceases_for(limit).await;
                if line_is_full() || self.0.in_flight.load(Ordering::Relaxed) == 0 {
                    return;
                }
                tokio::time::sleep(limit / 2).await;
            }
        };
        tokio::select! {
            () = client_is_silent => {}
            () = self.0.pieces.late(limit, line_is_full) => {}
        }
    }

    /// Returns when no answer is outstanding and nothing has moved for `limit`.
    pub(super) async fn ends_for(&self, limit: Duration) {
        loop {
            self.ceases_for(limit).await;
            if self.0.in_flight.load(Ordering::Relaxed) == 0 {
                return;
            }
            tokio::time::sleep(limit).await;
        }
    }

    /// Returns when nothing has moved for `limit`.
    async fn ceases_for(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
            let end = self.0.opened + last + limit;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl InFlight {
    /// Where to count.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.0.metrics
    }

    /// Bytes of the answer as they are given to HTTP/2.
    pub(super) fn hand_over(&self, bytes: Bytes) -> Bytes {
        self.0.0.pieces.hand_over(bytes)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, metrics: Arc<Metrics>) -> (Self, Activity) {
        let activity = Activity(Arc::new(Moved {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            pieces: Arc::default(),
            metrics,
        }));
        let watched = Self {
            inner,
            activity: activity.clone(),
            taken: 0,
        };
        (watched, activity)
    }

    /// What a client sends counts as movement only while it takes what it is sent.
    fn read<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Ok(_))) && !self.activity.0.full.load(Ordering::Relaxed) {
            self.activity.note();
        }
        polled
    }

    /// Taking all there is counts as movement, and of what is more than that, a piece. What is taken here is taken by the system, which says that it has
    /// room again when a third of its buffer is gone: 10 to 30 KB on a slow line, hundreds on a fast one, where a client that dawdles at some KB/s can
    /// look as if it took nothing.
    fn wrote(
        &mut self,
        polled: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        let full = match polled {
            Poll::Ready(Ok(taken)) => {
                self.taken += taken;
                taken < offered
            }
            Poll::Pending => true,
            Poll::Ready(Err(_)) => return polled,
        };
        self.activity.0.full.store(full, Ordering::Relaxed);
        if !full || self.taken >= PIECE {
            self.taken = 0;
            self.activity.note();
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.read(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(polled, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(polled, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_bytes_move_is_not_idle() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut watched, activity) = Watched::new(ours, Arc::default());
        let limit = Duration::from_secs(60);
        let ceased = tokio::spawn(async move { activity.stalls_for(limit).await });
        for _ in 0..5 {
            tokio::time::sleep(limit - Duration::from_secs(1)).await;
            theirs.write_all(b"x").await.expect("room");
            watched.read_u8().await.expect("a byte");
            assert!(!ceased.is_finished());
        }
        let before = Instant::now();
        ceased.await.expect("no panic");
        assert!(before.elapsed() >= limit - Duration::from_secs(1));
    }

    /// Sends without end to a client that takes `step` bytes each `every`, and returns when that counts as a stall; after a day it doesn't.
    async fn stalls_after(step: usize, every: Duration) -> Option<Duration> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut watched, activity) = Watched::new(ours, Arc::default());
        let block = vec![0; 64 << 10];
        let send = async { while watched.write_all(&block).await.is_ok() {} };
        let take = async {
            let mut space = vec![0; step];
            while theirs.read_exact(&mut space).await.is_ok() {
                tokio::time::sleep(every).await;
            }
        };
        let before = Instant::now();
        tokio::select! {
            () = activity.stalls_for(Duration::from_secs(120)) => Some(before.elapsed()),
            () = send => None,
            () = take => None,
            () = tokio::time::sleep(Duration::from_secs(24 * 3600)) => None,
        }
    }

    /// Ten bytes a second used to be movement enough to hold a crate for ever.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_next_to_nothing_stalls() {
        for (step, seconds) in [(1, 1), (10, 1), (100, 1), (1000, 100)] {
            let stalled = stalls_after(step, Duration::from_secs(seconds)).await;
            let stalled = stalled.expect("a stall");
            assert!(stalled <= Duration::from_secs(360), "{stalled:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_on_a_slow_line_does_not_stall() {
        for (step, seconds) in [(1000, 1), (30_000, 30)] {
            let stalled = stalls_after(step, Duration::from_secs(seconds)).await;
            assert_eq!(stalled, None, "{step} bytes each {seconds} s");
        }
    }

    /// Pings, or the start of a next request.
    #[tokio::test(start_paused = true)]
    async fn sending_does_not_help_a_client_that_takes_nothing() {
        let (ours, theirs) = tokio::io::duplex(64);
        let (watched, activity) = Watched::new(ours, Arc::default());
        let (mut reads, mut writes) = tokio::io::split(watched);
        let (_unread, mut asks) = tokio::io::split(theirs);
        let before = Instant::now();
        tokio::select! {
            () = activity.stalls_for(Duration::from_secs(120)) => {}
            _ = writes.write_all(&[0; 1000]) => panic!("taken"),
            () = async { while reads.read_u8().await.is_ok() {} } => {}
            () = async {
                while asks.write_all(b"?").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            } => {}
        }
        assert!(before.elapsed() < Duration::from_secs(125));
    }
}
