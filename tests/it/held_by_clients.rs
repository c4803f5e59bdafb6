//! Held by clients: what they can make the mirror keep in memory, with requests that wait and answers that they don't take, has its bounds, and goes
//! back to the system when they have left.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use crate::support::{
    Connection, Frames, Gate, Package, Process, Upstream, client,
    frames::{CONTINUATION, DATA, HEADERS, PING, RST_STREAM, frame},
    requests, until,
};

const HELD: &str = "/index/he/ld/held";
const MB: u64 = 1_000_000;

/// A mirror whose upstream holds what is asked of it for `held`.
async fn mirror(settings: &str) -> (Upstream, Gate, Process, tempfile::TempDir) {
    let held = Package::new("held", "1.0.0");
    let upstream = Upstream::new().publish(held).start().await;
    let gate = upstream.gate(HELD);
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Process::start(&upstream, folder.path(), settings).await;
    (upstream, gate, mirror, folder)
}

/// How long memory may take to go back to the system.
const SECONDS: Duration = Duration::from_secs(20);

/// Looks at the memory it has until that is no more than `most`.
async fn shrinks_to(mirror: &Process, most: u64) {
    let started = Instant::now();
    while mirror.memory() > most {
        let (now, waited) = (mirror.memory(), started.elapsed());
        assert!(waited < SECONDS, "{now} bytes, {waited:?} after");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A waiting request takes as little as README says, whatever is in its head. A single reference to one header used to keep the whole head and the buffer
/// that it was read into: 45 KB.
#[tokio::test]
async fn a_request_that_waits_takes_5_kb_whatever_its_head_says() {
    let _alone = crate::support::memory_is_measured().await;
    const CONNECTIONS: u32 = 16;
    const STREAMS: u32 = 250;
    let (_upstream, gate, mirror, _folder) = mirror("").await;
    let path = format!("{HELD}?{}", "q".repeat(8000));
    let filler = "v".repeat(7000);
    let tag = format!("\"{}\"", "t".repeat(7000));
    let headers = [
        ("user-agent", "cargo/1.95.0 (f2d3ce0bd 2026-03-21)"),
        ("if-none-match", &*tag),
        ("x-filler", &*filler),
    ];
    let before = mirror.peak_memory();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Frames::open(mirror.addr(), 1 << 20).await;
        for stream in 0..STREAMS {
            let request = requests::get(2 * stream + 1, &path, &headers);
            client.send_bytes(&request).await;
        }
        // All that came before it has been read.
        client.ping().await;
        clients.push(client);
    }
    gate.await_waiting(1).await;
    let peak = mirror.peak_memory();
    let waiting = u64::from(CONNECTIONS * STREAMS);
    let each = (peak - before) / waiting;
    eprintln!(
        "{waiting} requests that wait: {peak} bytes at the peak, {before} before, {each} each"
    );
    assert!(
        each <= 5_000,
        "{waiting} requests that wait: {peak} bytes at the peak, {before} before, {each} each"
    );
    gate.open();
    for client in &mut clients {
        let (mut answered, mut ended) = (0, 0);
        while ended < STREAMS {
            let frame = client.next().await.expect("a connection that is open");
            assert_ne!(frame.kind, RST_STREAM);
            answered += u32::from(frame.kind == HEADERS && frame.payload.contains(&0x88));
            ended += u32::from(frame.ends_stream());
        }
        assert_eq!(answered, STREAMS, "with status 200");
    }
    drop(clients);
    shrinks_to(&mirror, before + 8 * MB).await;
}

/// 75,000 answers of 12 KB that nobody took were 900 MB, for as long as their clients sent pings: small answers weren't watched, and each had a page
/// of its own.
#[tokio::test]
async fn answers_that_nobody_takes_are_small_and_end_with_their_connection() {
    let _alone = crate::support::memory_is_measured().await;
    const CONNECTIONS: usize = 60;
    const STREAMS: u32 = 250;
    const LIMIT: Duration = Duration::from_secs(1);
    let settings = "[server]\nidle_timeout = \"1s\"";
    let (_upstream, _gate, mirror, _folder) = mirror(settings).await;
    let before = mirror.peak_memory();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Frames::open(mirror.addr(), 0).await;
        for stream in 0..STREAMS {
            let request = requests::get(2 * stream + 1, "/metrics", &[]);
            client.send_bytes(&request).await;
        }
        clients.push((client, Instant::now()));
    }
    let answers = CONNECTIONS as u64 * u64::from(STREAMS);
    let mut closed = Duration::ZERO;
    while !clients.is_empty() {
        let mut left = Vec::new();
        for (mut client, asked) in clients {
            let is_open = client.try_send(PING, 0, 0, b"eightish").await.is_ok();
            match is_open && client.is_open() {
                true => left.push((client, asked)),
                false => closed = closed.max(asked.elapsed()),
            }
            assert!(asked.elapsed() < 30 * LIMIT, "still open");
        }
        clients = left;
        tokio::time::sleep(LIMIT / 10).await;
    }
    let peak = mirror.peak_memory();
    let each = (peak - before) / answers;
    eprintln!(
        "{answers} answers that nobody takes: {peak} bytes at the peak, {before} before, {each} each; closed within {closed:?}"
    );
    assert!(
        each <= 5_000,
        "{answers} answers that nobody takes: {peak} bytes at the peak, {before} before, {each} each"
    );
    shrinks_to(&mirror, before + 16 * MB).await;
}

