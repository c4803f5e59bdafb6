//! [`Preconditions`]: what a client says of the copy it has, and whether that is what it would be sent (RFC 9110, section 13).

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};

/// How much of tags is kept while a request waits, in bytes; each of ours has 36.
const MOST_KEPT: usize = 512;

/// The copy that a client has, as its request says.
#[derive(Debug)]
pub(super) enum Preconditions {
    /// It says nothing of one.
    Nothing,
    /// `If-None-Match`: one with one of these tags, in a first header line and others.
    Tagged(HeaderValue, Vec<HeaderValue>),
    /// `If-Modified-Since`: what there was then.
    Since(SystemTime),
}

impl Preconditions {
    /// What these headers say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        // Section 13.2.2: If-Modified-Since counts only without If-None-Match.
        let mut tags = headers.get_all(header::IF_NONE_MATCH).iter();
        if let Some(first) = tags.next() {
            return Self::Tagged(first.clone(), tags.cloned().collect());
        }
        let since = headers.get(header::IF_MODIFIED_SINCE);
        let since = since.and_then(|v| v.to_str().ok());
        // Section 13.1.3: what isn't a date is ignored.
        let since = since.and_then(|date| httpdate::parse_http_date(date).ok());
        since.map_or(Self::Nothing, Self::Since)
    }

    /// The same with nothing of the request's head in it, to be kept while the request waits. More tags than anybody has are forgotten: then the client
    /// is sent what it may have already.
    pub(super) fn kept(self) -> Self {
        let Self::Tagged(first, others) = self else {
            return self;
        };
        let tags = || std::iter::once(&first).chain(&others);
        if tags().map(HeaderValue::len).sum::<usize>() > MOST_KEPT {
            return Self::Nothing;
        }
        let mut copies = tags().filter_map(|tag| HeaderValue::from_bytes(tag.as_bytes()).ok());
        match copies.next() {
            Some(first) => Self::Tagged(first, copies.collect()),
            None => Self::Nothing,
        }
    }

    /// Whether to answer 304 with what has this `etag` and was last `modified` then, if that is known.
    pub(super) fn not_modified(&self, etag: &[u8], modified: Option<SystemTime>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Tagged(first, others) => {
                let mut tags = std::iter::once(first).chain(others);
                tags.any(|tags| none_match(tags.as_bytes(), etag))
            }
            Self::Since(since) => modified.is_some_and(|modified| modified <= *since),
        }
    }
}

/// Whether an `If-None-Match` value names `etag`, compared weakly (section 8.8.3.2): `*`, or a list of entity tags in which the `W/` doesn't
/// count.
pub fn none_match(value: &[u8], etag: &[u8]) -> bool {
    let wanted = etag.strip_prefix(b"W/").unwrap_or(etag);
    let mut rest = value.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        // Section 5.6.1.2: empty elements of a list are ignored.
        let empty = |b: &&u8| **b == b',' || b.is_ascii_whitespace();
        rest = &rest[rest.iter().take_while(empty).count()..];
        rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        // A tag may hold commas, so the quotes decide where it ends.
        let Some(opened) = rest.strip_prefix(b"\"") else {
            return false;
        };
        let Some(length) = opened.iter().position(|&b| b == b'"') else {
            return false;
        };
        let (tag, after) = rest.split_at(length + 2);
        if tag == wanted {
            return true;
        }
        match after.trim_ascii_start().strip_prefix(b",") {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tags_are_compared_weakly_in_lists() {
        for value in [
            "W/\"a\"",
            "\"a\"",
            "*",
            " * ",
            "\"b\", W/\"a\"",
            "\"b,c\",\"a\"",
            "\"x\" , \"a\" ",
        ] {
            assert!(none_match(value.as_bytes(), b"W/\"a\""), "{value}");
        }
        for value in [
            "",
            "a",
            "\"b\"",
            "W/",
            "\"",
            "\"a",
            "\"b\" \"a\"",
            "\"b,\"a\"",
            "**",
            "w/\"a\"",
        ] {
            assert!(!none_match(value.as_bytes(), b"W/\"a\""), "{value}");
        }
    }

    #[test]
    fn empty_elements_of_a_list_are_ignored() {
        for value in [", \"a\"", "\"b\",,\"a\"", "\"b\" , , W/\"a\" ,"] {
            assert!(none_match(value.as_bytes(), b"\"a\""), "{value}");
        }
        for value in [",", "\"b\",,", ",a", "\"b\", \"c\" \"a\""] {
            assert!(!none_match(value.as_bytes(), b"\"a\""), "{value}");
        }
    }

    #[test]
    fn a_date_counts_only_without_tags() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let mut headers = HeaderMap::new();
        let date = httpdate::fmt_http_date(then)
            .parse()
            .expect("a header value");
        headers.insert(header::IF_MODIFIED_SINCE, date);
        assert!(Preconditions::of(&headers).not_modified(b"\"a\"", Some(then)));
        let later = Some(then + Duration::from_secs(1));
        assert!(!Preconditions::of(&headers).not_modified(b"\"a\"", later));
        assert!(
            !Preconditions::of(&headers).not_modified(b"\"a\"", None),
            "nobody knows"
        );
        headers.insert(
            header::IF_NONE_MATCH,
            "\"b\"".parse().expect("a header value"),
        );
        assert!(!Preconditions::of(&headers).not_modified(b"\"a\"", Some(then)));
        headers.append(
            header::IF_NONE_MATCH,
            "\"c\", \"a\"".parse().expect("a header value"),
        );
        assert!(
            Preconditions::of(&headers).not_modified(b"\"a\"", None),
            "on a second line"
        );
    }
}
