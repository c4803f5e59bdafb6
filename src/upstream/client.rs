//! The HTTP client of a registry: with certificates and proxies as the settings or the system say, and redirects left to us.

use std::{sync::Arc, time::Duration};

use reqwest::{Certificate, Client, ClientBuilder, Identity, redirect::Policy};
use url::Url;

use super::{
    proxies::Proxies,
    resolve::{Resolver, Surroundings},
    trouble::flatten,
};
use crate::{
    config::{Contact, sections},
    error::{Error, Result},
};

/// What to do where there are no certificates of authorities.
pub(super) const BRING_AUTHORITIES: &str = "install the package ca-certificates, or name a file with them in `upstream.ca_certificates` or SSL_CERT_FILE";

/// Whether this machine has certificates of authorities, by which those of servers are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authorities {
    /// The system's, or those that the settings name.
    Some,
    /// None at all: nothing over TLS can be trusted.
    None,
}

/// What a client is made of.
pub(super) struct Way<'a> {
    /// What it is for: `the registry NAME`.
    pub(super) what: &'a str,
    /// Where that is.
    pub(super) url: &'a Url,
    pub(super) settings: &'a sections::UpstreamSettings,
    pub(super) proxies: &'a Proxies,
    pub(super) surroundings: &'a Arc<Surroundings>,
    /// The authorities that are trusted beside the system's.
    pub(super) authorities: Vec<Certificate>,
}

/// The client for what is to be reached this way. It shows this certificate, if there is one, to everybody who asks for one.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there are no certificates of authorities, and the URL is one for which they are needed.
pub(super) fn client(way: &Way<'_>, identity: Option<&Identity>) -> Result<(Client, Authorities)> {
    let (what, builder) = (way.what, || builder(way, identity));
    let failed = match builder().build() {
        Ok(client) => return Ok((client, Authorities::Some)),
        Err(e) => e,
    };
    let why = flatten(&failed);
    if !why.contains("No CA certificates") {
        let said = format!("the HTTP client for {what} can't be set up");
        return Err(Error::config(said).because(why).with_source(failed));
    }
    match (
        way.url.scheme(),
        ClientBuilder::tls_certs_only(builder(), []).build(),
    ) {
        ("http", Ok(client)) => Ok((client, Authorities::None)),
        _ => Err(Error::config(format!(
            "{what} is at an https URL, and this machine has no CA certificates to check its server's with; {BRING_AUTHORITIES}{}",
            named_file()
        ))),
    }
}

fn builder(way: &Way<'_>, identity: Option<&Identity>) -> ClientBuilder {
    // Fails only when the program that embeds us has chosen a provider already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(user_agent(way.settings.contact.as_ref()))
        .connect_timeout(*way.settings.connect_timeout)
        .pool_idle_timeout(Duration::from_secs(60))
        .redirect(Policy::none())
        .dns_resolver(Resolver::new(way.surroundings.clone()))
        .tls_certs_merge(way.authorities.iter().cloned());
    let builder = match identity {
        Some(identity) => builder.identity(identity.clone()),
        None => builder,
    };
    way.proxies.applied_to(builder)
}

/// Who we say we are; crates.io asks its clients to (its data access policy).
fn user_agent(contact: Option<&Contact>) -> String {
    let contact = contact.map_or_else(String::new, |contact| format!("; {}", contact.0));
    format!(
        "{}/{} ({}{contact})",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    )
}

/// Which file was looked into, if one was named.
fn named_file() -> String {
    match std::env::var("SSL_CERT_FILE") {
        Ok(file) => format!(" (it names {file}, which has none)"),
        Err(_) => String::new(),
    }
}
