//! Bodies: read with a limit on silence and size, and decoded.

use std::{
    io::{self, BufRead, Read},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use flate2::bufread::{GzDecoder, MultiGzDecoder};
use http::{HeaderMap, header};
use reqwest::Response;

use super::{
    answer::{BodyRead, UpstreamAnswer},
    registry::Upstream,
    trouble::flatten,
};
use crate::error::{Error, Result};

/// What is decoded at once.
const BLOCK: usize = 32 << 10;

/// How a body is encoded on the wire; we only ever offer gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// Gzipped.
    Gzip,
}

impl Encoding {
    /// Reads `Content-Encoding`; `None` when it is one that wasn't offered.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Some(Self::Identity);
        };
        let value = value.to_str().ok()?.trim().to_ascii_lowercase();
        match value.as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

impl Upstream {
    /// The next piece of a body; `None` at its end.
    pub(super) async fn chunk(&self, answer: &mut UpstreamAnswer) -> Result<Option<Bytes>> {
        let silence: Duration = *self.settings.stall_timeout;
        match answer.next(silence).await {
            BodyRead::Here(chunk) => {
                self.metrics.fetched_bytes.inc_by(chunk.len() as u64);
                Ok(Some(chunk))
            }
            BodyRead::End => Ok(None),
            BodyRead::BrokenOff(e) => Err(Error::upstream_unavailable(format!(
                "{} broke off its answer",
                self.host(answer.url())
            ))
            .because(flatten(&e))
            .with_source(e.without_url())),
            BodyRead::Silence => Err(Error::upstream_timeout(format!(
                "{} fell silent for {} in the middle of its answer",
                self.host(answer.url()),
                humantime::format_duration(silence)
            ))),
        }
    }

    /// A whole body of at most `limit` bytes, which is small, as it came over the wire.
    pub(super) async fn whole(&self, answer: &mut UpstreamAnswer, limit: usize) -> Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk(answer).await? {
            if body.len() + chunk.len() > limit {
                return Err(self.too_large(answer, limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    pub(super) fn too_large(&self, response: &Response, limit: usize) -> Error {
        Error::upstream_fault(format!(
            "{} sent more than {} bytes",
            self.host(response.url()),
            limit
        ))
    }
}

/// A gzipped body, decoded.
#[derive(Debug)]
pub struct Gunzipped {
    /// What it decodes to.
    pub body: Bytes,
    /// Whether it is one member and nothing else, which every client understands.
    pub is_plain: bool,
}

/// Decodes a gzipped body of at most `limit` bytes, for which it takes as much memory.
///
/// # Errors
/// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it isn't gzip or decodes to more.
pub fn gunzip(wire: impl BufRead, limit: usize) -> Result<Gunzipped> {
    let mut body = Vec::with_capacity(limit);
    let is_plain = inflate(wire, limit, |piece| body.extend_from_slice(piece))?;
    body.shrink_to_fit();
    Ok(Gunzipped {
        body: body.into(),
        is_plain,
    })
}

/// Shows to `see` piece by piece what a gzipped body decodes to, which may be `limit` bytes. Takes next to no memory. Says whether it is one member and
/// nothing else.
///
/// # Errors
/// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it isn't gzip or decodes to more.
pub fn inflate(wire: impl BufRead, limit: usize, mut see: impl FnMut(&[u8])) -> Result<bool> {
    let mut left = limit;
    let mut first = GzDecoder::new(wire);
    inflate_member(&mut first, &mut left, &mut see)?;
    let mut rest = first.into_inner();
    let is_plain = rest.fill_buf().map_err(|e| no_gzip(&e))?.is_empty();
    if !is_plain {
        inflate_member(&mut MultiGzDecoder::new(rest), &mut left, &mut see)?;
    }
    Ok(is_plain)
}

fn inflate_member(
    decoder: &mut impl Read,
    left: &mut usize,
    see: &mut impl FnMut(&[u8]),
) -> Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match decoder.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                *left = left.checked_sub(length).ok_or_else(|| {
                    Error::upstream_fault("upstream sent a body that decodes to more than it may")
                })?;
                see(&block[..length]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(no_gzip(&e)),
        }
    }
}

fn no_gzip(error: &io::Error) -> Error {
    Error::upstream_fault(format!(
        "upstream sent a body that is not the gzip it claims to be: {error}"
    ))
    .with_io_source(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn a_gzip_bomb_is_refused() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(gunzip(&*bomb, 1 << 20).is_ok());
        assert!(gunzip(&*bomb, (1 << 20) - 1).is_err());
    }

    #[test]
    fn only_one_member_alone_is_plain() {
        let (one, two) = (gzip(b"a line\n"), gzip(b"another\n"));
        let plain = gunzip(&*one, 1000).expect("gzip");
        assert_eq!((&plain.body[..], plain.is_plain), (&b"a line\n"[..], true));
        let both = gunzip(&*[one, two].concat(), 1000).expect("gzip");
        assert_eq!(
            (&both.body[..], both.is_plain),
            (&b"a line\nanother\n"[..], false)
        );
    }

    #[test]
    fn a_truncated_gzip_body_is_refused() {
        let whole = gzip(b"a line\n");
        for length in 1..whole.len() {
            assert!(gunzip(&whole[..length], 1000).is_err(), "{length}");
        }
    }
}
