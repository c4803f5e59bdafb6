//! The upgrade to HTTP/2 on a plain connection goes as cargo's nghttp2 wants it, frame by frame; what isn't a valid offer gets HTTP/1.1.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Connection, Frame, Frames, Mirror, Package, Upstream, frames};
use frames::{
    CARGOS_SETTINGS_PAYLOAD, DATA, GOAWAY, MAGIC, PING, SETTINGS, WINDOW_UPDATE, cargos_offer,
    frame, response_in,
};

const INDEX: &str = "/index/se/rd/serde";
const CRATE: &str = "/api/v1/crates/big/1.0.0/download";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .publish(Package::new("tokio", "1.0.0"))
        .publish(Package::new("big", "1.0.0").payload(300_000))
        .start()
        .await
}

fn offer(settings: &str) -> [(&'static str, &str); 3] {
    let [connection, upgrade, (name, _)] = cargos_offer();
    [connection, upgrade, (name, settings)]
}

fn acks(frames: &[Frame]) -> usize {
    frames.iter().filter(|f| f.is_ack(SETTINGS)).count()
}

fn data(frames: &[Frame]) -> usize {
    let data = frames.iter().filter(|f| f.kind == DATA);
    data.map(|f| f.payload.len()).sum()
}

#[tokio::test]
async fn the_request_of_an_upgrade_is_answered_on_stream_1() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    let asked = connection.ask("GET", INDEX, &cargos_offer()).await;
    asked.expect("sent");
    let reply = connection.reply().await;
    assert_eq!(reply.status, 101);
    assert_eq!(reply.header("upgrade"), Some("h2c"));
    let listed = reply.header("connection").expect("a Connection header");
    assert!(listed.eq_ignore_ascii_case("upgrade"), "{listed}");
    let mut frames = Frames::after_upgrade(connection);
    let first = frames.next().await.expect("a frame");
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    frames.send_bytes(MAGIC).await;
    frames.send(SETTINGS, 0, 0, CARGOS_SETTINGS_PAYLOAD).await;
    let response = frames.response(1).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body, upstream.index_file("serde").into_bytes());
}

/// curl 7.88, which is Debian 12's, keeps what follows a 101 in a buffer of 32 KiB and gives up when it is more (exit code 16). It got all that its
/// windows have room for.
#[tokio::test]
async fn little_is_sent_before_the_client_has_gone_on_in_http2() {
    const MOST: usize = 16 << 10;
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let file = upstream.crate_file("big", "1.0.0");
    assert_eq!(mirror.get(CRATE).await.status, 200);
    for headers in [
        cargos_offer(),
        // A window of a megabyte for each answer.
        offer("AAQAEAAA"),
    ] {
        let upgraded = Frames::upgrade_with(mirror.addr(), "GET", CRATE, &headers);
        let mut frames = upgraded.await;
        let early = frames.until_quiet(Duration::from_millis(300)).await;
        assert!((1_000..=MOST).contains(&early), "{early} bytes");
        frames.send_bytes(MAGIC).await;
        let settings = URL_SAFE_NO_PAD.decode(headers[2].1).expect("base64");
        frames.send(SETTINGS, 0, 0, &settings).await;
        for stream in [0, 1] {
            let more = 1_000_000_u32.to_be_bytes();
            frames.send(WINDOW_UPDATE, 0, stream, &more).await;
        }
        let response = frames.response(1).await;
        assert!(response.body == file, "other bytes");
    }
}

/// When its time is over, a connection is closed although not everything has gone out.
#[tokio::test]
async fn a_client_that_never_goes_on_in_http2_is_let_go() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).server("idle_timeout = \"1s\"");
    let mirror = mirror.start().await;
    for path in [CRATE, INDEX] {
        assert_eq!(mirror.get(path).await.status, 200);
        let offer = cargos_offer();
        let upgraded = Frames::upgrade_with(mirror.addr(), "GET", path, &offer);
        let mut frames = upgraded.await;
        frames.until(|_| false).await;
    }
}

/// What may not be sent before the client has gone on in HTTP/2 waited until nothing had moved for `server.idle_timeout`.
#[tokio::test]
async fn a_client_that_ends_before_it_goes_on_in_http2_is_let_go_at_once() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    assert_eq!(mirror.get(CRATE).await.status, 200);
    let headers = cargos_offer().map(|(name, value)| format!("{name}: {value}\r\n"));
    let request = format!(
        "GET {CRATE} HTTP/1.1\r\nhost: h\r\n{}\r\n",
        headers.concat()
    );
    for sent in [&b""[..], &MAGIC[..20], MAGIC] {
        let mut client = TcpStream::connect(mirror.addr())
            .await
            .expect("a connection");
        let sent = [request.as_bytes(), sent].concat();
        client.write_all(&sent).await.expect("sent");
        client.shutdown().await.expect("nothing more");
        let mut received = Vec::new();
        let ended = client.read_to_end(&mut received);
        let ended = timeout(Duration::from_secs(20), ended).await;
        // A reset is an end, too.
        let _ = ended.expect("it is closed");
        assert!(received.starts_with(b"HTTP/1.1 101 "));
    }
}

