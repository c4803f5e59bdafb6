//! Index files: conditional requests and what they bring.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{answer::UpstreamAnswer, body::Encoding, denied::says_denied, registry::Upstream};
use crate::{
    domain::{IndexPath, Precondition, Validators},
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// What upstream says of an index file.
pub enum Fetched {
    /// There is a body.
    New(Box<IndexStream>),
    /// What we have is current.
    NotModified {
        /// What to ask with next time, if upstream changed its mind (RFC 9110, section 15.4.5).
        validators: Validators,
    },
    /// There is no such crate.
    Absent,
    /// An answer with nothing in it, put into words: to whoever has no copy it says that there is no such crate, as some repository managers do.
    Empty(Error),
}

/// An index file on its way from upstream.
pub struct IndexStream {
    answer: UpstreamAnswer,
    received: usize,
    encoding: Encoding,
    validators: Validators,
}

impl IndexStream {
    /// The largest index file taken, in bytes, on the wire and decoded; the largest on crates.io is about 5 MB.
    pub const MAX_SIZE: usize = 64 << 20;

    /// How it is encoded.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// What to ask with next time.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }
}

impl Upstream {
    /// Asks for an index file, conditionally if `known` allows. Doesn't repeat what fails: the caller reads the body, which may fail as well.
    ///
    /// # Errors
    /// One of the upstream kinds of [`Kind`](crate::error::Kind), and [`Kind::Denied`](crate::error::Kind::Denied) when upstream is a mirror whose rules refuse
    /// the crate.
    pub async fn fetch_index(&self, path: IndexPath, known: &Validators) -> Result<Fetched> {
        let url = self.index.join(&path.to_string());
        let url = url.map_err(|e| Error::internal(format!("no URL for {path}")).caused_by(e))?;
        let request = self
            .http
            .get(url)
            .header(header::ACCEPT, "text/plain")
            .header(header::ACCEPT_ENCODING, "gzip")
            .header("cargo-protocol", "version=1");
        let request = match known.precondition() {
            Precondition::NoneMatch(etag) => request.header(header::IF_NONE_MATCH, etag),
            Precondition::ModifiedSince(date) => request.header(header::IF_MODIFIED_SINCE, date),
            Precondition::None => request,
        };
        let response = self.send(UpstreamKind::Index, request).await?;
        match response.status() {
            StatusCode::OK => self.begin_index(response),
            StatusCode::NO_CONTENT => Ok(Fetched::Empty(self.empty(StatusCode::NO_CONTENT, path))),
            StatusCode::NOT_MODIFIED if known.precondition() != Precondition::None => {
                let told = validators(response.headers());
                Ok(Fetched::NotModified {
                    validators: Validators {
                        etag: told.etag.or_else(|| known.etag.clone()),
                        last_modified: told.last_modified.or_else(|| known.last_modified.clone()),
                    },
                })
            }
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => Ok(Fetched::Absent),
            _ if says_denied(&response) => Err(self
                .denied(response, &format!("the index file {path}"))
                .await),
            _ => Err(self.unexpected(&response, &format!("the index file {path}"))),
        }
    }

    /// What to say of an index file that has come, and has nothing in it.
    pub fn empty_body(&self, path: IndexPath) -> Error {
        self.empty(StatusCode::OK, path)
    }

    /// What to say of an answer with nothing in it where an index file was asked for.
    fn empty(&self, status: StatusCode, path: IndexPath) -> Error {
        let said = format!(
            "{} answered {status} with an empty body when asked for the index file {path}",
            self.host(&self.index)
        );
        tracing::warn!("{said}");
        Error::upstream_fault(said)
    }

    fn begin_index(&self, answer: UpstreamAnswer) -> Result<Fetched> {
        let encoding = Encoding::of(answer.headers()).ok_or_else(|| {
            self.unexpected(&answer, "an index file, in an encoding nobody offered")
        })?;
        let validators = validators(answer.headers());
        Ok(Fetched::New(Box::new(IndexStream {
            answer,
            received: 0,
            encoding,
            validators,
        })))
    }

    /// The next bytes of an index file as they came over the wire; `None` at its end.
    ///
    /// # Errors
    /// One of the upstream kinds when it breaks off, stalls or is too large.
    pub async fn next_of_index(&self, stream: &mut IndexStream) -> Result<Option<Bytes>> {
        let chunk = self.chunk(&mut stream.answer).await?;
        stream.received += chunk.as_ref().map_or(0, Bytes::len);
        match stream.received <= IndexStream::MAX_SIZE {
            true => Ok(chunk),
            false => Err(self.too_large(&stream.answer, IndexStream::MAX_SIZE)),
        }
    }
}

/// Upstream's validators, if they are fit to be sent back.
pub fn validators(headers: &HeaderMap) -> Validators {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let told = Validators {
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
    };
    told.fit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept, it would make a record that can't be read again, and every restart would fetch the file anew.
    #[test]
    fn a_validator_too_long_to_be_stored_is_not_kept() {
        let told = |length| {
            let mut headers = HeaderMap::new();
            let etag = format!("\"{}\"", "x".repeat(length - 2));
            let etag = etag.parse().expect("a header value");
            headers.insert(header::ETAG, etag);
            validators(&headers).etag.map(|etag| etag.len())
        };
        assert_eq!(told(2), Some(2));
        assert_eq!(told(Validators::MAX_LEN), Some(Validators::MAX_LEN));
        assert_eq!(told(Validators::MAX_LEN + 1), None);
        assert_eq!(told(20 << 10), None);
    }
}
