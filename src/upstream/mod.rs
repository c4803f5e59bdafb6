//! [`Upstream`]: one registry on the other side, asked politely: with conditional requests, limits, timeouts and a name.

mod address;
mod answer;
mod body;
mod breaker;
mod client;
mod config;
mod crates;
mod index;
mod proxies;
mod redirect;
mod resolve;
mod retry;
mod send;
mod trouble;
mod words;

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use url::Url;

pub use body::{Encoding, gunzip, inflate};
pub use breaker::Circuit;
pub use crates::{CrateStream, Resume};
pub use index::{Fetched, IndexStream};
pub(crate) use retry::ANSWER_WITHIN;
pub use retry::Attempts;

use self::{client::Authorities, proxies::Proxies, resolve::Surroundings};
use crate::{
    config::{Origin, sections},
    domain::RegistryName,
    error::Result,
    metrics::Metrics,
};

/// What the fuzzers of this layer need to reach.
#[doc(hidden)]
pub mod parts {
    pub use super::{body::gunzip, crates::starts_at, index::validators, retry::retry_after};
}

/// A registry to fetch from.
pub struct Upstream {
    registry: RegistryName,
    index: Url,
    http: reqwest::Client,
    proxies: Proxies,
    authorities: Authorities,
    surroundings: Arc<Surroundings>,
    settings: sections::Upstream,
    line: Arc<Semaphore>,
    breaker: Arc<breaker::Breaker>,
    config: Mutex<Option<config::Known>>,
    metrics: Arc<Metrics>,
}

/// A place among the requests under way; held for as long as they take, body and repetitions included.
#[must_use]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Upstream {
    /// The registry `name` whose sparse index is at `index`. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the system's certificates or proxy settings can't be used.
    pub fn new(
        name: RegistryName,
        index: Url,
        settings: sections::Upstream,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let proxies = Proxies::from_environment()?;
        let named = settings.redirects.iter().filter_map(Origin::host);
        // A name that takes longer is said to, and not the connection.
        let patience = settings.connect_timeout.mul_f64(0.9);
        let surroundings = Arc::new(Surroundings::of(
            &index,
            named,
            proxies.hosts().collect(),
            patience,
        ));
        let (http, authorities) = client::client(name, &index, &settings, &proxies, &surroundings)?;
        let places = settings.max_concurrent.get() as usize;
        Ok(Self {
            registry: name,
            index,
            http,
            proxies,
            authorities,
            surroundings,
            line: Arc::new(Semaphore::new(places)),
            breaker: Arc::default(),
            config: Mutex::default(),
            settings,
            metrics,
        })
    }

    /// The registry's name.
    pub fn registry(&self) -> RegistryName {
        self.registry
    }

    /// Where its index is.
    pub fn index_url(&self) -> &Url {
        &self.index
    }

    /// The hosts asked lately, and whether they are asked at the moment.
    pub fn circuits(&self) -> Vec<(String, Circuit)> {
        self.breaker.circuits()
    }

    /// The largest .crate file that is taken from it, in bytes.
    pub fn max_crate_size(&self) -> u64 {
        self.settings.max_crate_size.get()
    }

    /// A fresh budget of attempts for one thing to fetch.
    pub fn attempts(&self) -> Attempts {
        Attempts::new(
            self.settings.retries.get(),
            *self.settings.first_byte_timeout,
        )
    }

    /// Waits in line, first come first served, for a place among the `max_concurrent` requests under way. Whoever fetches takes one first;
    /// dropping the future leaves the line.
    pub async fn place(&self) -> Place {
        let place = self.line.clone().acquire_owned().await;
        Place(place.expect("the semaphore is never closed"))
    }

    /// A place for what no client waits for, if there is one to spare: a quarter of all is left to clients, and nobody stands in line.
    pub fn spare_place(&self) -> Option<Place> {
        let reserve = self.settings.max_concurrent.get().div_ceil(4) as usize;
        if self.line.available_permits() <= reserve {
            return None;
        }
        self.line.clone().try_acquire_owned().ok().map(Place)
    }
}
