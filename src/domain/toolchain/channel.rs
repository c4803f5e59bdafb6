//! [`Channel`]: what a channel manifest is called, and [`ChannelPattern`]: which channels are meant.

use std::fmt;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, de};

use crate::domain::Day;

/// The name in `channel-rust-NAME.toml`: `stable`, `beta`, `nightly`, `1.95.0`, `1.95`, `1.96.0-beta`, `1.96.0-beta.2`. Rustup knows no other ones
/// (its `dist/mod.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(ArrayString<{ Channel::MAX_LEN }>);

impl Channel {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 24;

    /// Reads a name; `None` for what no channel is called.
    pub fn parse(text: &str) -> Option<Self> {
        let known = matches!(text, "stable" | "beta" | "nightly") || is_numbered(text);
        let name = ArrayString::from(text).ok()?;
        known.then_some(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may name another release tomorrow. `X.Y.Z` and `X.Y.Z-beta.N` never do.
    pub fn moves(&self) -> bool {
        match self.0.split_once('-') {
            Some((_, beta)) => beta == "beta",
            None => self.0.matches('.').count() < 2,
        }
    }

    /// Whether it is a release by its number, and not a name.
    pub fn is_numbered(&self) -> bool {
        self.0.starts_with(|c: char| c.is_ascii_digit())
    }
}

/// Whether it is one, two or three numbers, with at most a beta after them.
fn is_numbered(text: &str) -> bool {
    let (numbers, beta) = match text.split_once('-') {
        Some((numbers, beta)) => (numbers, Some(beta)),
        None => (text, None),
    };
    let mut parts = numbers.split('.');
    let is_beta = |beta: &str| match beta.strip_prefix("beta") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|n| is_number(n, 2)),
        None => false,
    };
    parts.next().is_some_and(|n| is_number(n, 1))
        && parts.next().is_some_and(|n| is_number(n, 3))
        && parts.next().is_none_or(|n| is_number(n, 2))
        && parts.next().is_none()
        && beta.is_none_or(is_beta)
}

