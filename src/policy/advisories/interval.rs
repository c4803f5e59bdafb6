//! [`Interval`]: versions that follow one another, pre-releases among them.
//!
//! A requirement as cargo reads it leaves out the pre-releases of other versions: `>=1.2.0` doesn't match `1.3.0-rc.1`. For an advisory that is of no use, as
//! a pre-release is hit or it isn't. So a requirement is taken for what lies between its ends in the order of versions (semver, clause 11), as cargo-audit does.
//! Where a requirement doesn't name its end (`^1.2`, `~1.2`, `1.*`, `<=1.2`), that is before the first pre-release of the next version: `^1.2` says nothing of
//! `2.0.0-rc.1`, which is hit therefore.

use std::{
    cmp::Ordering,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};

/// The versions between two ends, by precedence: build metadata doesn't count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: Bound<Version>,
    pub(super) end: Bound<Version>,
}

impl Interval {
    /// All versions.
    pub(super) const ALL: Self = Self {
        start: Unbounded,
        end: Unbounded,
    };

    /// This version alone.
    pub(super) fn only(version: Version) -> Self {
        Self {
            start: Included(version.clone()),
            end: Included(version),
        }
    }

    pub(super) fn contains(&self, version: &Version) -> bool {
        let after_start = match &self.start {
            Unbounded => true,
            Included(start) => version.cmp_precedence(start) != Ordering::Less,
            Excluded(start) => version.cmp_precedence(start) == Ordering::Greater,
        };
        let before_end = match &self.end {
            Unbounded => true,
            Included(end) => version.cmp_precedence(end) != Ordering::Greater,
            Excluded(end) => version.cmp_precedence(end) == Ordering::Less,
        };
        after_start && before_end
    }

    /// What is in both.
    fn and(self, other: Self) -> Self {
        Self {
            start: tighter(self.start, other.start, Ordering::Greater),
            end: tighter(self.end, other.end, Ordering::Less),
        }
    }
}

/// The bound that leaves out more; `inward` says in which direction that is.
fn tighter(a: Bound<Version>, b: Bound<Version>, inward: Ordering) -> Bound<Version> {
    let (Included(x) | Excluded(x)) = &a else {
        return b;
    };
    let (Included(y) | Excluded(y)) = &b else {
        return a;
    };
    let is_a = match x.cmp_precedence(y) {
        Ordering::Equal => matches!(a, Excluded(_)),
        order => order == inward,
    };
    if is_a { a } else { b }
}

impl From<&VersionReq> for Interval {
    fn from(requirement: &VersionReq) -> Self {
        let all = requirement.comparators.iter().map(of_comparator);
        all.fold(Self::ALL, Self::and)
    }
}

fn of_comparator(comparator: &Comparator) -> Interval {
    let floor = floor(comparator);
    let (start, end) = match comparator.op {
        Op::Exact | Op::Wildcard if comparator.patch.is_none() => {
            (Included(floor), next(comparator, Next::AsWritten))
        }
        Op::Exact | Op::Wildcard => return Interval::only(floor),
        Op::Greater if comparator.patch.is_none() => match next(comparator, Next::AsWritten) {
            Excluded(next) => (Included(without_pre(next)), Unbounded),
            // Nothing is greater than the greatest number there is.
            Included(_) | Unbounded => (Excluded(floor.clone()), Excluded(floor)),
        },
        Op::Greater => (Excluded(floor), Unbounded),
        Op::GreaterEq => (Included(floor), Unbounded),
        Op::Less => (Unbounded, Excluded(floor)),
        Op::LessEq if comparator.patch.is_none() => (Unbounded, next(comparator, Next::AsWritten)),
        Op::LessEq => (Unbounded, Included(floor)),
        Op::Tilde => (Included(floor), next(comparator, Next::Tilde)),
        Op::Caret => (Included(floor), next(comparator, Next::Caret)),
        // A comparator of a later semver means nothing here, and so excuses no version.
        _ => (Excluded(floor.clone()), Excluded(floor)),
    };
    Interval { start, end }
}

/// The lowest version that a comparator's numbers can stand for.
fn floor(comparator: &Comparator) -> Version {
    Version {
        major: comparator.major,
        minor: comparator.minor.unwrap_or(0),
        patch: comparator.patch.unwrap_or(0),
        pre: comparator.pre.clone(),
        build: BuildMetadata::EMPTY,
    }
}

/// Which number of a comparator is the one whose next ends it.
#[derive(Clone, Copy)]
enum Next {
    /// The last one that is written: `1.2` ends before 1.3.
    AsWritten,
    /// The minor one, if it is written: `~1.2.3` ends before 1.3.
    Tilde,
    /// The first one that isn't zero: `^0.2.3` ends before 0.3.
    Caret,
}

