//! Sending a request: one hop after another, each with a pass of its host's circuit, until there is an answer or an error.

use std::time::SystemTime;

use http::{StatusCode, header};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    answer::UpstreamAnswer,
    client::{Authorities, BRING_AUTHORITIES},
    credential::Carried,
    proxies,
    redirect::MOST,
    registry::Upstream,
    resolve::NameError,
    retry,
    trouble::{self, BadCertificate, Trouble, Whose, flatten},
};
use crate::{
    circuit::{Failure, Resource},
    domain::loggable_url,
    error::{Error, Kind, Result},
    metrics::UpstreamKind,
    traces::{UpstreamSpan, UpstreamTarget},
};

/// Whether an answer says that the credential which its request carried is no good.
fn is_refusal(reply: &UpstreamAnswer) -> bool {
    reply.knows_us() && reply.status() == StatusCode::UNAUTHORIZED
}

/// How a hop fails: the error, and what its host's circuit is told.
type Failed = (Error, Option<Failure>);

impl Upstream {
    /// Sends one request, with this mirror's credential if it is for who is asked, follows where the answers lead, and waits for the head of the last one.
    pub(super) async fn send(
        &self,
        kind: UpstreamKind,
        request: RequestBuilder,
    ) -> Result<UpstreamAnswer> {
        let request = self.built(request)?;
        let credential = self.credential.as_ref();
        let Some(credential) = credential.filter(|c| c.is_for(request.url())) else {
            return self.follow(kind, request, None).await;
        };
        let mut carried = credential.carried().await?;
        // None of ours has a body, so that each can be sent again.
        let again = request.try_clone();
        let mut reply = self.follow(kind, request, Some(&carried)).await?;
        if is_refusal(&reply)
            && let Some(again) = again
            && let Some(other) = credential.instead_of(&carried).await
        {
            reply = self.follow(kind, again, Some(&other)).await?;
            carried = other;
        }
        match reply.status() {
            _ if !reply.knows_us() => {}
            StatusCode::UNAUTHORIZED => {
                credential.was_refused(&carried, self.credential_refused(reply.url()));
            }
            // Whom it doesn't let in, or what it doesn't give to anybody.
            StatusCode::FORBIDDEN => {}
            _ => credential.was_taken(),
        }
        Ok(reply)
    }

    /// The same as one request and no more, for whoever counts them: nothing is followed, and nothing asked for again.
    pub(super) async fn send_once(
        &self,
        kind: UpstreamKind,
        request: RequestBuilder,
    ) -> Result<UpstreamAnswer> {
        let mut request = self.built(request)?;
        let credential = self.credential.as_ref();
        let credential = credential.filter(|c| c.is_for(request.url()));
        let carried = match credential {
            Some(credential) => Some(credential.carried().await?),
            None => None,
        };
        if let Some(carried) = &carried {
            carried.write(request.headers_mut());
        }
        let deadline = Instant::now() + *self.settings.first_byte_timeout;
        let answer = self.hop(kind, request, deadline).await?;
        let answer = answer.with_knows_us(carried.is_some());
        if let (Some(credential), Some(carried)) = (credential, &carried)
            && is_refusal(&answer)
        {
            // For the next one.
            credential.instead_of(carried).await;
        }
        Ok(answer)
    }

    /// The same with nothing to show.
    pub(super) async fn send_bare(
        &self,
        kind: UpstreamKind,
        request: RequestBuilder,
    ) -> Result<UpstreamAnswer> {
        let request = self.built(request)?;
        self.follow(kind, request, None).await
    }

    fn built(&self, request: RequestBuilder) -> Result<reqwest::Request> {
        let request = request.build();
        let request =
            request.map_err(|e| Error::internal(flatten(&e)).with_source(e.without_url()))?;
        self.allows(request.url())?;
        Ok(request)
    }

    /// Sends a request and follows where the answers lead. What it carries doesn't go along to another origin, nor come back from there.
    async fn follow(
        &self,
        kind: UpstreamKind,
        mut request: reqwest::Request,
        carried: Option<&Carried>,
    ) -> Result<UpstreamAnswer> {
        let mut knows_us = carried.is_some();
        if let Some(carried) = carried {
            carried.write(request.headers_mut());
        }
        let deadline = Instant::now() + *self.settings.first_byte_timeout;
        for _ in 0..=MOST {
            let url = request.url().clone();
            let again = request.try_clone();
            let answer = self.hop(kind, request, deadline).await?;
            let (Some(next), Some(mut following)) = (self.leads_on(kind, &answer)?, again) else {
                return Ok(answer.with_knows_us(knows_us));
            };
            if next.origin() != url.origin() {
                knows_us = false;
                let own = carried.map(|carried| carried.header().clone());
                let usual = [
                    header::AUTHORIZATION,
                    header::COOKIE,
                    header::PROXY_AUTHORIZATION,
                ];
                for header in usual.into_iter().chain(own) {
                    following.headers_mut().remove(header);
                }
            }
            *following.url_mut() = next;
            request = following;
        }
        Err(self.too_many(request.url()))
    }

