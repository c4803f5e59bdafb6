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
        /// These one by one are hit too; by precedence.
        listed: Box<[Version]>,
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
            Affected::Only { hit, listed, .. } => any(hit, version) || is_in(listed, version),
        }
    }

    /// Whether the advisory names `version` as one in which it has been mended. One that was never hit isn't.
    pub fn is_patched_in(&self, version: &Version) -> bool {
        match &self.affected {
            Affected::AllBut { patched, .. } => any(patched, version),
            Affected::Only { patched, .. } => any(patched, version) && !self.hits(version),
        }
    }

    /// Whether `matcher` means it.
    pub fn is_meant_by(&self, matcher: AdvisoryMatcher) -> bool {
        matcher.matches(self.kinds, self.cvss)
    }

    /// How many bytes of memory it takes, roughly.
    pub fn memory(&self) -> usize {
        let texts = [&self.title, &self.id].into_iter().chain(&self.aliases);
        let texts: usize = texts.chain(&self.url).map(|text| text.len()).sum();
        let (intervals, versions) = match &self.affected {
            Affected::AllBut {
                patched,
                unaffected,
            } => (patched.len() + unaffected.len(), 0),
            Affected::Only {
                hit,
                patched,
                listed,
            } => (hit.len() + patched.len(), listed.len()),
        };
        let versions = size_of::<Interval>() * intervals + size_of::<Version>() * versions;
        size_of::<Self>() + texts + size_of::<Box<str>>() * self.aliases.len() + versions
    }
}

fn any(intervals: &[Interval], version: &Version) -> bool {
    intervals.iter().any(|interval| interval.contains(version))
}

fn is_in(sorted: &[Version], version: &Version) -> bool {
    let found = sorted.binary_search_by(|listed| listed.cmp_precedence(version));
    found.is_ok()
}
