//! [`Rendition`]: an index file as it is served: its bytes, their gzip twin, and the validators we give out for them.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::HeaderMap;

use crate::{
    allowance::{Allowance, Lease},
    domain::Sha256,
};

/// Bodies up to this size are sent as they are: gzip's own bytes and the client's work outweigh the gain.
const COMPRESS_ABOVE: usize = 1 << 10;
/// Bodies up to this size get their twin at once, which takes less than a millisecond; larger ones are served without it until it is made.
pub(super) const COMPRESS_AT_ONCE: usize = 32 << 10;
/// Within 3 % of the best ratio on index files at a fifth of its time.
const LEVEL: Compression = Compression::new(5);

/// About how many bytes the headers of the forms take that somebody asks for, and the texts in them.
const HEADS: usize = 2 << 10;

/// What cargo gets to see of an index file. Texts are kept as bytes that can be shared, so that serving them allocates nothing.
#[derive(Debug)]
pub struct Rendition {
    /// The body.
    pub body: Bytes,
    /// The body gzipped, if that makes it smaller and it is worth it; not set while that isn't known yet.
    twin: OnceLock<Option<Bytes>>,
    /// Whether somebody is at making it.
    claimed: AtomicBool,
    /// Our own weak ETag: a hash of the body as served, so that it changes when and only when the body does. Weak, because the gzipped body
    /// carries it as well (RFC 9110, section 8.8.3.3).
    pub etag: Bytes,
    /// When the body last changed, if that is known.
    pub modified: Option<Modified>,
    /// The headers of each form, once somebody has asked for it.
    heads: [OnceLock<HeaderMap>; Form::COUNT],
}

/// A form in which a rendition is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its body.
    Plain,
    /// Its gzip twin.
    Gzipped,
    /// Word that the client's copy is still it.
    NotModified,
}

/// When a body last changed.
#[derive(Clone, Debug)]
pub struct Modified {
    /// In whole seconds, as HTTP counts.
    pub at: SystemTime,
    /// As an HTTP date.
    pub date: Bytes,
}

impl Form {
    const COUNT: usize = Self::NotModified as usize + 1;
}

impl Rendition {
    /// Makes the rendition of `body`, with its gzip `twin` if that is at hand, which hashes to `sha256` and last changed at `modified`, if that is known. A small body has its twin then.
    pub fn new(
        body: Bytes,
        twin: Option<Bytes>,
        sha256: &Sha256,
        modified: Option<SystemTime>,
    ) -> Self {
        let hash = sha256.to_string();
        let twin = match body.len() {
            length if length <= COMPRESS_ABOVE => OnceLock::from(None),
            length if twin.as_ref().is_some_and(|twin| twin.len() < length) => OnceLock::from(twin),
            length if length <= COMPRESS_AT_ONCE => OnceLock::from(gzip(&body)),
            _ => OnceLock::new(),
        };
        Self {
            body,
            twin,
            claimed: AtomicBool::new(false),
            etag: format!("W/\"{}\"", &hash[..32]).into(),
            modified: modified.map(Modified::new),
            heads: Default::default(),
        }
    }

    /// The headers of a form: what `make` makes of it the first time, and who copies that is spared the making.
    pub fn head(&self, form: Form, make: impl FnOnce() -> HeaderMap) -> &HeaderMap {
        // A copy has no more room than it needs.
        self.heads[form as usize].get_or_init(|| make().clone())
    }

    /// The body gzipped, if there is such a twin by now.
    pub fn gzip(&self) -> Option<&Bytes> {
        self.twin.get().and_then(Option::as_ref)
    }

    /// Whether the twin is still to be made, by the caller: nobody else is told so from now on.
    pub(super) fn claim_twin(&self) -> bool {
        self.twin.get().is_none() && !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// The twin couldn't be kept; it may be made at another time.
    pub(super) fn unclaim_twin(&self) {
        self.claimed.store(false, Ordering::Release);
    }

    /// Makes the twin of a large body, under a lease as it grows. Takes milliseconds to tenths of a second.
    ///
    /// # Errors
    /// An [`io::ErrorKind::OutOfMemory`] when there is no memory to spare for it.
    pub(super) fn make_twin(&self, allowance: &Allowance) -> io::Result<Option<Bytes>> {
        let leased = Leased {
            bytes: Vec::new(),
            lease: allowance.nothing(),
        };
        let mut encoder = GzEncoder::new(leased, LEVEL);
        encoder.write_all(&self.body)?;
        let Leased {
            mut bytes,
            mut lease,
        } = encoder.finish()?;
        bytes.shrink_to_fit();
        lease.shrink_to(bytes.len() as u64);
        Ok((bytes.len() < self.body.len()).then(|| lease.hold(bytes.into())))
    }

    /// From now on the body goes out as `twin` to who takes gzip.
    pub(super) fn set_twin(&self, twin: Option<Bytes>) {
        // Two that were made of the same body are the same.
        let _ = self.twin.set(twin);
    }

    /// The twin for a moment when nobody else knows this rendition yet.
    pub(super) fn twin_mut(&mut self) -> Option<&mut Bytes> {
        self.twin.get_mut().and_then(Option::as_mut)
    }

    /// About how many bytes of memory this takes.
    pub fn size(&self) -> usize {
        self.body.len() + self.gzip().map_or(0, Bytes::len) + size_of::<Self>() + HEADS
    }
}

impl Modified {
    fn new(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        Self {
            at,
            date: httpdate::fmt_http_date(at).into(),
        }
    }
}

/// Bytes that are written, within a lease.
struct Leased {
    bytes: Vec<u8>,
    lease: Lease,
}

impl Write for Leased {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let room = self.bytes.capacity() - self.bytes.len();
        if room < piece.len() {
            let more = self.bytes.capacity().max(COMPRESS_AT_ONCE).max(piece.len());
            // What grows may be there twice for a moment.
            if !self.lease.try_grow((self.bytes.capacity() + more) as u64) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.bytes.reserve_exact(more);
            self.lease.shrink_to(self.bytes.capacity() as u64);
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6), LEVEL);
    let mut twin = encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .ok()?;
    twin.shrink_to_fit();
    (twin.len() < body.len()).then(|| twin.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_length(length: usize) -> Rendition {
        let body = Bytes::from("index ".repeat(length / 6 + 1));
        let sha256 = Sha256::of(&body);
        Rendition::new(body, None, &sha256, None)
    }

    /// gzip takes tenths of a second for the largest, for which the first answer would have to wait.
    #[test]
    fn a_large_body_goes_out_as_it_is_until_its_twin_is_made_by_one() {
        let large = of_length(COMPRESS_AT_ONCE + 1);
        assert_eq!(large.gzip(), None);
        assert!(large.claim_twin());
        assert!(!large.claim_twin(), "somebody is at it");
        let none = large.make_twin(&Allowance::new(1000, 0));
        assert!(none.is_err(), "there is no memory for it");
        let allowance = Allowance::new(1 << 20, 0);
        large.set_twin(large.make_twin(&allowance).expect("there is memory"));
        assert!(
            large
                .gzip()
                .is_some_and(|twin| twin.len() < large.body.len())
        );
        assert!(!large.claim_twin(), "it is made");
        let small = of_length(COMPRESS_ABOVE + 1);
        assert!(small.gzip().is_some() && !small.claim_twin());
    }
}
