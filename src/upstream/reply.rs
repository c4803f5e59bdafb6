//! [`Answer`]: an answer whose head has come, and what its body says about the host: one that answers heads and then stalls isn't well.

use std::{ops::Deref, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use reqwest::Response;
use tokio::time::Instant;

use super::{breaker::Pass, words::Failure};
use crate::error::Error;

/// A body that breaks off after so many new bytes has got on; asked again it gets on further. A large file over a bad line is no sign that the host is
/// down.
const PROGRESS: u64 = 16 << 10;

/// An answer whose head has come.
pub(super) struct Answer {
    response: Response,
    /// The word on the host is still out.
    pass: Option<Pass>,
    /// How many bytes have come, less those that had come before.
    new: i64,
}

/// What became of the next piece of a body.
pub(super) enum Piece {
    Here(Bytes),
    End,
    BrokenOff(reqwest::Error),
    Silence,
}

impl Answer {
    /// An answer for which the host was asked with `pass`. Without a body the host has done what it had to.
    pub(super) fn new(response: Response, pass: Pass) -> Self {
        let has_body = matches!(
            response.status(),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT
        );
        let pass = match has_body {
            true => Some(pass),
            false => {
                pass.succeeded();
                None
            }
        };
        Self {
            response,
            pass,
            new: 0,
        }
    }

    /// So many of the first bytes have come before, with an earlier answer: they are no progress.
    pub(super) fn repeats(&mut self, bytes: u64) {
        self.new = self.new.saturating_sub_unsigned(bytes);
    }

    /// The next piece of the body, if it doesn't keep us waiting longer than `silence`.
    pub(super) async fn next(&mut self, silence: Duration) -> Piece {
        match tokio::time::timeout(silence, self.response.chunk()).await {
            Ok(Ok(Some(piece))) => {
                self.new = self.new.saturating_add_unsigned(piece.len() as u64);
                // All wait for a probe; a large file must not keep them waiting to its end.
                if self.has_progress() && self.pass.as_ref().is_some_and(Pass::is_probe) {
                    self.succeeded();
                }
                Piece::Here(piece)
            }
            Ok(Ok(None)) => {
                self.succeeded();
                Piece::End
            }
            Ok(Err(e)) => {
                self.failed();
                Piece::BrokenOff(e)
            }
            Err(_) => {
                self.failed();
                Piece::Silence
            }
        }
    }

    fn has_progress(&self) -> bool {
        u64::try_from(self.new).is_ok_and(|new| new >= PROGRESS)
    }

    fn succeeded(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass.succeeded();
        }
    }

    fn failed(&mut self) {
        let progress = self.has_progress();
        if let Some(pass) = self.pass.take()
            && !progress
        {
            let broken = Error::upstream_unavailable("it keeps breaking off its answers");
            pass.failed(Failure::Object, &broken, Instant::now());
        }
    }
}

impl Deref for Answer {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

impl Drop for Answer {
    /// Not read to its end, because it isn't what was asked for: the host answers, and what it says is another matter.
    fn drop(&mut self) {
        self.succeeded();
    }
}
