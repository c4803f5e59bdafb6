//! [`TlsStream`]: a client's connection through TLS; and [`handshake`], which makes one of an accepted socket.

use std::{
    fmt::{self, Display, Formatter},
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server};

use super::{
    connection_memory::ConnectionMemory,
    holds::Holds,
    peer::{InForce, Peer},
    records::Records,
};
use crate::{certificate::Certificate, metrics::TlsHandshake};

/// How long a client may take over the handshake, from when it was accepted.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How much a client may send in the course of it, in bytes. A certificate with its chain has some 3 KB.
const HANDSHAKE_MOST: usize = 32 << 10;
/// How much is encrypted at a time, in bytes: as much as is coalesced. A client that takes nothing makes us hold that much.
const AT_ONCE: usize = 66 << 10;
/// The most of an answer that is in one record, in bytes (RFC 8446, section 5.1).
const RECORD: usize = 16 << 10;
/// What a record takes beside that at most: its head, and what TLS 1.2 puts before and after its content.
const AROUND: usize = 5 + 8 + 16;

/// How TLS is spoken, and whose word about clients counts.
pub struct TlsTerms {
    /// What is spoken.
    pub config: Arc<ServerConfig>,
    /// The authorities of clients' certificates, if it names any.
    pub authorities: InForce,
}

/// What is spoken with clients from now on. Replaced as a whole; who is connected goes on as before, but is nobody in particular any more when the
/// authorities are others.
pub struct TlsInUse(ArcSwap<TlsTerms>);

impl TlsInUse {
    /// These to begin with.
    pub fn new(terms: TlsTerms) -> Self {
        Self(ArcSwap::from_pointee(terms))
    }

    /// These from now on.
    pub fn replace(&self, terms: TlsTerms) {
        let next = Arc::new(terms);
        // Who is let go comes again, and is to find the new ones.
        let former = self.0.swap(next.clone());
        former.authorities.give_way_to(&next.authorities);
    }
}

impl fmt::Debug for TlsInUse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("TlsInUse")
    }
}

/// Why a handshake came to nothing.
pub(super) enum Failed {
    /// The client speaks plain HTTP. This is its socket, of which nothing has been read.
    Plain(TcpStream),
    /// Something else. On the socket, if it is there still, the client may be told why.
    Otherwise(TlsHandshake, io::Error, Option<TcpStream>),
}

impl Failed {
    /// As it is counted.
    pub(super) fn counted(&self) -> TlsHandshake {
        match self {
            Self::Plain(_) => TlsHandshake::Plain,
            Self::Otherwise(what, _, _) => *what,
        }
    }

    fn by(what: TlsHandshake, why: &'static str) -> Self {
        Self::Otherwise(what, io::Error::other(why), None)
    }

    fn with(error: io::Error, socket: Option<TcpStream>) -> Self {
        let by_tls = error.get_ref().and_then(|e| e.downcast_ref());
        let what = match by_tls {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                TlsHandshake::Certificate
            }
            Some(rustls::Error::AlertReceived(_)) => TlsHandshake::Alert,
            Some(_) => TlsHandshake::Protocol,
            None if error.kind() == io::ErrorKind::InvalidData => TlsHandshake::Protocol,
            None => TlsHandshake::Gone,
        };
        Self::Otherwise(what, error, socket)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::with(error, None)
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("the client speaks plain HTTP"),
            Self::Otherwise(_, error, _) => error.fmt(f),
        }
    }
}

/// Agrees with the client on how to go on, within ten seconds. What it sends meanwhile is leased from `memory`.
///
/// # Errors
/// When that comes to nothing.
pub(super) async fn handshake(
    settings: &TlsInUse,
    socket: TcpStream,
    memory: &ConnectionMemory,
) -> Result<(TlsStream, TlsHandshake, Option<Peer>), Failed> {
    let terms = settings.0.load_full();
    let shaken = shake(terms.config.clone(), socket, memory);
    let too_late = |_| Failed::by(TlsHandshake::Late, "it took longer than 10 s");
    let stream = tokio::time::timeout(HANDSHAKE_WITHIN, shaken);
    let stream = stream.await.map_err(too_late)??;
    let session = stream.get_ref().1;
    let how = match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => TlsHandshake::Resumed,
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) | None => {
            TlsHandshake::Full
        }
    };
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let by = || terms.authorities.clone();
    let peer = shown.map(|der| known(der, by(), SystemTime::now()));
    let peer = peer.transpose()?;
    Ok((TlsStream::new(stream), how, peer))
}

