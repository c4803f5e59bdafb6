//! [`VersionRange`]: which versions a rule is about.

use std::fmt;

use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};
use serde::{Deserialize, Deserializer, de};

/// Versions by a requirement as Cargo.toml writes it, such as `>=2, <3`.
///
/// Pre-releases count by their order, as in cargo's RFC 3493: `>=2, <3` has 2.1.0-rc.1 in it and not 3.0.0-rc.1. To cargo's own resolver a requirement without
/// pre-releases has none, which would let a rule about `>=2` overlook them. `*` is all versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange(VersionReq);

impl VersionRange {
    /// Reads a requirement; the error says what is wrong with it.
    ///
    /// # Errors
    /// A sentence's end.
    pub fn parse(text: &str) -> Result<Self, String> {
        match VersionReq::parse(text) {
            Ok(requirement) => Ok(Self(requirement)),
            Err(e) => Err(format!(
                "{text:?} is no version requirement ({e}); allowed is what Cargo.toml takes, such as \">=2, <3\" or \"=1.0.4\"; \"*\" is all"
            )),
        }
    }

    /// Whether this version is one of them. Build metadata doesn't count, but where a requirement names it.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.matches(version) || self.0.comparators.iter().all(|c| by_order(c, version))
    }
}

/// Whether `version` is within a part of a requirement by the order of semver alone.
fn by_order(part: &Comparator, version: &Version) -> bool {
    let (first, after) = bounds(part);
    let from = first.is_none_or(|first| *version >= first);
    from && after.is_none_or(|after| *version < after)
}

/// The first version within it and the first one after it, where there are such.
fn bounds(part: &Comparator) -> (Option<Version>, Option<Version>) {
    let (major, minor, patch) = (part.major, part.minor, part.patch);
    let this = Version {
        pre: part.pre.clone(),
        ..Version::new(major, minor.unwrap_or(0), patch.unwrap_or(0))
    };
    // The lowest pre-release of all stands for "before any pre-release of it".
    let before = |major, minor, patch| Version {
        pre: Prerelease::new("0").unwrap_or(Prerelease::EMPTY),
        ..Version::new(major, minor, patch)
    };
    // What comes after all that the written parts leave open.
    let next = match (minor, patch) {
        (None, _) => before(major.saturating_add(1), 0, 0),
        (Some(minor), None) => before(major, minor.saturating_add(1), 0),
        (Some(_), Some(_)) => just_after(&this),
    };
    match part.op {
        Op::Exact | Op::Wildcard => (Some(this), Some(next)),
        Op::Greater => (Some(next), None),
        Op::GreaterEq => (Some(this), None),
        Op::Less => (None, Some(first_of(this, &before))),
        Op::LessEq => (None, Some(next)),
        Op::Tilde => {
            let after = match minor {
                Some(minor) => before(major, minor.saturating_add(1), 0),
                None => before(major.saturating_add(1), 0, 0),
            };
            (Some(this), Some(after))
        }
        Op::Caret => {
            let after = match (major, minor, patch) {
                (0, Some(0), Some(patch)) => before(0, 0, patch.saturating_add(1)),
                (0, Some(minor), _) => before(0, minor.saturating_add(1), 0),
                (major, _, _) => before(major.saturating_add(1), 0, 0),
            };
            (Some(this), Some(after))
        }
        // There are no others today; a later semver's are left to its own judgement.
        _ => (Some(before(u64::MAX, 0, 0)), None),
    }
}

/// `<3.0.0` ends before the pre-releases of 3.0.0; `<3.0.0-rc.1` where it says.
fn first_of(version: Version, before: &impl Fn(u64, u64, u64) -> Version) -> Version {
    match version.pre.is_empty() {
        true => before(version.major, version.minor, version.patch),
        false => version,
    }
}

/// The least version that is greater, whatever build metadata it has.
fn just_after(version: &Version) -> Version {
    match version.pre.is_empty() {
        true => Version {
            pre: Prerelease::new("0").unwrap_or(Prerelease::EMPTY),
            build: BuildMetadata::EMPTY,
            ..Version::new(
                version.major,
                version.minor,
                version.patch.saturating_add(1),
            )
        },
        // A pre-release with one more part comes right after (semver, clause 11.4.4).
        false => Version {
            pre: Prerelease::new(&format!("{}.0", version.pre)).unwrap_or(Prerelease::EMPTY),
            ..version.clone()
        },
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for VersionRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(range: &str, version: &str) -> bool {
        let version = Version::parse(version).expect(version);
        VersionRange::parse(range).expect(range).contains(&version)
    }

    /// A rule against `>=2, <3` would have let 2.1.0-rc.1 in: semver's own requirement doesn't match it.
    #[test]
    fn pre_releases_count_by_their_order() {
        for (range, within, without) in [
            (">=2, <3", "2.1.0-rc.1", "3.0.0-rc.1"),
            (">=2, <3", "2.9.9", "3.0.0"),
            (">=2", "2.0.1-a", "2.0.0-a"),
            (">1.2", "1.3.0-a", "1.2.9"),
            (">1.2.3", "1.2.4-a", "1.2.3"),
            ("<=1.2.3", "1.2.3-a", "1.2.4-a"),
            ("<1", "0.9.0-b", "1.0.0-a"),
            ("<1.0.0-b", "1.0.0-a", "1.0.0-b"),
            ("=1.0.4", "1.0.4", "1.0.4-a"),
            ("=1.0.4-a", "1.0.4-a", "1.0.4-b"),
            ("=1.0.4-a", "1.0.4-a", "1.0.4-a.1"),
            ("^0.2.3", "0.2.4-a", "0.3.0-a"),
            ("^0.0.3", "0.0.3", "0.0.4-a"),
            ("1", "1.5.0-a", "2.0.0-a"),
            ("~1.2", "1.2.9-a", "1.3.0-a"),
            ("1.*", "1.0.1-a", "2.0.0-a"),
            ("*", "0.0.1-a", ""),
        ] {
            assert!(contains(range, within), "{within} is in {range}");
            let is_out = without.is_empty() || !contains(range, without);
            assert!(is_out, "{without} is not in {range}");
        }
        assert!(contains("=1.0.4", "1.0.4+build"));
        assert!(VersionRange::parse("two").is_err());
    }

    proptest! {
        /// What cargo's own resolver takes is within, and of releases nothing else is.
        #[test]
        fn of_releases_they_are_those_that_cargo_takes(
            op in prop::sample::select(vec!["", "=", ">", ">=", "<", "<=", "~", "^"]),
            parts in prop::collection::vec(0_u64..4, 1..4),
            version in (0_u64..4, 0_u64..4, 0_u64..4),
        ) {
            let written: Vec<_> = parts.iter().map(u64::to_string).collect();
            let range = format!("{op}{}", written.join("."));
            let version = Version::new(version.0, version.1, version.2);
            let requirement = VersionReq::parse(&range).expect("a requirement");
            let ours = VersionRange::parse(&range).expect("a range");
            prop_assert_eq!(ours.contains(&version), requirement.matches(&version), "{} {}", range, version);
        }
    }
}
