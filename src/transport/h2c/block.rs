//! A request as the HPACK block of an HTTP/2 HEADERS frame (RFC 7541).

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderName, header, request, uri::Authority};

use super::super::{frames::MAX_FRAME, scheme::Scheme};

/// The header that carries the client's settings in an offer.
pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The request as literals that are neither compressed nor indexed. `None` when it doesn't fit into one frame, or doesn't say in one way for which
/// host it is.
pub(super) fn header_block(request: &request::Parts) -> Option<Bytes> {
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
    // The upgrade is for plain connections only.
    put_literal(&mut block, b":scheme", Scheme::Http.as_str().as_bytes());
    put_literal(&mut block, b":path", path.as_str().as_bytes());
    put_literal(&mut block, b":authority", authority);
    for (name, value) in &request.headers {
        if !is_hop_by_hop(name) && name != header::HOST {
            put_literal(&mut block, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    (block.len() <= MAX_FRAME).then(|| block.freeze())
}

/// Whether a header is about the connection that is being left (RFC 9113, section 8.2.2).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::UPGRADE
        || *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == HTTP2_SETTINGS
        || *name == header::CONTENT_LENGTH
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Appends a literal without indexing, with a new name (section 6.2.2).
fn put_literal(block: &mut BytesMut, name: &[u8], value: &[u8]) {
    block.put_u8(0);
    for text in [name, value] {
        put_length(block, text.len());
        block.put_slice(text);
    }
}

/// Appends an integer with a prefix of seven bits (section 5.1).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_are_written_as_hpack_has_them() {
        // Appendix C.1.3, with a prefix of seven bits: 1337 = 127 + 1210 = 127 + (58 | 0x80) + 9 * 128.
        let mut block = BytesMut::new();
        put_length(&mut block, 1337);
        assert_eq!(&block[..], [127, 0xba, 9]);
    }
}
