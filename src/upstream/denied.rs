//! A denial by an upstream that is a mirror with rules of its own: what it says of that goes on to who asked.

use bytes::Bytes;
use http::StatusCode;

use super::{answer::UpstreamAnswer, body::Encoding, registry::Upstream};
use crate::{
    domain::{Outcome, one_line},
    error::{Error, Kind},
};

/// No more is read of it. A mirror's sentence is an eighth of that.
const MOST_READ: usize = 4 << 10;
/// No more is said, in bytes: cargo prints 512 characters, the full stop among them.
const MOST_SAID: usize = 511;
/// What the audit log calls the rules of whoever stands behind this mirror.
const RULE: &str = "upstream";

/// Whether this is a mirror's word that its rules refuse what was asked for, in a sentence: `x-cache: denied`, which neither crates.io nor a proxy says.
pub(super) fn says_denied(answer: &UpstreamAnswer) -> bool {
    let value = |name: &str| answer.headers().get(name)?.to_str().ok();
    answer.status() == StatusCode::FORBIDDEN
        && value("x-cache") == Some(Outcome::Denied.as_str())
        && value("content-type").is_some_and(|kind| kind.starts_with("text/plain"))
}

impl Upstream {
    /// The denial of `what`, with its sentence and whose it is.
    pub(super) async fn denied(&self, mut answer: UpstreamAnswer, what: &str) -> Error {
        let body = match Encoding::of(answer.headers()) {
            Some(Encoding::Identity) => self.whole(&mut answer, MOST_READ).await,
            // Nobody has offered to take an error in another form.
            Some(Encoding::Gzip) | None => Ok(Bytes::new()),
        };
        let body = body.unwrap_or_default();
        let said = one_line(&String::from_utf8_lossy(&body), MOST_SAID);
        let host = self.host_name(answer.url());
        let said = match said.trim_end_matches('.') {
            "" => format!("{host} keeps {what} out by its rules (403)"),
            said => format!("{host} says: {said}"),
        };
        Error::new(Kind::Denied, one_line(&said, MOST_SAID)).by_rule(RULE.into())
    }
}
