//! Files whose checksum is known, such as .crate files: one download, chunk by chunk, from any offset on.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{answer::UpstreamAnswer, denied::says_denied, registry::Upstream};
use crate::{
    domain::{CrateKey, FileKey},
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// A file on its way from upstream.
pub struct FileStream {
    answer: UpstreamAnswer,
    /// How many bytes of the body still belong to what the asker has already.
    skip: u64,
    /// The whole file's size, if upstream says it.
    length: Option<u64>,
}

/// What a download that broke off has got already.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// So many bytes from the start.
    pub offset: u64,
    /// The strong validator of what they are a part of (RFC 9110, section 13.1.5, wants one for `If-Range`).
    pub validator: Option<HeaderValue>,
}

impl Upstream {
    /// Asks for a file, or the rest of it: by range where upstream supports it, and else from the start with what is there already passed
    /// over. Doesn't repeat what fails: the caller knows what has arrived already.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when upstream doesn't have it, [`Kind::Denied`](crate::error::Kind::Denied) when it is a mirror whose rules
    /// refuse it, else one of the upstream kinds.
    pub async fn fetch_file(&self, key: &FileKey, resume: &Resume) -> Result<FileStream> {
        let (url, kind) = match key {
            FileKey::Crate(CrateKey { id, sha256, .. }) => {
                (self.dl().await?.url(id, sha256)?, UpstreamKind::Crate)
            }
            FileKey::Toolchain(key) => (
                self.toolchain_url(&key.item.path_of())?,
                UpstreamKind::Component,
            ),
        };
        self.surroundings.note(&url);
        let mut request = self
            .http
            .get(url)
            // It is compressed; encoded once more or decoded on the way it would fail its checksum.
            .header(header::ACCEPT_ENCODING, "identity");
        if let (1.., Some(validator)) = (resume.offset, &resume.validator) {
            request = request
                .header(header::RANGE, format!("bytes={}-", resume.offset))
                .header(header::IF_RANGE, validator);
        }
        let what = format!("the file of {key}");
        let mut answer = self.send(kind, request).await?;
        let (skip, length) = match answer.status() {
            StatusCode::OK => (resume.offset, answer.content_length()),
            StatusCode::PARTIAL_CONTENT if starts_at(answer.headers()) == Some(resume.offset) => (
                0,
                answer
                    .content_length()
                    .map(|rest| resume.offset.saturating_add(rest)),
            ),
            _ if says_denied(&answer) => {
                return Err(self.denied(answer, &what).await);
            }
            // To who has shown a credential it says that this isn't enough.
            StatusCode::FORBIDDEN if answer.knows_us() => {
                return Err(self.unexpected(&answer, &what));
            }
            // Object stores answer 403 for what isn't there when listing is forbidden.
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::FORBIDDEN
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
                return Err(Error::absent(format!(
                    "{} answered {} for {what}, although {}",
                    self.host(answer.url()),
                    answer.status(),
                    listed(key)
                )));
            }
            _ => return Err(self.unexpected(&answer, &what)),
        };
        answer.repeats(skip);
        Ok(FileStream {
            answer,
            skip,
            length,
        })
    }

    /// The next bytes of a download; `None` at its end.
    ///
    /// # Errors
    /// One of the upstream kinds when the download breaks off or stalls.
    pub async fn next(&self, stream: &mut FileStream) -> Result<Option<Bytes>> {
        while let Some(mut chunk) = self.chunk(&mut stream.answer).await? {
            let skipped = stream.skip.min(chunk.len() as u64);
            stream.skip -= skipped;
            let rest = chunk.split_off(usize::try_from(skipped).unwrap_or(chunk.len()));
            if !rest.is_empty() {
                return Ok(Some(rest));
            }
        }
        Ok(None)
    }
}

impl FileStream {
    /// The whole file's size, if upstream says it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// All of the file has come, whatever becomes of the rest of the answer: that says nothing against the host.
    pub fn is_whole(&mut self) {
        self.answer.succeeded();
    }

    /// What can prove later that a part asked for belongs to the same file: a strong ETag.
    pub fn validator(&self) -> Option<HeaderValue> {
        let etag = self.answer.headers().get(header::ETAG)?;
        etag.as_bytes().starts_with(b"\"").then(|| etag.clone())
    }
}

/// How it is known that there should be such a file.
fn listed(key: &FileKey) -> &'static str {
    match key {
        FileKey::Crate(_) => "its index lists this version",
        FileKey::Toolchain(_) => "it has told what that file hashes to",
    }
}

/// Where the part in a 206 starts: `Content-Range: bytes 100-199/200`, with `*` for a length nobody knows (RFC 9110, section 14.4). Only ever asked for
/// when something is there already, so never at zero.
pub fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (unit, range) = range.split_once(' ')?;
    let (part, length) = range.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let within = length == "*" || number(length).is_some_and(|length| last < length);
    let valid = unit.eq_ignore_ascii_case("bytes") && first <= last && within;
    (valid && first > 0).then_some(first)
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
