//! [`Upstream`] itself, and the [`Permit`]s that limit how many requests it gets at a time.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use url::Url;

use super::{
    certificates,
    client::{self, Authorities, Way},
    credential::Credential,
    proxies::Proxies,
    resolve::Surroundings,
    retry::Attempts,
};
use crate::{
    certificate::Validity,
    circuit::{Circuits, HostCircuit},
    config::{Origin, RegistrySettings, sections},
    domain::{DownloadTemplate, FileKey, RegistryName, loggable_url},
    error::{Error, Kind, Result},
    metrics::{Metrics, UpstreamKind},
};

/// The largest component that is taken, in bytes; those of today have up to 200 MB.
const LARGEST_COMPONENT: u64 = 4 << 30;

/// A registry to fetch from.
pub struct Upstream {
    pub(super) registry: RegistryName,
    pub(super) index: Url,
    pub(super) http: reqwest::Client,
    pub(super) proxies: Proxies,
    pub(super) authorities: Authorities,
    pub(super) identified: Option<Identified>,
    /// How long the certificate is good that is shown, if there is one and that can be read.
    shown_validity: Option<Validity>,
    pub(super) credential: Option<Credential>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) settings: sections::UpstreamSettings,
    permits: Arc<Semaphore>,
    pub(super) circuits: Arc<Circuits>,
    /// That of the web API, which may fail while index and crates are well, and mustn't keep anybody from these.
    pub(super) web_api_circuits: Arc<Circuits>,
    pub(super) dl: Mutex<Option<KnownDl>>,
    pub(super) metrics: Arc<Metrics>,
}

/// What shows this mirror's certificate, and to whom.
pub(super) struct Identified {
    http: reqwest::Client,
    origins: Vec<Origin>,
}

/// A `dl`, the web API beside it, and when they were learnt.
pub(super) struct KnownDl {
    pub(super) dl: DownloadTemplate,
    pub(super) api: Option<Url>,
    pub(super) at: Instant,
}

