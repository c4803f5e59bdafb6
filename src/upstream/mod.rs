//! [`Upstream`]: one registry on the other side, asked politely: with conditional requests, limits, timeouts and a name.

mod answer;
mod body;
mod breaker;
mod config;
mod crates;
mod index;
mod retry;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use reqwest::{RequestBuilder, Response};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use url::Url;

pub use breaker::Circuit;
pub use crates::{CrateStream, Resume};
pub use index::Fetched;
pub(crate) use retry::ANSWER_WITHIN;
pub use retry::Attempts;

use self::answer::Answer;
use crate::{
    allowance::Allowance,
    config::sections,
    domain::RegistryName,
    error::{Error, Kind, Result},
    metrics::{Metrics, UpstreamKind},
};

/// What the fuzzers of this layer need to reach.
#[doc(hidden)]
pub mod parts {
    pub use super::{body::gunzip, crates::starts_at, index::validators, retry::retry_after};
}

/// Who we say we are; crates.io asks its clients to (its data access policy).
const USER_AGENT: &str = concat!(
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("CARGO_PKG_REPOSITORY"),
    ")"
);

/// A registry to fetch from.
pub struct Upstream {
    registry: RegistryName,
    index: Url,
    http: reqwest::Client,
    settings: sections::Upstream,
    line: Arc<Semaphore>,
    breaker: Arc<breaker::Breaker>,
    config: Mutex<Option<config::Known>>,
    allowance: Allowance,
    metrics: Arc<Metrics>,
}

/// A place among the requests under way; held for as long as they take, body and repetitions included.
#[must_use]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Upstream {
    /// The registry `name` whose sparse index is at `index`. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`Kind::Config`] when the system's certificates or proxy settings can't be used.
    pub fn new(
        name: RegistryName,
        index: Url,
        settings: sections::Upstream,
        allowance: Allowance,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        // Fails only when the program that embeds us has chosen a provider already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(*settings.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()
            .map_err(|e| {
                let why = flatten(&e);
                Error::config(format!("the HTTP client for {name} can't be set up: {why}"))
            })?;
        let places = settings.max_concurrent.get() as usize;
        Ok(Self {
            registry: name,
            index,
            http,
            line: Arc::new(Semaphore::new(places)),
            breaker: Arc::default(),
            config: Mutex::default(),
            settings,
            allowance,
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

    /// The hosts asked so far, and whether they are asked at the moment.
    pub fn circuits(&self) -> Vec<(String, Circuit)> {
        self.breaker.circuits()
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

    /// Sends one request and waits for the answer's head.
    async fn send(&self, kind: UpstreamKind, request: RequestBuilder) -> Result<Answer> {
        let (client, request) = request.build_split();
        let request = request.map_err(|e| Error::internal(flatten(&e)))?;
        let url = request.url().clone();
        let pass = self.breaker.pass(url.authority(), Instant::now())?;
        let started = Instant::now();
        let answer = self.execute(&client, request).await;
        let result = match &answer {
            Ok(response) => response.status().as_str().to_owned(),
            Err(e) => word(e.kind()).to_owned(),
        };
        self.metrics.upstream(self.registry.as_str(), kind, &result);
        let duration_ms = started.elapsed().as_millis() as u64;
        match &answer {
            Ok(_) => tracing::info!(%url, result, duration_ms, "asked upstream"),
            Err(e) => tracing::warn!(%url, result, duration_ms, "upstream failed: {e}"),
        }
        match answer {
            Ok(response) => Ok(Answer::new(response, pass)),
            Err(e) => {
                // What comes this far without a status to be judged is silence, or says "not now".
                let asked_for = match e.kind() {
                    Kind::UpstreamUnavailable { retry_after } => retry_after,
                    _ => None,
                };
                pass.failed(asked_for, Instant::now());
                Err(e)
            }
        }
    }

    async fn execute(
        &self,
        client: &reqwest::Client,
        request: reqwest::Request,
    ) -> Result<Response> {
        let (url, limit) = (request.url().clone(), *self.settings.first_byte_timeout);
        match tokio::time::timeout(limit, client.execute(request)).await {
            Ok(Ok(response)) => self.judge_status(response),
            Ok(Err(e)) => Err(self.unreachable(&e)),
            Err(_) => Err(Error::upstream_timeout(format!(
                "{} didn't begin to answer within {}",
                self.host(&url),
                humantime::format_duration(limit)
            ))),
        }
    }

    /// Turns the statuses that mean "not now" into errors; what the others mean depends on what was asked.
    ///
    /// Among them are those of RFC 9110 (15.5.9, 15.5.20) and RFC 8470 (5.2) that are about the connection or the moment and not about the request.
    fn judge_status(&self, response: Response) -> Result<Response> {
        let status = response.status();
        let passes = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::MISDIRECTED_REQUEST
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
        if passes || status.is_server_error() {
            let retry_after = retry::retry_after(response.headers(), SystemTime::now());
            return Err(Error::new(
                Kind::UpstreamUnavailable { retry_after },
                format!("{} answered {status}", self.host(response.url())),
            ));
        }
        Ok(response)
    }

    /// What a failure below HTTP means.
    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let host = error
            .url()
            .map_or_else(|| self.registry.to_string(), |url| self.host(url));
        let said = match error.is_timeout() {
            true => Error::upstream_timeout(format!("connecting to {host} took too long")),
            false => Error::upstream_unavailable(format!("{host} can't be reached")),
        };
        said.because(Some(&flatten(error)))
    }

    /// An answer that isn't what was asked for, and doesn't say that there is no such thing. A 4xx says that the request is at fault, and the next one will
    /// be the same.
    fn unexpected(&self, response: &Response, what: &str) -> Error {
        let (host, status) = (self.host(response.url()), response.status());
        let said = format!("{host} answered {status} when asked for {what}");
        match status {
            // What broke off is another file by now: it is to be asked for from the start.
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
                Error::upstream_fault(said)
            }
            StatusCode::UNAUTHORIZED => Error::upstream_refused(format!(
                "{said}: it wants credentials, and this mirror has none for it"
            )),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Error::upstream_refused(format!(
                "{said}: the proxy on the way wants credentials; they go into the URL in HTTPS_PROXY or HTTP_PROXY, before an `@`"
            )),
            _ if status.is_client_error() => Error::upstream_refused(said),
            _ => Error::upstream_fault(said),
        }
    }

    /// How messages call the other side: the registry and, of the URL, only the host, because queries may hold secrets.
    fn host(&self, url: &Url) -> String {
        format!(
            "{} ({})",
            self.registry,
            url.host_str().unwrap_or("no host")
        )
    }
}

/// An error and its causes in one line, without the URL, which the caller words better.
fn flatten(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        let text = e.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        cause = e.source();
    }
    match causes.is_empty() {
        true => "the request failed".to_owned(),
        false => causes.join(": "),
    }
}

/// A failure's kind as a label.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::UpstreamTimeout => "timeout",
        Kind::UpstreamUnavailable { .. } => "unavailable",
        Kind::UpstreamResting { .. } => "resting",
        Kind::UpstreamFault => "fault",
        Kind::UpstreamRefused => "refused",
        Kind::Absent => "absent",
        Kind::BadRequest
        | Kind::UrlTooLong
        | Kind::HeadersTooLarge
        | Kind::MethodNotAllowed
        | Kind::TooManyRequests { .. }
        | Kind::Overloaded
        | Kind::NotFound
        | Kind::Offline
        | Kind::Corrupt
        | Kind::Config
        | Kind::Store
        | Kind::Internal => "error",
    }
}
