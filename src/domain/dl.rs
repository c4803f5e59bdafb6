//! [`DownloadTemplate`]: the `dl` of a registry's config.json, which says where its .crate files are.

use url::Url;

use super::{checksum::Sha256, index_path::Prefix, name::shorten, version::CrateId};
use crate::error::{Error, Result};

/// A registry's `dl`: an absolute URL with or without markers.
///
/// The markers and the marker-free form are cargo's (`src/cargo/sources/registry/download.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadTemplate(String);

const CRATE: &str = "{crate}";
const VERSION: &str = "{version}";
const PREFIX: &str = "{prefix}";
const LOWER_PREFIX: &str = "{lowerprefix}";
const CHECKSUM: &str = "{sha256-checksum}";

impl DownloadTemplate {
    /// Parses a `dl`.
    ///
    /// # Errors
    /// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it isn't an absolute http or https URL.
    pub fn parse(dl: &str) -> Result<Self> {
        let template = [CRATE, VERSION, PREFIX, LOWER_PREFIX, CHECKSUM]
            .iter()
            .any(|marker| dl.contains(marker));
        let mut text = dl.to_owned();
        if !template {
            text.push_str("/{crate}/{version}/download");
        }
        match Url::parse(dl) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self(text)),
            _ => Err(Error::upstream_fault(
                "upstream's config.json has a dl that is not an absolute http or https URL",
            )
            .because(format!("{:?}", shorten(dl)))),
        }
    }

    /// The URL of one .crate file.
    ///
    /// # Errors
    /// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when the filled-in template is no URL.
    pub fn url(&self, id: &CrateId, sha256: &Sha256) -> Result<Url> {
        let lower = id.name.to_lowercase();
        let text = self
            .0
            .replace(CRATE, id.name.as_str())
            .replace(VERSION, id.version.as_str())
            .replace(PREFIX, &Prefix::of(&id.name).to_string())
            .replace(LOWER_PREFIX, &Prefix::of(&lower).to_string())
            .replace(CHECKSUM, &sha256.to_string());
        Url::parse(&text).map_err(|e| {
            let said = format!("upstream's dl makes no URL for {id}");
            Error::upstream_fault(said)
                .because(format!("{:?}: {e}", shorten(&text)))
                .with_source(e)
        })
    }
}

/// For screens and logs: without the query, and without a user's name and password, which may be secrets.
impl std::fmt::Display for DownloadTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.0.find(['?', '#']).unwrap_or(self.0.len());
        let shown = &self.0[..end];
        let (scheme, rest) = shown.split_once("://").unwrap_or(("", shown));
        let authority = rest.find('/').unwrap_or(rest.len());
        let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
        write!(f, "{scheme}://{}", &rest[host..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(dl: &str) -> String {
        let id = CrateId::parse("Serde_JSON", "1.0.0+build.2").expect("valid");
        let template = DownloadTemplate::parse(dl).expect("valid dl");
        template.url(&id, &Sha256::of(b"")).expect("a URL").into()
    }

    #[test]
    fn every_marker_is_filled_in() {
        assert_eq!(
            url("https://x.test/{lowerprefix}/{prefix}/{crate}-{version}?{sha256-checksum}"),
            "https://x.test/se/rd/Se/rd/Serde_JSON-1.0.0+build.2?e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn without_markers_cargos_path_is_appended() {
        let expected = "https://x.test/api/Serde_JSON/1.0.0+build.2/download";
        assert_eq!(url("https://x.test/api"), expected);
    }

    /// `check` printed the key that a corporate registry had put into its `dl`.
    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for (dl, shown) in [
            (
                "https://x.test/{crate}-{version}?key=secret",
                "https://x.test/{crate}-{version}",
            ),
            (
                "https://me:secret@x.test:8443/{crate}@{version}#secret",
                "https://x.test:8443/{crate}@{version}",
            ),
            (
                "https://x.test/api",
                "https://x.test/api/{crate}/{version}/download",
            ),
        ] {
            let dl = DownloadTemplate::parse(dl).expect("valid dl");
            assert_eq!(dl.to_string(), shown);
        }
    }

    #[test]
    fn a_dl_that_is_no_absolute_url_is_an_upstream_fault() {
        for dl in [
            "",
            "/api/v1/crates",
            "file:///etc",
            "https://",
            "javascript:alert(1)",
        ] {
            assert!(DownloadTemplate::parse(dl).is_err(), "{dl:?}");
        }
    }
}
