//! Freshness: whether a stored copy may be served without asking upstream, and whether it may be served when upstream fails.

use std::time::{Duration, SystemTime};

/// What to do with a stored copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Serve it; no upstream contact.
    Fresh,
    /// Ask upstream; serve it when that fails (RFC 5861, section 4, `stale-if-error`).
    Stale,
    /// Ask upstream; too old to be served when that fails.
    Expired,
}

/// How long copies are good for.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// How long a copy is served without asking.
    pub fresh_for: Duration,
    /// How old a copy may be while upstream fails.
    pub max_stale: Duration,
}

/// Judges a copy that upstream last confirmed at `checked_at`.
///
/// A confirmation that lies in the future (the clock was set back) counts as stale: it says nothing about now, but the copy is good.
pub fn judge(checked_at: SystemTime, now: SystemTime, lifetimes: Lifetimes) -> Freshness {
    match now.duration_since(checked_at) {
        Ok(age) if age < lifetimes.fresh_for => Freshness::Fresh,
        Ok(age) if age > lifetimes.max_stale => Freshness::Expired,
        Ok(_) => Freshness::Stale,
        Err(ahead) if ahead.duration() < lifetimes.fresh_for => Freshness::Fresh,
        Err(_) => Freshness::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes {
        fresh_for: Duration::from_secs(60),
        max_stale: Duration::from_secs(3600),
    };

    fn judged_after(seconds: u64) -> Freshness {
        let checked = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        judge(checked, checked + Duration::from_secs(seconds), LIFETIMES)
    }

    #[test]
    fn a_copy_is_fresh_then_stale_then_expired() {
        assert_eq!(judged_after(0), Freshness::Fresh);
        assert_eq!(judged_after(59), Freshness::Fresh);
        assert_eq!(judged_after(60), Freshness::Stale);
        assert_eq!(judged_after(3600), Freshness::Stale);
        assert_eq!(judged_after(3601), Freshness::Expired);
    }

    /// A clock set back by a year used to keep every copy "fresh" for that year.
    #[test]
    fn a_copy_from_the_future_is_asked_about_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let checked = now + Duration::from_secs(365 * 86_400);
        assert_eq!(judge(checked, now, LIFETIMES), Freshness::Stale);
        let drift = now + Duration::from_secs(2);
        assert_eq!(judge(drift, now, LIFETIMES), Freshness::Fresh);
    }
}
