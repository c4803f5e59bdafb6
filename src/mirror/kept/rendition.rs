//! [`Rendition`]: an index file as it is served: its bytes, their gzip variant, and the validators we give out for them.

use std::{
    any::Any,
    io,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;

use super::gzip;
use crate::{
    allowance::Allowance,
    domain::Sha256,
    policy::{RulesVersion, Ruling},
};

/// About how many bytes is what others prepare of a rendition, once all of it has been asked for: see [`Rendition::prepared`].
const PREPARED: usize = 2 << 10;

/// What cargo gets to see of an index file. Texts are kept as bytes that can be shared, so that serving them allocates nothing.
#[derive(Debug)]
pub struct Rendition {
    /// The body.
    pub body: Bytes,
    /// The hash of the index file that this was made of.
    pub index_file: Sha256,
    /// What the rules say of that, and until when they say the same.
    ruling: Ruling,
    /// The body gzipped, if that makes it smaller and it is worth it; not set while that isn't known yet.
    gzip: OnceLock<Option<Bytes>>,
    /// Whether somebody is at making it.
    claimed: AtomicBool,
    /// Our own weak ETag: a hash of the body as served, so that it changes when and only when the body does. Weak, because the gzipped body
    /// carries it as well (RFC 9110, section 8.8.3.3).
    pub etag: Bytes,
    /// When the body last changed, if that is known.
    pub modified: Option<Modified>,
    /// What whoever serves this has prepared of it.
    prepared: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// When a body last changed.
#[derive(Clone, Debug)]
pub struct Modified {
    /// In whole seconds, as HTTP counts.
    pub at: SystemTime,
    /// As an HTTP date.
    pub date: Bytes,
}

impl Rendition {
    /// An index file shown as it is, whatever the time: a `body`, with its gzip variant if that is at hand, which hashes to `sha256` and last changed at
    /// `modified`, if that is known. A small body has its gzip variant then.
    pub fn new(
        body: Bytes,
        variant: Option<Bytes>,
        sha256: &Sha256,
        modified: Option<SystemTime>,
    ) -> Self {
        let hash = sha256.to_string();
        let gzip = match body.len() {
            length if length <= gzip::ABOVE => OnceLock::from(None),
            length if variant.as_ref().is_some_and(|v| v.len() < length) => OnceLock::from(variant),
            length if length <= gzip::AT_ONCE => OnceLock::from(gzip::gzip(&body)),
            _ => OnceLock::new(),
        };
        Self {
            body,
            index_file: *sha256,
            ruling: Ruling::default(),
            gzip,
            claimed: AtomicBool::new(false),
            etag: format!("W/\"{}\"", &hash[..32]).into(),
            modified: modified.map(Modified::new),
            prepared: OnceLock::new(),
        }
    }

    /// The same as what is made of the index file that hashes to `index_file`, of which the rules say this.
    pub(super) fn made_of(self, index_file: Sha256, ruling: Ruling) -> Self {
        Self {
            index_file,
            ruling,
            ..self
        }
    }

    /// The same bytes, now that the rules say this.
    pub(super) fn under(&self, ruling: Ruling) -> Self {
        Self {
            body: self.body.clone(),
            index_file: self.index_file,
            ruling,
            gzip: self.gzip.clone(),
            claimed: AtomicBool::new(false),
            etag: self.etag.clone(),
            modified: self.modified.clone(),
            prepared: OnceLock::new(),
        }
    }

    /// Whether this is still what `rules` make of its index file at `now`. Asked at every hit; a nanosecond.
    pub fn is_valid(&self, rules: RulesVersion, now: SystemTime) -> bool {
        self.ruling.validity.holds(rules, now)
    }

    /// What the rules say of its index file.
    pub(in crate::mirror) fn ruling(&self) -> &Ruling {
        &self.ruling
    }

    /// What whoever serves this makes of it once, to be found again at each hit: headers, say. One type has the place, the first that comes; `None` to
    /// others.
    pub fn prepared<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.prepared
            .get_or_init(|| Box::new(make()))
            .downcast_ref()
    }

    /// The body gzipped, if there is such a variant by now.
    pub fn gzip(&self) -> Option<&Bytes> {
        self.gzip.get().and_then(Option::as_ref)
    }

    /// Whether the gzip variant is still to be made, by the caller: nobody else is told so from now on.
    pub(in crate::mirror) fn claim_gzip(&self) -> bool {
        self.gzip.get().is_none() && !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// The gzip variant couldn't be kept; it may be made at another time.
    pub(in crate::mirror) fn unclaim_gzip(&self) {
        self.claimed.store(false, Ordering::Release);
    }

    /// Makes the gzip variant of a large body, under a lease as it grows. Takes milliseconds to tenths of a second.
    ///
    /// # Errors
    /// An [`io::ErrorKind::OutOfMemory`] when there is no memory to spare for it.
    pub(in crate::mirror) fn make_gzip(&self, budget: &Allowance) -> io::Result<Option<Bytes>> {
        gzip::gzip_leased(&self.body, budget)
    }

    /// From now on the body goes out as `variant` to who takes gzip.
    pub(in crate::mirror) fn set_gzip(&self, variant: Option<Bytes>) {
        // Two that were made of the same body are the same.
        let _ = self.gzip.set(variant);
    }

    /// The gzip variant for a moment when nobody else knows this rendition yet.
    pub(super) fn gzip_mut(&mut self) -> Option<&mut Bytes> {
        self.gzip.get_mut().and_then(Option::as_mut)
    }

    /// About how many bytes of memory this takes.
    pub fn size(&self) -> usize {
        let bodies = self.body.len() + self.gzip().map_or(0, Bytes::len);
        bodies + self.ruling.size() + size_of::<Self>() + PREPARED
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
    fn a_large_body_goes_out_as_it_is_until_its_gzip_variant_is_made_by_one() {
        let large = of_length(gzip::AT_ONCE + 1);
        assert_eq!(large.gzip(), None);
        assert!(large.claim_gzip());
        assert!(!large.claim_gzip(), "somebody is at it");
        let none = large.make_gzip(&Allowance::new(1000, 0));
        assert!(none.is_err(), "there is no memory for it");
        let budget = Allowance::new(1 << 20, 0);
        large.set_gzip(large.make_gzip(&budget).expect("there is memory"));
        assert!(large.gzip().is_some_and(|v| v.len() < large.body.len()));
        assert!(!large.claim_gzip(), "it is made");
        let small = of_length(gzip::ABOVE + 1);
        assert!(small.gzip().is_some() && !small.claim_gzip());
    }

    #[test]
    fn what_is_prepared_is_made_once_and_for_one_type() {
        let rendition = of_length(1);
        assert_eq!(rendition.prepared(|| 7_u8), Some(&7));
        assert_eq!(rendition.prepared(|| 8_u8), Some(&7));
        assert_eq!(rendition.prepared(|| "another"), None);
    }
}
