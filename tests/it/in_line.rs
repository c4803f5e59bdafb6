//! In line: upstream never sees more than `upstream.max_concurrent` requests at a time; the others wait their turn, unless nobody waits for them.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use crate_mirror::store::{Fault, Touch};
use futures_util::future::join_all;

use crate::support::{Connection, Gate, Mirror, Package, Upstream, index_path};

async fn upstream(names: &[&str]) -> Upstream {
    let packages = names
        .iter()
        .map(|n| Package::new(n, "1.0.0").payload(200_000));
    Upstream::new().publish_all(packages).start().await
}

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

fn download(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

/// A mirror with the index files of these crates in memory, that asks upstream for each of them again.
async fn mirror_with(upstream: &Upstream, names: &[&str], at_once: usize) -> Mirror {
    let settings = format!("[upstream]\nmax_concurrent = {at_once}");
    let mirror = Mirror::of(upstream).always_asks().settings(&settings);
    let mirror = mirror.start().await;
    for name in names {
        assert_eq!(mirror.get(&index(name)).await.status, 200);
    }
    upstream.clear_log();
    mirror
}

pub(crate) async fn ask(mirror: &Mirror, path: &str) -> Connection {
    let mut client = Connection::open(mirror.addr()).await;
    client.ask("GET", path, &[]).await.expect("a request sent");
    settle(mirror).await;
    client
}

/// Lets the mirror do all it can at the moment. It runs on this test's thread, so when these requests are answered, everything before them has got as far
/// as it gets.
async fn settle(mirror: &Mirror) {
    for _ in 0..5 {
        assert_eq!(mirror.get("/healthz").await.status, 200);
    }
}

/// Waits until the mirror has so many connections open, not counting the one that asks.
pub(crate) async fn until_connections(mirror: &Mirror, expected: u32) {
    let line = format!("\ncrate_mirror_connections {}\n", expected + 1);
    mirror
        .get_until("/metrics", |reply| reply.text().contains(&line))
        .await;
}

fn asked(upstream: &Upstream) -> Vec<String> {
    let seen = upstream.requests();
    seen.into_iter().map(|seen| seen.path).collect()
}

#[tokio::test]
async fn no_more_than_so_many_at_a_time_and_the_others_in_the_order_they_came() {
    let names = ["aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff", "gggg"];
    let upstream = upstream(&names).await;
    let mirror = mirror_with(&upstream, &names, 2).await;
    let paths = names.map(index);
    let gates: Vec<Gate> = paths.iter().map(|path| upstream.gate(path)).collect();
    let mut clients = Vec::new();
    for path in &paths {
        clients.push(ask(&mirror, path).await);
    }
    for (done, gate) in gates.iter().enumerate() {
        let under_way = (done + 2).min(names.len());
        upstream.await_requests(under_way, "").await;
        settle(&mirror).await;
        assert_eq!(asked(&upstream), paths[..under_way]);
        gate.open();
    }
    for mut client in clients {
        assert_eq!(client.reply().await.status, 200);
    }
}

/// A permit is held until the body has come, not only its head.
#[tokio::test]
async fn downloads_count_until_their_last_byte() {
    let names = ["aaaa", "bbbb", "cccc", "dddd", "eeee"];
    let upstream = upstream(&names).await;
    let mirror = mirror_with(&upstream, &names, 2).await;
    let gate = upstream.on_crate_files().gate_after(100_000);
    let everybody = async {
        let paths = names.map(download);
        join_all(paths.iter().map(|path| mirror.get(path))).await
    };
    let count = async {
        gate.await_waiting(2).await;
        settle(&mirror).await;
        assert_eq!((gate.waiting(), upstream.crate_requests().len()), (2, 2));
        gate.open();
    };
    let (replies, ()) = tokio::join!(everybody, count);
    for (name, reply) in names.iter().zip(replies) {
        let right = reply.body == upstream.crate_file(name, "1.0.0");
        assert!(reply.complete && right, "{name}");
    }
}

#[tokio::test]
async fn a_long_line_gets_through() {
    let names: Vec<_> = (0..60).map(|n| format!("name-{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let upstream = upstream(&names).await;
    let settings = "[upstream]\nmax_concurrent = 1";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    let paths: Vec<_> = names.iter().map(|name| download(name)).collect();
    let replies = join_all(paths.iter().map(|path| mirror.get(path))).await;
    for (name, reply) in names.iter().zip(replies) {
        let right = reply.body == upstream.crate_file(name, "1.0.0");
        assert!(reply.complete && right, "{name}: {}", reply.status);
    }
    assert_eq!(upstream.crate_requests().len(), names.len());
}

/// A build that was cancelled must not hold up those that go on.
#[tokio::test]
async fn a_client_that_gave_up_leaves_the_line() {
    let names = ["first", "given-up", "patient"];
    let upstream = upstream(&names).await;
    for path in [index as fn(&str) -> String, download] {
        let mirror = mirror_with(&upstream, &names, 1).await;
        // A download asks for its index file first, and that isn't held.
        let gate = upstream.gate(&index_path("first"));
        let mut first = ask(&mirror, &index("first")).await;
        gate.await_waiting(1).await;
        let given_up = [
            ask(&mirror, &path("given-up")).await,
            ask(&mirror, &path("given-up")).await,
        ];
        let mut patient = ask(&mirror, &path("patient")).await;
        until_connections(&mirror, 4).await;
        drop(given_up);
        until_connections(&mirror, 2).await;
        settle(&mirror).await;
        gate.open();
        assert_eq!(first.reply().await.status, 200);
        assert_eq!(patient.reply().await.status, 200);
        settle(&mirror).await;
        assert_eq!(upstream.count("given-up"), 0, "{:?}", asked(&upstream));

        // Who asks again is served.
        assert_eq!(mirror.get(&path("given-up")).await.status, 200);
        upstream.heal();
    }
}

#[tokio::test]
async fn as_long_as_one_client_waits_its_request_stays_in_line() {
    let names = ["first", "shared"];
    let upstream = upstream(&names).await;
    let mirror = mirror_with(&upstream, &names, 1).await;
    let gate = upstream.gate(&index_path("first"));
    let mut first = ask(&mirror, &index("first")).await;
    gate.await_waiting(1).await;
    let leaves = ask(&mirror, &download("shared")).await;
    let mut stays = ask(&mirror, &download("shared")).await;
    until_connections(&mirror, 3).await;
    drop(leaves);
    until_connections(&mirror, 2).await;
    gate.open();
    let reply = stays.reply().await;
    assert!(reply.complete && reply.body == upstream.crate_file("shared", "1.0.0"));
    assert_eq!(first.reply().await.status, 200);
}

/// The client was given a stale copy and left. That isn't giving up: the refresh goes on, so that the next client gets the new file.
#[tokio::test]
async fn a_refresh_answered_with_the_stale_copy_stays_in_line() {
    let upstream = upstream(&["first", "serde"]).await;
    let settings =
        "[upstream]\nmax_concurrent = 1\n[freshness]\nfresh_for = \"0s\"\npatience = \"50ms\"";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    assert_eq!(mirror.get(&index("serde")).await.status, 200);
    upstream.clear_log();
    let gate = upstream.gate(&index_path("first"));
    let mut first = ask(&mirror, &index("first")).await;
    gate.await_waiting(1).await;
    for _ in 0..2 {
        let reply = mirror.get(&index("serde")).await;
        assert_eq!(reply.header("x-cache"), Some("stale"));
        assert_eq!(reply.text(), upstream.index_file("serde"));
    }
    until_connections(&mirror, 1).await;
    assert_eq!(upstream.count("serde"), 0);
    gate.open();
    upstream.await_requests(1, "/se/rd/serde").await;
    assert_eq!(first.reply().await.status, 200);
}

/// A client that can be given a stale copy doesn't wait for a permit any longer than `freshness.patience`.
#[tokio::test]
async fn a_copy_is_served_at_once_while_the_line_does_not_move() {
    let upstream = upstream(&["first", "serde"]).await;
    let settings =
        "[upstream]\nmax_concurrent = 1\n[freshness]\nfresh_for = \"0s\"\npatience = \"50ms\"";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    assert!(mirror.get(&download("serde")).await.complete);
    let gate = upstream.gate(&index_path("first"));
    let _first = ask(&mirror, &index("first")).await;
    gate.await_waiting(1).await;
    let both = async {
        for _ in 0..5 {
            let reply = mirror.get(&index("serde")).await;
            assert_eq!(reply.header("x-cache"), Some("stale"));
            let reply = mirror.get(&download("serde")).await;
            assert_eq!(reply.header("x-cache"), Some("hit"));
        }
    };
    let served = tokio::time::timeout(Duration::from_secs(10), both).await;
    served.expect("served at once");
    assert_eq!(gate.waiting(), 1);
}

/// A disk whose writes don't return for as long as this lives.
struct HangingDisk(Arc<(Mutex<bool>, Condvar)>);

impl HangingDisk {
    /// A disk that is well for now, and the fault to be given to a store.
    fn new() -> (HangingDisk, Fault) {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let disk = HangingDisk(shared.clone());
        let fault = move |touch| {
            if touch == Touch::Save {
                tokio::task::block_in_place(|| {
                    let (hangs, changed) = &*shared;
                    let hangs = hangs.lock().expect("the disk");
                    drop(changed.wait_while(hangs, |hangs| *hangs));
                });
            }
            Ok(())
        };
        (disk, Arc::new(fault))
    }

    fn hangs(&self, hangs: bool) {
        let (is, changed) = &*self.0;
        *is.lock().expect("the disk") = hangs;
        changed.notify_all();
    }
}

impl Drop for HangingDisk {
    /// Lets the writes go, so that a test that fails can end.
    fn drop(&mut self) {
        self.hangs(false);
    }
}

/// A permit used to be held until the download was on the disk, so that a slow disk kept the network idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_come_and_is_being_written_takes_no_place() {
    let names = ["aaaa", "bbbb", "cccc"];
    let upstream = upstream(&names).await;
    let (disk, fault) = HangingDisk::new();
    let settings = "[upstream]\nmax_concurrent = 1";
    let mirror = Mirror::of(&upstream).always_asks().settings(settings);
    let mirror = mirror.fault(fault).start().await;
    assert_eq!(mirror.get(&index("aaaa")).await.status, 200);
    disk.hangs(true);
    for path in [
        download("aaaa"),
        download("bbbb"),
        index("cccc"),
        download("cccc"),
    ] {
        let reply = mirror.get(&path).await;
        let right = reply.status == 200 && reply.complete;
        assert!(right, "{path}: {}", reply.text());
    }
}
