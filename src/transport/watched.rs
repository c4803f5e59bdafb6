//! [`Watched`]: a stream that notes when bytes move on it, and how far its client is with a request's head.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{activity::Activity, arriving::Arriving, holds::Holds, unsent::CHUNK};

/// A stream that notes when bytes move on it.
pub(super) struct Watched<S> {
    inner: S,
    activity: Activity,
    /// Bytes the client took while there were more to take, since that last counted as movement.
    taken: usize,
    arriving: Arriving,
}

impl<S> Watched<S> {
    /// Watches `inner`, of which nothing has been read.
    pub(super) fn new(inner: S, activity: Activity) -> Self {
        Self {
            inner,
            activity,
            taken: 0,
            arriving: Arriving::new(),
        }
    }

    /// From now on it is HTTP/2, from its magic on, of which so much is here.
    pub(super) fn upgrade(&mut self, already_read: &[u8]) {
        self.arriving = Arriving::new();
        self.activity.came(self.arriving.see(already_read));
    }
}

impl<S: Holds> Watched<S> {
    fn note_held(&self) {
        self.activity
            .set_held(self.inner.unsent() + self.inner.unread());
    }

    /// What a client sends counts as movement only while it takes what it is sent.
    fn read<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Ok(_))) && !self.activity.is_full() {
            self.activity.moved();
            self.activity.heard();
        }
        polled
    }

    /// It counts as movement when the client takes all there is, or has taken as much as a chunk.
    ///
    /// What is taken here is taken by the system. It says that it has room again when a third of its buffer is free: 10 to 30 KB on a slow line, hundreds on
    /// a fast one. There a client that dawdles at some KB/s can look as if it took nothing.
    ///
    /// The stream held `before` bytes that weren't sent.
    fn wrote(
        &mut self,
        polled: Poll<io::Result<usize>>,
        offered: usize,
        before: usize,
    ) -> Poll<io::Result<usize>> {
        let taken = match polled {
            Poll::Ready(Ok(taken)) => taken,
            Poll::Pending => 0,
            Poll::Ready(Err(_)) => return polled,
        };
        self.moved_on(offered > taken, before + taken);
        polled
    }

    /// The client has been sent `sent` bytes more or less, what the stream still holds of them apart; there is more for it if there are `rest`.
    fn moved_on(&mut self, rest: bool, sent: usize) {
        let unsent = self.inner.unsent();
        self.taken += sent.saturating_sub(unsent);
        let full = rest || unsent > 0;
        self.activity.set_full(full);
        if !full || self.taken >= CHUNK {
            self.taken = 0;
            self.activity.moved();
        }
        self.note_held();
    }
}

impl<S: AsyncRead + Holds + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Some(bytes) = buffer.filled().get(before..)
            && !bytes.is_empty()
        {
            let came = self.arriving.see(bytes);
            self.activity.came(came);
        }
        self.note_held();
        self.read(polled)
    }
}

impl<S: AsyncWrite + Holds + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let before = self.inner.unsent();
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(polled, bytes.len(), before)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let before = self.inner.unsent();
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        let offered = slices.iter().map(|slice| slice.len()).sum();
        self.wrote(polled, offered, before)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.inner.unsent();
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        if before > 0 {
            self.moved_on(false, before);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
