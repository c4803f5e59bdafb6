//! [`Upstream`] itself, and the [`Permit`]s that limit how many requests it gets at a time.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use url::Url;

use super::{
    circuit::{Circuit, Circuits},
    client::{self, Authorities},
    proxies::Proxies,
    resolve::Surroundings,
    retry::Attempts,
};
use crate::{
    config::{Origin, sections},
    domain::{DownloadTemplate, RegistryName},
    error::Result,
    metrics::Metrics,
};

/// A registry to fetch from.
pub struct Upstream {
    pub(super) registry: RegistryName,
    pub(super) index: Url,
    pub(super) http: reqwest::Client,
    pub(super) proxies: Proxies,
    pub(super) authorities: Authorities,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) settings: sections::UpstreamSettings,
    permits: Arc<Semaphore>,
    pub(super) circuits: Arc<Circuits>,
    pub(super) dl: Mutex<Option<KnownDl>>,
    pub(super) metrics: Arc<Metrics>,
}

/// A `dl` and when it was learnt.
pub(super) struct KnownDl {
    pub(super) dl: DownloadTemplate,
    pub(super) at: Instant,
}

/// Leave to be among the requests under way; held for as long as they take, body and repetitions included.
#[must_use]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Upstream {
    /// The registry `name` whose sparse index is at `index`. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the system's certificates or proxy settings can't be used.
    pub fn new(
        name: RegistryName,
        index: Url,
        settings: sections::UpstreamSettings,
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
        let what = format!("the registry {name}");
        let (http, authorities) =
            client::client(&what, &index, &settings, &proxies, &surroundings)?;
        let permits = settings.max_concurrent.get() as usize;
        Ok(Self {
            registry: name,
            index,
            http,
            proxies,
            authorities,
            surroundings,
            permits: Arc::new(Semaphore::new(permits)),
            circuits: Arc::default(),
            dl: Mutex::default(),
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
        self.circuits.circuits()
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

    /// Waits, first come first served, for a permit to be among the `max_concurrent` requests under way. Whoever fetches takes one first; dropping the
    /// future gives up waiting.
    pub async fn permit(&self) -> Permit {
        let permit = self.permits.clone().acquire_owned().await;
        Permit(permit.expect("the semaphore is never closed"))
    }

    /// A permit for what no client waits for, if there is one to spare: a quarter of all is left to clients, and nobody waits for one.
    pub fn spare_permit(&self) -> Option<Permit> {
        let reserve = self.settings.max_concurrent.get().div_ceil(4) as usize;
        if self.permits.available_permits() <= reserve {
            return None;
        }
        self.permits.clone().try_acquire_owned().ok().map(Permit)
    }
}
