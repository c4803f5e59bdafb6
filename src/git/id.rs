//! [`ObjectId`]: what an object is called: the SHA-1 of its kind, its length and its content.

use std::fmt;

use sha1::{Digest, Sha1};

use super::kind::ObjectKind;

/// The name of an object. Git's own, so that it is SHA-1, whose weakness doesn't matter here: what is named by it was made by this program, and a crate is checked by its
/// SHA-256 whatever the index says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; ObjectId::LENGTH]);

impl ObjectId {
    /// Its length in bytes.
    pub const LENGTH: usize = 20;

    /// The name of an object of this kind with this content (git's `object-file.c`, `hash_object_file`).
    pub fn of(kind: ObjectKind, content: &[u8]) -> Self {
        let mut hasher = IdHasher::default();
        hasher.update(format!("{} {}\0", kind.as_str(), content.len()).as_bytes());
        hasher.update(content);
        hasher.finish()
    }

    /// Reads forty hexadecimal digits in lower case; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::LENGTH];
        if text.len() != 2 * Self::LENGTH {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
        Some(Self(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-1 of bytes that come one after the other.
#[derive(Clone, Default)]
pub struct IdHasher(Sha1);

impl IdHasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What they come to.
    pub fn finish(self) -> ObjectId {
        ObjectId(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_called_what_git_calls_it() {
        // `git hash-object -t blob /dev/null` and `git hash-object -t tree /dev/null`.
        for (kind, id) in [
            (ObjectKind::Blob, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            (ObjectKind::Tree, "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
        ] {
            assert_eq!(ObjectId::of(kind, b"").to_string(), id);
            let parsed = ObjectId::parse(id.as_bytes());
            assert_eq!(parsed, Some(ObjectId::of(kind, b"")));
        }
        for none in ["", "e69d", "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391"] {
            assert_eq!(ObjectId::parse(none.as_bytes()), None, "{none}");
        }
    }
}
