//! The raw client: HTTP/1.1 with nothing in between, so that a test sees the bytes as they came.
//!
//! No client library tells a test that a body was cut, that a header came twice or what was
//! received so far. This one does: `Reply::complete`, `Connection::body_so_far`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use super::headers::Headers;
use super::message::Message;

/// No test waits longer than this for bytes; what hangs on purpose is given a shorter time there.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, whole or as far as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    /// Without its chunks, but with its Content-Encoding.
    pub body: Vec<u8>,
    /// The body arrived whole: as long as Content-Length says, or up to the last chunk. A body
    /// without either is whole when the connection was closed in order.
    pub complete: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Nothing could be served: a status that cargo retries, and one sentence that it shows.
    #[track_caller]
    pub fn assert_unavailable(&self, when: &str) {
        assert!(
            matches!(self.status, 502..=504),
            "{when}: {} {:?}",
            self.status,
            self.text()
        );
        assert_eq!(self.header("x-cache"), Some("miss"), "{when}");
        let text = self.text();
        let plain = self.header("content-type") == Some("text/plain; charset=utf-8");
        let sentence = text.ends_with(".\n") && text.lines().count() == 1 && text.len() > 20;
        assert!(self.complete && plain && sentence, "{when}: {text:?}");
    }

    /// A 403, which cargo shows at once, with one sentence that has `why` in it.
    #[track_caller]
    pub fn assert_refused(&self, why: &str) {
        let text = self.text();
        let seen = (self.status, self.header("x-cache"), self.complete);
        assert_eq!(seen, (403, Some("miss"), true), "{why}: {text}");
        assert!(text.contains(why), "{why}: {text}");
        assert!(
            text.ends_with(".\n") && text.lines().count() == 1,
            "{text:?}"
        );
    }

    /// The body without `Content-Encoding: gzip`.
    pub fn decoded(&self) -> Vec<u8> {
        if self.header("content-encoding") != Some("gzip") {
            return self.body.clone();
        }
        let mut plain = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*self.body), &mut plain)
            .expect("a gzip body");
        plain
    }
}

/// Asserts that `body` was served whole, from where `outcome` says (`x-cache`).
#[track_caller]
pub fn assert_serves(reply: &Reply, outcome: &str, body: impl AsRef<[u8]>, when: &str) {
    let seen = (reply.status, reply.header("x-cache"), reply.complete);
    let expected = (200, Some(outcome), true);
    assert_eq!(seen, expected, "{when}: {:.200}", reply.text());
    assert!(reply.body == body.as_ref(), "{when}: other bytes");
}

pub async fn get(addr: impl ToSocketAddrs, path: &str, headers: &[(&str, &str)]) -> Reply {
    request(addr, "GET", path, headers).await
}

pub async fn head(addr: impl ToSocketAddrs, path: &str, headers: &[(&str, &str)]) -> Reply {
    request(addr, "HEAD", path, headers).await
}

