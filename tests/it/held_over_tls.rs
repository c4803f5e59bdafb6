//! What clients can make the mirror hold over TLS has its bounds, and goes back to the system when they have left; and what it sends goes out in few records.
#![cfg(target_os = "linux")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;

use crate::support::{Package, Process, TlsFolder, Upstream, client, frames, requests};

const MB: u64 = 1_000_000;
/// How long memory may take to go back to the system.
const PATIENCE: Duration = Duration::from_secs(20);
const CRATE: &str = "/api/v1/crates/big/1.0.0/download";

async fn mirror(
    files: &TlsFolder,
    settings: &str,
) -> (Upstream, Process, SocketAddr, tempfile::TempDir) {
    let upstream = Upstream::new()
        .publish(Package::new("leaf", "1.0.0"))
        .publish(Package::new("big", "1.0.0").payload(6_000_000))
        .start()
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = files.beside_plain("") + settings;
    let mut mirror = Process::start(&upstream, folder.path(), &settings).await;
    let addr = mirror.tls_addr().await;
    (upstream, mirror, addr, folder)
}

async fn shrinks_to(mirror: &Process, most: u64) {
    let started = Instant::now();
    while mirror.memory() > most {
        let (now, waited) = (mirror.memory(), started.elapsed());
        assert!(waited < PATIENCE, "{now} bytes, {waited:?} after");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Connects so many clients, some at a time, and has each do something.
async fn many<T: Send + 'static, F: Future<Output = T> + Send>(
    count: usize,
    each: impl Fn() -> F + Clone + Send + 'static,
) -> Vec<T> {
    let (mut begun, mut all) = (JoinSet::new(), Vec::new());
    for _ in 0..16 {
        let each = each.clone();
        begun.spawn(async move {
            let mut done = Vec::new();
            for _ in 0..count / 16 {
                done.push(each().await);
            }
            done
        });
    }
    while let Some(done) = begun.join_next().await {
        all.extend(done.expect("no panic"));
    }
    all
}

/// What is leased for one. Of that, 26 KB are for what a plain one takes.
#[tokio::test]
async fn an_idle_connection_takes_34_kb() {
    let _alone = crate::support::memory_is_measured().await;
    let files = TlsFolder::new();
    for protocol in ["http/1.1", "h2"] {
        let (_upstream, mirror, addr, _folder) = mirror(&files, "").await;
        let tls = files.client().offering(&[protocol]);
        let talk = move || {
            let tls = tls.clone();
            async move {
                let mut stream = tls.connect(addr).await.expect("TLS");
                match protocol {
                    "h2" => ask_http2(&mut stream, 1, "/index/le/af/leaf").await,
                    _ => {
                        let path = "/index/le/af/leaf";
                        let reply = client::get_over(&mut stream, "a", path, &[]).await;
                        assert_eq!(reply.expect("an answer").status, 200);
                    }
                }
                stream
            }
        };
        // What the first ones take that isn't theirs alone.
        drop(many(64, talk.clone()).await);
        let before = mirror.memory();
        let open = many(480, talk).await;
        let each = (mirror.memory() - before) / open.len() as u64;
        eprintln!("an idle connection over TLS and {protocol}: {each} bytes");
        assert!(each <= 34 << 10, "{each} bytes for each with {protocol}");
        drop(open);
        shrinks_to(&mirror, before + 12 * MB).await;
    }
}

/// Begins in HTTP/2, asks for so many at once, and reads until all are answered.
async fn ask_http2(stream: &mut TlsStream<TcpStream>, count: u32, path: &str) {
    let mut bytes = requests::opening(1 << 20);
    for n in 0..count {
        bytes.extend(requests::get(2 * n + 1, path, &[]));
    }
    stream.write_all(&bytes).await.expect("sent");
    stream.flush().await.expect("sent");
    let (mut ended, mut received) = (0, Vec::new());
    while ended < count {
        let read = stream.read_buf(&mut received).await.expect("open");
        assert!(read > 0, "closed after {ended} answers");
        while let Some((kind, flags, length)) = head(&received) {
            if received.len() < 9 + length {
                break;
            }
            received.drain(..9 + length);
            let is_answer = matches!(kind, frames::DATA | frames::HEADERS);
            ended += u32::from(is_answer && flags & frames::END_STREAM != 0);
        }
    }
}

fn head(bytes: &[u8]) -> Option<(u8, u8, usize)> {
    let [a, b, c, kind, flags, ..] = *bytes else {
        return None;
    };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    Some((kind, flags, length))
}

/// A connection on which the system takes little by itself: what is held is what matters here, and not how fast megabytes are encrypted.
async fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a size");
    socket.connect(addr).await.expect("connect")
}

