//! [`Watched`]: a connection that knows when bytes last moved on it, so that one on which nothing moves can be closed.
//!
//! It is what keeps a client that stalls from holding a crate's memory for ever, in either protocol: over HTTP/1.1 its socket is full, over HTTP/2
//! its window is closed, and either way nothing moves.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// When bytes last moved.
#[derive(Clone)]
pub(super) struct Activity(Arc<Moved>);

struct Moved {
    opened: Instant,
    /// Milliseconds after `opened`.
    last: AtomicU64,
    /// Requests whose answers aren't out yet.
    in_flight: AtomicUsize,
}

/// A request whose answer isn't out yet.
pub(super) struct InFlight(Activity);

/// A stream that notes when bytes move on it.
pub(super) struct Watched<S> {
    inner: S,
    activity: Activity,
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
    pub(super) async fn ceases_for(&self, limit: Duration) {
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

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S) -> (Self, Activity) {
        let activity = Activity(Arc::new(Moved {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
        }));
        let watched = Self {
            inner,
            activity: activity.clone(),
        };
        (watched, activity)
    }

    /// The activity of this connection, which goes on after an upgrade.
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    fn noting<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Ok(_))) {
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
        self.noting(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.noting(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.noting(polled)
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
        let (mut watched, activity) = Watched::new(ours);
        let limit = Duration::from_secs(60);
        let ceased = tokio::spawn(async move { activity.ceases_for(limit).await });
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
}
