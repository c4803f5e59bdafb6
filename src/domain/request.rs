//! [`CrateRequest`]: a crate that somebody asks for by name, and which of its versions that comes to.

use std::{fmt, time::SystemTime};

use semver::VersionReq;
use serde::Deserialize;

use super::{
    index_file::{IndexFile, Version},
    name::{CrateName, shorten},
    registry::RegistryName,
    version::{CrateId, CrateVersion},
};
use crate::error::{Error, Result};

/// `serde`, `serde@1.0.200` or `serde@^1.0`, with `internal:` before it when it isn't crates.io's. It is written as it is read,
/// a line of a list each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrateRequest {
    /// Which registry; crates.io if it isn't said, whichever is the default one: lists are carried from one mirror to another.
    pub registry: RegistryName,
    /// Which crate; its case and its `-` and `_` may be another than the registry's.
    pub name: CrateName,
    /// Which versions may be meant.
    pub requirement: Requirement,
}

/// Which versions of a crate may be meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// Any.
    Any,
    /// Exactly this one.
    Exact(CrateVersion),
    /// Those that cargo would take for this requirement.
    Matching(VersionReq),
}

/// How many of the versions that may be meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// The newest.
    #[default]
    Newest,
    /// So many of the newest.
    Latest(usize),
    /// What was published since.
    Since(SystemTime),
    /// All, yanked ones and prereleases included.
    All,
}

/// The versions that a request comes to.
#[derive(Debug, Default)]
pub struct Matches<'a> {
    /// The versions, newest first.
    pub versions: Vec<&'a Version>,
    /// Those that would be among them and are kept out, newest first.
    pub kept_out: Vec<&'a Version>,
    /// How many were left out because the index doesn't say when they were published.
    pub undated: usize,
}

impl CrateRequest {
    /// Parses one; spaces around it don't matter.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with which part is wrong and why.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (registry, rest) = match text.split_once(':') {
            Some((registry, rest)) => (RegistryName::parse(registry)?, rest),
            None => (RegistryName::crates_io(), text),
        };
        let (name, requirement) = match rest.split_once('@') {
            Some((name, version)) => (name, Requirement::parse(version)?),
            None => (rest, Requirement::Any),
        };
        Ok(Self {
            registry,
            name: CrateName::parse(name)?,
            requirement,
        })
    }

    /// Exactly one version of a crate.
    pub fn exactly(registry: RegistryName, id: &CrateId) -> Self {
        Self {
            registry,
            name: id.name,
            requirement: Requirement::Exact(id.version),
        }
    }

    /// The versions of `file`, which is this crate's, that are meant. Yanked ones only if they are meant exactly or by [`Selector::All`], prereleases
    /// only if there is nothing else or the requirement names one. One that `is_kept_out` makes way for the next one, unless it is meant exactly: whoever
    /// names it is to hear why he doesn't get it.
    pub fn select<'a>(
        &self,
        file: &'a IndexFile,
        selector: Selector,
        is_kept_out: impl Fn(&Version) -> bool,
    ) -> Matches<'a> {
        let exact = matches!(self.requirement, Requirement::Exact(_));
        let mut matches = Matches::default();
        let mut candidates = self.candidates(file, selector);
        if let (Selector::Since(since), false) = (selector, exact) {
            candidates.retain(|listed| match published(file, listed) {
                Some(at) => at >= since,
                None => {
                    matches.undated += 1;
                    false
                }
            });
        }
        let most = match selector {
            Selector::Newest => 1,
            Selector::Latest(most) => most,
            Selector::Since(_) | Selector::All => usize::MAX,
        };
        for listed in candidates {
            if matches.versions.len() == most {
                break;
            }
            match !exact && is_kept_out(listed) {
                true => matches.kept_out.push(listed),
                false => matches.versions.push(listed),
            }
        }
        matches
    }

    /// Those of which a selector picks, newest first.
    fn candidates<'a>(&self, file: &'a IndexFile, selector: Selector) -> Vec<&'a Version> {
        let listed = file.versions().iter().filter_map(|listed| {
            let version = semver::Version::parse(listed.version().as_str()).ok()?;
            Some((version, listed))
        });
        let mut candidates: Vec<_> = listed
            .filter(|(version, listed)| match &self.requirement {
                Requirement::Any => true,
                Requirement::Exact(wanted) => {
                    listed.version().without_build() == wanted.without_build()
                }
                Requirement::Matching(req) => req.matches(version),
            })
            .collect();
        candidates.sort_by(|(a, _), (b, _)| b.cmp(a));
        match &self.requirement {
            Requirement::Exact(wanted) => settle(&mut candidates, wanted),
            Requirement::Any | Requirement::Matching(_) if selector != Selector::All => {
                candidates.retain(|(_, listed)| !listed.yanked);
                let any = self.requirement == Requirement::Any;
                if any && candidates.iter().any(|(version, _)| version.pre.is_empty()) {
                    candidates.retain(|(version, _)| version.pre.is_empty());
                }
            }
            Requirement::Any | Requirement::Matching(_) => {}
        }
        candidates.into_iter().map(|(_, listed)| listed).collect()
    }
}

