//! Traces: a collector gets a span for each request and each upstream request, within the client's trace, which goes on upstream. (With the feature `opentelemetry`.)

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::support::{Package, Program, Running, Upstream, client};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that takes spans as OTLP over HTTP, in protobuf.
pub(crate) struct Collector {
    address: SocketAddr,
    bodies: UnboundedReceiver<Vec<u8>>,
}

impl Collector {
    pub(crate) async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, bodies) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(take(socket, sender.clone()));
            }
        });
        Collector { address, bodies }
    }

    pub(crate) fn settings(&self) -> String {
        format!("[traces]\nendpoint = \"http://{}\"\n", self.address)
    }

    /// All spans that have come when the mirror, which sends what is left at its end, has ended.
    async fn spans(mut self, running: Running) -> Vec<Span> {
        running.signal("TERM").await;
        let ended = running.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        // Nothing of a client's trace is logged.
        assert!(!ended.stderr.contains(TRACE), "{}", ended.stderr);
        let bodies = self.received().into_iter();
        bodies.flat_map(|body| Span::all(&body)).collect()
    }

    /// All that has come so far, as it came.
    pub(crate) fn received(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.bodies.try_recv().ok()).collect()
    }
}

/// Takes requests of one connection, and says yes to each.
async fn take(mut socket: TcpStream, bodies: UnboundedSender<Vec<u8>>) {
    let mut held = Vec::new();
    loop {
        let Some(head) = held.windows(4).position(|w| w == b"\r\n\r\n") else {
            match socket.read_buf(&mut held).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
        assert!(text.starts_with("post /v1/traces "), "{text}");
        assert!(
            text.contains("content-type: application/x-protobuf"),
            "{text}"
        );
        let length = text.split("content-length: ").nth(1).expect("a length");
        let length: usize = length
            .lines()
            .next()
            .and_then(|l| l.parse().ok())
            .expect("a number");
        while held.len() < head + 4 + length {
            socket.read_buf(&mut held).await.expect("the rest");
        }
        let rest = held.split_off(head + 4 + length);
        let _ = bodies.send(held.split_off(head + 4));
        held = rest;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.expect("written");
    }
}

/// What of a span matters here (opentelemetry/proto/trace/v1/trace.proto).
#[derive(Debug, PartialEq, Eq)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    /// 2 is a server's, 3 a client's.
    kind: u64,
    attributes: Vec<(String, String)>,
}

impl Span {
    /// Those of an export request.
    fn all(body: &[u8]) -> Vec<Span> {
        let of_resources = fields(body).into_iter().filter_map(|f| f.bytes(1));
        let of_scopes = of_resources.flat_map(fields).filter_map(|f| f.bytes(2));
        let spans = of_scopes.flat_map(fields).filter_map(|f| f.bytes(2));
        spans.map(Span::of).collect()
    }

    fn of(bytes: &[u8]) -> Span {
        let fields = fields(bytes);
        let of = |number| fields.iter().find_map(|field| field.bytes(number));
        let hex = |number| {
            of(number)
                .unwrap_or_default()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect()
        };
        let kind = fields.iter().find_map(|field| field.number(6));
        let attributes = fields.iter().filter_map(|field| field.bytes(9));
        Span {
            trace: hex(1),
            id: hex(2),
            parent: hex(4),
            kind: kind.unwrap_or_default(),
            attributes: attributes.map(attribute).collect(),
        }
    }

    fn attribute(&self, key: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// A KeyValue (opentelemetry/proto/common/v1/common.proto).
fn attribute(bytes: &[u8]) -> (String, String) {
    let fields_of = fields(bytes);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let key = fields_of.iter().find_map(|field| field.bytes(1)).map(text);
    let value = fields_of
        .iter()
        .find_map(|field| field.bytes(2))
        .map(fields);
    let value = value.unwrap_or_default().into_iter().next();
    let value = value.map(|field| match field {
        Field::Bytes(_, bytes) => text(bytes),
        Field::Number(_, number) => number.to_string(),
    });
    (key.unwrap_or_default(), value.unwrap_or_default())
}

/// A field of a message of protobuf.
#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self, number: u64) -> Option<&'a [u8]> {
        match self {
            Field::Bytes(n, bytes) if *n == number => Some(bytes),
            Field::Bytes(..) | Field::Number(..) => None,
        }
    }

