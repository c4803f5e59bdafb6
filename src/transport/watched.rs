//! [`Watched`]: a stream that notes when bytes move on it, and how far its client is with a request's head.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{activity::Activity, arriving::Arriving, unsent::CHUNK};

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
        self.activity.set_full(full);
        if !full || self.taken >= CHUNK {
            self.taken = 0;
            self.activity.moved();
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
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Some(bytes) = buffer.filled().get(before..)
            && !bytes.is_empty()
        {
            let came = self.arriving.see(bytes);
            self.activity.came(came);
        }
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
