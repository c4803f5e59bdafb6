//! The upgrade from HTTP/1.1 to HTTP/2 on a plain connection (RFC 7540, section 3.2), which cargo asks for and hyper doesn't speak.
//!
//! After our 101 the connection is handed to hyper's HTTP/2 server as if it had been HTTP/2 from the start: the client's magic, a SETTINGS frame
//! made from `HTTP2-Settings`, a HEADERS frame that repeats the request as stream 1, and then what the client really sends, less the magic that
//! was played already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, Version, header, request, uri::Authority};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const MAGIC: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// The largest frame before anybody has agreed to more (RFC 9113, section 4.2).
const MAX_FRAME: usize = 16_384;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;

/// How much is sent after the 101 before the client has gone on in HTTP/2, in bytes. curl 7.88 keeps at most 32 KiB that come with the 101, and fails when
/// there is more (exit code 16).
const BEFORE_PREFACE: usize = 16 << 10;

/// The header that carries the client's settings.
pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// A client's offer to go on in HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The payload of the SETTINGS frame that `HTTP2-Settings` stands for.
    settings: Bytes,
    /// The request as a header block, uncompressed.
    block: Bytes,
}

impl Offer {
    /// Reads the offer in a request without a body, if there is a valid one. Section 3.2.1: exactly one `HTTP2-Settings`, and both it and the
    /// upgrade named in `Connection`.
    ///
    /// What HTTP/1.1 answers with a refusal and HTTP/2 with a reset (a method other than GET and HEAD, no host or two, a host that can't be one) stays
    /// with HTTP/1.1.
    pub fn of(request: &request::Parts) -> Option<Self> {
        let headers = &request.headers;
        if request.version != Version::HTTP_11
            || !matches!(request.method, Method::GET | Method::HEAD)
            || !lists(headers, header::UPGRADE, "h2c")
            || !lists(headers, header::CONNECTION, "upgrade")
            || !lists(headers, header::CONNECTION, HTTP2_SETTINGS.as_str())
        {
            return None;
        }
        let mut offered = headers.get_all(HTTP2_SETTINGS).iter();
        let (settings, None) = (offered.next()?, offered.next()) else {
            return None;
        };
        let settings = URL_SAFE_NO_PAD.decode(settings.as_bytes()).ok()?;
        // RFC 9113, section 6.5: six bytes a setting.
        let whole = settings.len() % 6 == 0 && settings.len() <= MAX_FRAME;
        let block = header_block(request)?;
        whole.then(|| Self {
            settings: settings.into(),
            block,
        })
    }

    /// What the client would have sent had it begun in HTTP/2: its magic, its settings, and the request as stream 1.
    fn opening(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(
            MAGIC.len() + 2 * FRAME_HEAD + self.settings.len() + self.block.len(),
        );
        bytes.put_slice(MAGIC);
        put_frame(&mut bytes, SETTINGS, 0, 0, &self.settings);
        put_frame(&mut bytes, HEADERS, END_STREAM_AND_HEADERS, 1, &self.block);
        bytes.freeze()
    }
}