async fn shake(
    config: Arc<ServerConfig>,
    socket: TcpStream,
    memory: &ConnectionMemory,
) -> Result<server::TlsStream<TlsSocket>, Failed> {
    let mut first = [0];
    let count = socket.peek(&mut first).await?;
    if count == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    // A request's method. TLS begins with 22 (RFC 8446, section 5.1).
    if first[0].is_ascii_alphabetic() {
        return Err(Failed::Plain(socket));
    }
    let at_once = |session: &mut ServerConnection| session.set_buffer_limit(Some(AT_ONCE));
    let came = Arc::new(AtomicUsize::new(0));
    let socket = TlsSocket::new(socket, came.clone());
    let accept = TlsAcceptor::from(config).accept_with(socket, at_once);
    let mut accept = accept.into_fallible();
    poll_fn(|context| {
        let polled = Pin::new(&mut accept).poll(context);
        let polled = polled.map_err(|(error, socket)| Failed::with(error, Some(socket.stream)))?;
        if polled.is_pending() {
            let came = came.load(Ordering::Relaxed);
            if !memory.settles(1, 0, came) {
                let why = "there is no memory for what the client sends";
                return Poll::Ready(Err(Failed::by(TlsHandshake::NoMemory, why)));
            }
        }
        polled.map(Ok)
    })
    .await
}

/// Whose certificate it is, which is one of those that count. It was good when it was shown first; who resumes a session doesn't show it again.
fn known(der: &[u8], authorities: InForce, now: SystemTime) -> Result<Peer, Failed> {
    let unknown = "the client's certificate can't be understood";
    let certificate = Certificate::parse(der);
    let certificate = certificate.ok_or_else(|| Failed::by(TlsHandshake::Certificate, unknown))?;
    let validity = certificate.validity();
    match validity.has_ended(now) {
        false => Ok(Peer::new(certificate.holder(), validity.until, authorities)),
        true => Err(Failed::by(
            TlsHandshake::Certificate,
            "the client's certificate has expired",
        )),
    }
}

/// A client's connection through TLS.
pub(super) struct TlsStream {
    inner: Box<server::TlsStream<TlsSocket>>,
    /// Bytes that are encrypted and that the socket hasn't taken; none are added before it has.
    unsent: usize,
}

impl TlsStream {
    fn new(mut inner: server::TlsStream<TlsSocket>) -> Self {
        inner.get_mut().0.most = usize::MAX;
        Self {
            inner: Box::new(inner),
            unsent: 0,
        }
    }

    fn sent(&self) -> usize {
        self.inner.get_ref().0.sent
    }

    /// Reckons anew what the socket hasn't taken, after so many bytes have been encrypted; by then it had taken `before`.
    fn reckon(&mut self, written: usize, before: usize) {
        let taken = self.sent().wrapping_sub(before);
        let encrypted = written + AROUND * written.div_ceil(RECORD);
        self.unsent = match self.inner.get_ref().1.wants_write() {
            false => 0,
            true => (self.unsent + encrypted).saturating_sub(taken).max(1),
        };
    }

    /// Sends what is encrypted.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.sent();
        let sent = Pin::new(&mut self.inner).poll_flush(context);
        self.reckon(0, before);
        sent
    }

    /// Encrypts and sends what there is room for, when all that was encrypted before is out: so a client that takes nothing makes us hold only what is
    /// encrypted at a time.
    fn poll_encrypt(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.unsent > 0 {
            ready!(self.poll_send(context))?;
        }
        let before = self.sent();
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, slices))?;
        self.reckon(written, before);
        Poll::Ready(Ok(written))
    }
}

impl Holds for TlsStream {
    fn unsent(&self) -> usize {
        self.unsent
    }

    fn unread(&self) -> usize {
        self.inner.get_ref().0.records.held()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.inner.get_mut().0.records.handed_on();
        }
        polled
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_encrypt(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_encrypt(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The socket below TLS. It counts what passes.
pub(super) struct TlsSocket {
    stream: TcpStream,
    /// Bytes that have come. Shared with who waits for the handshake.
    came: Arc<AtomicUsize>,
    /// How many may.
    most: usize,
    records: Records,
    /// Bytes that were taken.
    sent: usize,
}

impl TlsSocket {
    fn new(stream: TcpStream, came: Arc<AtomicUsize>) -> Self {
        Self {
            stream,
            came,
            most: HANDSHAKE_MOST,
            records: Records::default(),
            sent: 0,
        }
    }

    fn count(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(taken)) = polled {
            self.sent = self.sent.wrapping_add(taken);
        }
        polled
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.came.load(Ordering::Relaxed) > self.most {
            let why = "the client sent more than 32 KB";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        self.came.fetch_add(bytes.len(), Ordering::Relaxed);
        self.records.see(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One record is the usual case, and to send one buffer is cheaper than to send a list of one.
        let stream = Pin::new(&mut self.stream);
        let polled = match slices {
            [one] => stream.poll_write(context, one),
            several => stream.poll_write_vectored(context, several),
        };
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
