//! .crate files as answers, whole or in part. Never encoded: a .crate is a gzip file whose bytes are what its checksum is about.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    body::BodySource,
    conditional::Preconditions,
    range::{ByteRange, Extent, IfRange},
    respond::{Answer, IMMUTABLE, NO_CACHE, NO_STORE, TEXT},
    route::Verb,
};
use crate::{
    error::{Error, Result},
    mirror::{CrateBody, CrateLink, Found, LinkMethod},
};

/// What is negotiated of a .crate file: which copy its client has, and which part of the file it asks for.
pub(super) struct NegotiatedCrate {
    preconditions: Preconditions,
    part: Option<(ByteRange, IfRange)>,
}

impl NegotiatedCrate {
    /// What these headers say. Only `GET` has ranges (RFC 9110, section 14.2).
    pub(super) fn of(headers: &HeaderMap, verb: Verb) -> Self {
        let range = match verb {
            Verb::Get => ByteRange::of(headers),
            Verb::Head => None,
        };
        Self {
            preconditions: Preconditions::of(headers),
            part: range.map(|range| (range, IfRange::of(headers))),
        }
    }

    /// The same with nothing of the request's head in it, which is larger. This is all that is kept of the headers while a request waits.
    pub(super) fn kept(self) -> Self {
        Self {
            preconditions: self.preconditions.kept(),
            part: self.part.map(|(range, holds)| (range, holds.kept())),
        }
    }

    /// Whether a part of this file is asked for.
    pub(super) fn is_part_of(&self, body: &CrateBody) -> bool {
        let etag = |if_range: &IfRange| if_range.holds(&body.etag());
        self.part.as_ref().is_some_and(|(_, holds)| etag(holds))
    }

    /// Whether a part is asked for if the file is that of which the client has the rest.
    pub(super) fn is_maybe_part(&self) -> bool {
        self.part.is_some()
    }
}

/// The answer that carries this file; all of it, whatever part of it was asked for.
pub(super) fn answer(negotiated: &NegotiatedCrate, found: Found<CrateBody>) -> Answer {
    let (body, outcome) = (found.value, found.outcome);
    let etag = body.etag();
    if negotiated.preconditions.not_modified(&etag, None) {
        let mut answer = Answer::ok(outcome, GZIP, BodySource::Empty);
        answer.status = StatusCode::NOT_MODIFIED;
        answer.headers.remove(header::CONTENT_TYPE);
        return described(answer, etag);
    }
    described(Answer::ok(outcome, GZIP, body.into()), etag)
}

/// The answer to a request for a part of this file, which has `length` bytes.
pub(super) fn part(negotiated: &NegotiatedCrate, found: Found<CrateBody>, length: u64) -> Answer {
    let etag = found.value.etag();
    let range = match &negotiated.part {
        // Section 13.2.2: If-None-Match comes first.
        Some((range, _)) if !negotiated.preconditions.not_modified(&etag, None) => range,
        Some(_) | None => return answer(negotiated, found),
    };
    let (body, outcome) = (found.value, found.outcome);
    match range.within(length) {
        Extent::Part(part) => {
            let mut answer = Answer::ok(outcome, GZIP, BodySource::part(body, part));
            answer.status = StatusCode::PARTIAL_CONTENT;
            say_range(&mut answer, part.content_range());
            described(answer, etag)
        }
        Extent::Nothing => {
            let id = body.key().id;
            let why =
                format!("the file of {id} has only {length} bytes; ask for a part of these.\n");
            let mut answer = Answer::ok(outcome, TEXT, Bytes::from(why).into());
            answer.status = StatusCode::RANGE_NOT_SATISFIABLE;
            // Section 14.4: so that the client learns how long it is.
            say_range(&mut answer, format!("bytes */{length}"));
            answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
            answer.headers.insert(header::ACCEPT_RANGES, BYTES);
            answer
        }
    }
}

/// The answer that sends a client to where the store keeps this file, whichever part of it is asked for: it asks there again. Nothing of it may be kept, for
/// its URL is good for a while only; and it has no ETag, because cargo 1.96 doesn't expect one there.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when the URL is none.
pub(super) fn redirect(negotiated: &NegotiatedCrate, found: Found<CrateLink>) -> Result<Answer> {
    let etag = found.value.etag();
    if negotiated.preconditions.not_modified(&etag, None) {
        let mut answer = Answer::ok(found.outcome, GZIP, BodySource::Empty);
        answer.status = StatusCode::NOT_MODIFIED;
        answer.headers.remove(header::CONTENT_TYPE);
        return Ok(described(answer, etag));
    }
    let mut location = HeaderValue::from_str(found.value.url().expose())
        .map_err(|_| Error::internal("the store has signed what is no URL"))?;
    // Whoever knows it gets the file.
    location.set_sensitive(true);
    let mut answer = Answer::ok(found.outcome, TEXT, BodySource::Empty);
    answer.status = StatusCode::FOUND;
    answer.headers.remove(header::CONTENT_TYPE);
    answer.headers.insert(header::LOCATION, location);
    answer.headers.insert(header::CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

impl From<Verb> for LinkMethod {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::Get,
            Verb::Head => Self::Head,
        }
    }
}

const GZIP: HeaderValue = HeaderValue::from_static("application/gzip");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

fn say_range(answer: &mut Answer, range: String) {
    if let Ok(range) = HeaderValue::try_from(range) {
        answer.headers.insert(header::CONTENT_RANGE, range);
    }
}

/// With what is said of a file however it is given. Cargo takes no notice of the tag; whoever goes on with a download that broke off needs it.
fn described(mut answer: Answer, etag: Bytes) -> Answer {
    let headers = &mut answer.headers;
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(header::ACCEPT_RANGES, BYTES);
    // Ours are ASCII, and share their bytes.
    if let Ok(etag) = HeaderValue::from_maybe_shared(etag) {
        headers.insert(header::ETAG, etag);
    }
    answer
}
