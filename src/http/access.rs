//! [`Access`]: what is known of one request, to be counted and logged when its answer has gone out.

use std::{net::IpAddr, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, Version, header, request};

use super::{
    pieces::{PIECE, SMALL},
    watch::InFlight,
};
use crate::{
    domain::Outcome,
    metrics::{Protocol, RouteLabel},
};

/// The target of access lines, for log filters: `access=off`.
pub(super) const TARGET: &str = "access";

/// One request and how it is going. Counted and logged when dropped, which is when its answer is out or its client gone.
pub(super) struct Access {
    /// What its log line says of it, if there is to be one.
    line: Option<Box<Line>>,
    protocol: Protocol,
    started: Instant,
    pub(super) route: RouteLabel,
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    pub(super) bytes: u64,
    /// Whether the answer went out whole.
    pub(super) complete: bool,
    in_flight: InFlight,
}

/// What only the log wants to know of a request.
struct Line {
    client: IpAddr,
    method: Method,
    uri: Uri,
    user_agent: Option<HeaderValue>,
}

impl Access {
    /// A request of the client at that address, which begins now.
    pub(super) fn new(request: &request::Parts, client: IpAddr, in_flight: InFlight) -> Self {
        let line = || Line {
            client,
            method: request.method.clone(),
            uri: request.uri.clone(),
            user_agent: request.headers.get(header::USER_AGENT).cloned(),
        };
        let is_logged = tracing::enabled!(target: TARGET, tracing::Level::INFO);
        Self {
            line: is_logged.then(|| Box::new(line())),
            protocol: match request.version {
                Version::HTTP_2 => Protocol::Http2,
                _ => Protocol::Http1,
            },
            started: Instant::now(),
            route: RouteLabel::Unknown,
            status: StatusCode::OK,
            // Until there is an answer: a client may go away before.
            outcome: Outcome::Miss,
            bytes: 0,
            complete: false,
            in_flight,
        }
    }
}

impl Access {
    /// The next bytes of the answer, taken off the front of `waiting`, in the form and size that the protocol is to be given them.
    pub(super) fn hand_over(&self, waiting: &mut Bytes) -> Bytes {
        match self.protocol {
            Protocol::Http1 => std::mem::take(waiting),
            // A client can hold no more of such answers than of streams.
            Protocol::Http2 if waiting.len() <= SMALL && self.bytes == 0 => std::mem::take(waiting),
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
        let metrics = self.in_flight.metrics();
        metrics.request(self.route, self.outcome, self.protocol, took);
        metrics.served_bytes.inc_by(self.bytes);
        let Some(line) = &self.line else { return };
        let user_agent = line
            .user_agent
            .as_ref()
            .map(|v| String::from_utf8_lossy(v.as_bytes()));
        tracing::info!(
            target: TARGET,
            client = %line.client,
            method = line.method.as_str(),
            path = line.uri.path(),
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
