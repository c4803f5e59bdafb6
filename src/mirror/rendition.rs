//! [`Rendition`]: an index file as it is served: its bytes, their gzip twin, and the validators we give out for them.

use std::{io::Write, time::SystemTime};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use crate::domain::Sha256;

/// Bodies up to this size are sent as they are: gzip's own bytes and the client's work outweigh the gain.
const COMPRESS_ABOVE: usize = 1 << 10;
/// Within 3 % of the best ratio on index files at a fifth of its time.
const LEVEL: Compression = Compression::new(5);

/// What cargo gets to see of an index file. Texts are kept as bytes that can be shared, so that serving them allocates nothing.
#[derive(Debug)]
pub struct Rendition {
    /// The body.
    pub body: Bytes,
    /// The body gzipped, if that makes it smaller and it is worth it.
    pub gzip: Option<Bytes>,
    /// Our own weak ETag: a hash of the body as served, so that it changes when and only when the body does. Weak, because the gzipped body
    /// carries it as well (RFC 9110, section 8.8.3.3).
    pub etag: Bytes,
    /// When the body last changed, in whole seconds, as HTTP counts.
    pub modified: SystemTime,
    /// The same as an HTTP date.
    pub last_modified: Bytes,
}

impl Rendition {
    /// Makes the rendition of `body`, which hashes to `sha256` and last changed at `modified`. Takes milliseconds for large bodies.
    pub fn new(body: Bytes, sha256: &Sha256, modified: SystemTime) -> Self {
        let hash = sha256.to_string();
        let modified = whole_seconds(modified);
        Self {
            gzip: gzip(&body),
            body,
            etag: format!("W/\"{}\"", &hash[..32]).into(),
            modified,
            last_modified: httpdate::fmt_http_date(modified).into(),
        }
    }

    /// About how many bytes of memory this takes.
    pub fn size(&self) -> usize {
        self.body.len() + self.gzip.as_ref().map_or(0, Bytes::len) + size_of::<Self>() + 128
    }
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    if body.len() <= COMPRESS_ABOVE {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6), LEVEL);
    let mut twin = encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .ok()?;
    twin.shrink_to_fit();
    (twin.len() < body.len()).then(|| twin.into())
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs())
}
