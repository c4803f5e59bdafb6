//! What messages and logs call the other side: a host whose name may be said, and no part of a URL that may be secret.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::StatusCode;
use url::Url;

use super::{answer::UpstreamAnswer, registry::Upstream};
use crate::error::Error;

impl Upstream {
    /// An answer that isn't what was asked for, and doesn't say that there is no such thing; it is noted as a failure of its host. A 4xx says that the request is at fault,
    /// and the next one will be the same.
    pub(super) fn unexpected(&self, response: &UpstreamAnswer, what: &str) -> Error {
        let error = self.not_what_was_asked_for(response, what);
        response.note_failure(&error);
        error
    }

    fn not_what_was_asked_for(&self, response: &UpstreamAnswer, what: &str) -> Error {
        let (host, status) = (self.host(response.url()), response.status());
        let said = format!("{host} answered {status} when asked for {what}");
        match status {
            // What broke off is another file by now: it is to be asked for from the start.
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
                Error::upstream_fault(said)
            }
            StatusCode::UNAUTHORIZED if response.knows_us() => {
                self.credential_refused(response.url()).because(said)
            }
            StatusCode::UNAUTHORIZED => self.no_credential(&said),
            StatusCode::FORBIDDEN if response.knows_us() => Error::upstream_refused(format!(
                "{} refused this mirror's credential, or doesn't give {what} to everybody (403); ask whoever runs this mirror",
                self.host_name(response.url())
            )),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Error::upstream_refused(format!(
                "{said}: the proxy on the way wants credentials; they go into its URL in {}, before an `@`",
                self.proxies.said_in()
            )),
            _ if status.is_client_error() => Error::upstream_refused(said),
            _ => Error::upstream_fault(said),
        }
    }

    /// What to say when the credential that was shown is no good.
    pub(super) fn credential_refused(&self, url: &Url) -> Error {
        Error::upstream_refused(format!(
            "{} refused this mirror's credential; ask whoever runs this mirror to renew it",
            self.host_name(url)
        ))
    }

    /// What to say when one is wanted and none was shown.
    fn no_credential(&self, said: &str) -> Error {
        let registry = self.registry;
        Error::upstream_refused(match self.credential {
            None => format!(
                "{said}: it wants credentials, and this mirror has none for it; whoever runs this mirror can give it one in `[registries.{registry}.credential]`"
            ),
            Some(_) => format!(
                "{said}: it wants credentials, and those of this mirror are for other origins; whoever runs this mirror can add this one to `registries.{registry}.credential.also`"
            ),
        })
    }

    /// How messages call the other side: the registry and, of the URL, only the host, because queries may hold secrets; and that only if it is no word of
    /// somebody else's.
    pub(super) fn host(&self, url: &Url) -> String {
        format!("{} ({})", self.registry, self.host_name(url))
    }

    /// The host's name alone, on the same condition.
    pub(super) fn host_name<'a>(&self, url: &'a Url) -> &'a str {
        match self.surroundings.is_told(url) {
            true => url.host_str().unwrap_or("no host"),
            false => "another host",
        }
    }

    /// A failure as it may be shown to who sees which hosts are asked: what libraries say of it may name a host that messages don't.
    pub(super) fn told(&self, url: &Url, error: &Error) -> Error {
        match self.surroundings.is_told(url) {
            true => error.clone(),
            false => Error::new(error.kind(), error.message()),
        }
    }

    /// What a circuit is about: the host and, where it isn't the usual one, the port. One that neither the registry nor the operator has named is given a
    /// name by us, because clients see it.
    pub(super) fn circuit(&self, url: &Url) -> String {
        let address = address(url);
        match self.surroundings.is_told(url) {
            true => address,
            false => {
                let mut hasher = DefaultHasher::new();
                address.hash(&mut hasher);
                format!("another host ({:08x})", hasher.finish() as u32)
            }
        }
    }
}

fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circuit_is_about_a_host_and_a_port_that_is_not_the_usual_one() {
        let named = |url| Url::parse(url).map(|url| address(&url));
        assert_eq!(
            named("https://me:secret@a.test:444/x?y"),
            Ok("a.test:444".to_owned())
        );
        assert_eq!(named("https://a.test:443/"), Ok("a.test".to_owned()));
    }
}