    /// One request to one host, with a pass of its circuit.
    async fn hop(
        &self,
        kind: UpstreamKind,
        mut request: reqwest::Request,
        deadline: Instant,
    ) -> Result<UpstreamAnswer> {
        let url = request.url().clone();
        let resource = Resource::of(&url);
        let circuits = match kind {
            UpstreamKind::WebApi => &self.web_api_circuits,
            UpstreamKind::Index
            | UpstreamKind::Config
            | UpstreamKind::Crate
            | UpstreamKind::Manifest
            | UpstreamKind::Component => &self.circuits,
        };
        let pass = circuits.pass(&self.circuit(&url), resource, Instant::now())?;
        let target = UpstreamTarget {
            registry: self.registry.as_str(),
            kind: kind.as_str(),
            host: url.host_str().unwrap_or_default(),
            port: url.port_or_known_default().unwrap_or_default(),
        };
        let method = request.method().clone();
        let span = UpstreamSpan::of(target, &method, request.headers_mut());
        let started = Instant::now();
        let answer = self.execute(request, deadline).await;
        let result = match &answer {
            Ok(response) => response.status().as_str().to_owned(),
            Err((e, _)) => e.kind().label().to_owned(),
        };
        let took = started.elapsed();
        span.end(&result);
        self.metrics
            .upstream(self.registry.as_str(), kind, &result, took);
        let (duration_ms, shown) = (took.as_millis() as u64, loggable_url(&url));
        match &answer {
            Ok(_) => tracing::info!(url = shown, result, duration_ms, "asked upstream"),
            Err((e, _)) => {
                tracing::warn!(url = shown, result, duration_ms, "upstream failed: {e}");
            }
        }
        match answer {
            Ok(response) => Ok(UpstreamAnswer::new(response, pass)),
            Err((e, failure)) => {
                let told = self.told(&url, &e);
                match failure {
                    Some(failure) => pass.failed(failure, &told, Instant::now()),
                    None => pass.succeeded(),
                }
                Err(e)
            }
        }
    }

    async fn execute(
        &self,
        request: reqwest::Request,
        deadline: Instant,
    ) -> Result<Response, Failed> {
        let url = request.url().clone();
        let client = self.client_for(&url);
        match timeout_at(deadline, client.execute(request)).await {
            Ok(Ok(response)) => self.judge_status(response),
            Ok(Err(e)) => {
                let (said, failure) = self.unreachable(&url, &e).await;
                Err((said.with_source(e.without_url()), failure))
            }
            Err(_) => {
                let silent = Error::upstream_timeout(format!(
                    "{} didn't begin to answer within {}",
                    self.host(&url),
                    humantime::format_duration(*self.settings.first_byte_timeout)
                ));
                Err((silent, Some(Failure::Host)))
            }
        }
    }

