//! [`Offer`]: a client's offer to go on in HTTP/2, read from the headers of its request.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, Version, header, request};

use super::{
    super::frames::{
        END_HEADERS, END_STREAM, FRAME_HEAD, HEADERS, MAGIC, MAX_FRAME, SETTINGS, put_frame,
    },
    block::{HTTP2_SETTINGS, header_block},
};

/// How long a setting is, in bytes (RFC 9113, section 6.5.1).
const SETTING: usize = 6;
/// The setting that says how much of an answer a client takes at first (RFC 9113, section 6.5.2).
const INITIAL_WINDOW_SIZE: u8 = 0x4;

/// A client's offer to go on in HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The payload of the SETTINGS frame that `HTTP2-Settings` stands for.
    settings: Bytes,
    /// The request as a header block, uncompressed.
    block: Bytes,
}

impl Offer {
    /// Reads the offer in a request without a body, if there is a valid one: with exactly one `HTTP2-Settings`, and
    /// both it and the upgrade named in `Connection` (RFC 7540, section 3.2.1).
    ///
    /// Some requests are refused with an answer over HTTP/1.1 and with a reset over HTTP/2: those with a method other than GET and HEAD, with no host
    /// or two, or with a host that can't be one. They make no offer, so that their clients hear why.
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
    pub(super) fn settings(&self) -> Bytes {
        self.settings.clone()
    }

    /// How many bytes of an answer the client takes at first, if the offer says so (RFC 9113, section 6.5.2).
    pub fn initial_window(&self) -> Option<u32> {
        let settings = self.settings.chunks_exact(SETTING).rev();
        let mut windows = settings.filter_map(|setting| match setting {
            [0, INITIAL_WINDOW_SIZE, window @ ..] => window.try_into().ok().map(u32::from_be_bytes),
            _ => None,
        });
        windows.next()
    }

    /// What the client would have sent had it begun in HTTP/2: the magic, its settings, and the request as stream 1.
    pub(super) fn opening(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(
            MAGIC.len() + 2 * FRAME_HEAD + self.settings.len() + self.block.len(),
        );
        bytes.put_slice(MAGIC);
        put_frame(&mut bytes, SETTINGS, 0, 0, &self.settings);
        put_frame(
            &mut bytes,
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &self.block,
        );
        bytes.freeze()
    }
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
}
