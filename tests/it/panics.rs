//! Panics: a fault of this program's own is a line in the log that says where, for who met it what any other failure in that place would be, and nothing to anybody else.

use std::{
    io::Write,
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate_mirror::{
    cli,
    store::{Fault, Touch},
};
use tracing::subscriber::DefaultGuard;

use crate::{
    failing_disk::LITTLE_MEMORY,
    in_line::{ask, until_connections},
    support::{Connection, Frames, Mirror, Package, Reply, Upstream},
};

const SERDE: &str = "/index/se/rd/serde";
const HELD: &str = "/index/he/ld/held";
const DOWNLOAD: &str = "/api/v1/crates/tokio/1.0.0/download";
const INDEX: &str = "/index/to/ki/tokio";
/// Nobody has asked for it before.
const OTHER: &str = "/index/ot/he/other";

/// A log in memory, for what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Logs as the program does. Other tests' panics are still told to who runs them.
    fn start(&self) -> DefaultGuard {
        let others = panic::take_hook();
        cli::log_panics();
        let ours = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            ours(panic);
            others(panic);
        }));
        let logging = self.listen();
        // tracing asks once whether anybody wants a log line, on the thread that first gets to it, and remembers the answer. Another test may have panicked
        // first, on a thread without a log. So the line is registered here, and the answers are asked for anew.
        let _ = panic::catch_unwind(|| panic!("to be known"));
        tracing::callsite::rebuild_interest_cache();
        self.0.lock().expect("the log").clear();
        logging
    }

    /// The same without the panic hook, which only one test can have.
    fn listen(&self) -> DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || log.clone());
        let logging = tracing::subscriber::set_default(lines.with_ansi(false).finish());
        tracing::callsite::rebuild_interest_cache();
        logging
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("the log")).into_owned()
    }
}

/// A store that panics once for every time the switch is put on.
fn fault() -> (Arc<AtomicBool>, Fault) {
    let switch = Arc::new(AtomicBool::new(false));
    let on = switch.clone();
    let fault = move |touch| {
        let met = touch == Touch::Load && on.swap(false, Ordering::Relaxed);
        assert!(!met, "on purpose");
        Ok(())
    };
    (switch, Arc::new(fault))
}

async fn start(fault: Fault) -> (Upstream, Mirror) {
    let names = ["serde", "tokio", "held", "other"];
    let packages = names.map(|name| Package::new(name, "1.0.0"));
    let upstream = Upstream::new().publish_all(packages).start().await;
    let mirror = Mirror::of(&upstream).fault(fault).start().await;
    assert_eq!(mirror.get(SERDE).await.status, 200);
    (upstream, mirror)
}

#[tokio::test]
async fn a_panic_costs_no_answer_that_upstream_can_give_and_its_place_is_logged() {
    let (log, (switch, fault)) = (Log::default(), fault());
    let _logging = log.start();
    let (upstream, mirror) = start(fault).await;
    let mut client = Connection::open(mirror.addr()).await;
    assert_eq!(mirror.get(INDEX).await.status, 200);
    for path in [OTHER, DOWNLOAD] {
        switch.store(true, Ordering::Relaxed);
        client.ask("GET", path, &[]).await.expect("a request sent");
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.complete), (200, true), "{path}");
        assert!(!switch.load(Ordering::Relaxed), "there was no panic");
    }
    let (text, here) = (log.text(), file!());
    let lines = text.lines().filter(|line| line.contains("ERROR"));
    let places = lines.filter(|line| line.contains("panicked at") && line.contains(here));
    assert_eq!(places.count(), 2, "{here} in {text}");
    // On the same connection, and with what it was about.
    for path in [DOWNLOAD, INDEX, OTHER, SERDE] {
        client.ask("GET", path, &[]).await.expect("a request sent");
        assert_eq!(client.reply().await.status, 200, "{path}");
    }
    assert_eq!(upstream.crate_requests().len(), 1);
}

