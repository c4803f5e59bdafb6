//! What rustup is answered: texts as upstream sent them, and files.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{
    body::BodySource,
    files::{self, NegotiatedFile},
    range::Extent,
    requested::RequestedFile,
    respond::{Answer, IMMUTABLE, NO_CACHE, TEXT},
    route::Verb,
};
use crate::{
    audit::AuditedFile,
    domain::{
        Outcome, RegistryName,
        toolchain::{ToolchainItem, ToolchainPath},
    },
    error::{Error, Result},
    mirror::{Found, Mirror, ServedText, ToolchainAnswer, ToolchainAsker},
};

const TOML: HeaderValue = HeaderValue::from_static("application/toml");

/// The answer that carries what was found, all of it.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when it has to be written down and can't be.
pub(super) fn answer(
    path: &ToolchainPath,
    requested: RequestedFile,
    found: Found<ToolchainAnswer>,
) -> Result<Answer> {
    let Found { value, outcome } = found;
    match value {
        ToolchainAnswer::Text(served) => Ok(text(path, &requested.negotiated, served, outcome)),
        ToolchainAnswer::File(value) => requested.whole(Found { value, outcome }),
    }
}

/// The answer with what isn't in memory, or with a part of it.
///
/// # Errors
/// Why it can't be had.
pub(super) async fn deferred(
    mirror: &Mirror,
    path: &ToolchainPath,
    asker: &ToolchainAsker,
    verb: Verb,
    requested: RequestedFile,
    now: SystemTime,
) -> Result<Answer> {
    if let Some(found) = mirror.toolchain_link(path, verb.into(), now).await? {
        return requested.elsewhere(found);
    }
    let Found { value, outcome } = match (mirror.toolchain(path, asker, now).await, item(path)) {
        (Ok(found), _) => found,
        (Err(e), Some(item)) => {
            let file = AuditedFile::Toolchain(item);
            return Err(requested.refused(e, RegistryName::toolchains(), file));
        }
        (Err(e), None) => return Err(e),
    };
    match value {
        ToolchainAnswer::Text(served) => Ok(text(path, &requested.negotiated, served, outcome)),
        ToolchainAnswer::File(value) => {
            let found = Found { value, outcome };
            requested.whole_or_part(mirror, found).await
        }
    }
}

/// The file that a path asks for, if it asks for one.
pub(super) fn item(path: &ToolchainPath) -> Option<ToolchainItem> {
    match *path {
        ToolchainPath::Component(file) => Some(ToolchainItem::Component(file)),
        ToolchainPath::Init(file) => Some(ToolchainItem::Init(file)),
        ToolchainPath::Manifest(_)
        | ToolchainPath::ManifestSum(_)
        | ToolchainPath::RustupRelease
        | ToolchainPath::InitSum(_) => None,
    }
}

/// A text, or a part of it. It is whole and was checked, so that any part of it may go out.
fn text(
    path: &ToolchainPath,
    negotiated: &NegotiatedFile,
    served: ServedText,
    outcome: Outcome,
) -> Answer {
    let media = match path {
        ToolchainPath::Manifest(_) | ToolchainPath::RustupRelease => TOML,
        ToolchainPath::ManifestSum(_)
        | ToolchainPath::InitSum(_)
        | ToolchainPath::Component(_)
        | ToolchainPath::Init(_) => TEXT,
    };
    let length = served.bytes.len() as u64;
    let mut answer = if negotiated.not_modified(&served.etag, Some(served.modified_at)) {
        let mut answer = Answer::ok(outcome, media, BodySource::Empty);
        answer.status = StatusCode::NOT_MODIFIED;
        answer.headers.remove(header::CONTENT_TYPE);
        answer
    } else {
        match negotiated.range_of(&served.etag).map(|r| r.within(length)) {
            None => Answer::ok(outcome, media, served.bytes.clone().into()),
            Some(Extent::Part(part)) => {
                // A text in memory is shorter than memory.
                let bytes = served
                    .bytes
                    .slice(part.first() as usize..part.end() as usize);
                let mut answer = Answer::ok(outcome, media, bytes.into());
                answer.status = StatusCode::PARTIAL_CONTENT;
                files::say_range(&mut answer, part.content_range());
                answer
            }
            Some(Extent::Nothing) => {
                let why = format!("{path} has only {length} bytes; ask for a part of these.\n");
                let mut answer = Answer::ok(outcome, TEXT, Bytes::from(why).into());
                answer.status = StatusCode::RANGE_NOT_SATISFIABLE;
                files::say_range(&mut answer, format!("bytes */{length}"));
                answer.headers.insert(header::CACHE_CONTROL, NO_CACHE);
                return answer;
            }
        }
    };
    let keep = match path.moves() {
        true => NO_CACHE,
        false => IMMUTABLE,
    };
    let headers = &mut answer.headers;
    headers.insert(header::CACHE_CONTROL, keep);
    headers.insert(header::ACCEPT_RANGES, files::BYTES);
    // Ours are ASCII, and share their bytes.
    if let Ok(etag) = HeaderValue::from_maybe_shared(served.etag) {
        headers.insert(header::ETAG, etag);
    }
    let date = httpdate::fmt_http_date(served.modified_at);
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    answer
}

/// What to say when a toolchain is asked for at the address of the pages.
pub(super) fn not_here() -> Error {
    Error::not_found(
        "here are the pages only (`server.admin_listen`); ask for toolchains on `server.listen`",
    )
}
