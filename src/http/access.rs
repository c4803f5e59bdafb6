//! [`Access`]: what is known of one request, to be counted and logged when its answer has gone out.

use std::{net::IpAddr, time::Instant};

use bytes::Bytes;
use http::{StatusCode, Version, header, request};

use crate::{
    domain::Outcome,
    metrics::{Protocol, RouteLabel},
    transport::{
        chunk::Data,
        stall::{InFlight, Part, Standing},
        unsent::PIECE,
    },
    zero_copy::Content,
};

/// The target of access lines, for log filters: `access=off`.
pub(super) const TARGET: &str = "access";

/// One request and how it is going. Counted and logged when dropped, which is when its answer is out or its client gone.
pub(super) struct Access {
    /// What its log line says of it, if there is to be one.
    line: Option<Line>,
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

impl Line {
    fn of(request: &request::Parts, client: IpAddr) -> Self {
        let method = beginning(request.method.as_str(), METHOD);
        let path = beginning(request.uri.path(), PATH);
        let agent = request.headers.get(header::USER_AGENT);
        let agent = agent.map_or("-".into(), |v| String::from_utf8_lossy(v.as_bytes()));
        Self {
            client,
            text: [method, path, beginning(&agent, AGENT)].concat().into(),
            path: method.len(),
            agent: method.len() + path.len(),
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
            line: is_logged.then(|| Line::of(request, client)),
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
    /// Whether there is room for the request.
    pub(super) fn standing(&self) -> Standing {
        self.in_flight.standing()
    }

    /// The answer's bytes can be lent, for a protocol that writes them as they are.
    pub(super) fn announce(&self, content: Content) {
        match self.protocol {
            Protocol::Http1 => self.in_flight.announce(content),
            Protocol::Http2 => {}
        }
    }

    /// The next bytes of the answer, taken off the front of `waiting`, in the form and size that the protocol is to be given them. There are `left`
    /// bytes to come, these included, if that is known.
    pub(super) fn hand_over(&self, waiting: &mut Bytes, left: Option<u64>) -> Data {
        match self.protocol {
            Protocol::Http1 => Data::new(std::mem::take(waiting), None),
            Protocol::Http2 => {
                let piece = match waiting.len() {
                    0..=PIECE => std::mem::take(waiting),
                    _ => waiting.split_to(PIECE),
                };
                let part = match left == Some(piece.len() as u64) {
                    true => Part::Last,
                    false => Part::Some,
                };
                Data::new(piece, Some(self.in_flight.hand_over(part)))
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
        tracing::info!(
            target: TARGET,
            client = %line.client,
            method = &line.text[..line.path],
            path = &line.text[line.path..line.agent],
            status = self.status.as_u16(),
            outcome = self.outcome.as_str(),
            bytes = self.bytes,
            duration_ms = (took.as_micros() as f64) / 1000.0,
            protocol = self.protocol.as_str(),
            user_agent = &line.text[line.agent..],
            complete = self.complete,
        );
    }
}