/// The panic used to be logged at debug level, as a download that nobody waits for any more.
#[tokio::test]
async fn a_fault_that_ends_a_download_is_logged_as_an_error() {
    let (log, broken) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let _logging = log.listen();
    let package = Package::new("tokio", "1.0.0").payload(600_000);
    let upstream = Upstream::new().publish(package).start().await;
    let on = broken.clone();
    let stall = move |touch| {
        let met = matches!(touch, Touch::Save | Touch::Read) && on.load(Ordering::Relaxed);
        assert!(!met, "on purpose");
    };
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY);
    let mirror = mirror.stall(Arc::new(stall)).start().await;
    let gate = upstream.on_crate_files().gate_after(300_000);
    let mut client = Connection::open(mirror.addr()).await;
    client
        .ask("GET", DOWNLOAD, &[])
        .await
        .expect("a request sent");
    // By then it goes through a file, which can neither be written to nor read any more.
    client.body_so_far(150_000).await;
    broken.store(true, Ordering::Relaxed);
    gate.open();
    let cut_off = client.try_reply().await.map(|reply| reply.complete);
    assert!(!cut_off.unwrap_or(false), "it came whole");
    // What the client reads fails as well, and perhaps before the download does.
    let told = |_: &Reply| log.text().contains("a download");
    mirror.get_until("/healthz", told).await;
    let text = log.text();
    let mut told = text.lines().filter(|line| line.contains("a download"));
    let line = told.next().expect("a line about it");
    assert!(line.contains("ERROR") && line.contains("a download failed"));
    assert!(!text.contains("given up"), "{text}");
}

/// Nothing is wrong then: the clients have gone away.
#[tokio::test]
async fn a_download_that_nobody_waits_for_any_more_is_no_failure_in_the_log() {
    let log = Log::default();
    let _logging = log.listen();
    let packages = ["held", "tokio"].map(|name| Package::new(name, "1.0.0"));
    let upstream = Upstream::new().publish_all(packages).start().await;
    let mirror = Mirror::of(&upstream).settings("[upstream]\nmax_concurrent = 1");
    let mirror = mirror.start().await;
    for path in [HELD, INDEX] {
        assert_eq!(mirror.get(path).await.status, 200);
    }
    let gate = upstream.on_crate_files().gate_after(0);
    let mut first = ask(&mirror, "/api/v1/crates/held/1.0.0/download").await;
    gate.await_waiting(1).await;
    let gone = ask(&mirror, DOWNLOAD).await;
    until_connections(&mirror, 2).await;
    drop(gone);
    until_connections(&mirror, 1).await;
    gate.open();
    assert_eq!(first.reply().await.status, 200);
    assert_eq!(upstream.crate_requests().len(), 1);
    let text = log.text();
    let wrong = |line: &&str| line.contains("ERROR") || line.contains("WARN");
    assert_eq!(text.lines().find(wrong), None);
}

/// Over HTTP/2 a panic used to end all other requests on the connection.
#[tokio::test]
async fn a_panic_harms_no_other_request_on_its_connection() {
    let (switch, fault) = fault();
    let (upstream, mirror) = start(fault).await;
    assert_eq!(mirror.get(INDEX).await.status, 200);
    let gate = upstream.gate(HELD);
    let mut client = Frames::upgrade(mirror.addr(), HELD).await;
    let authority = mirror.addr().to_string();
    let mut elsewhere = Connection::open(mirror.addr()).await;
    let asked = elsewhere.ask("GET", HELD, &[]).await;
    asked.expect("a request sent");
    gate.await_waiting(1).await;
    for (stream, path) in [(3, OTHER), (5, DOWNLOAD)] {
        switch.store(true, Ordering::Relaxed);
        client.ask(stream, "GET", &authority, path).await;
        let response = client.response(stream).await;
        assert_eq!(response.status, 200, "{path}");
        assert!(!switch.load(Ordering::Relaxed), "there was no panic");
    }
    client.ask(7, "GET", &authority, SERDE).await;
    assert_eq!(client.response(7).await.status, 200);
    gate.open();
    let held = client.response(1).await;
    assert_eq!(held.status, 200);
    assert_eq!(held.body, upstream.index_file("held").as_bytes());
    assert_eq!(elsewhere.reply().await.text(), upstream.index_file("held"));
    for (stream, path) in [(9, DOWNLOAD), (11, OTHER)] {
        client.ask(stream, "GET", &authority, path).await;
        assert_eq!(client.response(stream).await.status, 200, "{path}");
    }
}