/// Each has asked for six megabytes and takes what the system takes by itself. What is encrypted for one of them is of no use to any other.
#[tokio::test]
async fn clients_that_read_nothing_stay_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    const BUDGET: u64 = 32 << 20;
    let files = TlsFolder::new();
    let settings = "[memory]\nbudget = \"32MiB\"\n[server]\nidle_timeout = \"3s\"\n";
    let (_upstream, mirror, addr, _folder) = mirror(&files, settings).await;
    assert_eq!(mirror.get(CRATE).await.status, 200);
    let before = mirror.memory();
    for protocol in ["http/1.1", "h2"] {
        let tls = files.client().offering(&[protocol]);
        let open = many(1_200, move || {
            let tls = tls.clone();
            async move {
                // There may be no memory for one more.
                let mut stream = tls.over(narrow(addr).await).await.ok()?;
                let asked = match protocol {
                    "h2" => [
                        requests::opening((1 << 31) - 1),
                        frames::frame(frames::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()),
                        requests::get(1, CRATE, &[]),
                    ]
                    .concat(),
                    _ => format!("GET {CRATE} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes(),
                };
                stream.write_all(&asked).await.ok()?;
                stream.flush().await.ok()?;
                Some(stream)
            }
        });
        let open = open.await;
        let held = open.iter().flatten().count();
        let peak = mirror.peak_memory();
        eprintln!(
            "{held} clients that read nothing, {protocol}: {peak} bytes at the peak, {before} before"
        );
        // A program that isn't optimised takes some more by itself.
        assert!(peak <= BUDGET + 108 * MB, "{peak} bytes at the peak");
        drop(open);
        shrinks_to(&mirror, before + 16 * MB).await;
    }
    assert_eq!(mirror.get("/index/le/af/leaf").await.status, 200);
}

