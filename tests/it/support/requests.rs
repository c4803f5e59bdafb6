//! Requests over HTTP/2 as bytes, for tests that send thousands of them and look at none.

use bytes::{BufMut, BytesMut};

use super::frames::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, MAGIC, SETTINGS, frame};

/// The largest payload of a frame before anybody has agreed to more (RFC 9113, section 4.2).
const MAX_FRAME: usize = 16_384;
/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, section 6.5.2).
const INITIAL_WINDOW: u16 = 4;

/// How a client begins that gives each of its streams such a window.
pub fn opening(window: u32) -> Vec<u8> {
    let mut settings = INITIAL_WINDOW.to_be_bytes().to_vec();
    settings.extend(window.to_be_bytes());
    [MAGIC, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// A GET on a stream of its own, in as many frames as it takes.
pub fn get(stream: u32, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let block = block(path, headers);
    let mut pieces = block.chunks(MAX_FRAME).peekable();
    let (mut kind, mut flags, mut bytes) = (HEADERS, END_STREAM, Vec::new());
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        bytes.extend(frame(kind, flags, stream, piece));
        (kind, flags) = (CONTINUATION, 0);
    }
    bytes
}

/// The header block of a GET, as literals that are neither compressed nor indexed (RFC 7541, section 6.2.2).
pub fn block(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "mirror"),
        (":path", path),
    ];
    let mut block = BytesMut::new();
    for (name, value) in own.iter().chain(headers) {
        block.put_u8(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.put_slice(text.as_bytes());
        }
    }
    block.to_vec()
}

/// RFC 7541, section 5.1: an integer with a prefix of seven bits.
fn put_length(block: &mut BytesMut, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.put_u8(length as u8);
    };
    block.put_u8(127);
    while rest >= 128 {
        block.put_u8((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    block.put_u8(rest as u8);
}
