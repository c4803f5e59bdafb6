//! [`AdvisoryMatcher`]: which advisories a rule means, by what they are about and how bad it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

use crate::error::{Error, Result};

/// What an advisory is about. The words are RustSec's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdvisoryKind {
    /// The crate was published to do harm.
    Malicious,
    /// It can be made to do what it shouldn't.
    Vulnerability,
    /// Safe code can bring about undefined behaviour through it.
    Unsound,
    /// Nobody looks after it any more.
    Unmaintained,
    /// Something else that its users should know.
    Notice,
}

impl AdvisoryKind {
    /// All of them, the worst first.
    pub const ALL: [Self; 5] = [
        Self::Malicious,
        Self::Vulnerability,
        Self::Unsound,
        Self::Unmaintained,
        Self::Notice,
    ];

    /// The word that settings, logs and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malicious => "malicious",
            Self::Vulnerability => "vulnerability",
            Self::Unsound => "unsound",
            Self::Unmaintained => "unmaintained",
            Self::Notice => "notice",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for AdvisoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that an advisory is about. What is malicious is a vulnerability too.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdvisoryKinds(u8);

impl AdvisoryKinds {
    /// The same and `kind`.
    #[must_use]
    pub const fn with(self, kind: AdvisoryKind) -> Self {
        Self(self.0 | kind.bit())
    }

    /// What either is about.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether `kind` is among them.
    pub const fn contains(self, kind: AdvisoryKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The worst first.
    pub fn iter(self) -> impl Iterator<Item = AdvisoryKind> {
        let all = AdvisoryKind::ALL.into_iter();
        all.filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Display for AdvisoryKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, kind) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AdvisoryKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// How bad it is by the Common Vulnerability Scoring System: from 0.0 to 10.0, in tenths, as the standard rounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CvssScore(u8);

impl CvssScore {
    /// The worst there is: 10.0.
    pub const MAX: Self = Self(100);

    /// The score nearest to `score`; `None` for what is no number from 0 to 10.
    pub fn new(score: f64) -> Option<Self> {
        let tenths = (score * 10.0).round();
        // Within the limits it is a whole number that fits.
        (0.0..=100.0)
            .contains(&tenths)
            .then_some(Self(tenths as u8))
    }

    /// The score that `text` writes: `9` or `7.5`.
    fn parse(text: &str) -> Option<Self> {
        let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(tenths) || tenths.len() > 1 {
            return None;
        }
        let (whole, tenths) = (whole.parse::<u8>().ok()?, tenths.parse::<u8>().ok()?);
        let score = Self(whole.checked_mul(10)?.checked_add(tenths)?);
        (score <= Self::MAX).then_some(score)
    }
}

impl fmt::Display for CvssScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, tenths) = (self.0 / 10, self.0 % 10);
        match tenths {
            0 => write!(f, "{whole}"),
            _ => write!(f, "{whole}.{tenths}"),
        }
    }
}

/// Which advisories a rule means, as `policy.advisories.deny` and `warn` write it: a kind, or `cvss>=SCORE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdvisoryMatcher {
    /// Those about this.
    Kind(AdvisoryKind),
    /// Those at least as bad as this. One without a score isn't meant: nobody has said how bad it is.
    CvssAtLeast(CvssScore),
}

impl AdvisoryMatcher {
    /// What may be written, for messages.
    pub const ALLOWED: &str = "\"malicious\", \"vulnerability\", \"unsound\", \"unmaintained\", \"notice\" or a score from 0 to 10 such as \"cvss>=9\"";

    /// Whether it means an advisory that is about `kinds` and as bad as `cvss`.
    pub fn matches(self, kinds: AdvisoryKinds, cvss: Option<CvssScore>) -> bool {
        match self {
            Self::Kind(kind) => kinds.contains(kind),
            Self::CvssAtLeast(least) => cvss.is_some_and(|score| score >= least),
        }
    }
}

impl FromStr for AdvisoryMatcher {
    type Err = Error;

    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) with what is allowed.
    fn from_str(text: &str) -> Result<Self> {
        let kind = AdvisoryKind::ALL.into_iter().find(|k| k.as_str() == text);
        let score = || {
            let score = text.strip_prefix("cvss")?.trim_start().strip_prefix(">=")?;
            CvssScore::parse(score.trim_start())
        };
        let matcher = kind
            .map(Self::Kind)
            .or_else(|| score().map(Self::CvssAtLeast));
        matcher.ok_or_else(|| {
            let text = super::name::shorten(text);
            let allowed = Self::ALLOWED;
            Error::config(format!(
                "{text:?} names no advisories: what is allowed is {allowed}"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for AdvisoryMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|e: Error| de::Error::custom(e.message()))
    }
}

impl fmt::Display for AdvisoryMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => kind.fmt(f),
            Self::CvssAtLeast(least) => write!(f, "cvss>={least}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(text: &str) -> AdvisoryMatcher {
        text.parse().expect(text)
    }

    #[test]
    fn a_matcher_is_written_as_it_is_read() {
        let kinds = AdvisoryKind::ALL.map(AdvisoryKind::as_str);
        let scores = ["cvss>=9", "cvss>=0", "cvss>=10", "cvss>=7.5"];
        for text in kinds.into_iter().chain(scores) {
            assert_eq!(matcher(text).to_string(), text);
        }
        assert_eq!(matcher("cvss >= 9.0"), matcher("cvss>=9"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "Malicious",
            "cvss",
            "cvss>9",
            "cvss>=",
            "cvss>=11",
            "cvss>=10.1",
            "cvss>=-1",
            "cvss>=9.25",
            "cvss>=9.",
            "cvss>=.5",
            "cvss>=NaN",
            "cvss>=300",
            "cvss>=+9",
        ] {
            let error = text.parse::<AdvisoryMatcher>().expect_err(text).to_string();
            assert!(error.contains("\"cvss>=9\""), "{error}");
        }
    }

    #[test]
    fn kinds_and_scores_match_as_they_say() {
        let kinds = AdvisoryKinds::default()
            .with(AdvisoryKind::Malicious)
            .with(AdvisoryKind::Vulnerability);
        assert_eq!(kinds.to_string(), "malicious, vulnerability");
        assert!(matcher("malicious").matches(kinds, None));
        assert!(!matcher("unsound").matches(kinds, CvssScore::new(10.0)));
        assert!(matcher("cvss>=9").matches(AdvisoryKinds::default(), CvssScore::new(9.0)));
        assert!(!matcher("cvss>=9").matches(kinds, CvssScore::new(8.9)));
        assert!(
            !matcher("cvss>=0").matches(kinds, None),
            "no score is no score of 0"
        );
    }

    #[test]
    fn a_score_is_from_0_to_10() {
        for score in [f64::NAN, f64::INFINITY, -0.1, 10.1, -1e300] {
            assert_eq!(CvssScore::new(score), None, "{score}");
        }
        assert_eq!(CvssScore::new(10.0), Some(CvssScore::MAX));
        assert_eq!(CvssScore::new(9.8).expect("a score").to_string(), "9.8");
    }
}
