//! Floods: a client that abuses HTTP/2 costs itself its connection; memory stays bounded, and others are served.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::support::{Gate, Package, Process, Upstream};

const SERDE: &str = "/index/se/rd/serde";
/// How much more memory a mirror may take under a flood than before it.
const MOST: u64 = 64 << 20;

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// A frame as it is on the wire (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small payload");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header block of a GET, without compression but for what is in the static table (RFC 7541, appendix A).
fn block(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'a']);
    block
}

/// A mirror whose upstream answers for `serde` and holds everything else.
async fn mirror() -> (Upstream, Gate, Process, tempfile::TempDir) {
    let serde = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().publish(serde).start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Process::start(&upstream, folder.path(), "").await;
    assert_eq!(mirror.get(SERDE).await.status, 200);
    let gate = upstream.gate("/na/me/");
    (upstream, gate, mirror, folder)
}

/// A connection that is about to speak HTTP/2.
async fn begin(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    start.extend(frame(SETTINGS, 0, 0, &[]));
    stream.write_all(&start).await.expect("send");
    stream
}

/// Sends what `flood` returns for 0, 1, 2 and so on, until it returns `None` or the server closes, and reads what comes back. Returns how many pieces were
/// sent.
fn attack(
    mirror: &Process,
    flood: impl Fn(u32) -> Option<Vec<u8>> + Send + 'static,
) -> JoinHandle<u32> {
    let addr = mirror.addr();
    tokio::spawn(async move {
        let (mut reading, mut writing) = begin(addr).await.into_split();
        let drain = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(1..) = reading.read(&mut buffer).await {}
        });
        let mut sent = 0;
        while let Some(piece) = flood(sent) {
            if writing.write_all(&piece).await.is_err() {
                break;
            }
            sent += 1;
        }
        drop(writing);
        drain.abort();
        sent
    })
}

/// While the attacks last, and after them, others are served, and memory has its limit.
async fn survives(mirror: &Process, before: u64, attacks: Vec<JoinHandle<u32>>) -> Vec<u32> {
    let mut sent = Vec::new();
    let outlast = async {
        for attack in attacks {
            while !attack.is_finished() {
                assert_eq!(mirror.get(SERDE).await.status, 200);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            sent.push(attack.await.expect("an attack"));
        }
        assert_eq!(mirror.get(SERDE).await.status, 200);
    };
    let outlasted = timeout(Duration::from_secs(60), outlast).await;
    outlasted.expect("others are served in time");
    let more = mirror.peak_memory().saturating_sub(before);
    assert!(more < MOST, "{} MB more, after {sent:?}", more >> 20);
    sent
}

/// CVE-2023-44487: each request is taken back at once, so that the limit of streams is never reached.
#[tokio::test]
async fn requests_that_are_taken_back_at_once_do_not_pile_up() {
    let (upstream, gate, mirror, _folder) = mirror().await;
    // One that isn't taken back: these frames are requests.
    let control = block("/index/na/me/name-control");
    let control = frame(HEADERS, END_STREAM | END_HEADERS, 1, &control);
    let mut stream = begin(mirror.addr()).await;
    stream.write_all(&control).await.expect("send");
    gate.await_waiting(1).await;

    let before = mirror.peak_memory();
    let flood = |n: u32| {
        let stream = 2 * n + 1;
        let path = format!("/index/na/me/name-{n}");
        let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&path));
        pair.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        (n < 20_000).then_some(pair)
    };
    let attacks = (0..4).map(|_| attack(&mirror, flood)).collect();
    survives(&mirror, before, attacks).await;
    // The requests to upstream by then are no more than always.
    assert!(gate.waiting() <= 64, "{} under way", gate.waiting());
    gate.open();
    drop(upstream);
}

/// CVE-2024-27316: a head that never ends.
#[tokio::test]
async fn a_head_that_goes_on_for_ever_is_cut_off() {
    let (_upstream, _gate, mirror, _folder) = mirror().await;
    let before = mirror.peak_memory();
    // One literal header after the other, 16 KB a frame; 400 MB, if they are taken.
    let mut header = vec![0x00, 0x03, b'x', b'-', b'a', 0x7e];
    header.extend([b'a'; 0x7e]);
    let filler = header.repeat(120);
    let flood = move |n: u32| match n {
        0 => Some(frame(HEADERS, END_STREAM, 1, &block("/healthz"))),
        1..25_000 => Some(frame(CONTINUATION, 0, 1, &filler)),
        _ => None,
    };
    let attacks = (0..2).map(|_| attack(&mirror, flood.clone())).collect();
    let sent = survives(&mirror, before, attacks).await;
    assert!(
        sent.iter().all(|sent| *sent < 25_000),
        "all taken: {sent:?}"
    );
}

/// CVE-2024-27316 without bytes: frames that carry nothing.
#[tokio::test]
async fn a_head_of_empty_frames_holds_up_nobody() {
    let (_upstream, _gate, mirror, _folder) = mirror().await;
    let before = mirror.peak_memory();
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    let flood = move |n: u32| match n {
        0 => Some(frame(HEADERS, END_STREAM, 1, &block("/healthz"))),
        1..2_000 => Some(empty.clone()),
        _ => None,
    };
    let attacks = (0..2).map(|_| attack(&mirror, flood.clone())).collect();
    survives(&mirror, before, attacks).await;
}

/// CVE-2019-9512 and CVE-2019-9515: each wants an answer, and the answers aren't read.
#[tokio::test]
async fn pings_and_settings_whose_answers_nobody_reads_do_not_pile_up() {
    let (_upstream, _gate, mirror, _folder) = mirror().await;
    let before = mirror.peak_memory();
    for (kind, payload) in [(PING, &b"12345678"[..]), (SETTINGS, &[])] {
        let many = frame(kind, 0, 0, payload).repeat(1000);
        let mut stream = begin(mirror.addr()).await;
        // The mirror stops reading when it can't write, or closes.
        for _ in 0..5_000 {
            let sent = timeout(Duration::from_secs(1), stream.write_all(&many)).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        assert_eq!(mirror.get(SERDE).await.status, 200);
        let more = mirror.peak_memory().saturating_sub(before);
        assert!(more < MOST, "{} MB more", more >> 20);
    }
}
