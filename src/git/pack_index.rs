//! The index of a pack, in its second version (gitformat-pack(5)): where in the pack each object is.

use super::id::{IdHasher, ObjectId};

/// An object in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexedObject {
    /// Which object.
    pub id: ObjectId,
    /// Where its entry begins.
    pub offset: u64,
    /// The CRC-32 of its entry.
    pub crc32: u32,
}

/// An offset from here on stands in a table of its own.
const LARGE: u64 = 1 << 31;

/// The index of a pack with these objects, which ends with `trailer`.
pub fn pack_index(mut objects: Vec<IndexedObject>, trailer: &ObjectId) -> Vec<u8> {
    objects.sort_unstable();
    let mut index = Vec::with_capacity(8 + 1024 + objects.len() * 28 + 40);
    index.extend_from_slice(b"\xfftOc\0\0\0\x02");
    let mut below = 0;
    for first in 0..=u8::MAX {
        below += objects[below..].partition_point(|object| object.id.as_bytes()[0] <= first);
        index.extend_from_slice(&number(below).to_be_bytes());
    }
    for object in &objects {
        index.extend_from_slice(object.id.as_bytes());
    }
    for object in &objects {
        index.extend_from_slice(&object.crc32.to_be_bytes());
    }
    let mut large = Vec::new();
    for object in &objects {
        let offset = match u32::try_from(object.offset) {
            Ok(offset) if object.offset < LARGE => offset,
            Ok(_) | Err(_) => {
                large.push(object.offset);
                LARGE as u32 | number(large.len() - 1)
            }
        };
        index.extend_from_slice(&offset.to_be_bytes());
    }
    for offset in large {
        index.extend_from_slice(&offset.to_be_bytes());
    }
    index.extend_from_slice(trailer.as_bytes());
    let mut hasher = IdHasher::default();
    hasher.update(&index);
    index.extend_from_slice(hasher.finish().as_bytes());
    index
}

/// A pack has at most as many objects as its header can say.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
