//! [`UpstreamAnswer`]: an answer whose head has come. How its body ends is told to the host's circuit, because a host that sends heads and then stalls isn't well.

use std::{ops::Deref, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use reqwest::Response;
use tokio::time::Instant;

use crate::{
    circuit::{CircuitPass, Failure, HostNote},
    error::Error,
};

/// A body that breaks off after so many new bytes is no failure of the host: asked again, it gets further. That is how a large file comes over a bad line.
const PROGRESS: u64 = 16 << 10;

/// An answer whose head has come.
pub(super) struct UpstreamAnswer {
    response: Response,
    /// Until the host's circuit has been told how this ended.
    pass: Option<CircuitPass>,
    host: HostNote,
    /// Whether it is the answer to a request that carried this mirror's credential.
    knows_us: bool,
    /// How many bytes have come that hadn't come with an earlier answer.
    new: i64,
    broken_off: bool,
}

/// What became of the next piece of a body.
pub(super) enum BodyRead {
    Here(Bytes),
    End,
    BrokenOff(reqwest::Error),
    Silence,
}

impl UpstreamAnswer {
    /// An answer for which the host was asked with `pass`. Without a body the host has done what it had to.
    pub(super) fn new(response: Response, pass: CircuitPass) -> Self {
        let has_body = matches!(
            response.status(),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT
        );
        let host = pass.host();
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
            host,
            knows_us: false,
            new: 0,
            broken_off: false,
        }
    }

    /// The request carried this mirror's credential, or didn't.
    pub(super) fn with_knows_us(mut self, knows_us: bool) -> Self {
        self.knows_us = knows_us;
        self
    }

    /// Whether the request carried this mirror's credential.
    pub(super) fn knows_us(&self) -> bool {
        self.knows_us
    }

    /// Notes that it is of no use, for whoever looks why that host fails.
    pub(super) fn note_failure(&self, error: &Error) {
        self.host.failure(error, Instant::now());
    }

    /// So many of the first bytes have come before, with an earlier answer: they don't count as progress.
    pub(super) fn repeats(&mut self, bytes: u64) {
        self.new = self.new.saturating_sub_unsigned(bytes);
    }

    /// The next piece of the body, if it doesn't keep us waiting longer than `silence`.
    pub(super) async fn next(&mut self, silence: Duration) -> BodyRead {
        match tokio::time::timeout(silence, self.response.chunk()).await {
            Ok(Ok(Some(piece))) => {
                self.new = self.new.saturating_add_unsigned(piece.len() as u64);
                // Everybody waits for a probe. A large file must not keep them waiting until it has come.
                if self.has_progress() && self.pass.as_ref().is_some_and(CircuitPass::is_probe) {
                    self.succeeded();
                }
                BodyRead::Here(piece)
            }
            Ok(Ok(None)) => {
                self.succeeded();
                BodyRead::End
            }
            Ok(Err(e)) => {
                self.broken_off = true;
                BodyRead::BrokenOff(e)
            }
            Err(_) => {
                self.broken_off = true;
                BodyRead::Silence
            }
        }
    }

    fn has_progress(&self) -> bool {
        u64::try_from(self.new).is_ok_and(|new| new >= PROGRESS)
    }

    /// The host has done what it had to.
    pub(super) fn succeeded(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass.succeeded();
        }
    }

    fn failed(&mut self) {
        let progress = self.has_progress();
        if let Some(pass) = self.pass.take()
            && !progress
        {
            let broken = Error::upstream_unavailable(
                "it breaks off its answers, or falls silent in the middle of them",
            );
            pass.failed(Failure::Resource, &broken, Instant::now());
        }
    }
}

impl Deref for UpstreamAnswer {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

impl Drop for UpstreamAnswer {
    /// If it wasn't read to its end, it isn't what was asked for. The host has answered, and only that matters to its circuit.
    fn drop(&mut self) {
        match self.broken_off {
            true => self.failed(),
            false => self.succeeded(),
        }
    }
}