    /// Turns the statuses that mean "not now" into errors; what the others mean depends on what was asked.
    ///
    /// Among them are those of RFC 9110 (15.5.9, 15.5.20) and RFC 8470 (5.2) that are about the connection or the moment and not about the request. They
    /// are no failure of the host. 429 and 5xx are one of the resource that was asked for, until others fail too.
    fn judge_status(&self, response: Response) -> Result<Response, Failed> {
        let status = response.status();
        let failure = match status {
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_EARLY => None,
            _ if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Some(Failure::Resource)
            }
            _ => return Ok(response),
        };
        let retry_after = retry::retry_after(response.headers(), SystemTime::now());
        let said = format!("{} answered {status}", self.host(response.url()));
        let error = Error::new(Kind::UpstreamUnavailable { retry_after }, said);
        Err((error, failure))
    }

    /// What a failure below HTTP means. One that lasts until somebody mends something is [`Kind::UpstreamRefused`]: asking again would only take time.
    async fn unreachable(&self, url: &Url, error: &reqwest::Error) -> Failed {
        let (host, proxy) = (self.host(url), self.proxies.of(url));
        let proxy_name = proxy.as_ref().map_or_else(String::new, |proxy| {
            let uri = proxy.uri();
            uri.authority()
                .map_or_else(String::new, ToString::to_string)
        });
        let (trouble, whose) = trouble::read(error);
        // Over plain HTTP whatever is connected to is the proxy.
        let is_proxys = whose == Whose::Proxy || (error.is_connect() && url.scheme() == "http");
        let subject = match is_proxys && proxy.is_some() {
            true => format!("the proxy {proxy_name} on the way to {host}"),
            false => host.clone(),
        };
        let refused = |said: String| Error::upstream_refused(said);
        let said = match trouble {
            Trouble::Certificate(why) => refused(self.distrusted(why, &subject)),
            Trouble::Handshake => refused(format!(
                "{subject} and this mirror have no version or cipher of TLS in common"
            )),
            Trouble::ClientCertificate => refused(match &self.identified {
                Some(identified) if identified.is_for(url) => format!(
                    "{subject} refused this mirror's client certificate; ask whoever runs this mirror to look after it"
                ),
                Some(_) => format!(
                    "{subject} wants a client certificate, and this mirror shows its own at the origin of its index only and at those in `registries.{}.credential.also`",
                    self.registry
                ),
                None => format!(
                    "{subject} wants a client certificate, and this mirror has none for it; whoever runs it can name one in `registries.{}.client_certificate`",
                    self.registry
                ),
            }),
            Trouble::Name(NameError::Unknown(name)) => refused(format!(
                "{host} can't be reached, because the name service knows no {}; check how it is written, and the DNS of this machine",
                self.spoken(url, &name)
            )),
            // DNS has bad moments of its own. A try costs little, and there are as many as for any other failure that passes.
            Trouble::Name(NameError::Unresolved(name)) => Error::upstream_unavailable(format!(
                "{host} can't be reached, because the name {} can't be resolved at the moment",
                self.spoken(url, &name)
            )),
            // Not the host's trouble but that of whoever has led there.
            Trouble::Name(NameError::Inside(_)) => return (self.leads_inside(url), None),
            Trouble::TunnelCredentials => refused(format!(
                "the proxy {proxy_name} wants credentials before it leads to {host} (407); they go into its URL in {}, before an `@`",
                self.proxies.said_in()
            )),
            Trouble::TunnelRefused => self.no_tunnel(url, &host, &proxy_name).await,
            Trouble::Timeout => {
                Error::upstream_timeout(format!("connecting to {subject} took too long"))
            }
            Trouble::Passing => Error::upstream_unavailable(format!("{subject} can't be reached")),
        };
        (said.because(flatten(error)), Some(Failure::Host))
    }

    /// What messages call a name that couldn't be resolved: by that name, unless it is a host's that they may not name.
    fn spoken<'a>(&self, url: &Url, name: &'a str) -> &'a str {
        match url.host_str() == Some(name) && !self.surroundings.is_told(url) {
            true => "such name",
            false => name,
        }
    }

    fn distrusted(&self, why: BadCertificate, subject: &str) -> String {
        match (why, self.authorities) {
            (BadCertificate::UnknownIssuer, Authorities::None) => format!(
                "this machine has no CA certificates to check that of {subject} with; {BRING_AUTHORITIES}"
            ),
            (BadCertificate::UnknownIssuer, Authorities::Some) => format!(
                "nobody this machine knows has signed the certificate of {subject}; add that authority to the system's certificates, or name a file with it in `upstream.ca_certificates` or SSL_CERT_FILE"
            ),
            (BadCertificate::Expired, _) => {
                format!(
                    "the certificate of {subject} has expired, unless this machine's clock is wrong"
                )
            }
            (BadCertificate::NotValidYet, _) => format!(
                "the certificate of {subject} isn't valid yet, unless this machine's clock is wrong"
            ),
            (BadCertificate::OtherName, _) => {
                format!("the certificate of {subject} is that of another host")
            }
            (BadCertificate::Authority, _) => format!(
                "{subject} shows the certificate of an authority for its own, which nobody trusts; give it one for servers that the authority has signed, and name the authority's in `upstream.ca_certificates` or SSL_CERT_FILE"
            ),
            (BadCertificate::Unusable, _) => {
                format!(
                    "the certificate of {subject} is malformed, taken back, or not one for servers"
                )
            }
        }
    }

    /// What to say of a proxy that makes no tunnel. A 5xx says that it couldn't, which may pass.
    async fn no_tunnel(&self, url: &Url, host: &str, proxy_name: &str) -> Error {
        let patience = *self.settings.connect_timeout;
        let status = match self.proxies.of(url) {
            Some(proxy) => proxies::refusal(&proxy, url, patience).await,
            None => None,
        };
        match status {
            Some(status) if status.is_client_error() => Error::upstream_refused(format!(
                "the proxy {proxy_name} answered {status} when asked to lead to {host}; it has to be allowed there"
            )),
            Some(status) => Error::upstream_unavailable(format!(
                "the proxy {proxy_name} answered {status} when asked to lead to {host}"
            )),
            None => Error::upstream_unavailable(format!(
                "the proxy {proxy_name} doesn't lead to {host}"
            )),
        }
    }
}
