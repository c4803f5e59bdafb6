//! Index files as answers.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    body::BodySource,
    conditional::Preconditions,
    negotiate::accepts_gzip,
    respond::{Answer, NO_CACHE, NO_SNIFF, TEXT, X_CACHE},
};
use crate::{
    domain::Outcome,
    mirror::{Found, IndexEntry, Rendition},
};

/// What is negotiated of an index file: which copy its client has, and which form it takes.
pub(super) struct NegotiatedIndex {
    preconditions: Preconditions,
    gzip: bool,
}

impl NegotiatedIndex {
    /// What these headers say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            preconditions: Preconditions::of(headers),
            gzip: accepts_gzip(headers),
        }
    }

    /// The same with nothing of the request's head in it, which is larger. This is all that is kept of the headers while a request waits.
    pub(super) fn kept(self) -> Self {
        Self {
            preconditions: self.preconditions.kept(),
            gzip: self.gzip,
        }
    }
}

/// A form in which a rendition is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Its body.
    Plain,
    /// Its gzip variant.
    Gzipped,
    /// Word that the client's copy is still it.
    NotModified,
}

/// The headers of each form of a rendition, once somebody has asked for it. They are kept with the rendition, so that a hit only copies them.
#[derive(Default)]
struct Heads([OnceLock<HeaderMap>; Form::NotModified as usize + 1]);

/// The answer with this index file, in the form that was negotiated.
pub(super) fn answer(negotiated: &NegotiatedIndex, found: Found<Arc<IndexEntry>>) -> Answer {
    let (entry, outcome) = (found.value, found.outcome);
    let rendition = entry.rendition();
    let modified = rendition.modified.as_ref().map(|m| m.at);
    let (form, body) = match negotiated
        .preconditions
        .not_modified(&rendition.etag, modified)
    {
        true => (Form::NotModified, BodySource::Empty),
        false => match rendition.gzip().filter(|_| negotiated.gzip) {
            Some(variant) => (Form::Gzipped, variant.clone().into()),
            None => (Form::Plain, rendition.body.clone().into()),
        },
    };
    let mut headers = match rendition.prepared(Heads::default) {
        Some(Heads(heads)) => {
            // A copy has no more room than it needs.
            let made = heads[form as usize].get_or_init(|| head(rendition, form).clone());
            made.clone()
        }
        None => head(rendition, form),
    };
    if outcome != Outcome::Hit {
        headers.insert(X_CACHE, HeaderValue::from_static(outcome.as_str()));
    }
    Answer {
        status: match form {
            Form::Plain | Form::Gzipped => StatusCode::OK,
            Form::NotModified => StatusCode::NOT_MODIFIED,
        },
        outcome,
        headers,
        body,
    }
}

/// The headers of a hit. RFC 9110, section 15.4.5: a 304 carries what a 200 would have had of those that are about caching.
fn head(rendition: &Rendition, form: Form) -> HeaderMap {
    // Ours are ASCII, and share their bytes.
    let shared = |text: &bytes::Bytes| HeaderValue::from_maybe_shared(text.clone()).ok();
    let date = rendition.modified.as_ref().map(|m| &m.date);
    let length = match form {
        Form::Plain => Some(rendition.body.len()),
        Form::Gzipped => rendition.gzip().map(|variant| variant.len()),
        Form::NotModified => None,
    };
    let has_body = form != Form::NotModified;
    let gzip = HeaderValue::from_static("gzip");
    [
        (
            X_CACHE,
            Some(HeaderValue::from_static(Outcome::Hit.as_str())),
        ),
        (header::CACHE_CONTROL, Some(NO_CACHE)),
        (
            header::VARY,
            Some(HeaderValue::from_static("accept-encoding")),
        ),
        (header::ETAG, shared(&rendition.etag)),
        (header::LAST_MODIFIED, date.and_then(shared)),
        (header::CONTENT_TYPE, has_body.then_some(TEXT)),
        (header::X_CONTENT_TYPE_OPTIONS, has_body.then_some(NO_SNIFF)),
        (header::CONTENT_LENGTH, length.map(HeaderValue::from)),
        (
            header::CONTENT_ENCODING,
            (form == Form::Gzipped).then_some(gzip),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
