//! [`Stream`]: a client's connection as bytes, whatever they travel through; and [`Acceptor`], which makes one of an accepted socket.
//!
//! What comes through TLS will be one more variant of each. Everything above this file takes them all alike.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{handover::Handover, lending::LendingSocket, scheme::Scheme};

/// How accepted sockets become streams.
#[derive(Clone, Debug, Default)]
pub enum Acceptor {
    /// They are taken as they are.
    #[default]
    Plain,
}

impl Acceptor {
    /// What the URLs begin with that lead to this listener.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Plain => Scheme::Http,
        }
    }

    /// The stream over an accepted socket, and by what it is told which bodies can be lent to it.
    ///
    /// # Errors
    /// When the client and we can't agree on how to go on.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<(Stream, Handover)> {
        match self {
            Self::Plain => {
                let (socket, handover) = LendingSocket::new(socket);
                Ok((Stream::Plain(socket), handover))
            }
        }
    }
}

/// A client's connection as bytes.
pub(super) enum Stream {
    /// Straight through the socket.
    Plain(LendingSocket),
}

impl Stream {
    /// How the client came here.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::Http,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
