//! One connection serves request after request: kept alive, pipelined, and in HTTP/1.0 as that has it.

use crate::support::{Connection, Mirror, Package, Upstream, client};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

async fn two_crates() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .publish(Package::new("big", "1.0.0").payload(300_000))
        .start()
        .await
}

/// The requests of these tests, each with the status and the body of its answer.
async fn expected(upstream: &Upstream) -> Vec<(&'static str, u16, Vec<u8>)> {
    let index = upstream.index_file("a").into_bytes();
    let file = upstream.crate_file("big", "1.0.0").to_vec();
    vec![
        ("/index/1/a", 200, index.clone()),
        ("/api/v1/crates/big/1.0.0/download", 200, file.clone()),
        ("/healthz", 200, b"ok\n".to_vec()),
        ("/index/1/a", 200, index),
        ("/api/v1/crates/big/1.0.0/download", 200, file),
    ]
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_whatever_the_answer_was() {
    let upstream = two_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    for (path, status, body) in expected(&upstream).await {
        connection.ask("GET", path, &[]).await.expect("sent");
        let reply = connection.reply().await;
        assert_eq!((reply.status, reply.complete), (status, true), "{path}");
        assert!(reply.body == body, "other bytes for {path}");
        // Errors are answers like any other and cost nobody the connection.
        for (method, path, status) in [
            ("GET", "/nothing", 404),
            ("GET", "/api/v1/crates/a/x/download", 400),
            ("PUT", "/index/1/a", 405),
        ] {
            connection.ask(method, path, &[]).await.expect("sent");
            let reply = connection.reply().await;
            assert_eq!((reply.status, reply.complete), (status, true), "{path}");
        }
    }
    assert_eq!(mirror.metric("crate_mirror_connections ").await, 2.0);
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_their_order() {
    let upstream = two_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    let expected = expected(&upstream).await;
    let heads = expected.iter().map(|(path, ..)| {
        let host = mirror.addr();
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
    });
    connection.send(heads.collect::<String>().as_bytes()).await;
    for (path, status, body) in expected {
        let reply = connection.reply().await;
        assert_eq!((reply.status, reply.complete), (status, true), "{path}");
        assert!(reply.body == body, "other bytes for {path}");
    }
}

#[tokio::test]
async fn who_asks_for_a_close_gets_it_after_the_answer() {
    let upstream = two_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    let close = [("connection", "close")];
    connection
        .ask("GET", "/index/1/a", &close)
        .await
        .expect("sent");
    let reply = connection.reply().await;
    assert_eq!(reply.text(), upstream.index_file("a"));
    assert!(connection.closes_within(LIMIT).await);
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let upstream = two_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (path, _, body) in expected(&upstream).await {
        let mut connection = Connection::open(mirror.addr()).await;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        connection.send(request.as_bytes()).await;
        let reply = connection.reply().await;
        assert_eq!((reply.status, reply.complete), (200, true), "{path}");
        assert!(reply.body == body, "other bytes for {path}");
        assert!(connection.closes_within(LIMIT).await, "{path}");
    }
}

#[tokio::test]
async fn http_1_0_keeps_a_connection_when_asked_to() {
    let upstream = two_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    for _ in 0..2 {
        let request = b"GET /index/1/a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
        connection.send(request).await;
        let reply = connection.reply().await;
        assert_eq!(reply.text(), upstream.index_file("a"));
        let kept = reply.header("connection").expect("a Connection header");
        assert!(kept.eq_ignore_ascii_case("keep-alive"), "{kept}");
    }
}

/// An HTTP/1.0 client can't read chunks; it would take their sizes for bytes of the crate.
#[tokio::test]
async fn http_1_0_gets_no_chunks_when_the_length_is_unknown() {
    let package = Package::new("big", "1.0.0").payload(300_000);
    let upstream = Upstream::new().chunked().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let request = b"GET /api/v1/crates/big/1.0.0/download HTTP/1.0\r\n\r\n";
    let reply = client::raw(mirror.addr(), request).await;
    let text = String::from_utf8_lossy(&reply[..reply.len().min(1000)]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.0 200 "), "{text}");
    assert!(!text.contains("transfer-encoding"), "{text}");
    let body = upstream.crate_file("big", "1.0.0");
    assert!(reply.ends_with(&body), "other bytes");
}
