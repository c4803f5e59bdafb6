//! Upstream's own config.json: its `dl`, and where its web API is.

use std::time::Duration;

use http::{StatusCode, header};
use reqwest::RequestBuilder;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::registry::{KnownDl, Upstream};
use crate::{
    domain::DownloadTemplate,
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// How long a `dl` is used before it is asked for again; registries keep old ones working, because cargo keeps them too.
const GOOD_FOR: Duration = Duration::from_secs(600);
const MAX_CONFIG: usize = 64 << 10;

#[derive(Deserialize)]
struct ConfigFields {
    dl: String,
    #[serde(default)]
    api: Option<String>,
}

/// What matters of a config.json.
struct Told {
    dl: DownloadTemplate,
    api: Option<Url>,
}

impl Upstream {
    /// Where upstream's .crate files are: learnt from its config.json, asked for again now and then, kept when that fails.
    ///
    /// # Errors
    /// One of the upstream kinds of [`Kind`](crate::error::Kind) when it was never learnt and can't be now.
    pub async fn dl(&self) -> Result<DownloadTemplate> {
        let mut known = self.dl.lock().await;
        if let Some(KnownDl { dl, at, .. }) = &mut *known {
            let old = dl.clone();
            if at.elapsed() < GOOD_FOR {
                return Ok(old);
            }
            // Nobody else asks meanwhile, and nobody waits: the old one still works.
            *at = Instant::now();
            drop(known);
            return Ok(self.renewed(old).await);
        }
        // Held while asking, so that a hundred first downloads ask once.
        let Told { dl, api } = self.fetch_config().await?;
        let at = Instant::now();
        let learnt = dl.clone();
        *known = Some(KnownDl { dl, api, at });
        Ok(learnt)
    }

    /// Where upstream's web API is, without a final slash, if it says that it has one; learnt with the `dl`.
    ///
    /// # Errors
    /// Those of [`dl`](Self::dl).
    pub(super) async fn api(&self) -> Result<Option<Url>> {
        self.dl().await?;
        let known = self.dl.lock().await;
        Ok(known.as_ref().and_then(|known| known.api.clone()))
    }

    async fn renewed(&self, old: DownloadTemplate) -> DownloadTemplate {
        match self.fetch_config().await {
            Ok(Told { dl, api }) => {
                let at = Instant::now();
                let learnt = dl.clone();
                *self.dl.lock().await = Some(KnownDl { dl, api, at });
                learnt
            }
            Err(e) => {
                tracing::warn!("keeping the dl known before: {e}");
                old
            }
        }
    }

    async fn fetch_config(&self) -> Result<Told> {
        let mut attempts = self.attempts();
        loop {
            match self.try_config().await {
                Err(e) if attempts.again(&e).await => {}
                done => return done,
            }
        }
    }

    /// A request for its config.json.
    pub(super) fn config_request(&self) -> Result<RequestBuilder> {
        let url = self.index.join("config.json");
        let url = url.map_err(|e| Error::internal("no URL for config.json").caused_by(e))?;
        let request = self.http.get(url);
        let request = request.header(header::ACCEPT, "text/plain, application/json");
        Ok(request.header("cargo-protocol", "version=1"))
    }

    async fn try_config(&self) -> Result<Told> {
        let request = self.config_request()?;
        let mut response = self.send(UpstreamKind::Config, request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.unexpected(&response, "config.json"));
        }
        let body = self.whole(&mut response, MAX_CONFIG).await?;
        let config: ConfigFields = serde_json::from_slice(&body).map_err(|e| {
            // Its words may quote what was sent.
            let host = self.host(response.url());
            Error::upstream_fault(format!("{host} sent a config.json that can't be read"))
                .caused_by(e)
        })?;
        Ok(Told {
            dl: DownloadTemplate::parse(&config.dl)?,
            api: config.api.as_deref().and_then(|api| self.web_api(api)),
        })
    }

    /// The URL of a web API, unless it is none, or leads from https to http.
    fn web_api(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text.trim_end_matches('/')).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_downgrade = self.index.scheme() == "https" && url.scheme() == "http";
        (is_web && !is_downgrade).then_some(url)
    }
}