/// Within four seconds here, and however large what it asked for is.
#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_as_on_a_plain_connection() {
    let files = TlsFolder::new();
    let settings = "[server]\nidle_timeout = \"2s\"\n";
    let (_upstream, mirror, addr, _folder) = mirror(&files, settings).await;
    assert_eq!(mirror.get(CRATE).await.status, 200);
    let open = async || {
        let text = mirror.get("/metrics").await.text();
        let count = text
            .lines()
            .find_map(|l| l.strip_prefix("crate_mirror_connections "));
        // The one that asks is one of them.
        count
            .and_then(|count| count.parse::<f64>().ok())
            .map(|count| count - 1.0)
    };
    let asked = |protocol| match protocol {
        "h2" => [
            requests::opening((1 << 31) - 1),
            frames::frame(frames::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()),
            requests::get(1, CRATE, &[]),
        ]
        .concat(),
        _ => format!("GET {CRATE} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes(),
    };
    for protocol in ["http/1.1", "h2"] {
        let tls = files.client().offering(&[protocol]);
        let mut through_tls = tls.connect(addr).await.expect("TLS");
        let mut plain = TcpStream::connect(mirror.addr()).await.expect("connect");
        let started = Instant::now();
        through_tls.write_all(&asked(protocol)).await.expect("sent");
        plain.write_all(&asked(protocol)).await.expect("sent");
        let mut last = None;
        loop {
            let now = open().await;
            if now != last {
                eprintln!("{protocol}: {now:?} open after {:?}", started.elapsed());
                last = now;
            }
            if now == Some(0.0) {
                break;
            }
            assert!(
                started.elapsed() < Duration::from_secs(15),
                "{now:?} are open"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The beginning of a first message of up to 30 KB, or of a record that is never whole, from each of thousands.
#[tokio::test]
async fn what_is_not_whole_stays_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    const BUDGET: u64 = 32 << 20;
    let files = TlsFolder::new();
    let settings = "[memory]\nbudget = \"32MiB\"\n[server]\nidle_timeout = \"3s\"\n";
    let (_upstream, mirror, addr, _folder) = mirror(&files, settings).await;
    assert_eq!(mirror.get("/index/le/af/leaf").await.status, 200);
    let before = mirror.memory();
    let begun = {
        // A client's first message, which says that it has 60,000 bytes, in records of 16,000.
        let mut message = vec![1, 0, 0xea, 0x60];
        message.extend([0; 30_000]);
        let records = message.chunks(16_000).map(|content| {
            let length = u16::try_from(content.len()).expect("short").to_be_bytes();
            [&[22, 3, 1], &length[..], content].concat()
        });
        records.collect::<Vec<_>>().concat()
    };
    let open = many(4_000, move || {
        let begun = begun.clone();
        async move {
            let mut stream = TcpStream::connect(addr).await.expect("connect");
            let _ = stream.write_all(&begun).await;
            stream
        }
    });
    let open = open.await;
    let tls = files.client();
    let half = [&[23, 3, 3, 0x40, 0][..], &[0; 16_000]].concat();
    let after = many(1_600, move || {
        let (tls, half) = (tls.clone(), half.clone());
        async move {
            let stream = tls.connect(addr).await.ok()?;
            let (mut socket, session) = stream.into_inner();
            let _ = socket.write_all(&half).await;
            Some((socket, session))
        }
    });
    let after = after.await;
    let peak = mirror.peak_memory();
    eprintln!(
        "4000 half messages and 1600 half records: {peak} bytes at the peak, {before} before"
    );
    assert!(peak <= BUDGET + 100 * MB, "{peak} bytes at the peak");
    drop((open, after));
    shrinks_to(&mirror, before + 16 * MB).await;
    assert_eq!(mirror.get("/index/le/af/leaf").await.status, 200);
}

/// What passes through to one client, as the mirror sends it.
async fn tapped(addr: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let (here, tap) = (listener.local_addr().expect("an address"), Arc::default());
    let kept: Arc<Mutex<Vec<u8>>> = Arc::clone(&tap);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let server = TcpStream::connect(addr).await.expect("connect");
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let asks = tokio::io::copy(&mut from_client, &mut to_server);
        let answers = async {
            let mut space = vec![0; 64 << 10];
            while let Ok(read @ 1..) = from_server.read(&mut space).await {
                {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend_from_slice(&space[..read]);
                }
                if to_client.write_all(&space[..read]).await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::join!(asks, answers);
    });
    (here, tap)
}

/// The sizes of the records of application data in these bytes.
fn records(bytes: &[u8]) -> Vec<usize> {
    let (mut rest, mut sizes) = (bytes, Vec::new());
    while let [kind, _, _, high, low, after @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        if *kind == 23 {
            sizes.push(size);
        }
        rest = &after[size..];
    }
    sizes
}

/// Two hundred small answers in one turn are some 400 frames. With a record for each they cost a seal, 22 bytes and a part of a system call apiece.
#[tokio::test]
async fn the_answers_of_one_turn_go_out_in_few_large_records() {
    let files = TlsFolder::new();
    let (_upstream, mirror, addr, _folder) = mirror(&files, "").await;
    assert_eq!(mirror.get("/index/le/af/leaf").await.status, 200);
    let (here, tap) = tapped(addr).await;
    let mut stream = files
        .client()
        .offering(&["h2"])
        .connect(here)
        .await
        .expect("TLS");
    let before = records(&tap.lock().unwrap_or_else(PoisonError::into_inner)).len();
    ask_http2(&mut stream, 200, "/index/le/af/leaf").await;
    let all = records(&tap.lock().unwrap_or_else(PoisonError::into_inner));
    let sizes = &all[before..];
    let bytes: usize = sizes.iter().sum();
    eprintln!("200 answers, {bytes} bytes in records of {sizes:?}");
    assert!(sizes.len() <= 20, "{} records: {sizes:?}", sizes.len());
    assert!(sizes.iter().all(|size| *size <= 16_384 + 17), "{sizes:?}");
}