#[tokio::test]
async fn an_upgraded_head_gets_no_data() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let offer = cargos_offer();
    let mut frames = Frames::upgrade_with(mirror.addr(), "HEAD", INDEX, &offer).await;
    frames.send_bytes(MAGIC).await;
    frames.send(SETTINGS, 0, 0, CARGOS_SETTINGS_PAYLOAD).await;
    let response = frames.response(1).await;
    assert_eq!((response.status, response.body.len()), (200, 0));
    let frames = frames.ping().await;
    assert_eq!(data(&frames), 0);
}

/// nghttp2, and with it cargo, closes the connection over a surplus acknowledgement.
#[tokio::test]
async fn settings_that_repeat_the_offer_are_acknowledged_once() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (settings, payload) in [
        (frames::CARGOS_SETTINGS, CARGOS_SETTINGS_PAYLOAD),
        ("AAQAAAAK", &[0, 4, 0, 0, 0, 10]),
        ("", &[]),
    ] {
        let preface = [MAGIC, &frame(SETTINGS, 0, 0, payload)].concat();
        for step in [1, 7, preface.len()] {
            let offer = offer(settings);
            let upgraded = Frames::upgrade_with(mirror.addr(), "GET", INDEX, &offer);
            let mut frames = upgraded.await;
            for piece in preface.chunks(step) {
                frames.send_bytes(piece).await;
                tokio::task::yield_now().await;
            }
            let before = frames.ping().await;
            let after = frames.ping().await;
            assert_eq!((acks(&before), acks(&after)), (1, 0), "{settings:?}");
        }
    }
}

#[tokio::test]
async fn a_preface_sent_along_with_the_request_is_understood() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let head = format!(
        "GET {INDEX} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: {}\r\n\r\n",
        mirror.addr(),
        frames::CARGOS_SETTINGS
    );
    let preface = frame(SETTINGS, 0, 0, CARGOS_SETTINGS_PAYLOAD);
    let mut connection = Connection::open(mirror.addr()).await;
    let all = [head.as_bytes(), MAGIC, &preface].concat();
    connection.send(&all).await;
    assert_eq!(connection.reply().await.status, 101);
    let mut frames = Frames::after_upgrade(connection);
    let before = frames.until(|f| f.stream == 1 && f.ends_stream()).await;
    let body = response_in(&before, 1).body;
    assert_eq!(body, upstream.index_file("serde").into_bytes());
    let after = frames.ping().await;
    assert_eq!(acks(&before) + acks(&after), 1);
}

/// What came with the offer holds from the first frame on; more data than the window is an error of flow control.
#[tokio::test]
async fn the_offered_window_holds_for_the_first_response() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let file = upstream.crate_file("big", "1.0.0");
    let payload = &[0, 4, 0, 0, 0, 10];
    let offer = offer("AAQAAAAK");
    let mut frames = Frames::upgrade_with(mirror.addr(), "GET", CRATE, &offer).await;
    frames.send_bytes(MAGIC).await;
    frames.send(SETTINGS, 0, 0, payload).await;
    let mut seen = frames.until(|f| f.kind == DATA).await;
    seen.extend(frames.ping().await);
    assert_eq!(data(&seen), 10);
    for stream in [0, 1] {
        let more = 1_000_000_u32.to_be_bytes();
        frames.send(WINDOW_UPDATE, 0, stream, &more).await;
    }
    seen.extend(frames.until(|f| f.stream == 1 && f.ends_stream()).await);
    assert!(response_in(&seen, 1).body == file, "other bytes");
}

