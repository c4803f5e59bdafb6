//! HTTP/2's bytes, as far as this layer looks at them itself (RFC 9113).

use bytes::{BufMut, BytesMut};

/// The magic: what an HTTP/2 client sends first (section 3.4). With the SETTINGS frame after it, it is the client's preface.
pub(super) const MAGIC: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a frame's head is, in bytes (section 4.1).
pub(super) const FRAME_HEAD: usize = 9;
/// The largest payload of a frame before anybody has agreed to more, in bytes (section 4.2).
pub(super) const MAX_FRAME: usize = 16_384;

/// The type of a frame that begins a request's head (section 6.2).
pub(super) const HEADERS: u8 = 0x1;
/// The type of a frame of settings (section 6.5).
pub(super) const SETTINGS: u8 = 0x4;
/// The type of a frame that goes on with a request's head (section 6.10).
pub(super) const CONTINUATION: u8 = 0x9;
/// The flag of the frame that ends a request (section 6.2).
pub(super) const END_STREAM: u8 = 0x1;
/// The flag of the frame that ends a request's head (section 6.2).
pub(super) const END_HEADERS: u8 = 0x4;

/// Appends a whole frame (section 4.1).
pub(super) fn put_frame(bytes: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
}

/// How long the payload is that a frame's head announces, in bytes.
pub(super) fn payload_length(head: &[u8; FRAME_HEAD]) -> usize {
    let [a, b, c, ..] = *head;
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}
