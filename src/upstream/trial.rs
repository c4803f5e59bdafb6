//! What can be said of a credential by trying: whether the registry looks at it, and who gets to see it.

use http::StatusCode;

use super::registry::Upstream;
use crate::{
    domain::{CrateId, DownloadTemplate, Sha256},
    error::Result,
    metrics::UpstreamKind,
};

impl Upstream {
    /// What its config.json says to who shows nothing, in words: one that it gives to everybody says nothing of the credential with which it came, too.
    pub async fn tried_without(&self) -> String {
        let asked = async {
            let request = self.config_request()?;
            self.send_bare(UpstreamKind::Config, request).await
        };
        match asked.await.map(|reply| reply.status()) {
            Ok(StatusCode::OK) => "not tried, because config.json is given to everybody".to_owned(),
            Ok(status) => format!("taken (without it config.json is {status})"),
            Err(e) => format!("taken (without it config.json can't be asked for: {e})"),
        }
    }

    /// Who gets to see the credential, in words.
    pub fn shown_to(&self, dl: &DownloadTemplate) -> &'static str {
        let is_for_crates = || -> Result<bool> {
            let id = CrateId::parse("a", "1.0.0")?;
            let url = dl.url(&id, &Sha256::of(b""))?;
            Ok(self.credential.as_ref().is_some_and(|c| c.is_for(&url)))
        };
        match is_for_crates() {
            Ok(true) => "shown for the index and for crates",
            Ok(false) | Err(_) => {
                "shown for the index only, because the crates are at another origin, which `also` doesn't name"
            }
        }
    }
}