/// However many clients wait, the process takes its budget and at most 100 MB more. When there is no more room, requests are refused with a sentence.
#[tokio::test]
async fn requests_for_which_there_is_no_room_are_told_so() {
    let _alone = crate::support::memory_is_measured().await;
    const CONNECTIONS: u32 = 120;
    // As many requests as each connection may have when there are this many connections.
    const STREAMS: u32 = 100;
    let (_upstream, gate, mirror, _folder) = mirror("[memory]\nbudget = \"1MiB\"").await;
    let before = mirror.peak_memory();
    let mut clients = Vec::new();
    // All are there before the first of them asks: there may be no memory for another connection after that.
    for _ in 0..CONNECTIONS {
        let mut client = Frames::open(mirror.addr(), 1 << 20).await;
        client.ping().await;
        clients.push(client);
    }
    for client in &mut clients {
        for stream in 0..STREAMS {
            let request = requests::get(2 * stream + 1, HELD, &[]);
            client.send_bytes(&request).await;
        }
        client.send(PING, 0, 0, b"eightish").await;
    }
    gate.await_waiting(1).await;
    let (mut refused, mut waiting) = (0, Vec::new());
    for mut client in clients {
        // The answer to the first ping may come before those to the requests, that to the second can't.
        let mut frames = client.until(|frame| frame.is_ack(PING)).await;
        frames.extend(client.ping().await);
        let told = frames.iter().filter(|frame| frame.kind == DATA);
        let mut ended = 0;
        for frame in told {
            let text = String::from_utf8_lossy(&frame.payload);
            assert!(
                text.contains("memory has room for") && text.ends_with(".\n"),
                "{text}"
            );
            ended += 1;
        }
        refused += ended;
        waiting.push((client, ended));
    }
    let peak = mirror.peak_memory();
    eprintln!("{refused} refused: {peak} bytes at the peak, {before} before");
    assert!(
        peak <= (1 << 20) + 100 * MB,
        "{peak} bytes at the peak, {before} before, {refused} refused"
    );
    assert!(
        refused > 0,
        "none of {} was too many",
        CONNECTIONS * STREAMS
    );
    assert!(
        refused < CONNECTIONS * STREAMS / 2,
        "{refused} refused, with {peak} bytes at the peak"
    );
    gate.open();
    for (mut client, mut ended) in waiting {
        while ended < STREAMS {
            let frame = client.next().await.expect("a connection that is open");
            ended += u32::from(frame.ends_stream());
        }
    }
    assert_eq!(mirror.get(HELD).await.status, 200, "there is room again");
}

/// A download of a crate that is too large for memory.
const LARGE: &str = "/api/v1/crates/large/1.0.0/download";
const LARGE_SIZE: usize = 3_000_000;

/// 2,000 answers that their clients don't take used to keep a block of 64 KB each, for as long as the clients liked, and no budget counted them. A client
/// that does take its answer gets it meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_stored_crates_that_nobody_takes_are_small_and_hold_up_nobody() {
    let _alone = crate::support::memory_is_measured().await;
    let (upstream, mirror, folder) = with_large_crate().await;
    assert_eq!(mirror.get(LARGE).await.status, 200);
    let stored = folder.path().join("crates-io/crates/la/rg/large");
    let files = || std::fs::read_dir(&stored).is_ok_and(|files| files.count() > 0);
    until("stored", files).await;
    upstream.stop().await;
    let clients = nobody_takes(&mirror).await;
    let reply = mirror.get(LARGE).await;
    assert!(reply.complete && reply.body == upstream.crate_file("large", "1.0.0"));
    let part = [("range", "bytes=1000000-1999999")];
    let reply = client::get(mirror.addr(), LARGE, &part).await;
    assert_eq!((reply.status, reply.body.len()), (206, 1_000_000));
    assert!(reply.complete, "a part is cut off");
    drop(clients);
}