/// Leave to be among the requests under way; held for as long as they take, body and repetitions included.
#[must_use]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Upstream {
    /// The registry `name`, as its table in the settings and `[upstream]` say. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when a file with certificates, or the system's certificates or proxy settings can't be used.
    pub fn new(
        name: RegistryName,
        registry: &RegistrySettings,
        settings: sections::UpstreamSettings,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let mut index = registry.index.as_url().clone();
        let credential = Credential::of(name, registry, &mut index)?;
        let proxies = proxies(name, registry, &settings)?;
        let named = settings.redirects.iter().filter_map(Origin::host);
        let named = named.chain(credential.iter().flat_map(Credential::hosts));
        // A name that takes longer is said to, and not the connection.
        let patience = settings.connect_timeout.mul_f64(0.9);
        let surroundings = Arc::new(Surroundings::of(
            &index,
            named,
            proxies.hosts().collect(),
            patience,
        ));
        let identity = registry.client_certificate.as_ref();
        let shown = identity.map(|files| certificates::identity(name.as_str(), files));
        let shown = shown.transpose()?;
        let shown_validity = shown.as_ref().and_then(|shown| shown.validity);
        let way = Way {
            what: &match name == RegistryName::toolchains() {
                true => "the distribution host of toolchains".to_owned(),
                false => format!("the registry {name}"),
            },
            url: &index,
            settings: &settings,
            proxies: &proxies,
            surroundings: &surroundings,
            authorities: trusted(name, registry, &settings)?,
        };
        let (http, authorities) = client::client(&way, None)?;
        let identified = shown.map(|shown| {
            let (http, _) = client::client(&way, Some(&shown.identity))?;
            let also = registry.credential.iter().flat_map(|said| &said.also);
            let origins = std::iter::once(Origin::of(&index)).chain(also.cloned());
            Ok::<_, Error>(Identified {
                http,
                origins: origins.collect(),
            })
        });
        let identified = identified.transpose()?;
        let permits = settings.max_concurrent.get() as usize;
        let upstream = Self {
            registry: name,
            index,
            http,
            proxies,
            authorities,
            identified,
            shown_validity,
            credential,
            surroundings,
            permits: Arc::new(Semaphore::new(permits)),
            circuits: Arc::default(),
            web_api_circuits: Arc::default(),
            dl: Mutex::default(),
            settings,
            metrics,
        };
        upstream.begin_metrics();
        Ok(upstream)
    }

    /// Has what is counted of it among the metrics before it is asked for the first time.
    fn begin_metrics(&self) {
        let kinds: &[_] = match self.registry == RegistryName::toolchains() {
            true => &[UpstreamKind::Manifest, UpstreamKind::Component],
            false => &[
                UpstreamKind::Config,
                UpstreamKind::Index,
                UpstreamKind::Crate,
                UpstreamKind::WebApi,
            ],
        };
        let failures = [
            Kind::UpstreamFault,
            Kind::UpstreamRefused,
            Kind::UpstreamTimeout,
            Kind::UpstreamUnavailable { retry_after: None },
        ];
        let failures = failures.map(Kind::label);
        let (registry, host) = (self.registry.as_str(), self.circuit(&self.index));
        self.metrics
            .begin_upstream(registry, &host, kinds, &failures);
    }

    /// How long the client certificate is good that it is shown, if there is one. It is read once, when this is made.
    pub fn client_certificate(&self) -> Option<Validity> {
        self.shown_validity
    }

    /// The registry's name.
    pub fn registry(&self) -> RegistryName {
        self.registry
    }

    /// What it is shown, and where that comes from, for people: never the credential itself.
    pub fn credential(&self) -> Option<String> {
        self.credential.as_ref().map(Credential::described)
    }

    /// Where its index is, for people: without what may be secret.
    pub fn shown_index(&self) -> String {
        loggable_url(&self.index)
    }

    /// The client for a URL. This mirror's certificate is a credential like any other: it isn't shown to whoever the registry leads to.
    pub(super) fn client_for(&self, url: &Url) -> &reqwest::Client {
        match &self.identified {
            Some(identified) if identified.is_for(url) => &identified.http,
            Some(_) | None => &self.http,
        }
    }

    /// The hosts asked lately, whether they are asked at the moment, and why they failed last. What is asked of a web API is a host of its own here.
    pub fn circuits(&self) -> Vec<HostCircuit> {
        let now = Instant::now();
        let web_apis = self.web_api_circuits.circuits(now).into_iter();
        let web_apis = web_apis.map(|of| HostCircuit {
            host: format!("{} (web API)", of.host),
            ..of
        });
        let mut all = self.circuits.circuits(now);
        all.extend(web_apis);
        all
    }

    /// Notes that what came from where the index is, and was passed on, turned out to be of no use.
    pub fn note_failure(&self, error: &Error) {
        let host = self.circuit(&self.index);
        self.circuits.note_failure(&host, error, Instant::now());
    }

    /// The largest file of this kind that is taken from it, in bytes, and what says so.
    pub fn max_size(&self, key: &FileKey) -> (u64, &'static str) {
        match key {
            FileKey::Crate(_) => (
                self.settings.max_crate_size.get(),
                "`upstream.max_crate_size`",
            ),
            FileKey::Toolchain(_) => (LARGEST_COMPONENT, "this program"),
        }
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

impl Identified {
    /// Whether it may be shown to who is asked for `url`.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        self.origins.iter().any(|origin| origin.is_of(url))
    }
}

/// The proxies on the way to a registry: those that its own table names, or else `[upstream]`, or else the environment.
fn proxies(
    name: RegistryName,
    registry: &RegistrySettings,
    settings: &sections::UpstreamSettings,
) -> Result<Proxies> {
    let own = registry.proxy.as_ref();
    let own = own.map(|said| (format!("registries.{name}.proxy"), said));
    let general = settings.proxy.as_ref();
    Proxies::of_settings(own.or(general.map(|said| ("upstream.proxy".to_owned(), said))))
}

/// The authorities that are trusted beside the system's: those that a registry's own table names, or else `[upstream]`.
fn trusted(
    name: RegistryName,
    registry: &RegistrySettings,
    settings: &sections::UpstreamSettings,
) -> Result<Vec<reqwest::Certificate>> {
    let own = registry.ca_certificates.as_ref();
    match (own, &settings.ca_certificates) {
        (Some(file), _) => {
            certificates::authorities(&format!("registries.{name}.ca_certificates"), &file.0)
        }
        (None, Some(file)) => certificates::authorities("upstream.ca_certificates", &file.0),
        (None, None) => Ok(Vec::new()),
    }
}
