//! Files as answers, whole or in part: .crate files and what toolchains are made of. Never encoded: they are compressed, and their bytes are what their checksums are
//! about.

use std::time::SystemTime;

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
    domain::{
        FileKey, Outcome,
        toolchain::{ToolchainItem, ToolchainKey},
    },
    error::{Error, Result},
    mirror::{FileBody, FileLink, Found, LinkMethod},
};

/// What is negotiated of a file: which copy its client has, and which part of the file it asks for.
pub(super) struct NegotiatedFile {
    preconditions: Preconditions,
    part: Option<(ByteRange, IfRange)>,
}

impl NegotiatedFile {
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
    pub(super) fn is_part_of(&self, body: &FileBody) -> bool {
        let etag = |if_range: &IfRange| if_range.holds(&body.etag());
        self.part.as_ref().is_some_and(|(_, holds)| etag(holds))
    }

    /// Whether the client has what has this `etag` and was last `modified` then.
    pub(super) fn not_modified(&self, etag: &[u8], modified: Option<SystemTime>) -> bool {
        self.preconditions.not_modified(etag, modified)
    }

    /// Which part is asked for of what has this `etag`.
    pub(super) fn range_of(&self, etag: &[u8]) -> Option<&ByteRange> {
        let part = self.part.as_ref().filter(|(_, holds)| holds.holds(etag));
        part.map(|(range, _)| range)
    }

    /// Whether a part is asked for if the file is that of which the client has the rest.
    pub(super) fn is_maybe_part(&self) -> bool {
        self.part.is_some()
    }
}

/// The answer that carries this file; all of it, whatever part of it was asked for.
pub(super) fn answer(negotiated: &NegotiatedFile, found: Found<FileBody>) -> Answer {
    let (body, outcome) = (found.value, found.outcome);
    let (etag, form) = (body.etag(), FileForm::of(body.key()));
    if negotiated.preconditions.not_modified(&etag, None) {
        return not_modified(outcome, etag, form);
    }
    let answer = Answer::ok(outcome, form.media.clone(), body.into());
    described(answer, etag, form)
}

/// The answer to a request for a part of this file, which has `length` bytes.
pub(super) fn part(negotiated: &NegotiatedFile, found: Found<FileBody>, length: u64) -> Answer {
    let etag = found.value.etag();
    let range = match &negotiated.part {
        // Section 13.2.2: If-None-Match comes first.
        Some((range, _)) if !negotiated.preconditions.not_modified(&etag, None) => range,
        Some(_) | None => return answer(negotiated, found),
    };
    let (body, outcome) = (found.value, found.outcome);
    match range.within(length) {
        Extent::Part(part) => {
            let form = FileForm::of(body.key());
            let mut answer = Answer::ok(outcome, form.media.clone(), BodySource::part(body, part));
            answer.status = StatusCode::PARTIAL_CONTENT;
            say_range(&mut answer, part.content_range());
            described(answer, etag, form)
        }
        Extent::Nothing => {
            let what = body.key();
            let why =
                format!("the file of {what} has only {length} bytes; ask for a part of these.\n");
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
pub(super) fn redirect(negotiated: &NegotiatedFile, found: Found<FileLink>) -> Result<Answer> {
    let etag = found.value.etag();
    if negotiated.preconditions.not_modified(&etag, None) {
        let form = FileForm::of(found.value.key());
        return Ok(not_modified(found.outcome, etag, form));
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
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) const BYTES: HeaderValue = HeaderValue::from_static("bytes");

pub(super) fn say_range(answer: &mut Answer, range: String) {
    if let Ok(range) = HeaderValue::try_from(range) {
        answer.headers.insert(header::CONTENT_RANGE, range);
    }
}

/// What a file is, and for how long who has it may keep it.
struct FileForm {
    media: HeaderValue,
    keep: HeaderValue,
}

impl FileForm {
    fn of(key: &FileKey) -> Self {
        let (media, keep) = match key {
            FileKey::Crate(_) => (GZIP, IMMUTABLE),
            FileKey::Toolchain(ToolchainKey { item, .. }) => {
                let keep = match item.path_of().moves() {
                    true => NO_CACHE,
                    false => IMMUTABLE,
                };
                (media_of(item), keep)
            }
        };
        Self { media, keep }
    }
}

fn media_of(item: &ToolchainItem) -> HeaderValue {
    match item {
        ToolchainItem::Component(file) => match file.name.as_str().rsplit_once('.') {
            Some((_, "gz")) => GZIP,
            Some((_, "xz")) => HeaderValue::from_static("application/x-xz"),
            Some((_, "zst")) => HeaderValue::from_static("application/zstd"),
            Some(_) | None => OCTETS,
        },
        ToolchainItem::Init(_) => OCTETS,
    }
}

fn not_modified(outcome: Outcome, etag: Bytes, form: FileForm) -> Answer {
    let mut answer = Answer::ok(outcome, form.media.clone(), BodySource::Empty);
    answer.status = StatusCode::NOT_MODIFIED;
    answer.headers.remove(header::CONTENT_TYPE);
    described(answer, etag, form)
}

/// With what is said of a file however it is given. Cargo takes no notice of the tag; whoever goes on with a download that broke off needs it.
fn described(mut answer: Answer, etag: Bytes, form: FileForm) -> Answer {
    let headers = &mut answer.headers;
    headers.insert(header::CACHE_CONTROL, form.keep);
    headers.insert(header::ACCEPT_RANGES, BYTES);
    // Ours are ASCII, and share their bytes.
    if let Ok(etag) = HeaderValue::from_maybe_shared(etag) {
        headers.insert(header::ETAG, etag);
    }
    answer
}