/// The request as an HPACK block of literals that are neither compressed nor indexed; `None` when it doesn't fit into one frame, or doesn't say in one
/// way for which host it is.
fn header_block(request: &request::Parts) -> Option<Bytes> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (host, None) = (hosts.next()?, hosts.next()) else {
        return None;
    };
    let authority = match request.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => host.as_bytes(),
    };
    Authority::try_from(authority).ok()?;
    let path = request.uri.path_and_query()?;
    let mut block = BytesMut::with_capacity(512);
    put_literal(&mut block, b":method", request.method.as_str().as_bytes());
    put_literal(&mut block, b":scheme", b"http");
    put_literal(&mut block, b":path", path.as_str().as_bytes());
    put_literal(&mut block, b":authority", authority);
    for (name, value) in &request.headers {
        if !is_hop_by_hop(name) && name != header::HOST {
            put_literal(&mut block, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    (block.len() <= MAX_FRAME).then(|| block.freeze())
}

/// What is about the connection that is being left (RFC 9113, section 8.2.2).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::UPGRADE
        || *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == HTTP2_SETTINGS
        || *name == header::CONTENT_LENGTH
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// RFC 7541, section 6.2.2: a literal without indexing, with a new name.
fn put_literal(block: &mut BytesMut, name: &[u8], value: &[u8]) {
    block.put_u8(0);
    for text in [name, value] {
        put_length(block, text.len());
        block.put_slice(text);
    }
}

/// RFC 7541, section 5.1: an integer with a prefix of seven bits.
fn put_length(block: &mut BytesMut, length: usize) {
    const PREFIX: usize = 127;
    if length < PREFIX {
        return block.put_u8(length as u8);
    }
    block.put_u8(PREFIX as u8);
    let mut rest = length - PREFIX;
    while rest >= 128 {
        block.put_u8((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    block.put_u8(rest as u8);
}

fn put_frame(bytes: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
}

/// Whether a header that is a list has this element.
fn lists(headers: &HeaderMap, name: HeaderName, element: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(element))
}

/// A connection after its upgrade, as hyper's HTTP/2 server gets to read it.
pub struct Upgraded<S> {
    inner: S,
    /// To be read before anything else.
    replay: Bytes,
    preface: Preface,
}

/// How much of the client's own preface has been seen.
enum Preface {
    /// Not all of it.
    Awaited(Awaited),
    /// All of it.
    Done,
}

/// What is known while the client's preface is awaited.
struct Awaited {
    /// What came so far.
    seen: BytesMut,
    /// The settings it is expected to repeat.
    settings: Bytes,
    /// How much may still be sent.
    room: usize,
    /// Who waits to send more.
    writer: Option<Waker>,
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
            preface: Preface::awaited(offer.settings.clone()),
        };
        if let Some(rest) = upgraded.preface.see(already_read)? {
            upgraded.replay = [upgraded.replay, rest].concat().into();
        }
        Ok(upgraded)
    }
}

impl Preface {
    fn awaited(settings: Bytes) -> Self {
        Self::Awaited(Awaited {
            seen: BytesMut::new(),
            settings,
            room: BEFORE_PREFACE,
            writer: None,
        })
    }

    /// How many of `wanted` bytes may be sent now.
    fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        match self {
            Self::Awaited(awaited) if awaited.room == 0 && wanted > 0 => {
                awaited.writer = Some(context.waker().clone());
                Poll::Pending
            }
            Self::Awaited(awaited) => Poll::Ready(wanted.min(awaited.room)),
            Self::Done => Poll::Ready(wanted),
        }
    }

    /// Notes so many bytes as sent.
    fn sent(&mut self, bytes: usize) {
        if let Self::Awaited(awaited) = self {
            awaited.room = awaited.room.saturating_sub(bytes);
        }
    }

    /// Takes what the client sent; gives what is to be passed on once the magic and the first frame are here.
    ///
    /// The magic was played already. So were the settings, if the first frame repeats them, as it does with every client met so far: passed
    /// on it would be acknowledged a second time, and RFC 7540, section 3.2.1, has the 101 acknowledge `HTTP2-Settings` already, so that
    /// nghttp2 and with it cargo close the connection over a surplus acknowledgement.
    fn see(&mut self, bytes: &[u8]) -> io::Result<Option<Bytes>> {
        let Self::Awaited(awaited) = self else {
            return Ok(Some(Bytes::copy_from_slice(bytes)));
        };
        let Awaited { seen, settings, .. } = awaited;
        seen.extend_from_slice(bytes);
        let compared = seen.len().min(MAGIC.len());
        if seen[..compared] != MAGIC[..compared] {
            let why = "the client didn't go on in HTTP/2 after its upgrade";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let Some((head, payload)) = seen[compared..].split_first_chunk::<FRAME_HEAD>() else {
            return Ok(None);
        };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let first_is_settings = head[3..] == [SETTINGS, 0, 0, 0, 0, 0];
        let repeats = first_is_settings && length == settings.len();
        if repeats && payload.len() < length {
            return Ok(None);
        }
        let skip = match repeats && payload[..length] == settings[..] {
            true => MAGIC.len() + FRAME_HEAD + length,
            false => MAGIC.len(),
        };
        let mut rest = std::mem::take(seen);
        rest.advance(skip);
        if let Some(writer) = awaited.writer.take() {
            writer.wake();
        }
        *self = Self::Done;
        Ok(Some(rest.freeze()))
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
                return Poll::Ready(Ok(()));
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// What cargo sends (FACTS: `AAMAAABkAAQAAQAAAAIAAAAA`).
    fn cargos() -> http::request::Builder {
        Request::get("/index/config.json")
            .header("host", "127.0.0.1:8080")
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQAAQAAAAIAAAAA")
    }

    fn offer(request: http::request::Builder) -> Option<Offer> {
        Offer::of(&request.body(()).expect("a request").into_parts().0)
    }

    fn settings_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        put_frame(&mut frame, SETTINGS, 0, 0, payload);
        frame.to_vec()
    }

    #[test]
    fn cargos_offer_is_understood() {
        let offer = offer(cargos()).expect("an offer");
        assert_eq!(offer.settings.len(), 18);
        assert!(offer.block.starts_with(
            b"\0\x07:method\x03GET\0\x07:scheme\x04http\0\x05:path\x12/index/config.json"
        ));
        assert!(!offer.block.windows(7).any(|w| w == b"upgrade"));
    }

    #[test]
    fn an_offer_that_is_not_valid_is_ignored() {
        assert!(
            offer(cargos().header("http2-settings", "")).is_none(),
            "two settings"
        );
        assert!(offer(Request::get("/").header("upgrade", "h2c")).is_none());
        assert!(offer(cargos().version(Version::HTTP_10)).is_none());
        assert!(
            offer(cargos().header("x", "a".repeat(MAX_FRAME))).is_none(),
            "too large"
        );
        let truncated = Request::get("/")
            .header("host", "h")
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQ");
        assert!(offer(truncated).is_none(), "not six bytes a setting");
    }

    /// A second acknowledgement made nghttp2 close the connection.
    #[test]
    fn settings_that_are_repeated_are_not_passed_on_however_they_are_cut() {
        let offer = offer(cargos()).expect("an offer");
        let sent = [MAGIC, &settings_frame(&offer.settings)[..], b"more"].concat();
        for cut in 0..sent.len() - 4 {
            let mut preface = Preface::awaited(offer.settings.clone());
            assert_eq!(preface.see(&sent[..cut]).expect("valid"), None, "{cut}");
            let rest = preface.see(&sent[cut..]).expect("valid");
            assert_eq!(rest.as_deref(), Some(&b"more"[..]), "{cut}");
        }
    }

    #[test]
    fn other_settings_are_passed_on() {
        let mut preface = Preface::awaited(Bytes::from_static(b"abcdef"));
        let frame = settings_frame(b"ghijkl");
        let rest = preface.see(&[MAGIC, &frame[..]].concat()).expect("valid");
        assert_eq!(rest.as_deref(), Some(&frame[..]));
    }

    #[test]
    fn lengths_of_any_size_are_written_as_hpack_has_them() {
        // RFC 7541, appendix C.1.3, with a prefix of seven bits: 1337 = 127 + 1210 = 127 + (58 | 0x80) + 9 * 128.
        let mut block = BytesMut::new();
        put_length(&mut block, 1337);
        assert_eq!(&block[..], [127, 0xba, 9]);
    }
}