/// Everything before the first pre-release of the next version.
fn next(comparator: &Comparator, which: Next) -> Bound<Version> {
    let Comparator {
        major,
        minor,
        patch,
        ..
    } = *comparator;
    let next = match (which, minor, patch) {
        (_, None, _) => major.checked_add(1).map(|major| (major, 0, 0)),
        (Next::Caret, Some(_), _) if major > 0 => major.checked_add(1).map(|major| (major, 0, 0)),
        (Next::Caret, Some(0), Some(patch)) => patch.checked_add(1).map(|patch| (0, 0, patch)),
        (Next::AsWritten | Next::Tilde | Next::Caret, Some(minor), _) => {
            minor.checked_add(1).map(|minor| (major, minor, 0))
        }
    };
    // Where numbers end, so do versions.
    next.map_or(Unbounded, |(major, minor, patch)| {
        Excluded(Version {
            // The lowest pre-release there can be.
            pre: Prerelease::new("0").unwrap_or(Prerelease::EMPTY),
            ..Version::new(major, minor, patch)
        })
    })
}

fn without_pre(version: Version) -> Version {
    Version {
        pre: Prerelease::EMPTY,
        ..version
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(requirement: &str, version: &str) -> bool {
        let requirement = VersionReq::parse(requirement).expect(requirement);
        Interval::from(&requirement).contains(&Version::parse(version).expect(version))
    }

    #[test]
    fn pre_releases_count_by_their_order() {
        for (requirement, version, inside) in [
            (">=1.2.0", "1.3.0-rc.1", true),
            (">=1.2.0", "1.2.0-rc.1", false),
            (">=1.2.0-rc.1", "1.2.0-rc.1", true),
            (">=1.2.0-rc.2", "1.2.0-rc.1", false),
            (">1.2.0", "1.2.0", false),
            (">1.2.0", "1.2.1-0", true),
            (">1.2", "1.2.9", false),
            (">1.2", "1.3.0-rc.1", false),
            (">1.2", "1.3.0", true),
            (">1", "1.9.0", false),
            (">1", "2.0.0", true),
            ("<0.3.0", "0.3.0-alpha", true),
            ("<0.3.0", "0.2.9", true),
            ("<0.3.0", "0.3.0", false),
            ("<=1.2", "1.2.9", true),
            ("<=1.2", "1.3.0-alpha", false),
            ("<=1.2.3", "1.2.4-0", false),
            ("^1.2.3", "1.9.0", true),
            ("^1.2.3", "2.0.0-rc.1", false),
            ("^1.2.3", "1.2.3-rc.1", false),
            ("^0.2.3", "0.3.0-0", false),
            ("^0.2.3", "0.2.9", true),
            ("^0.0.3", "0.0.4", false),
            ("^0.0", "0.0.9", true),
            ("^0", "0.9.0", true),
            ("^0", "1.0.0-0", false),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0-rc.1", false),
            ("~1", "1.9.9", true),
            ("1.2.*", "1.2.0", true),
            ("1.2.*", "1.3.0-0", false),
            ("*", "0.0.0-0", true),
            ("=1.2.3", "1.2.3", true),
            ("=1.2.3", "1.2.3-rc.1", false),
            ("=1.2", "1.2.7", true),
            (">=1.2.0, <1.4.0", "1.4.0-rc.1", true),
            (">=1.2.0, <1.4.0", "1.4.0", false),
            (">=1.4.0, <1.2.0", "1.3.0", false),
            (">=1.0.0, >1.2.0, >=1.2.0", "1.2.0", false),
            (">=1.2.0", "1.2.0+build", true),
            ("<=1.2.0", "1.2.0+build", true),
            ("^18446744073709551615", "18446744073709551615.0.0", true),
            (">18446744073709551615", "18446744073709551615.1.0", false),
        ] {
            assert_eq!(
                holds(requirement, version),
                inside,
                "{version} in {requirement}"
            );
        }
    }

    fn requirement() -> impl Strategy<Value = String> {
        let operator = prop_oneof![
            Just(""),
            Just("^"),
            Just("~"),
            Just("="),
            Just(">"),
            Just(">="),
            Just("<"),
            Just("<=")
        ];
        let numbers = prop_oneof![
            (0_u64..3).prop_map(|a| format!("{a}")),
            (0_u64..3, 0_u64..3).prop_map(|(a, b)| format!("{a}.{b}")),
            (0_u64..3, 0_u64..3, 0_u64..3).prop_map(|(a, b, c)| format!("{a}.{b}.{c}")),
        ];
        let one =
            (operator, numbers).prop_map(|(operator, numbers)| format!("{operator}{numbers}"));
        proptest::collection::vec(one, 1..3).prop_map(|all| all.join(", "))
    }

    proptest! {
        /// For what is no pre-release it is what cargo makes of the requirement.
        #[test]
        fn releases_match_as_in_cargo(requirement in requirement(), a in 0_u64..4, b in 0_u64..4, c in 0_u64..4) {
            let requirement = VersionReq::parse(&requirement).expect("a requirement");
            let version = Version::new(a, b, c);
            prop_assert_eq!(Interval::from(&requirement).contains(&version), requirement.matches(&version));
        }
    }
}
