//! Which bucket, where its service is, and how much of a disk there is in front of it.

use serde::{Deserialize, Deserializer};
use url::Url;

use super::units::parse_with;
use crate::domain::BucketUrl;

/// `bucket`: which one, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAt(pub BucketUrl);

impl<'de> Deserialize<'de> for BucketAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a bucket such as \"s3://bucket/prefix\", \"gs://bucket\" or \"az://container/prefix\", of letters, digits, `-`, `_` and `.`; keys and passwords come from the environment";
        parse_with(deserializer, expected, |text| {
            BucketUrl::parse(text).map(Self)
        })
    }
}

/// Where a service is that keeps buckets: an http or https URL without user, password, `?` and `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl(Url);

impl ServiceUrl {
    /// Parses `text`; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then_some(Self(url))
    }

    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl<'de> Deserialize<'de> for ServiceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an http or https URL such as \"https://s3.example.com\", without user, password, `?` and `#`; keys come from the environment";
        parse_with(deserializer, expected, Self::parse)
    }
}

/// `max_size`: how many bytes the folder may hold; none when there is to be no folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSize(u64);

impl StoreSize {
    /// No folder that is there is smaller.
    const LEAST: u64 = 1 << 20;

    /// A size of `bytes`, raised to the least that is allowed.
    pub const fn bytes(bytes: u64) -> Self {
        Self(if bytes < Self::LEAST {
            Self::LEAST
        } else {
            bytes
        })
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for StoreSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size such as \"256MiB\" or \"50GiB\", at least 1.0 MiB, or \"0\" for no folder in front of a bucket";
        parse_with(deserializer, expected, |text| {
            let size = text.parse::<bytesize::ByteSize>().ok()?.0;
            (size == 0 || size >= Self::LEAST).then_some(Self(size))
        })
    }
}
