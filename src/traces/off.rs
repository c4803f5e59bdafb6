//! What stands in the place of traces in a program that is built without them. All of it is compiled to nothing.

use std::pin::Pin;

use http::{HeaderMap, Method};

use super::{RequestEnd, UpstreamTarget};
use crate::error::{Error, Result};

/// Traces on their way to a collector; there are none.
pub struct TraceExport(std::convert::Infallible);

impl TraceExport {
    /// Fails.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) always.
    pub fn start(_endpoint: &str, _sampled: f64) -> Result<Self> {
        Err(Error::config(
            "`traces.endpoint` is set, and this program is built without traces; build it with `cargo build --release --features opentelemetry`",
        ))
    }

    /// Nothing to be sent.
    pub fn end(self) {
        match self.0 {}
    }
}

/// What a trace has to say of a request: nothing.
#[derive(Clone, Default)]
pub struct RequestSpan;

impl RequestSpan {
    /// Nothing is read.
    pub fn of(_method: &Method, _headers: &HeaderMap) -> Self {
        Self
    }

    /// The same future.
    pub fn around<T>(
        &self,
        answer: Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Pin<Box<dyn Future<Output = T> + Send>> {
        answer
    }

    /// Nothing is said.
    pub fn end(&mut self, _end: RequestEnd) {}
}

/// The same future.
pub fn carried<F: Future>(work: F) -> F {
    work
}

/// What a trace has to say of a request to an upstream: nothing.
pub struct UpstreamSpan;

impl UpstreamSpan {
    /// Nothing is added to `headers`.
    pub fn of(_target: UpstreamTarget<'_>, _method: &Method, _headers: &mut HeaderMap) -> Self {
        Self
    }

    /// Nothing is said.
    pub fn end(self, _result: &str) {}
}