/// Leaves the one that is meant by a version: exactly that one; where it names no build, as with `cargo update --precise`, the newest of those that do,
/// rather one that isn't yanked. The candidates differ in their build only, the newest first.
fn settle(candidates: &mut Vec<(semver::Version, &Version)>, wanted: &CrateVersion) {
    let exactly = candidates.iter().position(|(_, v)| v.version() == wanted);
    let named = wanted.without_build() != wanted.as_str();
    let meant = match exactly {
        None if named => None,
        None => {
            let usable = candidates.iter().position(|(_, v)| !v.yanked);
            usable.or((!candidates.is_empty()).then_some(0))
        }
        exactly => exactly,
    };
    let meant = meant.map(|at| candidates.swap_remove(at));
    candidates.clear();
    candidates.extend(meant);
}

impl Requirement {
    fn parse(text: &str) -> Result<Self> {
        if let Ok(version) = CrateVersion::parse(text) {
            return Ok(Self::Exact(version));
        }
        VersionReq::parse(text).map(Self::Matching).map_err(|e| {
            Error::bad_request(format!(
                "{:?} is neither a version such as 1.0.200 nor a requirement such as ^1.0: {e}",
                shorten(text)
            ))
            .with_source(e)
        })
    }
}

impl fmt::Display for CrateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.registry != RegistryName::crates_io() {
            write!(f, "{}:", self.registry)?;
        }
        write!(f, "{}", self.name)?;
        match &self.requirement {
            Requirement::Any => Ok(()),
            Requirement::Exact(version) => write!(f, "@{version}"),
            Requirement::Matching(req) => write!(f, "@{req}"),
        }
    }
}

/// The one field of a line that says when; the format is crates.io's.
#[derive(Deserialize)]
struct PublishedLine {
    pubtime: Option<String>,
}

/// When a version was published, if its line says so.
fn published(file: &IndexFile, listed: &Version) -> Option<SystemTime> {
    let line = file.body().get(listed.line.clone())?;
    let line: PublishedLine = serde_json::from_slice(line).ok()?;
    humantime::parse_rfc3339(&line.pubtime?).ok()
}

