//! [`Access`]: what is known of one request, to be counted and logged when its answer has gone out.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, Version, header, request};

use super::{pieces::PIECE, watch::InFlight};
use crate::{
    domain::Outcome,
    metrics::{Metrics, Protocol, RouteLabel},
};

/// The target of access lines, for log filters: `access=off`.
pub(super) const TARGET: &str = "access";

/// One request and how it is going. Counted and logged when dropped, which is when its answer is out or its client gone.
pub(super) struct Access {
    pub(super) method: Method,
    uri: Uri,
    user_agent: Option<HeaderValue>,
    protocol: Protocol,
    started: Instant,
    metrics: Arc<Metrics>,
    pub(super) route: RouteLabel,
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    pub(super) bytes: u64,
    /// Whether the answer went out whole.
    pub(super) complete: bool,
    in_flight: InFlight,
}

impl Access {
    pub(super) fn new(
        request: &request::Parts,
        metrics: Arc<Metrics>,
        in_flight: InFlight,
    ) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            user_agent: request.headers.get(header::USER_AGENT).cloned(),
            protocol: match request.version {
                Version::HTTP_2 => Protocol::Http2,
                _ => Protocol::Http1,
            },
            started: Instant::now(),
            metrics,
            route: RouteLabel::Unknown,
            status: StatusCode::OK,
            outcome: Outcome::Hit,
            bytes: 0,
            complete: true,
            in_flight,
        }
    }
}

impl Access {
    /// The next bytes of the answer, taken off the front of `waiting`, in the form and size that the protocol is to be given them.
    pub(super) fn hand_over(&self, waiting: &mut Bytes) -> Bytes {
        match self.protocol {
            Protocol::Http1 => std::mem::take(waiting),
            Protocol::Http2 => {
                let piece = waiting.split_to(waiting.len().min(PIECE));
                self.in_flight.hand_over(piece)
            }
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics
            .request(self.route, self.outcome, self.protocol, took);
        self.metrics.served_bytes.inc_by(self.bytes);
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return;
        }
        let user_agent = self
            .user_agent
            .as_ref()
            .map(|v| String::from_utf8_lossy(v.as_bytes()));
        tracing::info!(
            target: TARGET,
            method = self.method.as_str(),
            path = self.uri.path(),
            status = self.status.as_u16(),
            outcome = self.outcome.as_str(),
            bytes = self.bytes,
            duration_ms = (took.as_micros() as f64) / 1000.0,
            protocol = self.protocol.as_str(),
            user_agent = user_agent.as_deref().unwrap_or("-"),
            complete = self.complete,
        );
    }
}
