//! Redirects: where an answer may send this mirror. They are followed here and not by the HTTP library, so that each hop is checked and has a circuit of
//! its own.

use http::{StatusCode, header};
use reqwest::Response;
use url::Url;

use super::{address::is_written_inside, registry::Upstream};
use crate::{
    config::Origin,
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// How many redirects in a row are followed. Two are usual: from a registry to a repository, and from there to the store behind it.
pub(super) const MOST: usize = 5;

impl Upstream {
    /// Where `response` leads, if it is a redirect (RFC 9110, section 15.4) that says where to.
    ///
    /// Never from https to http, because whoever is on the way could then send anything. An index file, which no checksum vouches for, comes from the
    /// registry's own host and port, or from an origin that the operator has named. Nothing leads inside, see
    /// [`Surroundings`](super::resolve::Surroundings).
    ///
    /// # Errors
    /// [`Kind::UpstreamRefused`](crate::error::Kind::UpstreamRefused) when it leads where it may not.
    pub(super) fn leads_on(&self, kind: UpstreamKind, response: &Response) -> Result<Option<Url>> {
        let is_redirect = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = response.headers().get(header::LOCATION);
        let Some(location) = location.filter(|_| is_redirect) else {
            return Ok(None);
        };
        let from = response.url();
        let next = std::str::from_utf8(location.as_bytes()).ok();
        let next = next.and_then(|location| from.join(location).ok());
        let next = next.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(mut next) = next else {
            return Err(self.no_way(from, "to what is no http or https URL"));
        };
        // Nobody else's credentials are sent because an answer says so.
        let _ = (next.set_username(""), next.set_password(None));
        if from.scheme() == "https" && next.scheme() == "http" {
            return Err(self.no_way(
                from,
                "from https to http, which anybody on the way could have changed",
            ));
        }
        let hashed = match kind {
            UpstreamKind::Crate | UpstreamKind::Component => true,
            UpstreamKind::Index
            | UpstreamKind::Config
            | UpstreamKind::WebApi
            | UpstreamKind::Manifest => false,
        };
        if !hashed && !self.is_ours(&next) {
            // Only the registry and hosts that the operator has named are quoted; by this rule the index has led to no others so far.
            let origin = Origin::of(&next);
            return Err(self.no_way(
                from,
                &format!(
                    "{} to {origin}, which isn't {} own host and port; `upstream.redirects = [\"{origin}\"]` allows it",
                    if kind == UpstreamKind::Manifest { "a manifest" } else { "the index" },
                    if kind == UpstreamKind::Manifest { "the distribution host's" } else { "the registry's" },
                ),
            ));
        }
        self.allows(&next)?;
        if self.is_ours(from) {
            self.surroundings.note(&next);
        }
        Ok(Some(next))
    }

    /// Refuses a URL that leads inside, as its host is written. What a name leads to is seen when it is resolved.
    ///
    /// # Errors
    /// [`Kind::UpstreamRefused`](crate::error::Kind::UpstreamRefused) when it may not.
    pub(super) fn allows(&self, url: &Url) -> Result<()> {
        match self.surroundings.allows(url) {
            true => Ok(()),
            false => Err(self.leads_inside(url)),
        }
    }

    /// What to say of a registry that leads inside. The address itself is for the log.
    pub(super) fn leads_inside(&self, url: &Url) -> Error {
        let written = match is_written_inside(url) {
            true => "is one",
            false => "resolves to one",
        };
        let host = url.host_str().unwrap_or("no host");
        Error::upstream_refused(format!(
            "{} leads to an address inside the network of this mirror, which is allowed only to a registry that is there itself",
            self.registry
        ))
        .because(format!("{host} {written}"))
    }

    /// What to say of too many of them.
    pub(super) fn too_many(&self, from: &Url) -> Error {
        self.no_way(from, &format!("more than {MOST} times in a row"))
    }

    /// Whether a URL is on the registry's own host and port, or of an origin that the operator has named.
    fn is_ours(&self, url: &Url) -> bool {
        let address = |url: &Url| {
            (
                url.host_str().map(str::to_owned),
                url.port_or_known_default(),
            )
        };
        address(url) == address(&self.index)
            || self.settings.redirects.iter().any(|named| named.is_of(url))
    }

    fn no_way(&self, from: &Url, how: &str) -> Error {
        Error::upstream_refused(format!("{} redirects {how}", self.host(from)))
    }
}