/// Parses a day, `2026-11-01`, which begins at midnight UTC, or a moment, `2026-11-01T08:00:00Z`.
///
/// # Errors
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when it is neither.
pub fn parse_date(text: &str) -> Result<SystemTime> {
    let day = || humantime::parse_rfc3339(&format!("{text}T00:00:00Z"));
    humantime::parse_rfc3339(text)
        .or_else(|_| day())
        .map_err(|_| {
            Error::bad_request(format!(
                "{:?} is not a date; allowed is one such as 2026-11-01 or 2026-11-01T08:00:00Z",
                shorten(text)
            ))
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{IndexPath, Sha256};

    /// A crate with these versions; `!` before one is yanked, `=DATE` after one is when it was published.
    fn file(versions: &str) -> IndexFile {
        let lines = versions.split(' ').map(|text| {
            let (version, date) = text.split_once('=').unwrap_or((text, ""));
            let pubtime = match date {
                "" => String::new(),
                date => format!(",\"pubtime\":\"{date}T12:00:00Z\""),
            };
            format!(
                "{{\"name\":\"a\",\"vers\":{:?},\"cksum\":\"{}\",\"yanked\":{}{pubtime}}}\n",
                version.trim_start_matches('!'),
                Sha256::of(b""),
                version.starts_with('!')
            )
        });
        let path = IndexPath::of(CrateName::parse("a").expect("a name"));
        let body = Bytes::from(lines.collect::<String>());
        IndexFile::parse(path, body).expect("an index file")
    }

    fn selected(request: &str, versions: &str, selector: Selector) -> (String, usize) {
        let file = file(versions);
        let request = CrateRequest::parse(request).expect("a request");
        let matches = request.select(&file, selector, |_| false);
        let versions = matches.versions.iter().map(|v| v.version().as_str());
        (versions.collect::<Vec<_>>().join(" "), matches.undated)
    }

    #[test]
    fn the_newest_is_by_number_stable_and_not_yanked() {
        let versions = "1.9.0 1.10.0 1.11.0-rc.1 !2.0.0 3.0.0-alpha.1";
        for (request, newest) in [
            ("a", "1.10.0"),
            ("a@1.9.0", "1.9.0"),
            ("a@2.0.0", "2.0.0"),
            ("a@<1.10", "1.9.0"),
            ("a@1", "1.10.0"),
            ("a@2", ""),
            ("a@^3.0.0-alpha", "3.0.0-alpha.1"),
            ("a@3.0.0-alpha", ""),
            ("a@4.0.0", ""),
            ("a@1.9.0+b", ""),
        ] {
            assert_eq!(
                selected(request, versions, Selector::Newest).0,
                newest,
                "{request}"
            );
        }
        let (only, _) = selected("a", "1.0.0-a !1.0.0-b", Selector::Newest);
        assert_eq!(only, "1.0.0-a", "rather a prerelease than nothing");
    }

    /// `libgit2-sys@0.14.2` is 0.14.2+1.5.1.
    #[test]
    fn the_build_of_a_version_may_be_left_out() {
        let versions = "1.0.0+1.1 1.0.0+1.2 !1.0.0+1.3 2.0.0 2.0.0+x !3.0.0+a !3.0.0+b";
        for (request, found) in [
            ("a@1.0.0", "1.0.0+1.2"),
            ("a@1.0.0+1.1", "1.0.0+1.1"),
            ("a@1.0.0+1.3", "1.0.0+1.3"),
            ("a@1.0.0+9", ""),
            ("a@2.0.0", "2.0.0"),
            ("a@3.0.0", "3.0.0+b"),
        ] {
            for selector in [Selector::Newest, Selector::All, Selector::Latest(2)] {
                assert_eq!(selected(request, versions, selector).0, found, "{request}");
            }
        }
    }

    #[test]
    fn more_than_the_newest_can_be_asked_for() {
        let versions =
            "1.0.0=2024-01-01 1.1.0=2025-01-01 !1.2.0=2025-02-02 2.0.0-a=2025-03-03 2.0.0";
        let since = Selector::Since(parse_date("2025-01-01").expect("a date"));
        for (request, selector, expected) in [
            ("a", Selector::All, ("2.0.0 2.0.0-a 1.2.0 1.1.0 1.0.0", 0)),
            ("a@1", Selector::All, ("1.2.0 1.1.0 1.0.0", 0)),
            ("a", Selector::Latest(2), ("2.0.0 1.1.0", 0)),
            ("a", since, ("1.1.0", 1)),
            ("a@1.0.0", since, ("1.0.0", 0)),
        ] {
            let expected = (expected.0.to_owned(), expected.1);
            assert_eq!(
                selected(request, versions, selector),
                expected,
                "{request} {selector:?}"
            );
        }
    }

    /// Its newest version is denied: the newest that isn't is what a resolver would pick, too.
    #[test]
    fn what_is_kept_out_makes_way_for_the_next_one_unless_it_is_named() {
        let file = file("1.0.0=2024-01-01 1.1.0=2025-01-01 1.2.0=2025-02-02 2.0.0=2025-03-03");
        let since = Selector::Since(parse_date("2025-01-01").expect("a date"));
        for (request, selector, versions, kept_out) in [
            ("a", Selector::Newest, "1.1.0", "2.0.0 1.2.0"),
            ("a", Selector::Latest(2), "1.1.0 1.0.0", "2.0.0 1.2.0"),
            ("a", Selector::All, "1.1.0 1.0.0", "2.0.0 1.2.0"),
            ("a", since, "1.1.0", "2.0.0 1.2.0"),
            ("a@^1.2", Selector::Newest, "", "1.2.0"),
            ("a@1.1", Selector::Newest, "1.1.0", "1.2.0"),
            ("a@<1.1", Selector::Newest, "1.0.0", ""),
            ("a@2.0.0", Selector::Newest, "2.0.0", ""),
        ] {
            let parsed = CrateRequest::parse(request).expect("a request");
            let is_kept_out = |v: &Version| ["1.2.0", "2.0.0"].contains(&v.version().as_str());
            let matches = parsed.select(&file, selector, is_kept_out);
            let join = |all: &[&Version]| {
                let all = all.iter().map(|v| v.version().as_str());
                all.collect::<Vec<_>>().join(" ")
            };
            let said = (join(&matches.versions), join(&matches.kept_out));
            assert_eq!(
                said,
                (versions.into(), kept_out.into()),
                "{request} {selector:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        for (text, words) in [
            ("", "not a crate name"),
            ("Inner:a", "not a registry name"),
            ("a b", "not a crate name"),
            ("a@", "neither a version"),
            ("a@one", "neither a version"),
        ] {
            let error = CrateRequest::parse(text).expect_err("refused").to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_date_is_a_day_or_a_moment() {
        let seconds = |text| {
            let since = parse_date(text)
                .ok()?
                .duration_since(SystemTime::UNIX_EPOCH);
            Some(since.ok()?.as_secs())
        };
        assert_eq!(seconds("1970-01-02"), Some(86_400));
        assert_eq!(seconds("1970-01-01T00:01:00Z"), Some(60));
        for wrong in ["", "yesterday", "2026-13-01", "2026-11", "01/11/2026"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_is_written(text in "([a-z]{1,3}:)?[a-zA-Z][a-z_-]{0,5}(@[=^~<>]{0,2}[0-9]{1,2}(\\.[0-9]{1,2}){0,2}([-+][a-z0-9.]{1,5})?)?") {
            if let Ok(request) = CrateRequest::parse(&text) {
                let again = CrateRequest::parse(&request.to_string());
                prop_assert_eq!(again.ok(), Some(request));
            }
        }

        #[test]
        fn no_text_at_all_makes_it_panic(text in ".{0,40}") {
            let _ = (CrateRequest::parse(&text).map(|request| request.to_string()), parse_date(&text));
        }
    }
}
