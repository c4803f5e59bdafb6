//! .crate files as answers. Never encoded: a .crate is a gzip file whose bytes are what its checksum is about.

use http::{HeaderValue, header};

use super::{body::Source, respond::Answer};
use crate::mirror::{CrateBody, Found};

/// The answer that carries this file.
pub(super) fn answer(found: Found<CrateBody>) -> Answer {
    let gzip = HeaderValue::from_static("application/gzip");
    let mut answer = Answer::ok(found.outcome, gzip, Source::from(found.value));
    // What crates.io says of its own files: a version's content never changes.
    let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
    answer.headers.insert(header::CACHE_CONTROL, immutable);
    answer
}
