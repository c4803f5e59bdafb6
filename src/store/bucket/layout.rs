//! The layout's version: a small object under the prefix, so that a later program can tell how the objects are laid out, and an earlier one that it can't.

use bytes::Bytes;

use crate::error::{Error, Result};

/// Where it is; no registry can be called so.
pub(super) const LAYOUT: &str = ".layout";
/// The one that this program writes and reads.
const VERSION: u32 = 1;
const BEGINNING: &str = "crate-mirror layout ";
/// None is longer.
pub(super) const LARGEST: u64 = 256;

/// What the object holds.
pub(super) fn written() -> Bytes {
    Bytes::from(format!("{BEGINNING}{VERSION}\n"))
}

/// Whether this program can read what is laid out as the object says.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it says that it can't, [`Kind::Store`](crate::error::Kind::Store) when it says nothing.
pub(super) fn read(bucket: &str, object: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(object).unwrap_or_default();
    let version = text.strip_prefix(BEGINNING);
    let version = version.and_then(|version| version.trim_end().parse::<u32>().ok());
    match version {
        Some(VERSION) => Ok(()),
        Some(other) => Err(Error::config(format!(
            "`store.bucket`: the objects in {bucket} are laid out in version {other}, and this program knows {VERSION}; use a newer program, or another prefix"
        ))),
        None => Err(Error::store(format!(
            "{bucket} can't be used now: {bucket}/{LAYOUT} isn't this program's; name another prefix, if that is what is there"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layout_is_an_error_that_says_so() {
        assert!(read("s3://a", &written()).is_ok());
        let later = read("s3://a", b"crate-mirror layout 2\n").expect_err("later");
        assert!(later.message().contains("version 2"), "{later}");
        for other in [&b""[..], b"\xff", b"crate-mirror layout x", b"hello"] {
            let error = read("s3://a", other).expect_err("another");
            assert!(error.message().contains("isn't this program's"), "{error}");
        }
    }
}
