//! Broken HTTP/2 is cut off, by prior knowledge and after an upgrade, and costs the server no more than its client.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::{Connection, Fortress, Frames, fortress::LIMIT, frames};
use frames::{CARGOS_SETTINGS_PAYLOAD, HEADERS, MAGIC, RST_STREAM, SETTINGS, cargos_offer, frame};

/// Waits until the server closes the connection, whatever it sends before.
async fn is_cut_off(fortress: &Fortress, bytes: &[u8], why: &str) {
    let mut connection = Connection::open(fortress.mirror.addr()).await;
    let (mut stream, _) = {
        connection.send(&bytes[..bytes.len().min(24)]).await;
        connection.into_parts()
    };
    // Writing may fail: the server may close before it has read everything.
    let _ = stream.write_all(&bytes[bytes.len().min(24)..]).await;
    let mut received = Vec::new();
    let closed = timeout(LIMIT, stream.read_to_end(&mut received)).await;
    assert!(closed.is_ok(), "still open: {why}");
}

#[tokio::test]
async fn broken_http2_is_cut_off() {
    let fortress = Fortress::new().await;
    let settings = frame(SETTINGS, 0, 0, CARGOS_SETTINGS_PAYLOAD);
    let after_settings = |frames: Vec<u8>| [MAGIC, &settings[..], &frames[..]].concat();
    let headers = frame(HEADERS, 0, 1, b"\x82\x86\x84");
    let continuations = frame(9, 0, 1, &[0; 1000]).repeat(500);
    for (bytes, why) in [
        (
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(),
            "another magic",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!".to_vec(), "another magic"),
        (
            [MAGIC, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"].concat(),
            "HTTP/1.1 after the magic",
        ),
        (
            after_settings(frame(SETTINGS, 0, 0, b"12345")),
            "five bytes of SETTINGS",
        ),
        (
            after_settings(frame(SETTINGS, 0, 1, b"")),
            "SETTINGS on a stream",
        ),
        (after_settings(frame(0, 0, 0, b"data")), "DATA on no stream"),
        (
            after_settings(frame(0, 0, 1, b"data")),
            "DATA on an idle stream",
        ),
        (
            after_settings(frame(HEADERS, 5, 2, b"\x82\x86\x84")),
            "an even stream",
        ),
        (
            after_settings(frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff")),
            "no HPACK",
        ),
        (
            after_settings(frame(HEADERS, 5, 1, b"\xc0")),
            "an index nobody set",
        ),
        (
            after_settings(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01".to_vec()),
            "16 MB of DATA",
        ),
        (
            after_settings([headers, continuations].concat()),
            "headers without end",
        ),
        (
            after_settings(frame(8, 0, 0, &[0; 4])),
            "a window of nothing",
        ),
    ] {
        is_cut_off(&fortress, &bytes, why).await;
    }
    fortress.stands().await;
}

/// Asking and resetting costs a client nothing; it may not cost the server more (CVE-2023-44487).
#[tokio::test]
async fn resets_by_the_thousand_do_no_harm() {
    let fortress = Fortress::new().await;
    let mut flood = [MAGIC, &frame(SETTINGS, 0, 0, &[])[..]].concat();
    for stream in (1..20_000).step_by(2) {
        // GET http /
        flood.extend(frame(HEADERS, 5, stream, b"\x82\x86\x84"));
        flood.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    is_cut_off(&fortress, &flood, "resets").await;
    fortress.stands().await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_followed_by_http2_is_cut_off() {
    let fortress = Fortress::new().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!",
        &[0; 100],
    ] {
        let offer = cargos_offer();
        let path = "/index/se/rd/serde";
        let mut frames = Frames::upgrade_with(fortress.mirror.addr(), "GET", path, &offer).await;
        frames.send_bytes(bytes).await;
        let ended = timeout(LIMIT, frames.until(|_| false)).await;
        assert!(ended.is_ok(), "still open after {bytes:?}");
    }
    fortress.stands().await;
}

#[tokio::test]
async fn a_client_that_leaves_at_any_moment_does_no_harm() {
    let fortress = Fortress::new().await;
    let request = b"GET /index/se/rd/serde HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n";
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let all = [&request[..], MAGIC, &settings].concat();
    for cut in (0..all.len()).step_by(7) {
        drop(fortress.open(&all[..cut]).await);
    }
    fortress.stands().await;
}
