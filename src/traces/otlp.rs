//! Traces by OpenTelemetry's own crates: spans are gathered on a thread of their own and sent as OTLP over HTTP, in protobuf.

use std::{
    env,
    pin::Pin,
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData},
};

use super::{RequestEnd, UpstreamTarget};
use crate::error::{Error, Result};

/// What makes spans; not there where traces are off.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

tokio::task_local! {
    /// For which request a task works.
    static CONTEXT: Context;
}

/// How long the last spans may take to be sent at the end.
const END_WITHIN: Duration = Duration::from_secs(3);
/// The longest `traceparent` and `tracestate` that is taken of a client, in bytes. A longer `tracestate` is dropped, as W3C Trace Context allows (section 3.3.1.5).
const STATE: usize = 512;

/// Traces on their way to a collector.
pub struct TraceExport(SdkTracerProvider);

impl TraceExport {
    /// Begins to send spans to the collector at `endpoint`, an OTLP/HTTP URL without `/v1/traces`: of the requests that come without a decision of their client's, this share (0 to
    /// 1).
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when no HTTP client can be set up.
    pub fn start(endpoint: &str, sampled: f64) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .build()
            .map_err(|e| {
                Error::config("`traces.endpoint`: no spans can be sent there").caused_by(e)
            })?;
        let share = Sampler::TraceIdRatioBased(sampled);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Told::new(exporter))
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_resource(resource())
            .build();
        // A second mirror in the same program sends where the first one does.
        let _ = TRACER.set(provider.tracer("crate-mirror"));
        Ok(Self(provider))
    }

    /// Sends what is left, for some seconds at most. Blocks.
    pub fn end(self) {
        if let Err(e) = self.0.shutdown_with_timeout(END_WITHIN) {
            tracing::warn!("the last traces may not have been sent: {e}");
        }
    }
}

/// Who sends them. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are heard, as in every program that has traces.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name("crate-mirror").build(),
    }
}

/// An exporter that says when it fails, once a minute.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    /// When that was said last, in seconds since 1970.
    said: AtomicU64,
}

impl Told {
    fn new(exporter: SpanExporter) -> Self {
        let said = AtomicU64::new(0);
        Self { exporter, said }
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        if let Err(e) = &sent {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.unwrap_or_default().as_secs();
            if now.saturating_sub(self.said.load(Ordering::Relaxed)) >= 60 {
                self.said.store(now, Ordering::Relaxed);
                tracing::warn!("{spans} spans couldn't be sent to `traces.endpoint`: {e}");
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// What a trace has to say of a request.
#[derive(Clone, Default)]
pub struct RequestSpan(Option<Context>);

impl RequestSpan {
    /// One that begins now, within the client's trace if it brings one.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self(None);
        };
        let clients = TraceContextPropagator::new();
        let parent = clients.extract_with_context(&Context::new(), &Headers::of(headers));
        let span = SpanBuilder::from_name(known(method))
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("http.request.method", known(method))]);
        let span = tracer.build_with_context(span, &parent);
        Self(Some(Context::new().with_span(span)))
    }

    /// A future in which what is asked of upstreams belongs to this request.
    pub fn around<T: 'static>(
        &self,
        answer: Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Pin<Box<dyn Future<Output = T> + Send>> {
        match &self.0 {
            Some(context) => Box::pin(CONTEXT.scope(context.clone(), answer)),
            None => answer,
        }
    }

    /// It has come to this.
    pub fn end(&mut self, end: RequestEnd) {
        let Some(context) = self.0.take() else { return };
        let span = context.span();
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("http.route", end.route),
                status(end.status),
                KeyValue::new("http.response.body.size", whole(end.bytes)),
                KeyValue::new("crate_mirror.outcome", end.outcome),
                KeyValue::new("crate_mirror.complete", end.complete),
            ]);
            if end.status.is_server_error() {
                span.set_status(Status::error(""));
            }
        }
        span.end();
    }
}

/// `work` that is for the request that this task works for, wherever it is run.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let context = CONTEXT.try_with(Context::clone).ok();
    async move {
        match context {
            Some(context) => CONTEXT.scope(context, work).await,
            None => work.await,
        }
    }
}

/// What a trace has to say of a request to an upstream.
pub struct UpstreamSpan(Option<Context>);

impl UpstreamSpan {
    /// One that begins now, for the request that this task works for. Its trace is added to `headers`.
    pub fn of(target: UpstreamTarget<'_>, method: &Method, headers: &mut HeaderMap) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self(None);
        };
        let parent = CONTEXT.try_with(Context::clone).unwrap_or_default();
        let span = SpanBuilder::from_name(known(method))
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new("http.request.method", known(method)),
                KeyValue::new("server.address", target.host.to_owned()),
                KeyValue::new("server.port", i64::from(target.port)),
                KeyValue::new("crate_mirror.registry", target.registry.to_owned()),
                KeyValue::new("crate_mirror.kind", target.kind),
            ]);
        let context = Context::new().with_span(tracer.build_with_context(span, &parent));
        TraceContextPropagator::new().inject_context(&context, &mut Written(headers));
        Self(Some(context))
    }

    /// A status, or the kind of its failure, has come of it.
    pub fn end(self, result: &str) {
        let Some(context) = self.0 else { return };
        let span = context.span();
        match result.parse::<StatusCode>() {
            Ok(code) => {
                span.set_attribute(status(code));
                if code.is_server_error() {
                    span.set_status(Status::error(""));
                }
            }
            Err(_) => {
                span.set_attribute(KeyValue::new("error.type", result.to_owned()));
                span.set_status(Status::error(""));
            }
        }
        span.end();
    }
}

fn status(code: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(code.as_u16()))
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A method by its name, or what OpenTelemetry's conventions call one that a stranger has made up.
fn known(method: &Method) -> &'static str {
    let usual = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let named = usual.into_iter().find(|name| *name == method.as_str());
    named.unwrap_or("_OTHER")
}

/// A client's headers.
struct Headers<'a> {
    all: &'a HeaderMap,
    /// What stands in all `tracestate` headers, in their order (W3C Trace Context, section 3.3.1.1).
    state: String,
}

impl<'a> Headers<'a> {
    fn of(all: &'a HeaderMap) -> Self {
        let states = all.get_all("tracestate").iter();
        let mut state = String::new();
        for part in states.filter_map(|value| value.to_str().ok()) {
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(part);
            if state.len() > STATE {
                state.clear();
                break;
            }
        }
        Self { all, state }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == "tracestate" {
            return Some(&*self.state).filter(|state| !state.is_empty());
        }
        let mut values = self.all.get_all(key).iter();
        let value = values.next()?.to_str().ok()?;
        // Two of them contradict one another.
        let is_one = values.next().is_none();
        (is_one && value.len() <= STATE).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.all.keys().map(HeaderName::as_str).collect()
    }
}

/// Headers of a request to an upstream.
struct Written<'a>(&'a mut HeaderMap);

impl Injector for Written<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_str(key);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
