//! [`Validators`]: what upstream wants to hear again when asked whether something changed (RFC 9110, section 8.8).

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Upstream's validators of one stored body, verbatim: an ETag loses its meaning when a byte of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The `ETag` as received, with its quotes and its `W/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The `Last-Modified` as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// The one precondition to send; RFC 9110 section 13.1.3 has a server ignore `If-Modified-Since` beside `If-None-Match`, so both would be noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition<'a> {
    /// Nothing known to compare with: a plain GET.
    None,
    /// `If-None-Match` with the stored ETag.
    NoneMatch(&'a str),
    /// `If-Modified-Since` with the stored date.
    ModifiedSince(&'a str),
}

impl Validators {
    /// The longest of either, in bytes: both have to fit into a record's header line, and servers refuse requests with larger headers.
    pub const MAX_LEN: usize = 2 << 10;

    /// Those that are fit to be sent back: an empty or an overlong one isn't, nor one that isn't of visible ASCII characters, blanks and tabs, which is what
    /// a header's value may be made of. An ETag has to be one: `*` for one means whatever there is, and would be answered 304 for ever.
    #[must_use]
    pub fn fit(self) -> Self {
        let is_fit = |text: &String| {
            let plain = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
            (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(plain)
        };
        Self {
            etag: self.etag.filter(is_fit).filter(|text| is_entity_tag(text)),
            last_modified: self.last_modified.filter(is_fit),
        }
    }

    /// When the body that came with these changed, if it took the place of one that changed at `before`. That is what upstream says, as long as it can be:
    /// a date in the future can't, nor one that isn't later than `before`, because clients have that body's date and would be told that nothing has
    /// changed since. Dates count in whole seconds (RFC 9110, section 8.8.2).
    pub fn modified(&self, before: Option<SystemTime>, now: SystemTime) -> SystemTime {
        let told = self.last_modified.as_deref();
        let told = told.and_then(|date| httpdate::parse_http_date(date).ok());
        let told = told.filter(|told| *told <= now);
        let Some(before) = before else {
            return told.unwrap_or(now);
        };
        let later = whole_seconds(before) + Duration::from_secs(1);
        told.filter(|told| *told >= later)
            .unwrap_or_else(|| now.max(later))
    }

    /// What to send with the next request for the same thing.
    pub fn precondition(&self) -> Precondition<'_> {
        match (&self.etag, &self.last_modified) {
            (Some(etag), _) => Precondition::NoneMatch(etag),
            (None, Some(date)) => Precondition::ModifiedSince(date),
            (None, None) => Precondition::None,
        }
    }
}

/// `"…"` or `W/"…"` without a quote within (RFC 9110, section 8.8.3, which has no blanks in it either; some servers do).
fn is_entity_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let within = opaque.strip_prefix('"').and_then(|o| o.strip_suffix('"'));
    within.is_some_and(|within| !within.contains('"'))
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_that_is_none_is_not_sent_back() {
        let fit = |etag: &str| {
            let told = Validators {
                etag: Some(etag.to_owned()),
                last_modified: None,
            };
            told.fit().etag.is_some()
        };
        for etag in ["\"a\"", "\"\"", "W/\"a,b\"", "\"*\"", "\"a b\""] {
            assert!(fit(etag), "{etag}");
        }
        for etag in [
            "*",
            "",
            "a",
            "\"",
            "w/\"a\"",
            "W/a",
            "W/*",
            "\"a",
            "a\"",
            "\"a\"b\"",
            "\"a\", \"b\"",
        ] {
            assert!(!fit(etag), "{etag}");
        }
    }

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn modified(told: Option<u64>, before: Option<u64>, now: u64) -> SystemTime {
        let date = |millis| httpdate::fmt_http_date(at(millis));
        let validators = Validators {
            etag: None,
            last_modified: told.map(date),
        };
        validators.modified(before.map(at), at(now))
    }

    #[test]
    fn a_body_changed_when_upstream_says_or_else_when_it_came() {
        assert_eq!(modified(Some(5_000), None, 9_000), at(5_000));
        assert_eq!(modified(Some(5_000), Some(4_999), 9_000), at(5_000));
        assert_eq!(modified(None, None, 9_500), at(9_500));
        assert_eq!(modified(None, Some(4_000), 9_500), at(9_500));
        assert_eq!(modified(Some(60_000), None, 9_500), at(9_500), "the future");
    }

    #[test]
    fn another_body_has_another_date_whatever_upstream_says() {
        assert_eq!(modified(Some(5_000), Some(5_000), 9_500), at(9_500));
        assert_eq!(modified(Some(4_000), Some(5_000), 9_500), at(9_500));
        assert_eq!(modified(None, Some(9_200), 9_500), at(10_000), "one second");
        assert_eq!(modified(Some(9_000), Some(9_200), 9_500), at(10_000));
    }
}
