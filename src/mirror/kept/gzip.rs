//! The gzip variants of bodies: small ones are made at once, large ones under a lease.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use crate::allowance::{Allowance, Lease};

/// Bodies up to this size are sent as they are, in bytes: gzip's own bytes and the client's work outweigh the gain.
pub(super) const ABOVE: usize = 1 << 10;
/// Bodies up to this size get their variant at once, which takes less than a millisecond; larger ones are served without it until it is made.
pub(in crate::mirror) const AT_ONCE: usize = 32 << 10;
/// Within 3 % of the best ratio on index files at a fifth of its time.
const LEVEL: Compression = Compression::new(5);

/// `body` gzipped, if that makes it smaller.
pub(super) fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6), LEVEL);
    let mut variant = encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .ok()?;
    variant.shrink_to_fit();
    (variant.len() < body.len()).then(|| variant.into())
}

/// The same for a large body, under a lease as it grows. Takes milliseconds to tenths of a second.
///
/// # Errors
/// An [`io::ErrorKind::OutOfMemory`] when there is no memory to spare for it.
pub(super) fn gzip_leased(body: &[u8], budget: &Allowance) -> io::Result<Option<Bytes>> {
    let leased = Leased {
        bytes: Vec::new(),
        lease: budget.nothing(),
    };
    let mut encoder = GzEncoder::new(leased, LEVEL);
    encoder.write_all(body)?;
    let Leased {
        mut bytes,
        mut lease,
    } = encoder.finish()?;
    bytes.shrink_to_fit();
    lease.shrink_to(bytes.len() as u64);
    Ok((bytes.len() < body.len()).then(|| lease.hold(bytes.into())))
}

/// Bytes that are written, within a lease.
struct Leased {
    bytes: Vec<u8>,
    lease: Lease,
}

impl Write for Leased {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let room = self.bytes.capacity() - self.bytes.len();
        if room < chunk.len() {
            let more = self.bytes.capacity().max(AT_ONCE).max(chunk.len());
            // What grows may be there twice for a moment.
            if !self.lease.try_grow((self.bytes.capacity() + more) as u64) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.bytes.reserve_exact(more);
            self.lease.shrink_to(self.bytes.capacity() as u64);
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
