//! What both formats say in the same words: kinds, scores, dates, other identifiers.

use std::time::SystemTime;

use cvss::Cvss;

use super::text;
use crate::{
    domain::{AdvisoryKind, AdvisoryKinds, CvssScore},
    error::Error,
};

/// So many of others' identifiers are kept.
const ALIASES_MAX: usize = 16;

/// No file says more of where versions begin and end, or lists more of them: no crate has so many, and each is looked at whenever an index file is shown.
pub(super) const MOST_INTERVALS: usize = 1_000;
pub(super) const MOST_VERSIONS: usize = 20_000;

/// What makes a file one that can't be read.
pub(super) fn broken(why: &str) -> Error {
    Error::config(text::title(why))
}

/// What `informational` and `categories` make of an advisory. Without the former it is a vulnerability; what is malicious is one in any case.
pub(super) fn kinds<'a>(
    informational: Option<&str>,
    categories: impl IntoIterator<Item = &'a str>,
) -> AdvisoryKinds {
    let is_malicious = categories.into_iter().any(|c| c == "malicious");
    let kind = match informational {
        None => AdvisoryKind::Vulnerability,
        Some("unsound") => AdvisoryKind::Unsound,
        Some("unmaintained") => AdvisoryKind::Unmaintained,
        Some(_) => AdvisoryKind::Notice,
    };
    let kinds = AdvisoryKinds::default().with(kind);
    match is_malicious {
        true => malicious(kinds),
        false => kinds,
    }
}

/// The same of something that was published to do harm.
pub(super) fn malicious(kinds: AdvisoryKinds) -> AdvisoryKinds {
    kinds
        .with(AdvisoryKind::Malicious)
        .with(AdvisoryKind::Vulnerability)
}

/// The score of a vector of any version of the scoring system; `None` for what is no vector. That leaves an advisory without a score, which is better than
/// leaving it out.
pub(super) fn score(vector: &str) -> Option<CvssScore> {
    // The longest vector of version 4 with all its metrics has some 250 bytes.
    if vector.len() > 512 {
        return None;
    }
    CvssScore::new(vector.parse::<Cvss>().ok()?.score())
}

/// The day of `2024-02-29` or `2024-02-29T12:00:00Z`, at its start in UTC.
pub(super) fn date(text: &str) -> Option<SystemTime> {
    let day = text.get(..10)?;
    humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok()
}

pub(super) fn aliases<'a>(ids: impl IntoIterator<Item = &'a str>) -> Box<[Box<str>]> {
    let ids = ids.into_iter().filter_map(text::id);
    ids.take(ALIASES_MAX).collect()
}
