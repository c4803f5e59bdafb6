//! [`Gathered`]: a stream whose writes over HTTP/2 go out together, at the end of the connection's turn.
//!
//! HTTP/2 hands each frame to its connection by itself and flushes after it. With a system call for each, many small answers cost little but system
//! calls. So what is written is gathered, and whoever drives the connection sends it when the connection has nothing more to write for now.
//! HTTP/1.1 writes an answer in one go, and that goes straight through.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered at most, in bytes: four of HTTP/2's usual frames with their heads.
const ROOM: usize = 4 * ((16 << 10) + 9);

/// How much room a connection keeps between its turns, in bytes; thousands may be open and silent.
const KEPT: usize = 16 << 10;

/// A stream whose writes are gathered if it speaks HTTP/2. A clone is another handle on the same stream.
pub(super) struct Gathered<S>(Arc<Mutex<Gathering<S>>>);

struct Gathering<S> {
    stream: S,
    manner: Manner,
    /// What is to go out, of which so much has.
    waiting: Vec<u8>,
    sent: usize,
}

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The client's first bytes decide.
    Undecided,
    /// It goes straight through.
    Straight,
    /// It waits for what else there is.
    Gather,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Gathering {
            stream,
            manner: Manner::Undecided,
            waiting: Vec::new(),
            sent: 0,
        })))
    }

    /// From now on it is HTTP/2.
    pub(super) fn gather(&self) {
        self.lock().manner = Manner::Gather;
    }

    /// Whether it is HTTP/2.
    pub(super) fn gathers(&self) -> bool {
        self.lock().manner == Manner::Gather
    }

    /// Only ever one task at a time uses a connection, so nobody waits here.
    fn lock(&self) -> MutexGuard<'_, Gathering<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Sends what has been gathered.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(context)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.sent = 0;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }

    /// Takes all of `slices`, or what the stream takes of them.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.manner != Manner::Gather {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        if self.waiting.len() + length > ROOM {
            ready!(self.poll_send(context))?;
            if length > ROOM {
                return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
            }
        }
        let room = match self.waiting.len() + length {
            0..=KEPT => KEPT,
            _ => ROOM,
        };
        self.waiting.reserve_exact(room - self.waiting.len());
        slices
            .iter()
            .for_each(|s| self.waiting.extend_from_slice(s));
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut gathering = self.lock();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut gathering.stream).poll_read(context, buffer))?;
        if gathering.manner == Manner::Undecided {
            // RFC 9113, section 3.4; no HTTP/1.1 method begins like that.
            gathering.manner = match buffer.filled()[before..].starts_with(b"PRI ") {
                true => Manner::Gather,
                false => Manner::Straight,
            };
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    /// Done at once: what has been gathered goes out at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.lock();
        ready!(gathering.poll_send(context))?;
        Pin::new(&mut gathering.stream).poll_shutdown(context)
    }
}