/// The same for a crate that is still being downloaded, and is read from the file that it arrives in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_arriving_crates_that_nobody_takes_are_small_and_hold_up_nobody() {
    let _alone = crate::support::memory_is_measured().await;
    let (upstream, mirror, _folder) = with_large_crate().await;
    let path = upstream.crate_path("large", "1.0.0");
    let gate = upstream.gate_after(&path, LARGE_SIZE - 100_000);
    let mut first = Connection::open(mirror.addr()).await;
    first.ask("GET", LARGE, &[]).await.expect("a request sent");
    first.body_so_far(LARGE_SIZE - 300_000).await;
    let clients = nobody_takes(&mirror).await;
    gate.open();
    let (first, second) = tokio::join!(first.reply(), mirror.get(LARGE));
    let file = upstream.crate_file("large", "1.0.0");
    assert!(first.complete && first.body == file);
    assert!(second.complete && second.body == file);
    drop(clients);
}

async fn with_large_crate() -> (Upstream, Process, tempfile::TempDir) {
    let large = Package::new("large", "1.0.0").payload(LARGE_SIZE);
    let upstream = Upstream::new().publish(large).start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[memory]\nbudget = \"1MiB\"";
    let mirror = Process::start(&upstream, folder.path(), settings).await;
    (upstream, mirror, folder)
}

/// Clients that ask for that crate over and over, and take one byte of each answer.
async fn nobody_takes(mirror: &Process) -> Vec<Frames> {
    const CONNECTIONS: u32 = 40;
    const STREAMS: u32 = 50;
    let before = mirror.peak_memory();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Frames::open(mirror.addr(), 1).await;
        for stream in 0..STREAMS {
            let request = requests::get(2 * stream + 1, LARGE, &[]);
            client.send_bytes(&request).await;
        }
        let mut begun = 0;
        while begun < STREAMS {
            let frame = client.next().await.expect("a connection that is open");
            assert_ne!(frame.kind, RST_STREAM);
            begun += u32::from(frame.kind == DATA);
        }
        clients.push(client);
    }
    let peak = mirror.peak_memory();
    let answers = u64::from(CONNECTIONS * STREAMS);
    eprintln!("{answers} crates that nobody takes: {peak} bytes at the peak, {before} before");
    assert!(
        peak <= before + 32 * MB,
        "{answers} crates that nobody takes: {peak} bytes at the peak, {before} before"
    );
    clients
}

/// Heads that were only half there used to be counted by no budget, and stayed for ever: 44 KB a connection over HTTP/1.1, 78 KB over HTTP/2.
#[tokio::test]
async fn heads_that_do_not_end_have_room_like_everything_else() {
    let _alone = crate::support::memory_is_measured().await;
    let filler = "v".repeat(900);
    let line = format!("x-filler: {filler}\r\n");
    let http1 = format!(
        "GET /config.json HTTP/1.1\r\nhost: mirror\r\n{}",
        line.repeat(33)
    );
    let payload = |length| vec![b'v'; length];
    let http2 = [
        requests::opening(0),
        frame(HEADERS, 0, 1, &block_of(15_000)),
        frame(CONTINUATION, 0, 1, &block_of(14_000)),
        frame(CONTINUATION, 0, 1, &payload(16_384))[..16_000].to_vec(),
    ]
    .concat();
    for (name, half) in [("HTTP/1.1", http1.into_bytes()), ("HTTP/2", http2)] {
        half_heads(name, &half).await;
    }
}

/// The beginning of a header block: one header of about so many bytes.
fn block_of(length: usize) -> Vec<u8> {
    let value = "v".repeat(length);
    let whole = requests::block("/config.json", &[("x-filler", &value)]);
    whole[whole.len() - length - 13..].to_vec()
}

async fn half_heads(name: &str, half: &[u8]) {
    const CONNECTIONS: usize = 1200;
    let (_upstream, _gate, mirror, _folder) = mirror("[memory]\nbudget = \"1MiB\"").await;
    let before = mirror.peak_memory();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Frames::after_upgrade(Connection::open(mirror.addr()).await);
        // A connection that is refused may be told so before it has sent everything.
        let _ = client.try_send_bytes(half).await;
        clients.push(client);
    }
    let started = Instant::now();
    let mut held = CONNECTIONS;
    while held > CONNECTIONS * 9 / 10 {
        assert!(started.elapsed() < SECONDS, "{name}: {held} held");
        tokio::time::sleep(Duration::from_millis(100)).await;
        held = clients
            .iter_mut()
            .filter_map(|c| c.is_open().then_some(()))
            .count();
    }
    let peak = mirror.peak_memory();
    eprintln!(
        "{name}: {held} of {CONNECTIONS} half heads held: {peak} bytes at the peak, {before} before"
    );
    assert!(
        peak <= before + 72 * MB,
        "{name}: {held} of {CONNECTIONS} half heads held: {peak} bytes at the peak, {before} before"
    );
    drop(clients);
    shrinks_to(&mirror, before + 8 * MB).await;
    assert_eq!(
        mirror.get("/index/config.json").await.status,
        200,
        "there is room again"
    );
}
