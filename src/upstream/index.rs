//! Index files: conditional requests and what they bring.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    Upstream,
    answer::Answer,
    body::{Encoding, gunzip},
};
use crate::{
    allowance::Lease,
    domain::{IndexPath, Precondition, Validators},
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// The largest index file taken, decoded; the largest on crates.io is about 5 MB.
const MAX_INDEX: usize = 64 << 20;
/// How well index files compress, at the least: what a gzipped body may become in memory.
const USUAL_RATIO: u64 = 12;
/// What is set aside for a body that doesn't say its size.
const UNKNOWN_SIZE: u64 = 1 << 20;

/// What upstream says of an index file.
pub enum Fetched {
    /// A body, decoded but not yet looked into.
    New {
        /// The body.
        body: Bytes,
        /// The body as it came, if it came gzipped in a form that can be passed on.
        gzip: Option<Bytes>,
        /// The memory set aside for it and for what will be made of it.
        lease: Lease,
        /// What to ask with next time.
        validators: Validators,
    },
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

impl Upstream {
    /// Asks for an index file, conditionally if `known` allows, repeating what fails.
    ///
    /// # Errors
    /// One of the upstream kinds of [`Kind`](crate::error::Kind).
    pub async fn fetch_index(&self, path: IndexPath, known: &Validators) -> Result<Fetched> {
        let mut attempts = self.attempts();
        loop {
            match self.try_index(path, known).await {
                Err(e) if attempts.again(&e).await => {}
                done => return done,
            }
        }
    }

    async fn try_index(&self, path: IndexPath, known: &Validators) -> Result<Fetched> {
        let url = self.index.join(&path.to_string());
        let url = url.map_err(|e| Error::internal(format!("no URL for {path}: {e}")))?;
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
            StatusCode::OK => match self.read_index(response).await? {
                Fetched::New { body, .. } if body.is_empty() => {
                    Ok(self.empty(StatusCode::OK, path))
                }
                fetched => Ok(fetched),
            },
            StatusCode::NO_CONTENT => Ok(self.empty(StatusCode::NO_CONTENT, path)),
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
            _ => Err(self.unexpected(&response, &format!("the index file {path}"))),
        }
    }

    fn empty(&self, status: StatusCode, path: IndexPath) -> Fetched {
        let said = format!(
            "{} answered {status} with an empty body when asked for the index file {path}",
            self.host(&self.index)
        );
        tracing::warn!("{said}");
        Fetched::Empty(Error::upstream_fault(said))
    }

    /// Reads and decodes the body once there is memory for it.
    async fn read_index(&self, mut response: Answer) -> Result<Fetched> {
        let encoding = Encoding::of(response.headers()).ok_or_else(|| {
            self.unexpected(&response, "an index file, in an encoding nobody offered")
        })?;
        let expected = match (response.content_length(), encoding) {
            (Some(length), Encoding::Identity) => length,
            (Some(length), Encoding::Gzip) => length.saturating_mul(USUAL_RATIO),
            (None, _) => UNKNOWN_SIZE,
        };
        let lease = self.allowance.take(expected.saturating_mul(2)).await?;
        let validators = validators(response.headers());
        let wire = self.whole(&mut response, MAX_INDEX).await?;
        let (body, gzip) = match encoding {
            Encoding::Identity => (wire, None),
            Encoding::Gzip => {
                let decode = move || gunzip(&wire, MAX_INDEX).map(|decoded| (decoded, wire));
                let decoded = tokio::task::spawn_blocking(decode).await;
                let (decoded, wire) = decoded
                    .map_err(|e| Error::internal(format!("decoding ended early: {e}")))??;
                (decoded.body, decoded.is_plain.then_some(wire))
            }
        };
        Ok(Fetched::New {
            body,
            gzip,
            lease,
            validators,
        })
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
