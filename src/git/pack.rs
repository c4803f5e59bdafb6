//! Packs: many objects in one stream (gitformat-pack(5)). None is written as the difference to another one: what changes in an index is one file and the three folders above it.

use std::io::{self, Write};

use flate2::{Compression, write::ZlibEncoder};

use super::{
    id::{IdHasher, ObjectId},
    kind::ObjectKind,
};

/// Index files shrink to a seventh at any level, and each is compressed while somebody waits.
const LEVEL: Compression = Compression::fast();

/// What a pack of so many objects begins with.
pub fn header(objects: u32) -> [u8; 12] {
    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
    header[8..].copy_from_slice(&objects.to_be_bytes());
    header
}

/// An object as it stands in a pack.
///
/// # Errors
/// Those of an encoder that writes into memory: none that is known.
pub fn entry(kind: ObjectKind, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut entry = Vec::with_capacity(content.len() / 4 + 32);
    let kind: u8 = match kind {
        ObjectKind::Commit => 1,
        ObjectKind::Tree => 2,
        ObjectKind::Blob => 3,
    };
    // Four bits of the length stand beside the kind, seven in each byte after it, the least significant ones first.
    let (mut byte, mut rest) = (kind << 4 | (content.len() & 15) as u8, content.len() >> 4);
    while rest > 0 {
        entry.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    entry.push(byte);
    let mut encoder = ZlibEncoder::new(entry, LEVEL);
    encoder.write_all(content)?;
    encoder.finish()
}

/// What a pack ends with: the SHA-1 of all before it.
#[derive(Clone, Default)]
pub struct PackTrailer(IdHasher);

impl PackTrailer {
    /// Adds what goes out.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The pack's last bytes, which also name it.
    pub fn finish(self) -> ObjectId {
        self.0.finish()
    }
}
