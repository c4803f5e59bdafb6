//! [`Limits`]: how much one client, and all of them together, may ask for.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config::sections::Server,
    error::{Error, Kind, Result},
};

/// Addresses that haven't asked for long are forgotten after so many requests.
const ADDRESSES: usize = 10_000;

/// How many connections beyond `max_connections` may be open at once for as long as it takes to tell their clients so.
const REFUSED: usize = 256;

/// What clients may use.
pub(super) struct Limits {
    connections: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    requests: AtomicUsize,
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// How long a connection may be silent.
    pub(super) idle: Duration,
}

impl Limits {
    pub(super) fn new(settings: &Server) -> Self {
        let rate = NonZeroU32::new(settings.max_requests_per_second.get());
        Self {
            connections: Arc::new(Semaphore::new(settings.max_connections.get() as usize)),
            refused: Arc::new(Semaphore::new(REFUSED)),
            requests: AtomicUsize::new(0),
            rate: rate.map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
            idle: *settings.idle_timeout,
        }
    }

    /// A place for one more connection, if there is one.
    pub(super) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    /// A place for one connection that is told that there are too many, if there is one.
    pub(super) fn refused(&self) -> Option<OwnedSemaphorePermit> {
        self.refused.clone().try_acquire_owned().ok()
    }

    /// Counts one request from `address`.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`] when it has asked too often.
    pub(super) fn request(&self, address: IpAddr) -> Result<()> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        // Counting addresses looks at all of them, so it isn't done at every request.
        if self.requests.fetch_add(1, Ordering::Relaxed) % ADDRESSES == ADDRESSES - 1 {
            rate.retain_recent();
        }
        rate.check_key(&address).map_err(|until| {
            let retry_after = until.wait_time_from(governor::clock::DefaultClock::default().now());
            Error::new(
                Kind::TooManyRequests { retry_after },
                format!("{address} asks more often than this mirror allows (`server.max_requests_per_second`); slow down"),
            )
        })
    }
}