/// One request on a connection of its own. Panics when no head of an answer comes.
pub async fn request(
    addr: impl ToSocketAddrs,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    try_request(addr, method, path, headers)
        .await
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The same for a test that expects none: refused, reset, closed, not HTTP.
pub async fn try_request(
    addr: impl ToSocketAddrs,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Reply> {
    let mut connection = Connection::try_open(addr).await?;
    connection.ask(method, path, headers).await?;
    connection.try_reply().await
}

/// Sends these bytes and returns what comes back, up to the end of the answer or the connection.
pub async fn raw(addr: impl ToSocketAddrs, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(addr).await;
    connection.send(bytes).await;
    connection.head_only = bytes.starts_with(b"HEAD ");
    while !connection.message().is_some_and(|message| message.whole) {
        match connection.receive().await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    connection.received
}

/// One request over a connection of another kind, such as TLS, which goes on after it.
pub async fn get_over(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Reply> {
    let mut head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut received = Vec::new();
    loop {
        let message = Message::parse(&received, false);
        if let Some(message) = message.filter(|message| message.whole) {
            return Ok(Reply {
                status: message.status,
                body: message.body(&received),
                complete: true,
                headers: message.headers,
            });
        }
        received.reserve(256 * 1024);
        let read = timeout(PATIENCE, stream.read_buf(&mut received)).await;
        if read.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
            return Err(not_http(&received));
        }
    }
}

/// A connection that is kept: for several requests one after the other, or to watch an answer as
/// it comes.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// The answer is one to HEAD, so that its Content-Length announces nothing.
    head_only: bool,
}

impl Connection {
    pub async fn open(addr: impl ToSocketAddrs) -> Connection {
        Connection::try_open(addr).await.expect("connect")
    }

    pub async fn try_open(addr: impl ToSocketAddrs) -> io::Result<Connection> {
        Connection::over(TcpStream::connect(addr).await?)
    }

    /// One that comes from another address of this machine, such as 127.0.0.2.
    pub async fn open_from(source: IpAddr, addr: SocketAddr) -> Connection {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((source, 0).into()).expect("its address");
        let stream = socket.connect(addr).await.expect("connect");
        Connection::over(stream).expect("a connection")
    }

    fn over(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            received: Vec::new(),
            head_only: false,
        })
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("send");
    }

    /// Sends a request. `Host` comes by itself unless it is given.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<()> {
        self.head_only = method == "HEAD";
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str(&format!("host: {}\r\n", self.stream.peer_addr()?));
        }
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes()).await
    }

    /// The next answer. Panics when no head of one comes.
    pub async fn reply(&mut self) -> Reply {
        self.try_reply().await.expect("an answer")
    }

    pub async fn try_reply(&mut self) -> io::Result<Reply> {
        let closed = loop {
            if self.message().is_some_and(|message| message.whole) {
                break None;
            }
            match self.receive().await {
                Ok(0) => break Some(Ok(())),
                Ok(_) => {}
                Err(error) => break Some(Err(error)),
            }
        };
        let in_order = matches!(closed, Some(Ok(())));
        let Some(message) = self.message() else {
            return Err(match closed {
                Some(Err(error)) => error,
                Some(Ok(())) | None => not_http(&self.received),
            });
        };
        let complete = message.whole || (message.until_close && in_order);
        let reply = Reply {
            status: message.status,
            body: message.body(&self.received),
            complete,
            headers: message.headers,
        };
        self.received.drain(..message.end);
        Ok(reply)
    }

    /// Waits until at least `n` bytes of the body have come, or no more do, and returns all of it
    /// so far. `reply` still returns the whole answer.
    pub async fn body_so_far(&mut self, n: usize) -> Vec<u8> {
        loop {
            let message = self.message();
            let ended = message.as_ref().is_some_and(|message| message.whole);
            let body = message.map(|message| message.body(&self.received));
            let enough = body.as_ref().is_some_and(|body| body.len() >= n);
            if enough || ended || !matches!(self.receive().await, Ok(1..)) {
                return body.unwrap_or_default();
            }
        }
    }

    /// The bare connection and what was received but not taken, for a protocol that isn't this one
    /// (what follows a 101).
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    /// What has come of the body after nothing more did for that long.
    pub async fn body_until_quiet(&mut self, quiet: Duration) -> Vec<u8> {
        while let Ok(Ok(1..)) = timeout(quiet, self.stream.read_buf(&mut self.received)).await {}
        let message = self.message();
        message
            .map(|message| message.body(&self.received))
            .unwrap_or_default()
    }

    /// Waits until the other side closes, and says whether it did within that time. What came
    /// instead is kept for `reply`.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        let closed =
            async { while let Ok(1..) = self.stream.read_buf(&mut self.received).await {} };
        timeout(limit, closed).await.is_ok()
    }

    fn message(&self) -> Option<Message> {
        Message::parse(&self.received, self.head_only)
    }

    async fn receive(&mut self) -> io::Result<usize> {
        self.received.reserve(256 * 1024);
        timeout(PATIENCE, self.stream.read_buf(&mut self.received))
            .await
            .unwrap_or_else(|_| {
                let received = String::from_utf8_lossy(&self.received);
                let start: String = received.chars().take(500).collect();
                panic!("nothing more came for {PATIENCE:?} after {start:?}")
            })
    }
}

fn not_http(received: &[u8]) -> io::Error {
    let start = String::from_utf8_lossy(&received[..received.len().min(100)]).into_owned();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not an answer: {start:?}"),
    )
}
