//! The upgrade from HTTP/1.1 to HTTP/2 on a plain connection (RFC 7540, section 3.2), which cargo asks for and hyper doesn't speak.
//!
//! After our 101 the connection is handed to hyper's HTTP/2 server as if it had been HTTP/2 from the start: the client's magic, a SETTINGS frame
//! made from `HTTP2-Settings`, a HEADERS frame that repeats the request as stream 1, and then what the client really sends (see
//! [`Upgraded`](super::upgraded::Upgraded)).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, Version, header, request, uri::Authority};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
pub(crate) const MAGIC: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a frame's head is, in bytes (RFC 9113, section 4.1).
pub(crate) const FRAME_HEAD: usize = 9;
/// The largest frame before anybody has agreed to more (RFC 9113, section 4.2).
const MAX_FRAME: usize = 16_384;
const HEADERS: u8 = 0x1;
/// The kind of a frame of settings.
pub(crate) const SETTINGS: u8 = 0x4;
/// How long a setting is, in bytes (RFC 9113, section 6.5.1).
const SETTING: usize = 6;
const INITIAL_WINDOW_SIZE: u8 = 0x4;
const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;

/// The header that carries the client's settings.
pub(crate) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

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
        let whole = settings.len() % SETTING == 0 && settings.len() <= MAX_FRAME;
        let block = header_block(request)?;
        whole.then(|| Self {
            settings: settings.into(),
            block,
        })
    }

    /// The payload of the SETTINGS frame that the offer stands for.
    pub(crate) fn settings(&self) -> Bytes {
        self.settings.clone()
    }

    /// How many bytes of an answer the client takes before it says that it takes more, if it says so with the offer (RFC 9113, section 6.5.2).
    pub fn initial_window(&self) -> Option<u32> {
        let settings = self.settings.chunks_exact(SETTING).rev();
        let mut windows = settings.filter_map(|setting| match setting {
            [0, INITIAL_WINDOW_SIZE, window @ ..] => window.try_into().ok().map(u32::from_be_bytes),
            _ => None,
        });
        windows.next()
    }

    /// What the client would have sent had it begun in HTTP/2: its magic, its settings, and the request as stream 1.
    pub(crate) fn opening(&self) -> Bytes {
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

/// RFC 9113, section 4.1.
pub(crate) fn put_frame(bytes: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
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
    fn the_window_that_is_offered_is_read() {
        let window = |settings: &[u8]| {
            Offer {
                settings: Bytes::copy_from_slice(settings),
                block: Bytes::new(),
            }
            .initial_window()
        };
        let of_cargo = offer(cargos()).expect("an offer");
        assert_eq!(of_cargo.initial_window(), Some(64 << 10));
        assert_eq!(window(&[0, 4, 2, 0, 0, 0]), Some(32 << 20));
        assert_eq!(window(&[0, 3, 0, 0, 0, 100]), None);
        assert_eq!(window(&[]), None);
        let twice = [0, 4, 0, 0, 0, 1, 0, 4, 0, 0, 0, 2];
        assert_eq!(window(&twice), Some(2), "the last one holds");
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

    #[test]
    fn lengths_of_any_size_are_written_as_hpack_has_them() {
        // RFC 7541, appendix C.1.3, with a prefix of seven bits: 1337 = 127 + 1210 = 127 + (58 | 0x80) + 9 * 128.
        let mut block = BytesMut::new();
        put_length(&mut block, 1337);
        assert_eq!(&block[..], [127, 0xba, 9]);
    }
}
