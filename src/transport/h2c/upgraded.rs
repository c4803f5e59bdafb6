//! [`Upgraded`]: a connection after its upgrade to HTTP/2, which reads as if it had been HTTP/2 from the start.
//!
//! First comes what the offer stands for, and then what the client really sends, without what it repeats of the offer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    offer::Offer,
    preface::{Preface, didnt_go_on},
};

/// A connection after its upgrade, as hyper's HTTP/2 server gets to read it.
pub struct Upgraded<S> {
    inner: S,
    /// To be read before anything else.
    replay: Bytes,
    preface: Preface,
}

impl<S> Upgraded<S> {
    /// The connection `inner` after a 101 to `offer`; `already_read` is what came with the request.
    ///
    /// # Errors
    /// When that is not the beginning of what an HTTP/2 client sends.
    pub fn new(inner: S, offer: &Offer, already_read: &[u8]) -> io::Result<Self> {
        let mut upgraded = Self {
            inner,
            replay: offer.opening(),
            preface: Preface::awaited(offer.settings()),
        };
        if let Some(rest) = upgraded.preface.see(already_read)? {
            upgraded.replay = [upgraded.replay, rest].concat().into();
        }
        Ok(upgraded)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upgraded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.replay.is_empty() {
                let length = this.replay.len().min(buffer.remaining());
                buffer.put_slice(&this.replay.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if matches!(this.preface, Preface::Done) {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            let mut space = [0; 4096];
            let mut piece = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                // As the end of what was read it would only end reading: what may not be written yet would wait for ever.
                return Poll::Ready(Err(didnt_go_on(io::ErrorKind::UnexpectedEof)));
            }
            if let Some(rest) = this.preface.see(piece.filled())? {
                this.replay = rest;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Upgraded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let room = ready!(this.preface.poll_room(context, bytes.len()));
        let sent = ready!(Pin::new(&mut this.inner).poll_write(context, &bytes[..room]))?;
        this.preface.sent(sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Preface::Done = self.preface {
            return Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        }
        // Before the client's preface little is sent: a slice at a time will do.
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[], |slice| slice))
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
