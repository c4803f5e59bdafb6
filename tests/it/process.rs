//! The program as an operator meets it: what it says when it starts, that it stops when told to, and how.

use std::time::{Duration, Instant};

use crate::support::{Cargo, Connection, Package, Program, Running, Upstream, client};

const INDEX: &str = "/index/1/a";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").dep("b", "1"))
        .publish(Package::new("b", "1.0.0"))
        .start()
        .await
}

/// Waits until the program takes no more connections. That it began to stop is in its log by then.
async fn refuses(process: &Running) {
    let limit = Duration::from_secs(10);
    let refused = async {
        while Connection::try_open(process.addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let refused = tokio::time::timeout(limit, refused).await;
    assert!(refused.is_ok(), "it still takes connections");
}

#[tokio::test]
async fn it_says_at_once_where_it_listens_with_the_real_port() {
    let upstream = upstream().await;
    let process = Program::serving(&upstream, "").start().await;
    let first = process.stdout().lines().next().expect("a line");
    assert!(first.starts_with("crate-mirror "), "{first}");
    assert!(first.contains(env!("CARGO_PKG_VERSION")), "{first}");
    assert_ne!(process.addr().port(), 0);
    let reply = client::get(process.addr(), INDEX, &[]).await;
    assert_eq!(reply.text(), upstream.index_file("a"));
}

/// Behind a proxy the public URL is for clients; who sets the proxy up needs the address.
#[tokio::test]
async fn it_says_where_it_listens_also_when_clients_come_by_another_url() {
    let upstream = upstream().await;
    let public = "public_url = \"https://crates.example.com\"";
    let process = Program::serving(&upstream, public).start().await;
    let stdout = process.stdout();
    let snippet = "index = \"sparse+https://crates.example.com/index/\"";
    assert!(stdout.contains(snippet), "{stdout}");
    assert!(stdout.contains("127.0.0.1:"), "no address: {stdout}");
    assert!(
        !stdout.contains("127.0.0.1:0"),
        "not the real port: {stdout}"
    );
}

#[tokio::test]
async fn cargo_builds_with_the_lines_it_prints() {
    let upstream = upstream().await;
    let process = Program::serving(&upstream, "").start().await;
    let (_, snippet) = process
        .stdout()
        .split_once("config.toml:\n\n")
        .expect("lines to paste");
    let cargo = Cargo::unconfigured().config(snippet).project(&[("a", "1")]);
    cargo.run(&["build"]).await.success();
    assert_eq!(upstream.crate_requests().len(), 2);
    let status = client::get(process.addr(), "/", &[]).await;
    assert!(
        status.text().contains(snippet.trim_end()),
        "{}",
        status.text()
    );
}

#[tokio::test]
async fn a_signal_lets_requests_in_flight_finish_and_ends_it_with_0() {
    for signal in ["TERM", "INT"] {
        let upstream = upstream().await;
        let mut process = Program::serving(&upstream, "").start().await;
        let gate = upstream.gate(INDEX);
        let mut connection = Connection::open(process.addr()).await;
        connection.ask("GET", INDEX, &[]).await.expect("sent");
        gate.await_waiting(1).await;
        process.signal(signal).await;
        process.logged(|line| line.contains("stopping")).await;
        refuses(&process).await;
        gate.open();
        let reply = connection.reply().await;
        assert_eq!((reply.status, reply.complete), (200, true), "{signal}");
        assert_eq!(reply.text(), upstream.index_file("a"));
        let ended = process.ended().await;
        assert_eq!(ended.code, Some(0), "{signal}: {}", ended.stderr);
        let stored = ended.folder.path().join("cache/crates-io/index/1/a");
        assert!(stored.is_file(), "what was fetched is kept");
    }
}

/// It was hung up on, though it would have been answered a moment before, and by the next process a moment later.
#[tokio::test]
async fn who_connected_before_the_stop_and_asks_after_it_is_answered() {
    let upstream = upstream().await;
    for _ in 0..5 {
        let mut process = Program::serving(&upstream, "").start().await;
        let mut connection = Connection::open(process.addr()).await;
        // This one is accepted after the other.
        let other = client::get(process.addr(), "/healthz", &[]).await;
        assert_eq!(other.status, 200);
        let told = Instant::now();
        process.signal("TERM").await;
        process.logged(|line| line.contains("stopping")).await;
        let asked = connection.ask("GET", "/healthz", &[]).await;
        // It is waited for a second, in which a busy machine may not get so far.
        let in_time = told.elapsed() < Duration::from_millis(900);
        match (asked, connection.try_reply().await) {
            (Ok(()), Ok(reply)) => {
                assert_eq!((reply.status, reply.complete), (200, true));
                assert_eq!(process.ended().await.code, Some(0));
                return;
            }
            (asked, reply) => assert!(!in_time, "{asked:?} {reply:?}"),
        }
    }
    panic!("this machine was too slow five times");
}

/// An idle connection is no reason to wait with the stop.
#[tokio::test]
async fn idle_connections_do_not_keep_it_from_ending() {
    let upstream = upstream().await;
    let process = Program::serving(&upstream, "shutdown_grace = \"1h\"")
        .start()
        .await;
    let mut asked = Connection::open(process.addr()).await;
    asked.ask("GET", "/healthz", &[]).await.expect("sent");
    assert_eq!(asked.reply().await.status, 200);
    let silent = Connection::open(process.addr()).await;
    process.signal("TERM").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    drop((asked, silent));
}

#[tokio::test]
async fn the_grace_time_bounds_how_long_a_request_may_take_to_finish() {
    let upstream = upstream().await;
    let grace = "shutdown_grace = \"200ms\"";
    let process = Program::serving(&upstream, grace).start().await;
    upstream.on(INDEX).hang();
    let mut connection = Connection::open(process.addr()).await;
    connection.ask("GET", INDEX, &[]).await.expect("sent");
    upstream.await_requests(1, INDEX).await;
    process.signal("TERM").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warned = ended.stderr.contains("not finished in time");
    assert!(warned, "it says what it left: {}", ended.stderr);
    assert!(
        connection.try_reply().await.is_err(),
        "no answer is better than half of one"
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_with_1() {
    let upstream = upstream().await;
    let grace = "shutdown_grace = \"1h\"";
    let mut process = Program::serving(&upstream, grace).start().await;
    upstream.on(INDEX).hang();
    let mut connection = Connection::open(process.addr()).await;
    connection.ask("GET", INDEX, &[]).await.expect("sent");
    upstream.await_requests(1, INDEX).await;
    process.signal("TERM").await;
    process.logged(|line| line.contains("stopping")).await;
    process.signal("TERM").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[tokio::test]
async fn a_second_start_on_the_same_store_serves_what_the_first_fetched() {
    let upstream = upstream().await;
    let path = "/api/v1/crates/a/1.0.0/download";
    let first = Program::serving(&upstream, "").start().await;
    assert_eq!(client::get(first.addr(), path, &[]).await.status, 200);
    first.signal("TERM").await;
    let left = first.ended().await.folder;
    upstream.stop().await;
    let store = left.path().join("cache");
    let store = format!("--store={}", store.display());
    let second = Program::serving(&upstream, "").arg(&store).start().await;
    let reply = client::get(second.addr(), path, &[]).await;
    assert_eq!(reply.header("x-cache"), Some("hit"));
    assert!(reply.body == upstream.crate_file("a", "1.0.0"));
}

/// A panic in a task would end one connection and go unseen.
#[tokio::test]
async fn nothing_it_is_sent_makes_it_panic() {
    let upstream = upstream().await;
    let process = Program::serving(&upstream, "").start().await;
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET /%00%ff/../.. HTTP/1.1\r\nhost: \xff\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nuser-agent: \xff\xfe\r\nhost: h\r\n\r\n",
        "GET /\u{1f980} HTTP/1.1\r\nuser-agent: \u{1f980}\r\nhost: h\r\n\r\n".as_bytes(),
    ] {
        client::raw(process.addr(), bytes).await;
    }
    assert_eq!(
        client::get(process.addr(), "/healthz", &[]).await.text(),
        "ok\n"
    );
    process.signal("TERM").await;
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
