//! [`WrongTokens`]: how many wrong tokens an address has shown of late. Only wrong ones are counted, and only they are held up.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};

/// So many wrong tokens a minute are told that they are wrong.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(30).expect("more than none");
/// How many wrong tokens it takes to look once whether addresses can be forgotten.
const LOOK_AFTER: usize = 1_000;
/// How many addresses have a count of their own. Each takes some 60 bytes; beyond this, all that are new share one count.
const ADDRESSES: usize = 50_000;

/// The counts. An address is forgotten when it has shown nothing wrong for a minute.
pub struct WrongTokens {
    counts: DefaultKeyedRateLimiter<IpAddr>,
    shown: AtomicUsize,
    is_crowded: AtomicBool,
}

impl WrongTokens {
    /// Nobody has shown anything.
    pub fn new() -> Self {
        Self {
            counts: RateLimiter::keyed(Quota::per_minute(A_MINUTE)),
            shown: AtomicUsize::new(0),
            is_crowded: AtomicBool::new(false),
        }
    }

    /// Counts a wrong token from `address`.
    ///
    /// # Errors
    /// When there were too many, with how long until one more is looked at.
    pub fn count(&self, address: IpAddr) -> Result<(), Duration> {
        if self.shown.fetch_add(1, Ordering::Relaxed) % LOOK_AFTER == LOOK_AFTER - 1 {
            self.counts.retain_recent();
            let is_crowded = self.counts.len() > ADDRESSES;
            self.is_crowded.store(is_crowded, Ordering::Relaxed);
        }
        let counted = match self.is_crowded.load(Ordering::Relaxed) {
            false => one_client(address),
            true => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.counts
            .check_key(&counted)
            .map_err(|until| until.wait_time_from(governor::clock::DefaultClock::default().now()))
    }
}

impl Default for WrongTokens {
    fn default() -> Self {
        Self::new()
    }
}

/// What counts as one client's address: whoever has an IPv6 address has all of the 2^64 beside it (RFC 6177).
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn thirty_are_told_and_more_have_to_wait_each_address_for_itself() {
        let wrong = WrongTokens::new();
        for n in 0..30 {
            assert!(wrong.count(address("192.0.2.1")).is_ok(), "{n}");
        }
        let wait = wrong.count(address("192.0.2.1")).expect_err("one more");
        assert!(wait <= Duration::from_secs(60), "{wait:?}");
        assert!(wrong.count(address("192.0.2.2")).is_ok());
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_client() {
        let wrong = WrongTokens::new();
        let counted = (0..100).map(|n| wrong.count(address(&format!("2001:db8::{n:x}"))));
        assert_eq!(counted.filter(Result::is_ok).count(), 30);
        assert!(wrong.count(address("2001:db8:0:1::1")).is_ok());
        let mapped = one_client(address("::ffff:192.0.2.1"));
        assert_eq!(mapped, address("192.0.2.1"));
    }

    /// Each address that was ever seen would otherwise take memory for good.
    #[test]
    fn memory_is_bounded_whoever_asks() {
        let wrong = WrongTokens::new();
        for n in 0..4 * ADDRESSES as u32 {
            let _ = wrong.count(IpAddr::V4(n.into()));
        }
        let most = ADDRESSES + LOOK_AFTER + 1;
        assert!(wrong.counts.len() <= most, "{}", wrong.counts.len());
    }
}
