//! The HTTP client of a registry: with the system's certificates and proxies, and redirects left to us.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, redirect::Policy};
use url::Url;

use super::{
    proxies::Proxies,
    resolve::{Resolver, Surroundings},
    trouble::flatten,
};
use crate::{
    config::sections,
    error::{Error, Result},
};

/// Who we say we are; crates.io asks its clients to (its data access policy).
const USER_AGENT: &str = concat!(
    env!("CARGO_PKG_NAME"),
    "/",
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("CARGO_PKG_REPOSITORY"),
    ")"
);

/// What to do where there are no certificates of authorities.
pub(super) const BRING_AUTHORITIES: &str =
    "install the package ca-certificates, or name a file with them in SSL_CERT_FILE";

/// Whether this machine has certificates of authorities, by which those of servers are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authorities {
    /// The system's.
    System,
    /// None at all: nothing over TLS can be trusted.
    None,
}

/// The client for `what` (`the registry NAME`), which is at `index`.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there are no certificates of authorities, and `index` is one for which they are needed.
pub(super) fn client(
    what: &str,
    index: &Url,
    settings: &sections::UpstreamSettings,
    proxies: &Proxies,
    surroundings: &Arc<Surroundings>,
) -> Result<(Client, Authorities)> {
    // Fails only when the program that embeds us has chosen a provider already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(*settings.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(Policy::none())
            .dns_resolver(Resolver::new(surroundings.clone()));
        match proxies {
            Proxies::None => builder.no_proxy(),
            Proxies::Some(_) => builder,
        }
    };
    let failed = match builder().build() {
        Ok(client) => return Ok((client, Authorities::System)),
        Err(e) => e,
    };
    let why = flatten(&failed);
    if !why.contains("No CA certificates") {
        let said = format!("the HTTP client for {what} can't be set up");
        return Err(Error::config(said).because(why).with_source(failed));
    }
    match (
        index.scheme(),
        ClientBuilder::tls_certs_only(builder(), []).build(),
    ) {
        ("http", Ok(client)) => Ok((client, Authorities::None)),
        _ => Err(Error::config(format!(
            "{what} is at an https URL, and this machine has no CA certificates to check its server's with; {BRING_AUTHORITIES}{}",
            named_file()
        ))),
    }
}

/// Which file was looked into, if one was named.
fn named_file() -> String {
    match std::env::var("SSL_CERT_FILE") {
        Ok(file) => format!(" (it names {file}, which has none)"),
        Err(_) => String::new(),
    }
}
