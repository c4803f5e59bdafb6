//! Where a request ends is never in doubt: bodies nobody asked for and lengths that contradict each other are passed over or cut off, and no
//! part of one request is ever taken for another.

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::support::{Fortress, fortress::LIMIT};

/// A request hidden in another one's body. If the server takes it for a request, it is known by its answer, which is like no other.
const HIDDEN: &str = "GET /metrics HTTP/1.1\r\nhost: h\r\n\r\n";
/// The last request of a connection.
const LAST: &str = "GET /readyz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// Sends `bytes` and a last request, and returns all that comes until the server closes.
async fn exchange(fortress: &Fortress, bytes: &[u8]) -> String {
    let all = [bytes, LAST.as_bytes()].concat();
    let (mut stream, mut received) = fortress.open(&all).await.into_parts();
    let closed = timeout(LIMIT, stream.read_to_end(&mut received)).await;
    let shown = String::from_utf8_lossy(bytes);
    // The connection may also end with a reset.
    let _ = closed.unwrap_or_else(|_| panic!("it hangs at {shown:?}"));
    String::from_utf8_lossy(&received).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.lines().filter(|line| line.starts_with("HTTP/1."));
    lines.map(|line| &line["HTTP/1.1 ".len()..][..3]).collect()
}

#[tokio::test]
async fn a_body_on_a_get_is_refused_and_never_read_as_a_request() {
    let fortress = Fortress::new().await;
    let length = HIDDEN.len();
    for (framing, body) in [
        (format!("content-length: {length}"), HIDDEN.to_owned()),
        (
            "transfer-encoding: chunked".to_owned(),
            format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n"),
        ),
        (
            "transfer-encoding: chunked".to_owned(),
            format!("{length:x};a=b\r\n{HIDDEN}\r\n0\r\nx: y\r\n\r\n"),
        ),
        ("content-length: 100000".to_owned(), "x".repeat(100_000)),
    ] {
        for method in ["GET", "HEAD", "PUT"] {
            let request =
                format!("{method} /healthz HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n{body}");
            let answers = exchange(&fortress, request.as_bytes()).await;
            assert!(!answers.contains("crate_mirror_"), "{answers}");
            let statuses = statuses(&answers);
            let first = if method == "PUT" { "405" } else { "400" };
            // The server may also close the connection instead of reading the body.
            assert!(
                statuses == [first, "200"] || statuses == [first],
                "{answers}"
            );
        }
    }
    fortress.stands().await;
}

/// When a proxy in front and the mirror disagree on where a request ends, the proxy gives one client's answer to another (request smuggling).
#[tokio::test]
async fn a_request_of_two_lengths_is_the_last_of_its_connection() {
    let fortress = Fortress::new().await;
    let body = format!("0\r\n\r\n{HIDDEN}");
    let length = body.len();
    for framing in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}"),
        format!("content-length: 0\r\ncontent-length: {length}"),
        format!("content-length: {length}\r\ncontent-length: 0"),
        format!("content-length: 0, {length}"),
        format!("content-length: +{length}"),
        "content-length: -1".to_owned(),
        "content-length: 0x10".to_owned(),
        "content-length: 1e1".to_owned(),
        "content-length: ".to_owned(),
        "content-length: 18446744073709551616".to_owned(),
        "transfer-encoding: xchunked".to_owned(),
        "transfer-encoding: identity".to_owned(),
        "transfer-encoding: chunked, identity".to_owned(),
        "transfer-encoding: \u{b}chunked".to_owned(),
        "transfer-encoding : chunked".to_owned(),
        "transfer-encoding: chunked\r\ntransfer-encoding: identity".to_owned(),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n{body}");
        let answers = exchange(&fortress, request.as_bytes()).await;
        assert!(!answers.contains("crate_mirror_"), "{framing}: {answers}");
        let statuses = statuses(&answers);
        assert!(
            matches!(statuses[..], ["200"] | ["400"] | []),
            "{framing}: {answers}"
        );
    }
    let request = format!("GET /healthz HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    let answers = exchange(&fortress, request.as_bytes()).await;
    assert!(matches!(statuses(&answers)[..], ["400"] | []), "{answers}");
    fortress.stands().await;
}

#[tokio::test]
async fn a_body_in_broken_chunks_ends_its_connection() {
    let fortress = Fortress::new().await;
    for body in [
        format!("zz\r\n{HIDDEN}"),
        format!("-1\r\n{HIDDEN}"),
        format!("\r\n{HIDDEN}"),
        format!("0x5\r\nhello\r\n0\r\n\r\n{HIDDEN}"),
        format!("fffffffffffffffff\r\n{HIDDEN}"),
        format!("2\r\nhello\r\n0\r\n\r\n{HIDDEN}"),
        format!("5 5\r\nhello\r\n0\r\n\r\n{HIDDEN}"),
    ] {
        let head = "GET /healthz HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        let answers = exchange(&fortress, format!("{head}{body}").as_bytes()).await;
        assert!(!answers.contains("crate_mirror_"), "{body:?}: {answers}");
        let statuses = statuses(&answers);
        assert!(
            matches!(statuses[..], ["200"] | ["400"] | []),
            "{body:?}: {answers}"
        );
    }
    fortress.stands().await;
}

/// Requests to a mirror have no use for a body, so one that is slow to come isn't waited for.
#[tokio::test]
async fn an_answer_does_not_wait_for_a_body_that_never_comes() {
    let fortress = Fortress::new().await;
    for headers in [
        "content-length: 1000000\r\n",
        "content-length: 1000000\r\nexpect: 100-continue\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\nexpect: 100-continue\r\n",
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
        assert_eq!(
            fortress.status(request.as_bytes()).await,
            Some(400),
            "{headers}"
        );
    }
    fortress.stands().await;
}

#[tokio::test]
async fn line_ends_are_understood_or_refused() {
    let fortress = Fortress::new().await;
    for (bytes, expected) in [
        (
            "\r\n\r\nGET /healthz HTTP/1.1\r\nhost: h\r\n\r\n",
            &[200][..],
        ),
        ("GET /healthz HTTP/1.1\nhost: h\n\n", &[200, 400]),
        ("GET /healthz HTTP/1.1\r\nhost: h\n\r\n", &[200, 400]),
        ("GET /healthz HTTP/1.1\rhost: h\r\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nhost: h\rx: y\r\n\r\n", &[400]),
    ] {
        let status = fortress.status(bytes.as_bytes()).await;
        let status = status.unwrap_or(400);
        assert!(expected.contains(&status), "{bytes:?}: {status}");
    }
    fortress.stands().await;
}