/// Digits without a zero before them.
fn is_number(text: &str, most: usize) -> bool {
    !text.is_empty()
        && text.len() <= most
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'))
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A toolchain as people name it: a channel, perhaps as of a date: `stable`, `1.95.0`, `nightly-2026-11-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolchainName {
    /// The channel.
    pub channel: Channel,
    /// As of which date.
    pub day: Option<Day>,
}

impl ToolchainName {
    /// Reads a name. A host's triple at its end, as rustup allows it, is no part of it: see [`parse_with_host`](Self::parse_with_host).
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(channel) = Channel::parse(text) {
            return Some(Self { channel, day: None });
        }
        let (channel, day) = text.split_at_checked(text.len().checked_sub(10)?)?;
        Some(Self {
            channel: Channel::parse(channel.strip_suffix('-')?)?,
            day: Some(Day::parse(day)?),
        })
    }

    /// Reads a name that may end in a host's triple, as in `stable-x86_64-unknown-linux-gnu`; the triple comes back as text.
    pub fn parse_with_host(text: &str) -> Option<(Self, Option<&str>)> {
        if let Some(name) = Self::parse(text) {
            return Some((name, None));
        }
        let ends = text.match_indices('-').map(|(at, _)| at);
        let ends: Vec<_> = ends.collect();
        ends.into_iter().rev().find_map(|end| {
            let name = Self::parse(text.get(..end)?)?;
            Some((name, Some(text.get(end + 1..)?)))
        })
    }
}

impl fmt::Display for ToolchainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.day {
            Some(day) => write!(f, "{}-{day}", self.channel),
            None => write!(f, "{}", self.channel),
        }
    }
}

impl<'de> Deserialize<'de> for ToolchainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is not a toolchain; allowed are `stable`, `beta`, `nightly`, a release such as `1.95.0`, and these with a date, such as `nightly-2026-11-01`"
            ))
        })
    }
}

/// Which channels are meant: a name in which `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPattern(Box<str>);

impl ChannelPattern {
    /// The longest pattern, in bytes.
    const MAX_LEN: usize = 64;

    /// All channels.
    pub fn all() -> Self {
        Self("*".into())
    }

    /// Reads a pattern; `None` for what no channel could match.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-*".contains(&b);
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all channels match.
    pub fn is_all(&self) -> bool {
        self.0.bytes().all(|b| b == b'*')
    }

    /// Whether this toolchain is meant, with its date or without.
    pub fn matches(&self, name: &ToolchainName) -> bool {
        self.matches_text(name.channel.as_str())
            || (name.day.is_some() && self.matches_text(&name.to_string()))
    }

    fn matches_text(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else {
            return false;
        };
        let mut pieces: Vec<&str> = pieces.collect();
        let Some(last) = pieces.pop() else {
            return rest.is_empty();
        };
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl<'de> Deserialize<'de> for ChannelPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is not a channel or a pattern; allowed are names such as \"stable\", \"1.95.0\" or \"nightly-2026-11-01\", with `*` for any text"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_rustup_calls_a_channel_is_one() {
        for (yes, moves) in [
            ("stable", true),
            ("beta", true),
            ("nightly", true),
            ("1.95.0", false),
            ("1.95", true),
            ("1.8.0", false),
            ("1.96.0-beta", true),
            ("1.96.0-beta.2", false),
            ("1.96.0-beta.12", false),
        ] {
            let channel = Channel::parse(yes).expect(yes);
            assert_eq!(channel.moves(), moves, "{yes}");
        }
        for no in [
            "",
            "Stable",
            "stabl",
            "stable ",
            "1",
            "1.",
            "1.95.",
            "1.095.0",
            "01.95.0",
            "10.95.0",
            "1.1000.0",
            "1.95.0.1",
            "1.95.0-rc.1",
            "1.95.0-beta.",
            "1.95.0-beta.100",
            "..",
            "1.95.0-betax",
            "1.٣.0",
        ] {
            assert_eq!(Channel::parse(no), None, "{no:?}");
        }
    }

    #[test]
    fn a_toolchain_may_have_a_date_and_a_host() {
        let name = |text| ToolchainName::parse_with_host(text).map(|(n, h)| (n.to_string(), h));
        assert_eq!(name("stable"), Some(("stable".to_owned(), None)));
        let dated = Some(("nightly-2026-11-01".to_owned(), None));
        assert_eq!(name("nightly-2026-11-01"), dated);
        let hosted = name("nightly-2026-11-01-x86_64-unknown-linux-gnu");
        let triple = Some("x86_64-unknown-linux-gnu");
        assert_eq!(hosted, Some(("nightly-2026-11-01".to_owned(), triple)));
        let beta = name("1.96.0-beta.2-x86_64-unknown-linux-gnu");
        assert_eq!(beta, Some(("1.96.0-beta.2".to_owned(), triple)));
        for no in [
            "",
            "my-own",
            "2026-11-01",
            "stable-2026-13-01x",
            "é-2026-11-01",
        ] {
            assert_eq!(ToolchainName::parse(no), None, "{no:?}");
        }
    }

    #[test]
    fn patterns_say_which_channels_are_meant() {
        let matches = |pattern: &str, name: &str| {
            let name = ToolchainName::parse(name).expect(name);
            ChannelPattern::parse(pattern)
                .expect(pattern)
                .matches(&name)
        };
        for (pattern, yes, no) in [
            ("stable", "stable", "beta"),
            ("1.*", "1.95.0", "stable"),
            ("1.*", "1.96.0-beta", "nightly"),
            ("nightly", "nightly-2026-11-01", "beta-2026-11-01"),
            (
                "nightly-2026-11-*",
                "nightly-2026-11-30",
                "nightly-2026-12-01",
            ),
            ("nightly-2026-11-*", "nightly-2026-11-30", "nightly"),
            ("*-beta.*", "1.96.0-beta.2", "1.96.0-beta"),
            ("1.*.0", "1.95.0", "1.95.1"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        assert!(matches("*", "stable") && matches("**", "1.95"));
        assert!(ChannelPattern::all().is_all());
        for nothing in ["", "a b", "Stable", "a/b", &"a".repeat(65)] {
            assert!(ChannelPattern::parse(nothing).is_none(), "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,30}", pattern in "[a-z0-9.*-]{1,20}") {
            let _ = ToolchainName::parse_with_host(&text);
            let pattern = ChannelPattern::parse(&pattern).expect("a pattern");
            let _ = pattern.matches_text(&text);
        }

        #[test]
        fn a_name_is_read_as_it_is_written(minor in 0_u32..1000, patch in 0_u32..100, day in 0_u32..20_000) {
            let day = Day::of(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(day) * 86_400));
            for text in [format!("1.{minor}.{patch}"), format!("1.{minor}.{patch}-{day}")] {
                let name = ToolchainName::parse(&text).expect("a name");
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
