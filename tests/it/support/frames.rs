//! The frame client: HTTP/2 frame by frame, so that a test sees how often something was
//! acknowledged, which no client library tells.
//!
//! Header blocks are written as literals and read no further than their `:status`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{client::Connection, requests};

/// No test waits longer than this for a frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
pub const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What cargo says in `HTTP2-Settings`, and the same as the payload of a SETTINGS frame.
pub const CARGOS_SETTINGS: &str = "AAMAAABkAAQAAQAAAAIAAAAA";
pub const CARGOS_SETTINGS_PAYLOAD: &[u8] = &[
    0, 3, 0, 0, 0, 100, // at most 100 streams
    0, 4, 0, 1, 0, 0, // a window of 64 KiB
    0, 2, 0, 0, 0, 0, // no push
];

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Of HEADERS.
pub const END_HEADERS: u8 = 4;

/// Of DATA and HEADERS: the first byte says how much padding is at the end.
pub const PADDED: u8 = 8;
/// Of HEADERS: five bytes of priority come first.
pub const WITH_PRIORITY: u8 = 0x20;

/// One frame as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn is_ack(&self, kind: u8) -> bool {
        self.kind == kind && self.flags & ACK != 0
    }

    /// Nothing follows on its stream.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
            || self.kind == RST_STREAM
    }
}

/// What came on one stream.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// The headers with which cargo offers the upgrade.
pub fn cargos_offer() -> [(&'static str, &'static str); 3] {
    [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", CARGOS_SETTINGS),
    ]
}

/// A connection that speaks HTTP/2.
pub struct Frames {
    stream: TcpStream,
    received: BytesMut,
}

impl Frames {
    /// A connection that begins in HTTP/2, with the client's half of the preface sent.
    pub async fn begin(addr: SocketAddr) -> Frames {
        let mut frames = Frames::after_upgrade(Connection::open(addr).await);
        frames.send_bytes(MAGIC).await;
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// What follows a 101.
    pub fn after_upgrade(connection: Connection) -> Frames {
        let (stream, received) = connection.into_parts();
        Frames {
            stream,
            received: BytesMut::from(&received[..]),
        }
    }

    /// Asks for `path` as cargo does, expects the 101, and sends the client's half of the preface.
    pub async fn upgrade(addr: SocketAddr, path: &str) -> Frames {
        let mut frames = Frames::upgrade_with(addr, "GET", path, &cargos_offer()).await;
        frames.send_bytes(MAGIC).await;
        frames.send(SETTINGS, 0, 0, CARGOS_SETTINGS_PAYLOAD).await;
        frames
    }

    /// Asks with these headers and expects the 101. The client's half of the preface is still to be sent.
    pub async fn upgrade_with(
        addr: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Frames {
        let mut connection = Connection::open(addr).await;
        let asked = connection.ask(method, path, headers).await;
        asked.expect("a request sent");
        let reply = connection.reply().await;
        assert_eq!(reply.status, 101, "{reply:?}");
        Frames::after_upgrade(connection)
    }

    /// One that begins with HTTP/2, and gives each of its streams such a window.
    pub async fn open(addr: SocketAddr, window: u32) -> Frames {
        let mut frames = Frames::after_upgrade(Connection::open(addr).await);
        frames.send_bytes(&requests::opening(window)).await;
        frames
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("send");
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_bytes(&frame(kind, flags, stream, payload)).await;
    }

    /// The same where the other side may have closed.
    pub async fn try_send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let frame = frame(kind, flags, stream, payload);
        self.stream.write_all(&frame).await
    }

    pub async fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// A request on a stream of its own.
    pub async fn ask(&mut self, stream: u32, method: &str, authority: &str, path: &str) {
        let block = block(&[
            (":method", method),
            (":scheme", "http"),
            (":authority", authority),
            (":path", path),
        ]);
        let flags = END_STREAM | END_HEADERS;
        self.send(HEADERS, flags, stream, &block).await;
    }

    /// A PING, and all frames up to its acknowledgement: what the server had to say until then.
    pub async fn ping(&mut self) -> Vec<Frame> {
        self.send(PING, 0, 0, b"eightish").await;
        let pong = |frame: &Frame| frame.is_ack(PING) && frame.payload == b"eightish";
        let frames = self.until(pong).await;
        let came = frames.len();
        assert!(
            frames.last().is_some_and(pong),
            "no pong, but {came} frames, at last {:?}",
            frames.last()
        );
        frames
    }

    /// Whether the other side hasn't closed, as far as can be seen without waiting. What came is kept.
    pub fn is_open(&mut self) -> bool {
        loop {
            match self.stream.try_read_buf(&mut self.received) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// The next frame; none when the other side has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            match read.unwrap_or_else(|_| panic!("no frame for {PATIENCE:?}")) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// All frames up to the one that `last` picks, or up to the end.
    pub async fn until(&mut self, last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            let done = last(&frame);
            frames.push(frame);
            if done {
                break;
            }
        }
        frames
    }

    /// How many bytes have come and not been taken as frames, after nothing more did for that long.
    pub async fn until_quiet(&mut self, quiet: Duration) -> usize {
        while let Ok(Ok(1..)) = timeout(quiet, self.stream.read_buf(&mut self.received)).await {}
        self.received.len()
    }

    /// The response on `stream`, after whatever else comes before it ends.
    pub async fn response(&mut self, stream: u32) -> Response {
        let ended = |frame: &Frame| frame.stream == stream && frame.ends_stream();
        let frames = self.until(ended).await;
        response_in(&frames, stream)
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = *self.received.first_chunk()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if self.received.len() < head.len() + length {
            return None;
        }
        let payload = self.received.split_to(head.len() + length)[head.len()..].to_vec();
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }
}

/// The response that these frames are on `stream`. Panics when they don't make one that ended.
pub fn response_in(frames: &[Frame], stream: u32) -> Response {
    let own: Vec<_> = frames.iter().filter(|f| f.stream == stream).collect();
    let reset = own.iter().any(|f| f.kind == RST_STREAM);
    let whole = own.last().is_some_and(|f| f.ends_stream());
    let head = own.iter().find(|f| f.kind == HEADERS && !reset && whole);
    let head = head.unwrap_or_else(|| panic!("no whole response on {stream} in {frames:#?}"));
    let body = own.iter().filter(|f| f.kind == DATA);
    Response {
        status: status_in(&head.payload),
        body: body.flat_map(|f| f.payload.clone()).collect(),
    }
}

/// The `:status` at the start of a header block, of those that HPACK's static table has (RFC 7541, appendix A), and 401; 0 for others.
pub fn status_in(block: &[u8]) -> u16 {
    match block {
        // A change of the dynamic table's size may come first (section 6.3), in one byte or in several (section 5.1).
        [0x3f, rest @ ..] => {
            let last = rest.iter().position(|b| *b < 0x80);
            status_in(&rest[last.map_or(rest.len(), |at| at + 1)..])
        }
        [size, rest @ ..] if size >> 5 == 1 => status_in(rest),
        [0x88, ..] => 200,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        // The table's name with a value of its own (section 6.2.1), in Huffman code (appendix B).
        [0x48, 0x82, 0x68, 0x01, ..] => 401,
        _ => 0,
    }
}

/// A header block of literals that are neither indexed nor compressed (RFC 7541, section 6.2.2). Names and values have at most 126 bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.put_u8(0);
        for text in [name, value] {
            assert!(text.len() < 127, "too long: {text}");
            block.put_u8(text.len() as u8);
            block.put_slice(text.as_bytes());
        }
    }
    block
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
    bytes
}
