//! Index files as answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    body::Source,
    conditional::not_modified,
    negotiate::accepts_gzip,
    respond::{Answer, NO_CACHE, TEXT},
};
use crate::{
    domain::Outcome,
    mirror::{IndexEntry, Rendition},
};

/// The answer to a request with these headers for this index file.
pub(super) fn answer(request: &HeaderMap, entry: &IndexEntry, outcome: Outcome) -> Answer {
    let rendition = entry.rendition();
    let modified = rendition.modified.as_ref();
    let mut answer = match not_modified(request, &rendition.etag, modified.map(|m| m.at)) {
        true => Answer {
            status: StatusCode::NOT_MODIFIED,
            outcome,
            headers: HeaderMap::with_capacity(8),
            body: Source::Empty,
        },
        false => whole(request, rendition, outcome),
    };
    let headers = &mut answer.headers;
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // RFC 9110, section 15.4.5: a 304 carries what a 200 would have had of these.
    for (name, value) in [
        (header::ETAG, Some(&rendition.etag)),
        (header::LAST_MODIFIED, modified.map(|m| &m.date)),
    ] {
        if let Some(value) = value.and_then(shared) {
            headers.insert(name, value);
        }
    }
    answer
}

fn whole(request: &HeaderMap, rendition: &Rendition, outcome: Outcome) -> Answer {
    let twin = rendition.gzip().filter(|_| accepts_gzip(request));
    let body = twin.unwrap_or(&rendition.body).clone();
    let mut answer = Answer::ok(outcome, TEXT, Source::Full(body));
    if twin.is_some() {
        let gzip = HeaderValue::from_static("gzip");
        answer.headers.insert(header::CONTENT_ENCODING, gzip);
    }
    answer
}

/// A header value that shares its bytes. Ours are ASCII.
fn shared(text: &Bytes) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(text.clone()).ok()
}
