//! [`RateLimit`]: how many requests a client may make.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::error::{Error, Kind, Result};

/// Addresses that haven't asked for long are forgotten after so many requests.
const ADDRESSES: usize = 10_000;

/// How many requests a client may make.
pub(super) struct RateLimit {
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    requests: AtomicUsize,
}

impl RateLimit {
    /// So many requests a second for each address; 0 is without limit.
    pub(super) fn per_second(requests: u32) -> Self {
        let rate = NonZeroU32::new(requests);
        Self {
            limiter: rate.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
            requests: AtomicUsize::new(0),
        }
    }

    /// Counts one request from `address`.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`] when it has asked too often.
    pub(super) fn admit(&self, address: IpAddr) -> Result<()> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        // Counting addresses looks at all of them, so it isn't done at every request.
        if self.requests.fetch_add(1, Ordering::Relaxed) % ADDRESSES == ADDRESSES - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(&address).map_err(|until| {
            let retry_after = until.wait_time_from(DefaultClock::default().now());
            Error::new(
                Kind::TooManyRequests { retry_after },
                format!("{address} asks more often than this mirror allows (`server.max_requests_per_second`); slow down"),
            )
        })
    }
}
