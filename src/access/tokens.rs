//! [`Tokens`]: who may ask with which token, as tokens.toml has it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::digest::TokenDigest;
use crate::{
    domain::{Principal, RegistryName},
    error::{Error, Result},
};

/// What the file begins with.
const HEAD: &str = "# Who may ask this mirror. Written by `crate-mirror token`; a running mirror follows it.\n# Of each token its SHA-256 is here, from which nobody gets the token back.\n\n";

/// A token's name: letters, digits, `-`, `_`, `.` and `@`, at most 64 bytes. It is who asked in logs, which is why it can't be `anonymous`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName(String);

impl TokenName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) with what is allowed.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
        let begins = text.as_bytes().first();
        let is_name = begins.is_some_and(u8::is_ascii_alphanumeric)
            && text.len() <= Self::MAX_LEN
            && text.bytes().all(allowed);
        if !is_name {
            let shown: String = text.chars().take(Self::MAX_LEN).collect();
            return Err(Error::config(format!(
                "{shown:?} can't be a token's name: it takes a letter or a digit, then letters, digits, `-`, `_`, `.` and `@`, at most {} in all",
                Self::MAX_LEN
            )));
        }
        if text == Principal::Anonymous.as_str() {
            return Err(Error::config(
                "a token can't be called `anonymous`: that is who asks without one",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TokenName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// The tokens there are, by name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `[tokens.NAME]` each.
    #[serde(default)]
    pub tokens: BTreeMap<TokenName, Grant>,
}

/// What a token is good for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its digest.
    pub sha256: TokenDigest,
    /// Until when; for ever when not set.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_time",
        deserialize_with = "read_time"
    )]
    pub expires: Option<SystemTime>,
    /// For which registries, views and the like; for all when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistryName>,
}

impl Grant {
    /// Whether it is no longer good.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it is good for what belongs to `registry`, or to none.
    pub fn includes(&self, registry: Option<RegistryName>) -> bool {
        self.registries.is_empty()
            || registry.is_none_or(|registry| self.registries.contains(&registry))
    }
}

impl Tokens {
    /// Reads the text of a tokens.toml.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) with the line and what is allowed.
    pub fn parse(text: &str) -> Result<Self> {
        // What it says is about a line and a key. The line itself is left out, and with it the library's error, which quotes it: it may hold what
        // somebody took for a place for tokens.
        toml::from_str(text).map_err(|e: toml::de::Error| {
            let before = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..before]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            Error::config(format!("line {line}: {}", e.message()))
        })
    }

    /// The text that [`parse`](Self::parse) reads.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when a time can't be written.
    pub fn render(&self) -> Result<String> {
        let tables = toml::to_string(self)
            .map_err(|e| Error::internal("the tokens can't be written down").caused_by(e))?;
        Ok(format!("{HEAD}{tables}"))
    }
}

/// The latest time that is written: the last second with a year of four digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A time as the file can have it: whole seconds, no later than the year 9999.
pub fn storable(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default().min(LAST);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn write_time<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339_seconds(storable(*time))),
        None => serializer.serialize_none(),
    }
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = humantime::parse_rfc3339(&text);
    let expected = "a time such as \"2027-01-01T00:00:00Z\"";
    time.map(Some)
        .map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
}

/// The same tokens, to be looked up by what a client shows.
#[derive(Default)]
pub struct TokenTable {
    /// By the beginning of the digest.
    entries: Vec<(u64, Arc<TokenEntry>)>,
}

/// One token of a [`TokenTable`].
pub struct TokenEntry {
    /// What it is good for.
    pub grant: Grant,
    /// Who has it.
    pub principal: Principal,
}

impl TokenTable {
    /// That of `tokens`.
    pub fn new(tokens: Tokens) -> Self {
        let entry = |(name, grant): (TokenName, Grant)| {
            let principal = Principal::token(name.as_str());
            let beginning = grant.sha256.beginning();
            (beginning, Arc::new(TokenEntry { grant, principal }))
        };
        let mut entries: Vec<_> = tokens.tokens.into_iter().map(entry).collect();
        entries.sort_by_key(|(beginning, _)| *beginning);
        Self { entries }
    }

