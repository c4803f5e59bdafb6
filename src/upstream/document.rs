//! [`Document`]: a small file under a URL that isn't a registry's, such as the keys of an issuer of tokens.

use std::sync::Arc;

use http::{StatusCode, header};
use reqwest::Client;
use url::Url;

use super::{
    certificates,
    client::{self, Way},
    proxies::Proxies,
    resolve::Surroundings,
    trouble::flatten,
};
use crate::{
    config::sections,
    domain::loggable_url,
    error::{Error, Result},
};

/// A file to be fetched, again and again.
pub struct Document {
    http: Client,
    url: Url,
}

impl Document {
    /// The one at `url`. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the system's certificates or proxy settings can't be used.
    pub fn new(url: &Url, settings: &sections::UpstreamSettings) -> Result<Self> {
        let proxy = settings.proxy.as_ref();
        let proxies = Proxies::of_settings(proxy.map(|said| ("upstream.proxy".to_owned(), said)))?;
        let patience = settings.connect_timeout.mul_f64(0.9);
        let hosts = proxies.hosts().collect();
        let surroundings = Surroundings::of(url, std::iter::empty(), hosts, patience);
        let authorities = settings.ca_certificates.as_ref();
        let authorities =
            authorities.map(|file| certificates::authorities("upstream.ca_certificates", &file.0));
        let way = Way {
            what: &format!("the file {}", loggable_url(url)),
            url,
            settings,
            proxies: &proxies,
            surroundings: &Arc::new(surroundings),
            authorities: authorities.transpose()?.unwrap_or_default(),
        };
        let (http, _) = client::client(&way, None)?;
        Ok(Self {
            http,
            url: url.clone(),
        })
    }

    /// Fetches it, if it has at most `largest` bytes. There is no time limit: whoever asks has one.
    ///
    /// # Errors
    /// [`Kind::UpstreamUnavailable`](crate::error::Kind::UpstreamUnavailable) when it doesn't come,
    /// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when something else does, a redirect included.
    pub async fn fetch(&self, largest: usize) -> Result<Vec<u8>> {
        let host = self.url.host_str().unwrap_or_default();
        let failed = |e: reqwest::Error| {
            Error::upstream_unavailable(format!("{host} doesn't answer"))
                .because(flatten(&e))
                .with_source(e.without_url())
        };
        let request = self.http.get(self.url.clone());
        let request = request.header(header::ACCEPT, "application/json");
        let mut reply = request.send().await.map_err(failed)?;
        if reply.status() != StatusCode::OK {
            let status = reply.status();
            return Err(Error::upstream_fault(format!("{host} answered {status}")));
        }
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > largest {
                let why = format!("{host} sent more than {largest} bytes");
                return Err(Error::upstream_fault(why));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
