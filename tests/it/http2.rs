//! HTTP/2 without an upgrade, from a client that knows: the same answers as over HTTP/1.1.

use std::future::poll_fn;
use std::pin::Pin;

use http::{HeaderMap, Request, StatusCode};
use http_body::Body as _;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Mirror, Package, Upstream};

const INDEX: &str = "/index/se/rd/serde";
const CRATE: &str = "/api/v1/crates/big/1.0.0/download";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0").field("fill", "x".repeat(2000).into()))
        .publish(Package::new("big", "1.0.0").payload(1_000_000))
        .start()
        .await
}

/// A client that begins with HTTP/2 at once (prior knowledge).
#[derive(Clone)]
struct Client(SendRequest<String>, std::net::SocketAddr);

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    async fn of(mirror: &Mirror) -> Client {
        let stream = TcpStream::connect(mirror.addr()).await.expect("connect");
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        Client(sender, mirror.addr())
    }

    async fn send(mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let uri = format!("http://{}{path}", self.1);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(String::new()).expect("a request");
        let response = self.0.send_request(request).await.expect("a response");
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = poll_fn(|c| Pin::new(&mut incoming).poll_frame(c)).await {
            let frame = frame.expect("a whole body");
            body.extend(frame.into_data().unwrap_or_default());
        }
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.clone().send("GET", path, headers).await
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[tokio::test]
async fn every_answer_is_the_same_as_over_http_1_1() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let client = Client::of(&mirror).await;
    for path in [
        INDEX,
        CRATE,
        "/index/config.json",
        "/",
        "/healthz",
        "/index/no/ne/none",
        "/api/v1/crates/serde/x/download",
    ] {
        for headers in [&[("accept-encoding", "deflate, gzip")][..], &[]] {
            mirror.get(path).await;
            let expected = mirror.get_with(path, headers).await;
            for method in ["GET", "HEAD"] {
                let reply = client.clone().send(method, path, headers).await;
                assert_eq!(reply.status, expected.status, "{method} {path}");
                for (name, value) in expected.headers.iter().filter(|(n, _)| *n != "date") {
                    assert_eq!(reply.header(name), Some(value), "{method} {path}");
                }
                let body: &[u8] = if method == "GET" { &expected.body } else { &[] };
                assert!(reply.body == body, "other bytes: {method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn conditions_and_methods_mean_the_same() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let client = Client::of(&mirror).await;
    let whole = client.get(INDEX, &[]).await;
    let etag = whole.header("etag").expect("an ETag");
    let unchanged = client.get(INDEX, &[("if-none-match", etag)]).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert_eq!(unchanged.header("etag"), Some(etag));
    assert!(unchanged.body.is_empty());
    let put = client.clone().send("PUT", INDEX, &[]).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(put.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn two_hundred_requests_share_a_connection() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let client = Client::of(&mirror).await;
    let gate = upstream.gate(INDEX);
    let asking: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get(INDEX, &[]).await })
        })
        .collect();
    gate.await_waiting(1).await;
    gate.open();
    for reply in asking {
        let reply = reply.await.expect("a reply");
        assert_eq!(reply.body, upstream.index_file("serde").into_bytes());
    }
    assert_eq!(upstream.index_requests().len(), 1);
    let http2 = "crate_mirror_requests_by_protocol_total{protocol=\"HTTP/2\"}";
    assert_eq!(mirror.metric(http2).await, 200.0);
    let connections = mirror.metric("crate_mirror_connections ").await;
    assert_eq!(connections, 2.0, "and the one for metrics");
}

/// A truncated file has to look truncated. Without a reset of its stream it would pass for a complete, shorter file.
#[tokio::test]
async fn a_download_that_fails_is_reset_and_not_ended() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream)
        .settings("[upstream]\nretries = 0")
        .start()
        .await;
    upstream.on_crate_files().truncate(500_000);
    let mut client = Client::of(&mirror).await;
    let uri = format!("http://{}{CRATE}", mirror.addr());
    let request = Request::get(uri).body(String::new()).expect("a request");
    let response = client.0.send_request(request).await.expect("a response");
    let mut incoming = response.into_body();
    loop {
        match poll_fn(|c| Pin::new(&mut incoming).poll_frame(c)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) => break,
            None => panic!("the body ended as if it were whole"),
        }
    }
}
