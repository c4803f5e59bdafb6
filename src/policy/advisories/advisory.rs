//! [`Advisory`]: what somebody has found out about some versions of a crate.

use std::time::SystemTime;

use semver::Version;

use super::interval::Interval;
use crate::domain::{AdvisoryKinds, AdvisoryMatcher, CrateName, CvssScore};

/// What somebody has found out about some versions of a crate.
#[derive(Clone, Debug, PartialEq)]
pub struct Advisory {
    /// Its identifier, such as `RUSTSEC-2024-0001`: at most 64 letters, digits and `-`, `_`, `.`, `:`.
    pub id: Box<str>,
    /// The crate, folded ([`CrateName::folded`]).
    pub package: CrateName,
    /// Others' identifiers for the same thing, such as CVE numbers; at most 16.
    pub aliases: Box<[Box<str>]>,
    /// When it was published, to the day, if it says so.
    pub date: Option<SystemTime>,
    /// What it says in one line of at most 160 bytes without control characters; may be empty.
    pub title: Box<str>,
    /// What it is about.
    pub kinds: AdvisoryKinds,
    /// How bad it is, where somebody has said so.
    pub cvss: Option<CvssScore>,
    /// Where to read more: an http URL of at most 256 bytes.
    pub url: Option<Box<str>>,
    /// Which versions it is about.
    pub(super) affected: Affected,
}

/// Which versions an advisory is about, as its format says it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Affected {
    /// All but these. RustSec names what is well.
    AllBut {
        patched: Box<[Interval]>,
        unaffected: Box<[Interval]>,
    },
    /// These. OSV names what is hit, and where that ends because it was mended.
    Only {
        hit: Box<[Interval]>,
        patched: Box<[Interval]>,
    },
}

impl Advisory {
    /// Whether `version` has what the advisory is about. Pre-releases count by their order: `1.2.0-rc.1` is hit by what was mended in `1.2.0`.
    pub fn hits(&self, version: &Version) -> bool {
        match &self.affected {
            Affected::AllBut {
                patched,
                unaffected,
            } => !any(patched, version) && !any(unaffected, version),
            Affected::Only { hit, .. } => any(hit, version),
        }
    }

    /// Whether the advisory names `version` as one in which it has been mended. One that was never hit isn't.
    pub fn is_patched_in(&self, version: &Version) -> bool {
        match &self.affected {
            Affected::AllBut { patched, .. } => any(patched, version),
            Affected::Only { hit, patched } => any(patched, version) && !any(hit, version),
        }
    }

    /// Whether `matcher` means it.
    pub fn is_meant_by(&self, matcher: AdvisoryMatcher) -> bool {
        matcher.matches(self.kinds, self.cvss)
    }
}

fn any(intervals: &[Interval], version: &Version) -> bool {
    intervals.iter().any(|interval| interval.contains(version))
}