    /// The token that a client shows, if there is one, expired ones included.
    pub fn find(&self, token: &str) -> Option<&Arc<TokenEntry>> {
        let digest = TokenDigest::of(token);
        let beginning = digest.beginning();
        let first = self
            .entries
            .partition_point(|(other, _)| *other < beginning);
        let alike = self.entries[first..].iter();
        let mut alike = alike.take_while(|(other, _)| *other == beginning);
        let found = alike.find(|(_, entry)| entry.grant.sha256.is(&digest));
        found.map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn grant(token: &str, expires: Option<u64>, registries: &[&str]) -> Grant {
        let registry = |name: &&str| RegistryName::parse(name).expect("a name");
        Grant {
            sha256: TokenDigest::of(token),
            expires: expires.map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s)),
            registries: registries.iter().map(registry).collect(),
        }
    }

    #[test]
    fn a_token_is_found_by_itself_alone() {
        let names = (0..1000).map(|n| {
            let name = TokenName::parse(&format!("t{n}")).expect("a name");
            (name, grant(&format!("secret-{n}"), None, &[]))
        });
        let table = TokenTable::new(Tokens {
            tokens: names.collect(),
        });
        for n in 0..1000 {
            let found = table.find(&format!("secret-{n}")).expect("a token");
            assert_eq!(found.principal.as_str(), format!("t{n}"));
        }
        for wrong in ["", "secret-", "secret-1000", "secret-0 ", "SECRET-0"] {
            assert!(table.find(wrong).is_none(), "{wrong}");
        }
        assert!(TokenTable::default().find("").is_none());
    }

    #[test]
    fn a_token_ends_in_its_second_and_is_good_for_what_it_names() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let ends = grant("a", Some(100), &["internal"]);
        assert!(!ends.is_expired(at(99)) && ends.is_expired(at(100)));
        assert!(!grant("a", None, &[]).is_expired(at(1 << 40)));
        let registry = |name| Some(RegistryName::parse(name).expect("a name"));
        assert!(ends.includes(registry("internal")) && ends.includes(None));
        assert!(!ends.includes(registry("crates-io")));
        assert!(grant("a", None, &[]).includes(registry("crates-io")));
    }

    #[test]
    fn a_file_that_means_nothing_says_where_and_never_what() {
        let digest = "0".repeat(64);
        for (text, line, word) in [
            ("tokens = 1", 1, "map"),
            ("[tokens.ci]\nsha256 = \"hunter2\"", 2, "64"),
            (
                &format!("[tokens.ci]\nsha256 = \"{digest}\"\nexpires = \"soon\"\n"),
                3,
                "2027-01-01T00:00:00Z",
            ),
            (&format!("[tokens.\"\"]\nsha256 = \"{digest}\""), 1, "name"),
            (
                &format!("[tokens.anonymous]\nsha256 = \"{digest}\""),
                1,
                "anonymous",
            ),
            (
                &format!("[tokens.a]\nsha256 = \"{digest}\"\nregistries = [\"A\"]"),
                3,
                "lower-case",
            ),
            (
                &format!("[tokens.a]\nsha256 = \"{digest}\"\ntoken = \"hunter2\""),
                3,
                "token",
            ),
            ("[tokens.a]\ntoken = \"hunter2", 2, ""),
        ] {
            let error = Tokens::parse(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert!(
                error.starts_with(&format!("line {line}: ")),
                "{text}: {error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Tokens::parse("").expect("none").tokens.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            tokens in btree_map(
                "[a-zA-Z0-9][-a-zA-Z0-9_.@]{0,63}",
                (any::<u64>(), prop::option::of(0..u64::MAX / 4), prop::sample::subsequence(vec!["a", "crates-io", "toolchains"], 0..4)),
                0..8,
            ),
        ) {
            let named = tokens.iter().filter(|(name, _)| *name != "anonymous").map(|(name, (token, expires, registries))| {
                let grant = grant(&token.to_string(), expires.map(|s| s.min(LAST.as_secs() * 2)), registries);
                (TokenName::parse(name).expect("a name"), grant)
            });
            let tokens = Tokens { tokens: named.collect() };
            let read = Tokens::parse(&tokens.render().expect("text")).expect("what was written");
            prop_assert_eq!(read.tokens.len(), tokens.tokens.len());
            for (name, grant) in &tokens.tokens {
                let read = &read.tokens[name];
                prop_assert!(read.sha256.is(&grant.sha256));
                prop_assert_eq!(read.expires, grant.expires.map(storable));
                prop_assert_eq!(&read.registries, &grant.registries);
            }
        }

        #[test]
        fn nothing_at_all_makes_it_panic(text: String) {
            let _ = Tokens::parse(&text);
            let _ = TokenName::parse(&text);
        }
    }
}