/// Cargo asks for 200 things at once on one connection; one that waits must not hold up the others.
#[tokio::test]
async fn requests_after_the_upgrade_are_answered_as_they_get_ready() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate("/index/se/rd/serde");
    let mut frames = Frames::upgrade(mirror.addr(), INDEX).await;
    gate.await_waiting(1).await;
    frames.ask(3, "GET", "h", "/index/to/ki/tokio").await;
    frames.ask(5, "GET", "h", "/index/no/ne/none").await;
    let mut seen = frames.until(|f| f.stream == 5 && f.ends_stream()).await;
    if !seen.iter().any(|f| f.stream == 3 && f.ends_stream()) {
        seen.extend(frames.until(|f| f.stream == 3 && f.ends_stream()).await);
    }
    assert_eq!(response_in(&seen, 5).status, 404);
    let tokio = response_in(&seen, 3);
    assert_eq!(tokio.body, upstream.index_file("tokio").into_bytes());
    assert!(!seen.iter().any(|f| f.stream == 1), "{seen:?}");
    gate.open();
    let serde = frames.response(1).await;
    assert_eq!(serde.body, upstream.index_file("serde").into_bytes());
}

#[tokio::test]
async fn an_upgraded_request_is_counted_once() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut frames = Frames::upgrade(mirror.addr(), INDEX).await;
    frames.response(1).await;
    frames.ping().await;
    let index = "crate_mirror_requests_total{outcome=\"miss\",route=\"index\"}";
    assert_eq!(mirror.metric(index).await, 1.0);
    let http2 = "crate_mirror_requests_by_protocol_total{protocol=\"HTTP/2\"}";
    assert_eq!(mirror.metric(http2).await, 1.0);
    let all = "crate_mirror_requests_total{outcome";
    assert_eq!(mirror.metric(all).await, 3.0, "and the two for metrics");
}

#[tokio::test]
async fn a_stop_lets_an_upgraded_request_finish() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate("/index/se/rd/serde");
    let mut frames = Frames::upgrade(mirror.addr(), INDEX).await;
    gate.await_waiting(1).await;
    let stopping = tokio::spawn(mirror.stop());
    let mut seen = frames.until(|f| f.kind == GOAWAY).await;
    gate.open();
    loop {
        match frames.next().await {
            // The server waits with its last GOAWAY until the client has answered its ping.
            Some(ping) if ping.kind == PING => frames.send(PING, 1, 0, &ping.payload).await,
            Some(other) => seen.push(other),
            None => break,
        }
    }
    let response = response_in(&seen, 1);
    assert_eq!(response.body, upstream.index_file("serde").into_bytes());
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn what_is_no_valid_offer_is_answered_in_http_1_1() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let [connection, upgrade, settings] = cargos_offer();
    let both = ("connection", "Upgrade, HTTP2-Settings");
    for (headers, why) in [
        (vec![connection, upgrade], "no settings"),
        (
            vec![connection, upgrade, settings, settings],
            "two settings",
        ),
        (
            vec![("connection", "Upgrade"), upgrade, settings],
            "unlisted",
        ),
        (
            vec![("connection", "HTTP2-Settings"), upgrade, settings],
            "unlisted",
        ),
        (vec![upgrade, settings], "no Connection"),
        (vec![both, settings], "no Upgrade"),
        (vec![both, ("upgrade", "h2"), settings], "TLS's name"),
        (vec![both, ("upgrade", "websocket"), settings], "another"),
        (vec![both, upgrade, ("http2-settings", "AAM")], "cut off"),
        (
            vec![both, upgrade, ("http2-settings", "AAMAAABkAAQ")],
            "cut off",
        ),
        (
            vec![both, upgrade, ("http2-settings", "!!!!")],
            "not base64",
        ),
        (
            vec![both, upgrade, ("http2-settings", "AAMAAABk\u{e9}")],
            "not ASCII",
        ),
    ] {
        let mut connection = Connection::open(mirror.addr()).await;
        for _ in 0..2 {
            connection.ask("GET", INDEX, &headers).await.expect("sent");
            let reply = connection.reply().await;
            assert_eq!((reply.status, reply.complete), (200, true), "{why}");
            assert_eq!(reply.text(), upstream.index_file("serde"), "{why}");
        }
    }
}

/// A body would have to be read before the upgrade, and nobody who reads from a mirror sends one.
#[tokio::test]
async fn a_request_with_a_body_is_never_upgraded() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (framing, body) in [
        (("content-length", "5"), "hello"),
        (("transfer-encoding", "chunked"), "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut connection = Connection::open(mirror.addr()).await;
        let mut headers = cargos_offer().to_vec();
        headers.push(framing);
        connection.ask("GET", INDEX, &headers).await.expect("sent");
        connection.send(body.as_bytes()).await;
        let reply = connection.reply().await;
        assert_eq!((reply.status, reply.complete), (400, true));
    }
    let mut headers = cargos_offer().to_vec();
    headers.push(("content-length", "0"));
    let reply = mirror.get_with(INDEX, &headers).await;
    assert_eq!(reply.status, 101, "an empty body is none");
}
