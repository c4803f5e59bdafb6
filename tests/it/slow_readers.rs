//! Slow readers: a client that takes next to nothing of an answer is disconnected, because memory is held for it. One that is slow, or waits, isn't.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::support::{
    Connection, Frames, Mirror, Package, Upstream,
    frames::{DATA, PING, WINDOW_UPDATE},
};

const LARGE: &str = "/api/v1/crates/large/1.0.0/download";
const HELD: &str = "/api/v1/crates/held/1.0.0/download";
/// The usual limit is two minutes.
const LIMIT: Duration = Duration::from_secs(1);

async fn mirror() -> (Upstream, Mirror) {
    mirror_within(LIMIT).await
}

async fn mirror_within(limit: Duration) -> (Upstream, Mirror) {
    let large = Package::new("large", "1.0.0").payload(600_000);
    let held = Package::new("held", "1.0.0").payload(600_000);
    let upstream = Upstream::new().publish(large).publish(held).start().await;
    let limit = format!("idle_timeout = \"{}s\"", limit.as_secs());
    let mirror = Mirror::of(&upstream).server(&limit).start().await;
    for path in [LARGE, HELD] {
        assert_eq!(mirror.get(path).await.status, 200);
    }
    (upstream, mirror)
}

/// Allows the server to send that much more on a stream, or on the connection (0). Returns whether the connection is still there.
async fn widen(client: &mut Frames, stream: u32, by: usize) -> bool {
    let by = u32::try_from(by).expect("a small number").to_be_bytes();
    client.try_send(WINDOW_UPDATE, 0, stream, &by).await.is_ok()
}

/// Of two answers on one connection, one keeps moving while the other's window stays closed. The mirror used to look only at whether the connection moves.
#[tokio::test]
async fn one_answer_that_is_not_taken_ends_a_connection_on_which_others_move() {
    let (_upstream, mirror) = mirror().await;
    let mut client = Frames::upgrade(mirror.addr(), HELD).await;
    let authority = mirror.addr().to_string();
    // Enough for everything; what holds the first answer is its own window.
    assert!(widen(&mut client, 0, 1 << 30).await);
    let (started, mut asked, mut moved) = (Instant::now(), 1, 0);
    let closed = loop {
        if asked == 1 || moved > 500_000 {
            (asked, moved) = (asked + 2, 0);
            client.ask(asked, "GET", &authority, LARGE).await;
        }
        match timeout(LIMIT / 20, client.next()).await {
            Ok(None) => break started.elapsed(),
            Ok(Some(frame)) if frame.kind == DATA && frame.stream == asked => {
                moved += frame.payload.len();
            }
            Ok(Some(_)) => {}
            Err(_) => {
                let sent = client.try_send(PING, 0, 0, b"eightish").await;
                if sent.is_err() || !widen(&mut client, asked, 40_000).await {
                    break started.elapsed();
                }
            }
        }
        assert!(started.elapsed() < 20 * LIMIT, "still open");
    };
    assert!(closed >= LIMIT, "after {closed:?}");
}

/// The client sends only pings, each of which is answered.
#[tokio::test]
async fn pings_do_not_keep_a_connection_whose_answer_is_not_taken() {
    let (_upstream, mirror) = mirror().await;
    let mut client = Frames::upgrade(mirror.addr(), HELD).await;
    let started = Instant::now();
    loop {
        let closed = match timeout(LIMIT / 20, client.next()).await {
            Ok(frame) => frame.is_none(),
            Err(_) => client.try_send(PING, 0, 0, b"eightish").await.is_err(),
        };
        if closed {
            break;
        }
        assert!(started.elapsed() < 20 * LIMIT, "still open");
    }
    // The pings alone don't end the connection.
    let lasted = started.elapsed();
    assert!(lasted >= LIMIT, "after {lasted:?}");
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    // Longer, so that a moment in which this client isn't run is no reason to close.
    let limit = 3 * LIMIT;
    let (upstream, mirror) = mirror_within(limit).await;
    let mut client = Frames::upgrade(mirror.addr(), LARGE).await;
    let (started, mut body) = (Instant::now(), Vec::new());
    loop {
        let frame = client.next().await;
        let frame = frame.unwrap_or_else(|| panic!("closed after {:?}", started.elapsed()));
        if frame.stream != 1 || frame.kind != DATA {
            continue;
        }
        body.extend_from_slice(&frame.payload);
        if frame.ends_stream() {
            break;
        }
        tokio::time::sleep(limit / 20).await;
        let taken = frame.payload.len();
        let still_open = widen(&mut client, 0, taken).await && widen(&mut client, 1, taken).await;
        assert!(
            still_open,
            "{} bytes in {:?}",
            body.len(),
            started.elapsed()
        );
    }
    assert!(started.elapsed() > 3 * limit / 2, "that was not slow");
    assert!(body == upstream.crate_file("large", "1.0.0"), "other bytes");
}

/// A refresh that takes long isn't the client's fault.
#[tokio::test]
async fn a_client_that_waits_for_upstream_is_not_slow() {
    let (upstream, mirror) = mirror().await;
    upstream.publish(Package::new("new", "1.0.0"));
    let gate = upstream.on_everything().gate();
    let mut one = Connection::open(mirror.addr()).await;
    one.ask("GET", "/index/3/n/new", &[]).await.expect("sent");
    let mut two = Frames::upgrade(mirror.addr(), "/index/3/n/new").await;
    gate.await_waiting(1).await;
    tokio::time::sleep(3 * LIMIT).await;
    gate.open();
    assert_eq!(one.reply().await.text(), upstream.index_file("new"));
    assert_eq!(two.response(1).await.status, 200);
}
