//! Conditional requests: whether the client has what it would be sent (RFC 9110, section 13).

use std::time::SystemTime;

use http::{HeaderMap, header};

/// Whether to answer 304 to a request for what has this `etag` and was last `modified` then, if that is known.
pub(super) fn not_modified(headers: &HeaderMap, etag: &[u8], modified: Option<SystemTime>) -> bool {
    // Section 13.2.2: If-Modified-Since counts only without If-None-Match.
    if headers.contains_key(header::IF_NONE_MATCH) {
        let mut values = headers.get_all(header::IF_NONE_MATCH).iter();
        return values.any(|value| none_match(value.as_bytes(), etag));
    }
    let since = headers.get(header::IF_MODIFIED_SINCE);
    let since = since.and_then(|v| v.to_str().ok());
    // Section 13.1.3: what isn't a date is ignored.
    let since = since.and_then(|date| httpdate::parse_http_date(date).ok());
    since
        .zip(modified)
        .is_some_and(|(since, modified)| modified <= since)
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
        assert!(not_modified(&headers, b"\"a\"", Some(then)));
        let later = Some(then + Duration::from_secs(1));
        assert!(!not_modified(&headers, b"\"a\"", later));
        assert!(!not_modified(&headers, b"\"a\"", None), "nobody knows");
        headers.insert(
            header::IF_NONE_MATCH,
            "\"b\"".parse().expect("a header value"),
        );
        assert!(!not_modified(&headers, b"\"a\"", Some(then)));
    }
}
