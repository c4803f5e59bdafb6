//! [`DownloadTemplate`]: the `dl` of a registry's config.json, which says where its .crate files are.

use url::Url;

use super::{
    checksum::Sha256, index_path::Prefix, loggable::loggable_text, name::shorten, version::CrateId,
};
use crate::error::{Error, Result};

/// A registry's `dl`: an absolute URL with or without markers.
///
/// The markers and the marker-free form are cargo's (`src/cargo/sources/registry/download.rs`).
#[derive(Clone, PartialEq, Eq)]
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
            .because(format!("{:?}", shorten(&loggable_text(dl))))),
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
                .because(format!("{:?}: {e}", shorten(&loggable_text(&text))))
                .with_source(e)
        })
    }
}

/// For screens and logs: without what may be secret.
impl std::fmt::Display for DownloadTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&loggable_text(&self.0))
    }
}

/// The same: it isn't printed by mistake either.
impl std::fmt::Debug for DownloadTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
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
                "https://x.test/t/secret/crates/{crate}/{version}",
                "https://x.test/t/-/crates/{crate}/{version}",
            ),
            (
                "https:///me:secret@x.test/{crate}",
                "https://x.test/{crate}",
            ),
            (
                "https://x.test/api",
                "https://x.test/api/{crate}/{version}/download",
            ),
        ] {
            let dl = DownloadTemplate::parse(dl).expect("valid dl");
            assert_eq!(dl.to_string(), shown);
            assert_eq!(format!("{dl:?}"), shown);
        }
    }

    /// The log had all of a `dl` that couldn't be used.
    #[test]
    fn nor_is_it_in_what_is_said_of_one_that_cannot_be_used() {
        for dl in [
            "ftp://me:secret@x.test/t/secret/?secret",
            "/t/secret/crates?secret",
            "mailto:secret",
            "me:secret@x.test",
            "https://me:secret@?secret",
        ] {
            let error = DownloadTemplate::parse(dl).expect_err(dl);
            let told = format!("{error} {error:?}");
            assert!(!told.contains("secret"), "{told}");
        }
        let dl = DownloadTemplate::parse("https://me:secret@x.test:8{crate}/?secret");
        if let Ok(dl) = dl {
            let id = CrateId::parse("a", "1.0.0").expect("valid");
            let error = dl.url(&id, &Sha256::of(b"")).expect_err("no port");
            let told = format!("{error} {error:?}");
            assert!(!told.contains("secret"), "{told}");
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
