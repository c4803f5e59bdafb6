//! Content negotiation: gzip (RFC 9110, section 12.5.3), and whether a page is read in a browser.

use http::{HeaderMap, header};

/// Whether the client takes gzip: it is named, or `*` is, with a weight other than zero.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut by_wildcard = false;
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        let Ok(value) = value.to_str() else { continue };
        for coding in value.split(',') {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            match name.trim() {
                "*" => by_wildcard = has_weight(parameters),
                name if name.eq_ignore_ascii_case("gzip")
                    || name.eq_ignore_ascii_case("x-gzip") =>
                {
                    return has_weight(parameters);
                }
                _ => {}
            }
        }
    }
    by_wildcard
}

/// Whether pages are wanted as HTML, before all else: a browser asks.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.trim_ascii_start().starts_with("text/html"))
}

/// Whether `q` is anything but zero; a weight nobody can read counts as one.
fn has_weight(parameters: &str) -> bool {
    let weight = parameters.split(';').find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    weight.and_then(|q| q.parse::<f32>().ok()) != Some(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT_ENCODING,
            value.parse().expect("a header value"),
        );
        accepts_gzip(&headers)
    }

    #[test]
    fn gzip_is_taken_when_it_is_named_with_a_weight() {
        for value in [
            "gzip",
            "deflate, gzip",
            "GZIP;q=0.5",
            "*",
            "br, *;q=0.1",
            "x-gzip",
            "identity;q=0, gzip",
        ] {
            assert!(accepts(value), "{value}");
        }
        for value in [
            "",
            "br",
            "gzip;q=0",
            "gzip; q=0.000",
            "*;q=0",
            "*, gzip;q=0",
            "notgzip",
        ] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
