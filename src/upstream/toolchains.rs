//! What says which files a toolchain has: channel manifests, their checksums, and which rustup is the newest.

use bytes::Bytes;
use http::{StatusCode, header};
use url::Url;

use super::{answer::UpstreamAnswer, denied::says_denied, index::validators, registry::Upstream};
use crate::{
    domain::{Precondition, Validators, toolchain::ToolchainPath},
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// What a distribution host says when it is asked for such a text.
pub enum FetchedText {
    /// There is a body.
    New(Box<TextStream>),
    /// What we have is current.
    NotModified,
    /// There is no such file.
    Absent,
}

/// A text on its way from a distribution host.
pub struct TextStream {
    answer: UpstreamAnswer,
    received: usize,
    validators: Validators,
}

impl TextStream {
    /// What to ask with next time.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }
}

impl Upstream {
    /// Where that is on this host.
    pub(super) fn toolchain_url(&self, path: &ToolchainPath) -> Result<Url> {
        let url = self.index.join(&path.path());
        url.map_err(|e| Error::internal(format!("no URL for {path}")).caused_by(e))
    }

    /// Asks for a text, conditionally if `known` allows. Doesn't repeat what fails: the caller reads the body, which may fail as well.
    ///
    /// # Errors
    /// One of the upstream kinds of [`Kind`](crate::error::Kind), and [`Kind::Denied`](crate::error::Kind::Denied) when upstream is a mirror that may not give it.
    pub async fn fetch_text(
        &self,
        path: &ToolchainPath,
        known: &Validators,
    ) -> Result<FetchedText> {
        let request = self
            .http
            .get(self.toolchain_url(path)?)
            // They are passed on byte for byte, and hashed.
            .header(header::ACCEPT_ENCODING, "identity");
        let request = match known.precondition() {
            Precondition::NoneMatch(etag) => request.header(header::IF_NONE_MATCH, etag),
            Precondition::ModifiedSince(date) => request.header(header::IF_MODIFIED_SINCE, date),
            Precondition::None => request,
        };
        let answer = self.send(UpstreamKind::Manifest, request).await?;
        match answer.status() {
            StatusCode::OK => {
                let validators = validators(answer.headers());
                Ok(FetchedText::New(Box::new(TextStream {
                    answer,
                    received: 0,
                    validators,
                })))
            }
            StatusCode::NOT_MODIFIED if known.precondition() != Precondition::None => {
                Ok(FetchedText::NotModified)
            }
            _ if says_denied(&answer) => Err(self.denied(answer, &path.to_string()).await),
            // To who has shown a credential it says that this isn't enough.
            StatusCode::FORBIDDEN if answer.knows_us() => {
                Err(self.unexpected(&answer, &path.to_string()))
            }
            // Object stores answer 403 for what isn't there when listing is forbidden.
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::FORBIDDEN
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => Ok(FetchedText::Absent),
            _ => Err(self.unexpected(&answer, &path.to_string())),
        }
    }

    /// The next bytes of a text, which may have `limit` in all; `None` at its end.
    ///
    /// # Errors
    /// One of the upstream kinds when it breaks off, stalls or is too large.
    pub async fn next_of_text(
        &self,
        stream: &mut TextStream,
        limit: usize,
    ) -> Result<Option<Bytes>> {
        let chunk = self.chunk(&mut stream.answer).await?;
        stream.received += chunk.as_ref().map_or(0, Bytes::len);
        match stream.received <= limit {
            true => Ok(chunk),
            false => Err(self.too_large(&stream.answer, limit)),
        }
    }
}
