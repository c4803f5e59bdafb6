//! [`Validators`]: what upstream wants to hear again when asked whether something changed (RFC 9110, section 8.8).

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
}
