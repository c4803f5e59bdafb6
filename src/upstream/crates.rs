//! .crate files: one download, chunk by chunk, from any offset on.

use bytes::Bytes;
use http::{StatusCode, header};
use reqwest::Response;
use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Upstream};
use crate::{
    domain::{CrateId, Sha256},
    error::{Error, Result},
    metrics::UpstreamKind,
};

/// A .crate file on its way from upstream.
pub struct CrateStream {
    response: Response,
    _place: OwnedSemaphorePermit,
    /// How many bytes of the body still belong to what the asker has already.
    skip: u64,
    /// The whole file's size, if upstream says it.
    length: Option<u64>,
}

impl Upstream {
    /// Asks for a .crate file, to be read from byte `offset` on. Doesn't repeat what fails: the caller knows what has arrived already.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when upstream doesn't have it, else one of the upstream kinds.
    pub async fn fetch_crate(
        &self,
        id: &CrateId,
        sha256: &Sha256,
        offset: u64,
    ) -> Result<CrateStream> {
        let url = self.dl().await?.url(id, sha256)?;
        let request = self
            .http
            .get(url)
            // A .crate file is a gzip file; encoded once more or decoded on the way it would fail its checksum.
            .header(header::ACCEPT_ENCODING, "identity");
        let Answer { response, place } = self.send(UpstreamKind::Crate, request).await?;
        match response.status() {
            StatusCode::OK => Ok(CrateStream {
                length: response.content_length(),
                response,
                _place: place,
                skip: offset,
            }),
            // Object stores answer 403 for what isn't there when listing is forbidden.
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::FORBIDDEN
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => Err(Error::absent(format!(
                "{} answered {} for the file of {id}, although its index lists this version",
                self.host(response.url()),
                response.status()
            ))),
            _ => Err(self.unexpected(&response, &format!("the file of {id}"))),
        }
    }

    /// The next bytes of a download; `None` at its end.
    ///
    /// # Errors
    /// One of the upstream kinds when the download breaks off or stalls.
    pub async fn next(&self, stream: &mut CrateStream) -> Result<Option<Bytes>> {
        while let Some(mut chunk) = self.chunk(&mut stream.response).await? {
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

impl CrateStream {
    /// The whole file's size, if upstream says it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}