    fn number(&self, number: u64) -> Option<u64> {
        match self {
            Field::Number(n, value) if *n == number => Some(*value),
            Field::Bytes(..) | Field::Number(..) => None,
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("more");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    unreachable!()
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    let fixed = |bytes: &mut &[u8], length: usize| {
        let (value, rest) = bytes.split_at(length);
        *bytes = rest;
        value.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
    };
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let number = tag >> 3;
        found.push(match tag & 7 {
            0 => Field::Number(number, varint(&mut bytes)),
            1 => Field::Number(number, fixed(&mut bytes, 8)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(number, value)
            }
            5 => Field::Number(number, fixed(&mut bytes, 4)),
            other => panic!("wire type {other}"),
        });
    }
    found
}

async fn upstream() -> Upstream {
    let leaf = Package::new("leaf", "1.0.0");
    Upstream::new().publish(leaf).start().await
}

/// The upstream request for this path, by the trace that came with it: its trace, span and flags.
fn sent(upstream: &Upstream, path: &str) -> Option<[String; 3]> {
    let requests = upstream.requests();
    let request = requests.iter().find(|request| request.path.contains(path));
    let parent = request.expect("a request").header("traceparent")?;
    let parts: Vec<_> = parent.split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = parts.try_into().expect("four parts");
    assert_eq!(version, "00");
    Some([trace, span, flags])
}

#[tokio::test]
async fn a_clients_trace_goes_on_upstream_and_a_collector_gets_both_spans() {
    let (upstream, collector) = (upstream().await, Collector::start().await);
    let running = Program::serving(&upstream, &collector.settings())
        .start()
        .await;
    let headers = [
        ("traceparent", format!("00-{TRACE}-{PARENT}-01")),
        ("tracestate", "vendor=thing".to_owned()),
        ("tracestate", "other=one".to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    for path in ["/index/le/af/leaf", "/api/v1/crates/leaf/1.0.0/download"] {
        assert_eq!(
            client::get(running.addr(), path, &headers).await.status,
            200
        );
    }
    let [trace, span, flags] = sent(&upstream, "/le/af/leaf").expect("a trace");
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    let requests = upstream.requests();
    let state = requests
        .iter()
        .find_map(|request| request.header("tracestate"));
    // A second header was the end of both.
    assert_eq!(state, Some("vendor=thing,other=one"));
    // From memory, without a trace of the client's.
    let hit = client::get(running.addr(), "/index/le/af/leaf", &[]).await;
    assert_eq!(hit.header("x-cache"), Some("hit"));
    let spans = collector.spans(running).await;
    let out = spans
        .iter()
        .find(|s| s.id == span)
        .expect("the upstream request's span");
    let parent = spans
        .iter()
        .find(|s| s.id == out.parent)
        .expect("the request's span");
    assert_eq!((out.kind, out.trace.as_str()), (3, TRACE));
    assert_eq!(out.attribute("http.response.status_code"), Some("200"));
    assert_eq!(out.attribute("crate_mirror.registry"), Some("crates-io"));
    assert_eq!((parent.kind, parent.parent.as_str()), (2, PARENT));
    assert_eq!(parent.attribute("http.route"), Some("index"));
    assert_eq!(parent.attribute("crate_mirror.outcome"), Some("miss"));
    let downloads = spans
        .iter()
        .filter(|s| s.attribute("http.route") == Some("download"));
    assert_eq!(downloads.count(), 1);
    let hits = spans
        .iter()
        .filter(|s| s.attribute("crate_mirror.outcome") == Some("hit"));
    let hits: Vec<_> = hits.collect();
    assert_eq!(hits.len(), 1, "{spans:?}");
    assert_eq!(hits[0].parent, "", "its own trace");
}

#[tokio::test]
async fn what_is_no_trace_is_not_taken_for_one() {
    let (upstream, collector) = (upstream().await, Collector::start().await);
    let running = Program::serving(&upstream, &collector.settings())
        .start()
        .await;
    let long = format!("vendor={}", "x".repeat(600));
    for (parent, state) in [
        (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), ""),
        (format!("00-{}-{PARENT}-01", "0".repeat(32)), ""),
        ("00-1-2-01".to_owned(), ""),
        ("\"; DROP".to_owned(), ""),
        (format!("01-{TRACE}-{PARENT}-01-{}", "x".repeat(600)), ""),
        (format!("00-{TRACE}-{PARENT}-01"), long.as_str()),
    ] {
        let headers = [("traceparent", parent.as_str()), ("tracestate", state)];
        client::get(running.addr(), "/index/no/ne/none", &headers).await;
    }
    let states = upstream.requests();
    let states = states
        .iter()
        .filter_map(|request| request.header("tracestate"));
    assert_eq!(states.count(), 0, "one that is too long isn't passed on");
    let spans = collector.spans(running).await;
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(servers.len(), 6, "{spans:?}");
    let of_clients = servers.iter().filter(|span| span.trace == TRACE);
    assert_eq!(of_clients.count(), 1);
}

#[tokio::test]
async fn without_the_setting_there_are_no_traces() {
    let upstream = upstream().await;
    let running = Program::serving(&upstream, "").start().await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", parent.as_str())];
    client::get(running.addr(), "/index/le/af/leaf", &headers).await;
    assert_eq!(sent(&upstream, "/le/af/leaf"), None);
}

/// A collector that is gone costs requests nothing.
#[tokio::test]
async fn a_collector_that_is_gone_stops_nobody() {
    let upstream = upstream().await;
    let settings = "[traces]\nendpoint = \"http://127.0.0.1:1\"\n";
    let running = Program::serving(&upstream, settings).start().await;
    for _ in 0..50 {
        let reply = client::get(running.addr(), "/index/le/af/leaf", &[]).await;
        assert_eq!(reply.status, 200);
    }
    running.signal("TERM").await;
    assert_eq!(running.ended().await.code, Some(0));
}
