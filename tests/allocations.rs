//! How often answering a hit asks for memory: counted, not timed, so that it is the same on every machine.
//!
//! A test program of its own: it counts what the allocator is asked for by the thread that serves, and nobody else may serve there.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use crate_mirror::{
    access::{Grant, TokenDigest, TokenName, new_token, token_file},
    app::App,
    config,
    domain::Sha256,
};
use http::Request;
use http_body::Body as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

struct Counting;

static COUNTED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

/// What is counted belongs to one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn count() {
    if COUNTS.try_with(Cell::get).unwrap_or(false) {
        COUNTED.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one passes everything on"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        unsafe { System.dealloc(old, layout) }
    }
}

/// Enough to be sent from a file in memory.
const CRATE: usize = 100_000;

/// An upstream of one crate, `tiny`, whose answers are written by hand: one connection, one request after the other.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_all(stream));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) {
    let file = vec![7; CRATE];
    let line = format!(
        r#"{{"name":"tiny","vers":"1.0.0","deps":[],"cksum":"{}","features":{{}},"yanked":false,"more":"{}"}}"#,
        Sha256::of(&file),
        "x".repeat(2000)
    );
    let own = stream.local_addr().expect("an address");
    let config = format!(r#"{{"dl":"http://{own}/dl"}}"#);
    let mut request = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        request.push(byte[0]);
        if request.ends_with(b"\r\n\r\n") {
            let body = match &request[..] {
                of_a_crate if of_a_crate.starts_with(b"GET /dl/") => &file[..],
                of_config if of_config.starts_with(b"GET /config") => config.as_bytes(),
                _ => line.as_bytes(),
            };
            request.clear();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
                return;
            }
        }
    }
}

/// A mirror on a thread of its own, whose allocations are counted, with these lines more in its settings.
fn mirror(upstream: SocketAddr, more: &str) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    let more = more.to_owned();
    thread::spawn(move || {
        COUNTS.set(true);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let toml = format!(
                "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = {:?}\n[freshness]\nfresh_for = \"1h\"\n[registries.crates-io]\nindex = \"http://{upstream}/\"\n{more}\n",
                folder.path()
            );
            let app = App::start(config::parse(&toml).expect("settings")).await.expect("a mirror");
            tell.send(app.address()).expect("the test waits");
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("a mirror that starts")
}

/// How long an answer is, by its head.
fn whole(so_far: &[u8]) -> usize {
    let end = so_far.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("a head") + 4;
    let head = String::from_utf8_lossy(&so_far[..end]);
    let is_right = head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 304");
    assert!(is_right, "{head}");
    let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
        let length = rest.split("\r\n").next().unwrap_or_default();
        length.parse().expect("a number")
    });
    end + length * usize::from(head.starts_with("HTTP/1.1 200"))
}

/// How many allocations an answer to `request` costs, its client's own not counted.
fn allocations(mirror: SocketAddr, request: &str) -> f64 {
    const ROUNDS: u32 = 2_000;
    let mut stream = TcpStream::connect(mirror).expect("a connection");
    let mut answer = vec![0; 2 * CRATE];
    let mut ask = |stream: &mut TcpStream| {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut length = 0;
        // The head of a hit comes in one piece; only the body of a large one doesn't.
        while length == 0 || length < whole(&answer[..length]) {
            length += stream.read(&mut answer[length..]).expect("an answer");
        }
    };
    for _ in 0..100 {
        ask(&mut stream);
    }
    let before = COUNTED.load(Ordering::Relaxed);
    for _ in 0..ROUNDS {
        ask(&mut stream);
    }
    (COUNTED.load(Ordering::Relaxed) - before) as f64 / f64::from(ROUNDS)
}

/// The same for one request after the other on an HTTP/2 connection.
fn http2_allocations(mirror: SocketAddr, path: &str) -> f64 {
    const ROUNDS: u32 = 2_000;
    let url = format!("http://{mirror}{path}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(mirror).await;
        let stream = TokioIo::new(stream.expect("a connection"));
        let opened = http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = opened.expect("HTTP/2");
        tokio::spawn(connection);
        let mut ask = async || {
            let request = Request::get(&url).body(String::new()).expect("a request");
            let answer = sender.send_request(request).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            while let Some(frame) = poll_fn(|c| Pin::new(&mut body).poll_frame(c)).await {
                frame.expect("all of it");
            }
        };
        for _ in 0..100 {
            ask().await;
        }
        let before = COUNTED.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            ask().await;
        }
        (COUNTED.load(Ordering::Relaxed) - before) as f64 / f64::from(ROUNDS)
    })
}

/// Each allocation on this path is paid for by every request of every build.
#[test]
fn a_hit_costs_few_allocations() {
    let _turn = ONE_AT_A_TIME.lock();
    let mirror = mirror(upstream(), "");
    let headers = "host: mirror\r\naccept: text/plain\r\nuser-agent: cargo/1.95.0\r\n";
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\n{headers}{more}\r\n");
    let index = allocations(mirror, &get("/index/ti/ny/tiny", ""));
    let gzip = allocations(
        mirror,
        &get("/index/ti/ny/tiny", "accept-encoding: gzip\r\n"),
    );
    let current = allocations(mirror, &get("/index/ti/ny/tiny", "if-none-match: *\r\n"));
    let config = allocations(mirror, &get("/index/config.json", ""));
    let download = "/api/v1/crates/tiny/1.0.0/download";
    let download = allocations(mirror, &get(download, ""));
    let http2 = http2_allocations(mirror, "/index/ti/ny/tiny");
    println!(
        "allocations a request: index {index}, gzipped {gzip}, 304 {current}, config.json {config}, crate {download}; over HTTP/2 index {http2}"
    );
    assert!(
        index < 2.5 && gzip < 2.5 && current < 2.5 && config < 2.5 && download < 2.5,
        "{index} {gzip} {current} {config} {download}"
    );
    // A task for each request would be one more.
    assert!(http2 < 3.5, "{http2}");
}

/// The same where a token has to be shown, as cargo shows it: looking it up asks for no memory at all.
#[test]
fn a_token_costs_no_allocation() {
    let _turn = ONE_AT_A_TIME.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    let token = new_token().expect("random");
    let grant = Grant {
        sha256: TokenDigest::of(token.expose()),
        expires: Some(SystemTime::now() + Duration::from_secs(3600)),
        registries: Vec::new(),
    };
    let added = token_file::change(&path, |tokens| {
        tokens
            .tokens
            .insert(TokenName::parse("ci").expect("a name"), grant);
        Ok(())
    });
    added.expect("written");
    let mirror = mirror(upstream(), &format!("[access]\ntokens = {path:?}"));
    let headers = "host: mirror\r\naccept: text/plain\r\nuser-agent: cargo/1.95.0\r\n";
    let get = |path: &str, form: &str| {
        format!(
            "GET {path} HTTP/1.1\r\n{headers}authorization: {form}{}\r\n\r\n",
            token.expose()
        )
    };
    let raw = allocations(mirror, &get("/index/ti/ny/tiny", ""));
    let bearer = allocations(mirror, &get("/index/ti/ny/tiny", "Bearer "));
    let download = "/api/v1/crates/tiny/1.0.0/download";
    let download = allocations(mirror, &get(download, ""));
    println!(
        "allocations a request with a token: index {raw}, as Bearer {bearer}, crate {download}"
    );
    assert!(
        raw < 2.5 && bearer < 2.5 && download < 2.5,
        "{raw} {bearer} {download}"
    );
}
