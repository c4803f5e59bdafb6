//! What a request's head has to be like: no larger than cargo and proxies need, because a client could have it kept, and clear about whom it is for.

use http::{Version, header, request::Parts as Head};

use crate::error::{Error, Kind, Result};

/// The longest URL, in bytes. The longest one that means something is a download's, below 1 KB also where every character is percent-encoded.
const URL: usize = 8 << 10;
/// The most that all headers together may have, names and values, in bytes. Tokens that proxies pass on have up to 8 KB.
const HEADERS: usize = 16 << 10;

/// Whether the head is of a size that is read.
///
/// # Errors
/// [`Kind::UrlTooLong`] and [`Kind::HeadersTooLarge`] when it isn't.
pub(super) fn bounded(head: &Head) -> Result<()> {
    let authority = head.uri.authority().map_or(0, |a| a.as_str().len());
    let path = head.uri.path_and_query().map_or(0, |p| p.as_str().len());
    let url = authority + path;
    if url > URL {
        return Err(Error::new(
            Kind::UrlTooLong,
            format!(
                "the request's URL has {url} bytes, and this mirror reads no more than {URL}; ask for a shorter one"
            ),
        ));
    }
    let lines = head.headers.iter();
    let headers: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers > HEADERS {
        return Err(Error::new(
            Kind::HeadersTooLarge,
            format!(
                "the request's headers have {headers} bytes together, and this mirror reads no more than {HEADERS}; send fewer, and see what a proxy on the way adds"
            ),
        ));
    }
    Ok(())
}

/// Whether a request says for whom it is as RFC 9112, section 3.2, wants it: once, and over HTTP/1.1 always.
///
/// # Errors
/// [`Kind::BadRequest`] otherwise.
pub(super) fn one_host(request: &Head) -> Result<()> {
    let hosts = request.headers.get_all(header::HOST).iter().count();
    match hosts {
        0 if request.version == Version::HTTP_11 => Err(Error::bad_request(
            "the request has no Host header, which HTTP/1.1 requires",
        )),
        0 | 1 => Ok(()),
        // Two different ideas of whom the request is for.
        _ => Err(Error::bad_request(
            "the request has more than one Host header",
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn judged(path: usize, value: usize) -> Option<Kind> {
        let request = Request::get(format!("/{}", "p".repeat(path - 1)));
        let request = request.header("x", "v".repeat(value - 1)).body(());
        let head = request.expect("a request").into_parts().0;
        bounded(&head).err().map(|e| e.kind())
    }

    #[test]
    fn a_head_is_read_up_to_its_bounds_and_no_further() {
        assert_eq!(judged(URL, HEADERS), None);
        assert_eq!(judged(URL + 1, 1), Some(Kind::UrlTooLong));
        assert_eq!(judged(1, HEADERS + 1), Some(Kind::HeadersTooLarge));
    }
}
