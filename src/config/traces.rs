//! `[traces]`: where spans of requests are sent.

use serde::{Deserialize, Deserializer, de};

use super::bucket::ServiceUrl;

/// `[traces]`: where spans of requests are sent. Only in a program that is built with the feature `opentelemetry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesSettings {
    /// The OTLP/HTTP URL of a collector, without `/v1/traces`; none are sent when not set.
    pub endpoint: Option<ServiceUrl>,
    /// Of the requests whose client hasn't decided that itself, how many get a span.
    pub sampled: Share,
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// From 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// All.
impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        match (0.0..=1.0).contains(&number) {
            true => Ok(Self(number)),
            false => Err(de::Error::custom(
                "allowed is a number from 0 to 1, such as 0.1 for every tenth",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (toml, word) in [
            ("endpoint = \"collector:4318\"", "http or https URL"),
            (
                "endpoint = \"http://user:pass@collector:4318\"",
                "without user",
            ),
            ("sampled = 1.5", "from 0 to 1"),
            ("sampled = -0.5", "from 0 to 1"),
            ("sampled = \"all\"", "sampled"),
        ] {
            let error = parse(&format!("[traces]\n{toml}")).expect_err(toml);
            assert!(error.to_string().contains(word), "{toml}: {error}");
        }
        let settings = parse("[traces]\nendpoint = \"http://collector:4318\"\nsampled = 0.1");
        assert_eq!(settings.expect("settings").traces.sampled.get(), 0.1);
    }
}
