//! [`Stream`]: a client's connection as bytes, whatever they travel through; and [`Acceptor`], which makes one of an accepted socket.
//!
//! Everything above this file takes them all alike.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    connection_memory::ConnectionMemory,
    handover::Handover,
    holds::Holds,
    lending::LendingSocket,
    peer::Peer,
    scheme::Scheme,
    tls::{Failed, TlsInUse, TlsStream, handshake},
};
use crate::metrics::Metrics;

/// How accepted sockets become streams.
#[derive(Clone, Debug, Default)]
pub enum Acceptor {
    /// They are taken as they are.
    #[default]
    Plain,
    /// They speak TLS.
    Tls(Arc<TlsInUse>),
}

/// A connection that has come about.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    /// By what the stream is told which bodies can be lent to it.
    pub(super) handover: Handover,
    /// Who the client is, if it has shown a certificate that counts.
    pub(super) peer: Option<Peer>,
}

impl Acceptor {
    /// What the URLs begin with that lead to this listener.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Plain => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }

    /// The stream over an accepted socket. What the client sends before there is one is leased from `memory`.
    ///
    /// # Errors
    /// When the client and we can't agree on how to go on.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        memory: &ConnectionMemory,
        metrics: &Metrics,
    ) -> Result<Accepted, Failed> {
        match self {
            Self::Plain => {
                let (socket, handover) = LendingSocket::new(socket);
                Ok(Accepted {
                    stream: Stream::Plain(socket),
                    handover,
                    peer: None,
                })
            }
            Self::Tls(settings) => {
                let shaken = handshake(settings, socket, memory).await;
                metrics.tls_handshake(match &shaken {
                    Ok((_, how, _)) => *how,
                    Err(failed) => failed.counted(),
                });
                let (stream, _, peer) = shaken?;
                Ok(Accepted {
                    stream: Stream::Tls(stream),
                    handover: Handover::default(),
                    peer,
                })
            }
        }
    }
}

/// A client's connection as bytes.
pub(super) enum Stream {
    /// Straight through the socket.
    Plain(LendingSocket),
    /// Through TLS.
    Tls(TlsStream),
}

impl Stream {
    /// How the client came here.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }
}

impl Holds for Stream {
    fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.unsent(),
        }
    }

    fn unread(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.unread(),
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
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
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
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
