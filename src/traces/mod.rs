//! Traces: a span for each request and for each request to an upstream, sent to a collector of OpenTelemetry, with the feature `opentelemetry` and `[traces]` in the
//! settings. Without either, all of this is nothing.
//!
//! A client's `traceparent` and `tracestate` (W3C Trace Context) are read where traces are on, checked, and passed upstream with the request that it causes; they are in no
//! log. Of several clients that wait for one upstream request it is the first one's.

#[cfg(not(feature = "opentelemetry"))]
mod off;
#[cfg(feature = "opentelemetry")]
mod otlp;

use http::StatusCode;

#[cfg(not(feature = "opentelemetry"))]
pub use off::{RequestSpan, TraceExport, UpstreamSpan, carried};
#[cfg(feature = "opentelemetry")]
pub use otlp::{RequestSpan, TraceExport, UpstreamSpan, carried};

/// What a request has come to.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnd {
    /// What was asked for, as metrics call it.
    pub route: &'static str,
    /// The answer's status.
    pub status: StatusCode,
    /// Where the answer came from.
    pub outcome: &'static str,
    /// How many bytes of it have gone out.
    pub bytes: u64,
    /// Whether all have.
    pub complete: bool,
}

/// Whom an upstream request goes to.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamTarget<'a> {
    /// The registry, as the operator calls it.
    pub registry: &'a str,
    /// What is asked for, as metrics call it.
    pub kind: &'static str,
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: u16,
}
