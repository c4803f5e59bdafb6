//! Limits on what one client, and all together, may ask for. A client over the limit is told so in a sentence, and the others notice nothing.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Connection, Frames, Mirror, Package, Process, Reply, Upstream, client};

const SERDE: &str = "/index/se/rd/serde";

async fn mirror(server: &str) -> (Upstream, Mirror) {
    let serde = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().publish(serde).start().await;
    let mirror = Mirror::of(&upstream).server(server).start().await;
    (upstream, mirror)
}

async fn next(client: &mut Connection, path: &str) -> Reply {
    client.ask("GET", path, &[]).await.expect("a request sent");
    client.reply().await
}

#[track_caller]
fn assert_sentence(reply: &Reply, about: &str) {
    let text = reply.text();
    let plain = reply.header("content-type") == Some("text/plain; charset=utf-8");
    let sentence = text.ends_with(".\n") && text.lines().count() == 1;
    assert!(reply.complete && plain && sentence, "{text:?}");
    assert!(text.contains(about), "nothing about {about}: {text}");
}

#[track_caller]
fn seconds_to_wait(reply: &Reply) -> u64 {
    let seconds = reply.header("retry-after").expect("a Retry-After");
    seconds.parse().expect("whole seconds")
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_closed() {
    let (_upstream, mirror) = mirror("max_connections = 3").await;
    let mut served = Vec::new();
    for _ in 0..3 {
        let mut client = Connection::open(mirror.addr()).await;
        assert_eq!(next(&mut client, SERDE).await.status, 200);
        served.push(client);
    }
    for _ in 0..20 {
        let mut refused = Connection::open(mirror.addr()).await;
        let reply = next(&mut refused, SERDE).await;
        assert_eq!(reply.status, 503);
        assert_sentence(&reply, "server.max_connections");
        assert!((1..=10).contains(&seconds_to_wait(&reply)));
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(refused.closes_within(Duration::from_secs(10)).await);
    }
    for client in &mut served {
        assert_eq!(next(client, SERDE).await.status, 200, "one that was there");
    }
}

/// A connection whose first bytes have arrived before the server accepts it: the server runs on the test's thread, and not meanwhile.
fn open_with(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = std::net::TcpStream::connect(addr).expect("connect");
    stream.write_all(bytes).expect("send");
    stream.set_nonblocking(true).expect("a socket");
    TcpStream::from_std(stream).expect("a connection")
}

/// All that comes, up to the end, and how it ended.
async fn all_that_comes(stream: &mut TcpStream) -> (String, std::io::Result<()>) {
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    let ended = read.expect("it ends").map(|_| ());
    (String::from_utf8_lossy(&received).into_owned(), ended)
}

/// The system answers bytes that nobody has read with a reset, and a client that meets one may never see what it was told before: cargo said
/// "connection reset" in place of the sentence.
#[tokio::test]
async fn who_is_refused_gets_the_answer_and_no_reset() {
    let (_upstream, mirror) = mirror("max_connections = 1").await;
    let mut served = Connection::open(mirror.addr()).await;
    assert_eq!(next(&mut served, SERDE).await.status, 200);
    let request = format!(
        "GET {SERDE} HTTP/1.1\r\nhost: a\r\nx: {}",
        "x".repeat(8_000)
    );
    for _ in 0..20 {
        let mut refused = open_with(mirror.addr(), request.as_bytes());
        let mut first = [0; 12];
        refused.read_exact(&mut first).await.expect("the answer");
        assert_eq!(&first, b"HTTP/1.1 503");
        // It goes on with its request, as a client does that hasn't looked yet.
        refused.write_all(b"\r\n\r\n").await.expect("taken");
        let (rest, ended) = all_that_comes(&mut refused).await;
        assert!(rest.ends_with("try again in a moment.\n"), "{rest}");
        ended.expect("closed in order");
    }
}

/// The same for requests that are refused within a connection, because of a head or a body that is too large.
#[tokio::test]
async fn who_is_cut_off_gets_the_answer_and_no_reset() {
    let (_upstream, mirror) = mirror("").await;
    let head = "PUT /api/v1/crates/new HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(200_000));
    let upload = [head.as_bytes(), &[b'x'; 500_000]].concat();
    let hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc".repeat(10_000);
    for (bytes, status) in [(upload, "403"), (long.into_bytes(), "431"), (hello, "400")] {
        let (now, later) = bytes.split_at(60_000);
        let mut client = open_with(mirror.addr(), now);
        let mut first = [0; 12];
        client.read_exact(&mut first).await.expect("the answer");
        let first = String::from_utf8_lossy(&first);
        assert_eq!(first, format!("HTTP/1.1 {status}"));
        // It goes on with its request, as a client does that hasn't looked yet.
        for piece in later.chunks(10_000) {
            let sent = client.write_all(piece).await;
            sent.unwrap_or_else(|e| panic!("{status}: {e}"));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (_, ended) = all_that_comes(&mut client).await;
        ended.unwrap_or_else(|e| panic!("{status}: {e}"));
    }
}

/// A refused client that stays is cut off in the end, and takes no place from others that are to be told that they are refused.
#[tokio::test]
async fn clients_that_stay_after_a_refusal_are_let_go() {
    let (_upstream, mirror) = mirror("max_connections = 1").await;
    let mut served = Connection::open(mirror.addr()).await;
    assert_eq!(next(&mut served, SERDE).await.status, 200);
    let mut staying = Vec::new();
    for _ in 0..600 {
        let mut refused = open_with(mirror.addr(), b"GET / HTTP/1.1\r\n");
        let mut first = [0; 12];
        refused.read_exact(&mut first).await.expect("the answer");
        assert_eq!(&first, b"HTTP/1.1 503");
        staying.push(refused);
    }
    // Longer than it waits: a byte sent then is answered with a reset, and not taken.
    let gone = async {
        for refused in &mut staying {
            while refused.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
    gone.expect("they are closed");
    assert_eq!(next(&mut served, SERDE).await.status, 200);
}

#[tokio::test]
async fn when_a_connection_closes_the_next_one_is_served() {
    let (_upstream, mirror) = mirror("max_connections = 1").await;
    for _ in 0..5 {
        let mut only = Connection::open(mirror.addr()).await;
        let mut reply = next(&mut only, SERDE).await;
        // The one before may not be gone yet.
        while reply.status == 503 {
            only = Connection::open(mirror.addr()).await;
            reply = next(&mut only, SERDE).await;
        }
        assert_eq!(reply.status, 200);
        assert_eq!(mirror.get(SERDE).await.status, 503);
    }
}

/// Cargo asks for the upgrade on every connection. An upgraded connection must still count as one.
#[tokio::test]
async fn the_last_connection_that_is_allowed_may_go_on_in_http2() {
    let upstream = Upstream::new().start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[server]\nmax_connections = 1";
    // The real program: it works on several threads.
    let mirror = Process::start(&upstream, folder.path(), settings).await;
    let mut upgraded = 0;
    while upgraded < 100 {
        let received = upgrade(mirror.addr()).await;
        // The one before may not be gone yet.
        if received.starts_with("HTTP/1.1 503") {
            continue;
        }
        assert!(received.starts_with("HTTP/1.1 101"), "{received}");
        let answered = received.contains("ok\n");
        assert!(answered, "closed after {upgraded} others: {received:?}");
        upgraded += 1;
    }
}

/// Asks for `/healthz` as cargo would, and returns what comes back until that is answered or the connection closed.
async fn upgrade(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let request = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\n\
                   upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAQAAAAIAAAAA\r\n\r\n";
    let mut received = Vec::new();
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_buf(&mut received).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let _ = stream.write_all(preface).await;
    while !String::from_utf8_lossy(&received).contains("ok\n") {
        let read = stream.read_buf(&mut received);
        let read = tokio::time::timeout(Duration::from_secs(10), read).await;
        if !matches!(read, Ok(Ok(1..))) {
            break;
        }
    }
    String::from_utf8_lossy(&received).into_owned()
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait_and_others_are_served() {
    let (upstream, mirror) = mirror("max_requests_per_second = 5").await;
    let mut often = Connection::open(mirror.addr()).await;
    let mut refused = None;
    for _ in 0..200 {
        let reply = next(&mut often, SERDE).await;
        match reply.status {
            200 => {}
            429 => refused = Some(reply),
            other => panic!("{other} {}", reply.text()),
        }
    }
    let refused = refused.expect("one of 200 at once is too many");
    assert_sentence(&refused, "server.max_requests_per_second");
    let wait = seconds_to_wait(&refused);
    assert!((1..=10).contains(&wait), "{wait}");

    let source: IpAddr = "127.0.0.2".parse().expect("an address");
    let mut other = Connection::open_from(source, mirror.addr()).await;
    for path in [SERDE, "/healthz", "/index/config.json"] {
        assert_eq!(next(&mut other, path).await.status, 200, "{path}");
    }
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(next(&mut often, SERDE).await.status, 200, "waited as told");
    assert_eq!(upstream.index_requests().len(), 1);
}

/// Cargo asks for hundreds of files at once, and a company behind one address is many people.
#[tokio::test]
async fn nobody_asks_too_often_unless_it_was_said_what_that_is() {
    let (_upstream, mirror) = mirror("").await;
    let mut client = Connection::open(mirror.addr()).await;
    for _ in 0..1000 {
        assert_eq!(next(&mut client, SERDE).await.status, 200);
    }
}

#[tokio::test]
async fn a_request_that_reads_and_has_a_body_is_a_bad_request() {
    let (upstream, mirror) = mirror("").await;
    let paths = [SERDE, "/api/v1/crates/serde/1.0.0/download", "/metrics"];
    for path in paths {
        for body in [
            "content-length: 5\r\n\r\nhello",
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            let mut client = Connection::open(mirror.addr()).await;
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{body}");
            client.send(request.as_bytes()).await;
            let reply = client.reply().await;
            assert_eq!(reply.status, 400, "{path}");
            assert_sentence(&reply, "body");
        }
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
    assert_eq!(mirror.get(SERDE).await.status, 200);
}

/// Hundreds of connections that never finish their first line.
#[tokio::test]
async fn a_client_that_sends_its_request_slowly_holds_up_nobody() {
    let (_upstream, mirror) = mirror("").await;
    let mut slow = Vec::new();
    for start in [
        "",
        "G",
        "GET /index/se",
        "GET / HTTP/1.1\r\nhost: a\r\nx-a: ",
    ] {
        for _ in 0..50 {
            let mut client = Connection::open(mirror.addr()).await;
            client.send(start.as_bytes()).await;
            slow.push((start, client));
        }
    }
    let others = async {
        for _ in 0..50 {
            assert_eq!(mirror.get(SERDE).await.status, 200);
        }
    };
    let served = tokio::time::timeout(Duration::from_secs(20), others).await;
    served.expect("served while others are slow");

    // A client that sends its request slowly, but does send it, is served.
    let (start, mut client) = slow.pop().expect("a client");
    let rest = "b\r\n\r\n";
    client.send(rest.as_bytes()).await;
    assert_eq!(client.reply().await.status, 200, "{start}{rest}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let (_upstream, mirror) = mirror("").await;
    let line = format!("x-filler: {}\r\n", "a".repeat(1000));
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\n{}", line.repeat(100));
    let answer = client::raw(mirror.addr(), endless.as_bytes()).await;
    let answer = String::from_utf8_lossy(&answer);
    let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 431");
    assert!(refused, "{answer}");
    assert_eq!(mirror.get(SERDE).await.status, 200);
}

/// A client that sent its request a byte at a time kept its connection as long as it liked. It takes as long as the limit; both clients wait at once.
#[tokio::test]
async fn a_request_that_takes_too_long_to_arrive_is_told_so() {
    const LIMIT: Duration = Duration::from_secs(30);
    let (_upstream, mirror) = mirror("").await;
    let mut slow = Connection::open(mirror.addr()).await;
    // Over HTTP/2 a connection may be idle: no request has been begun that could be late.
    let mut pings = Frames::upgrade(mirror.addr(), SERDE).await;
    assert_eq!(pings.response(1).await.status, 200);
    let began = Instant::now();
    slow.send(b"GET /healthz HTTP/1.1\r\nhost: mirror\r\nx-slow: ")
        .await;
    let (took, ()) = tokio::join!(
        async {
            assert!(slow.closes_within(LIMIT * 3 / 2).await);
            began.elapsed()
        },
        async {
            while began.elapsed() < LIMIT * 3 / 2 {
                pings.ping().await;
                tokio::time::sleep(LIMIT / 10).await;
            }
        }
    );
    assert!(took >= LIMIT, "{took:?}");
    let reply = slow.reply().await;
    assert_eq!(reply.status, 408);
    assert_sentence(&reply, "30 seconds");
    let authority = mirror.addr().to_string();
    pings.ask(3, "GET", &authority, SERDE).await;
    assert_eq!(pings.response(3).await.status, 200);
}
