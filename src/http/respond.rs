//! Answers: statuses, headers, and errors as sentences.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    access::Access,
    body::{Body, BodySource},
    route::Verb,
};
use crate::{
    domain::Outcome,
    error::{Error, Kind},
};

/// Cargo prints it when a request fails.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What crates.io says of its own files: a version's content never changes.
pub(super) const IMMUTABLE: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");
/// The same of what was given for a token, which no cache may give to anybody else (RFC 9111, section 3.5).
const IMMUTABLE_FOR_ONE: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");
/// To be checked with us before each use: freshness is what we are for.
pub(super) const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// The same for one client alone.
pub(super) const NO_CACHE_FOR_ONE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// What an answer says it is, it is: nobody is to guess otherwise from what is in it, which strangers wrote.
pub(super) const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// For nobody but who asked, this once.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What a client is told for whose request there is no memory.
pub(super) fn no_memory() -> Error {
    Error::new(
        Kind::Overloaded,
        "this mirror has as many requests under way as its memory has room for; try again in a moment",
    )
}

/// An answer before it is bound to its request.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    /// They say the outcome, too.
    pub(super) headers: HeaderMap,
    pub(super) body: BodySource,
}

/// The form in which an error is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorForm {
    /// One sentence.
    Text,
    /// The web API's `{"errors":[{"detail":…}]}`.
    Json,
}

impl Answer {
    /// 200 with a body of a known type.
    pub(super) fn ok(outcome: Outcome, content_type: HeaderValue, body: BodySource) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(X_CACHE, HeaderValue::from_static(outcome.as_str()));
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        Self {
            status: StatusCode::OK,
            outcome,
            headers,
            body,
        }
    }

    /// What an error looks like from outside.
    pub(super) fn error(error: &Error, form: ErrorForm) -> Self {
        let sentence = format!("{}.\n", error.message());
        let (content_type, body) = match form {
            ErrorForm::Text => (TEXT, sentence.into()),
            ErrorForm::Json => {
                let body = serde_json::json!({ "errors": [{ "detail": sentence.trim_end() }] });
                (JSON, Bytes::from(body.to_string()))
            }
        };
        let (status, outcome) = status_of(error.kind());
        let mut answer = Self::ok(outcome, content_type, body.into());
        answer.status = status;
        answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
        if error.kind() == Kind::MethodNotAllowed {
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers.insert(header::ALLOW, allowed);
        }
        if let Some(wait) = error.kind().retry_after() {
            // Whole seconds, and never earlier than it makes sense.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            answer.headers.insert(header::RETRY_AFTER, seconds.into());
        }
        answer
    }

    /// The same for one client alone: no cache that others ask too may keep it.
    pub(super) fn for_one_client(mut self) -> Self {
        // Changed in place: a second look-up, to insert another, costs three times as much.
        if let Some(policy) = self.headers.get_mut(header::CACHE_CONTROL) {
            if *policy == IMMUTABLE {
                *policy = IMMUTABLE_FOR_ONE;
            } else if *policy == NO_CACHE {
                *policy = NO_CACHE_FOR_ONE;
            }
        }
        self
    }

    /// The answer to the request that `access` is about; `HEAD` gets the headers that `GET` would.
    pub(super) fn finish(mut self, verb: Verb, mut access: Access) -> Response<Body> {
        access.status = self.status;
        access.outcome = self.outcome;
        if verb == Verb::Head {
            let length = match &self.body {
                BodySource::Full(bytes, _) => Some(bytes.len() as u64),
                BodySource::Chunks { left, .. } => *left,
                BodySource::Empty => None,
            };
            if let Some(length) = length {
                self.headers.insert(header::CONTENT_LENGTH, length.into());
            }
            self.body = BodySource::Empty;
        }
        let mut response = Response::new(Body::new(self.body, access));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// What each kind of error is in HTTP. Never 410 or 451: cargo 1.96 and later take those for hard errors.
fn status_of(kind: Kind) -> (StatusCode, Outcome) {
    match kind {
        Kind::BadRequest => (StatusCode::BAD_REQUEST, Outcome::Absent),
        // Never 403: cargo shows its token only after this.
        Kind::Unauthorized => (StatusCode::UNAUTHORIZED, Outcome::Absent),
        Kind::UrlTooLong => (StatusCode::URI_TOO_LONG, Outcome::Absent),
        Kind::HeadersTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Outcome::Absent),
        Kind::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, Outcome::Absent),
        Kind::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, Outcome::Absent),
        // Cargo prints the sentence of a 403, and of no other refusal.
        Kind::Denied => (StatusCode::FORBIDDEN, Outcome::Denied),
        // Here too: of a 404 it says "config.json not found", or that there is no such package.
        Kind::NoSuchRegistry | Kind::ReadOnly => (StatusCode::FORBIDDEN, Outcome::Absent),
        Kind::NotFound | Kind::Absent => (StatusCode::NOT_FOUND, Outcome::Absent),
        Kind::Offline => (StatusCode::NOT_FOUND, Outcome::Offline),
        // To be tried again: whoever runs the mirror can bring it anew.
        Kind::Corrupt => (StatusCode::SERVICE_UNAVAILABLE, Outcome::Offline),
        Kind::UpstreamFault => (StatusCode::BAD_GATEWAY, Outcome::Miss),
        // What cargo shows at once. It repeats every 5xx three times, for eleven seconds.
        Kind::UpstreamRefused => (StatusCode::FORBIDDEN, Outcome::Miss),
        Kind::UpstreamUnavailable { .. } | Kind::CircuitOpen { .. } | Kind::Overloaded => {
            (StatusCode::SERVICE_UNAVAILABLE, Outcome::Miss)
        }
        Kind::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, Outcome::Miss),
        // Nobody sees what was given up, because nobody waits for it.
        Kind::Config | Kind::Store | Kind::Cancelled | Kind::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, Outcome::Miss)
        }
    }
}
