//! [`Access`]: what is known of one request, to be counted and logged when its answer has gone out.

use std::{net::IpAddr, time::Instant};

use bytes::Bytes;
use http::{StatusCode, header, request};

use crate::{
    domain::{Outcome, Principal, loggable_path},
    metrics::RouteLabel,
    traces::{RequestEnd, RequestSpan},
    transport::{InFlight, Standing, UnsentChunk},
    zero_copy::Content,
};

/// The target of access lines, for log filters: `access=off`.
pub(super) const TARGET: &str = "access";

/// One request and how it is going. Counted and logged when dropped, which is when its answer is out or its client gone.
pub(super) struct Access {
    /// What its log line says of it, if there is to be one.
    line: Option<LogLine>,
    /// Who asks, where that has to be shown.
    pub(super) who: Option<Principal>,
    started: Instant,
    pub(super) route: RouteLabel,
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    pub(super) bytes: u64,
    /// Whether the answer went out whole.
    pub(super) complete: bool,
    in_flight: InFlight,
    /// What a trace says of it, where there are traces.
    pub(super) span: RequestSpan,
}

/// What only the log wants to know of a request.
struct LogLine {
    client: IpAddr,
    /// Its method, path and user agent, one after the other. Copied: a handle on one of them would keep the whole head in memory.
    text: Box<str>,
    path: usize,
    agent: usize,
}

/// How much of a method is logged, in bytes: more than any that is known has.
const METHOD: usize = 16;
/// The same for a path: more than any that means something has.
const PATH: usize = 1 << 10;
/// The same for a user agent.
const AGENT: usize = 256;

impl LogLine {
    fn of(request: &request::Parts, client: IpAddr) -> Self {
        let method = beginning(request.method.as_str(), METHOD);
        let (prefix, path) = loggable_path(request.uri.path());
        let path = beginning(path, PATH);
        let agent = request.headers.get(header::USER_AGENT);
        let agent = agent.map_or("-".into(), |v| String::from_utf8_lossy(v.as_bytes()));
        Self {
            client,
            text: [method, prefix, path, beginning(&agent, AGENT)]
                .concat()
                .into(),
            path: method.len(),
            agent: method.len() + prefix.len() + path.len(),
        }
    }
}

/// As many whole characters from the beginning as `most` bytes have room for.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Access {
    /// A request of the client at that address, which begins now.
    pub(super) fn new(request: &request::Parts, client: IpAddr, in_flight: InFlight) -> Self {
        let is_logged = tracing::enabled!(target: TARGET, tracing::Level::INFO);
        Self {
            line: is_logged.then(|| LogLine::of(request, client)),
            who: None,
            started: Instant::now(),
            route: RouteLabel::Unknown,
            status: StatusCode::OK,
            // Until there is an answer: a client may go away before.
            outcome: Outcome::Miss,
            bytes: 0,
            complete: false,
            in_flight,
            span: RequestSpan::of(&request.method, &request.headers),
        }
    }

    /// Whether there is memory for the request.
    pub(super) fn standing(&self) -> Standing {
        self.in_flight.standing()
    }

    /// The answer's body can be lent to the system.
    pub(super) fn announce(&self, content: Content) {
        self.in_flight.announce(content);
    }

    /// The next bytes of the answer, taken off the front of `waiting`. There are `left` bytes to come, these included, if that is known.
    pub(super) fn next_chunk(&self, waiting: &mut Bytes, left: Option<u64>) -> UnsentChunk {
        UnsentChunk::next(&self.in_flight, waiting, left)
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let metrics = self.in_flight.metrics();
        let protocol = self.in_flight.protocol();
        metrics.request(self.route, self.outcome, protocol, took);
        metrics.served(self.route, self.status, self.bytes);
        self.span.end(RequestEnd {
            route: self.route.as_str(),
            status: self.status,
            outcome: self.outcome.as_str(),
            bytes: self.bytes,
            complete: self.complete,
        });
        let Some(line) = &self.line else { return };
        tracing::info!(
            target: TARGET,
            client = %line.client,
            who = self.who.as_ref().map(Principal::as_str),
            method = &line.text[..line.path],
            path = &line.text[line.path..line.agent],
            status = self.status.as_u16(),
            outcome = self.outcome.as_str(),
            bytes = self.bytes,
            duration_ms = (took.as_micros() as f64) / 1000.0,
            protocol = protocol.as_str(),
            user_agent = &line.text[line.agent..],
            complete = self.complete,
        );
    }
}
