//! A disk that hangs, as a dead network mount does: it neither answers nor fails. Nobody waits for it long, everything but the store goes on, and when
//! it is back the store is used again.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate_mirror::store::{DiskStall, THREADS, Touch};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    failing_disk::{
        LITTLE_MEMORY, assert_right, assert_served, download, is_stored, until_failures, upstream,
    },
    offline::{OFFLINE, filled},
    support::{
        Connection, Mirror, MirrorBuilder, Package, Reply, Upstream, client, index_path, until,
    },
};

/// `store.stall_timeout` here. Short, so that the tests are; not shorter, because on a busy machine a disk that is well would seem to hang.
const STALL_TIMEOUT: &str = "stall_timeout = \"1s\"";
/// Everything.
const ALL: &[Touch] = &[
    Touch::Load,
    Touch::Read,
    Touch::Save,
    Touch::List,
    Touch::Look,
    Touch::Remove,
];

/// Makes a disk hang: threads that touch it are held here. They are let go when this is dropped, because the end of a test's runtime waits for them.
#[derive(Default)]
struct Hang(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    held: &'static [Touch],
    /// How many saving operations still pass.
    saves: usize,
    stuck: usize,
}

impl Hang {
    fn stall(&self) -> DiskStall {
        let shared = self.0.clone();
        Arc::new(move |touch| {
            let (state, changed) = &*shared;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.stuck += 1;
            while state.held.contains(&touch) {
                if touch == Touch::Save && state.saves > 0 {
                    state.saves -= 1;
                    break;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.stuck -= 1;
        })
    }

    /// From now on operations of this kind hang.
    fn hold(&self, held: &'static [Touch]) {
        let (state, changed) = &*self.0;
        state.lock().unwrap_or_else(PoisonError::into_inner).held = held;
        changed.notify_all();
    }

    /// From now on all operations hang, but for the next one that saves something.
    fn hold_all_but_one_save(&self) {
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saves = 1;
        self.hold(ALL);
    }

    fn release(&self) {
        self.hold(&[]);
    }

    fn stuck(&self) -> usize {
        let (state, _) = &*self.0;
        state.lock().unwrap_or_else(PoisonError::into_inner).stuck
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.release();
    }
}

/// A mirror whose disk this can hold.
fn mirror(upstream: &Upstream, hang: &Hang) -> MirrorBuilder {
    Mirror::of(upstream)
        .store_settings(STALL_TIMEOUT)
        .stall(hang.stall())
}

/// An upstream with crates `many-0` and so on of that size, and the names.
async fn many(count: usize, size: usize) -> (Upstream, Vec<String>) {
    let names: Vec<_> = (0..count).map(|n| format!("many-{n}")).collect();
    let packages = names.iter().map(|n| Package::new(n, "1.0.0").payload(size));
    let upstream = Upstream::new().publish_all(packages).start().await;
    (upstream, names)
}

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

/// Eight threads stuck with the disk used to be all there were: every index file that wasn't in memory was a 504 that blamed upstream.
#[tokio::test]
async fn memory_and_upstream_serve_everybody_while_the_disk_hangs() {
    let hang = Hang::default();
    let (upstream, names) = many(60, 1_000).await;
    let mirror = mirror(&upstream, &hang).server("shutdown_grace = \"2s\"");
    let mirror = mirror.start().await;
    let (known, others) = names.split_first().expect("names");
    assert_served(&mirror, &upstream, known).await;
    until("stored", || is_stored(&mirror, known)).await;
    hang.hold(ALL);
    assert_served(&mirror, &upstream, known).await;
    // Each over a connection of its own, all at once.
    join_all(
        others
            .iter()
            .map(|name| assert_served(&mirror, &upstream, name)),
    )
    .await;
    assert_served(&mirror, &upstream, known).await;
    until_failures(&mirror, 1).await;
    for page in ["/healthz", "/readyz"] {
        assert_eq!(mirror.get(page).await.status, 200, "{page}");
    }
    let stuck = hang.stuck();
    assert!((1..=THREADS).contains(&stuck), "{stuck} threads are stuck");
    // What is stuck isn't waited for longer than the grace.
    let stopped = timeout(Duration::from_secs(20), mirror.stop()).await;
    assert!(stopped.is_ok(), "it waits for the disk");
}

/// A disk may hang for writes only, as a storage pool without space does.
#[tokio::test]
async fn what_is_stored_is_read_while_writes_hang() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let folder = with_small(&upstream).await;
    upstream.clear_log();
    hang.hold(&[Touch::Save, Touch::Remove]);
    let mirror = mirror(&upstream, &hang).store(folder.path()).start().await;
    for name in ["small", "small-2", "small-3"] {
        assert_served(&mirror, &upstream, name).await;
    }
    assert_eq!(upstream.crate_requests().len(), 2);
}

/// What was to be written used to be held until the disk took it, which is never.
#[tokio::test]
async fn writes_that_hang_hold_little_memory() {
    let hang = Hang::default();
    let (upstream, names) = many(150, 400_000).await;
    // With what is in flight there is room for 40 MB, and these are 60.
    let memory = "[memory]\nbudget = \"8MiB\"";
    let mirror = mirror(&upstream, &hang).settings(memory).start().await;
    hang.hold(&[Touch::Save, Touch::Remove]);
    for name in &names {
        let reply = mirror.get(&download(name)).await;
        assert_right(&reply, &upstream, name);
    }
    let stuck = hang.stuck();
    assert!((1..=THREADS).contains(&stuck), "{stuck} threads are stuck");
}

#[tokio::test]
async fn a_disk_that_is_back_is_read_and_written_to_again() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let mirror = mirror(&upstream, &hang).settings(LITTLE_MEMORY);
    let mirror = mirror.start().await;
    assert_served(&mirror, &upstream, "large").await;
    until("stored", || is_stored(&mirror, "large")).await;
    hang.hold(ALL);
    for name in ["small", "large", "large-2", "huge"] {
        assert_served(&mirror, &upstream, name).await;
    }
    hang.release();
    until("nobody is stuck", || hang.stuck() == 0).await;
    for name in ["small-2", "large-3"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored again", || is_stored(&mirror, name)).await;
    }
    upstream.clear_log();
    assert_right(
        &mirror.get(&download("large-3")).await,
        &upstream,
        "large-3",
    );
    assert_eq!(
        upstream.crate_requests().len(),
        0,
        "it is read from the disk"
    );
}

/// Half of the download is in a file on the disk that hangs. Its clients must be told, and the next request begins a new download.
#[tokio::test]
async fn a_disk_that_hangs_in_the_middle_of_a_download_keeps_nobody_waiting() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let mirror = mirror(&upstream, &hang).settings(LITTLE_MEMORY);
    let mirror = mirror.start().await;
    let path = download("large");
    let gate = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), 400_000);
    let mut client = Connection::open(mirror.addr()).await;
    client.ask("GET", &path, &[]).await.expect("a request sent");
    assert!(client.body_so_far(100_000).await.len() >= 100_000);
    hang.hold(ALL);
    gate.open();
    let reply = timeout(Duration::from_secs(20), client.reply()).await;
    assert!(!reply.expect("an end").complete, "by what?");
    // Requests from now on don't join that download, although it hasn't ended yet.
    assert_had(&mirror, &upstream, "large").await;
}

/// A download that waits for upstream doesn't notice by itself that its file can't be read any more. Every client that joined it used to be cut off.
#[tokio::test]
async fn a_download_that_can_not_be_read_any_more_is_joined_by_nobody() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let mirror = mirror(&upstream, &hang).settings(LITTLE_MEMORY);
    let mirror = mirror.start().await;
    let gate = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), 400_000);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Connection::open(mirror.addr()).await;
        let asked = client.ask("GET", &download("large"), &[]).await;
        asked.expect("a request sent");
        assert!(client.body_so_far(300_000).await.len() >= 300_000);
        clients.push(client);
        hang.hold(ALL);
    }
    gate.open();
    for mut client in clients.drain(1..) {
        assert_right(&client.reply().await, &upstream, "large");
    }
}

/// The disk hangs when a complete file is about to be renamed. For as long as it did, every client joined that download and was cut off.
#[tokio::test]
async fn a_disk_that_hangs_at_the_end_of_a_download_cuts_off_nobody_else() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let mirror = mirror(&upstream, &hang).settings(LITTLE_MEMORY);
    let mirror = mirror.start().await;
    let file = upstream.crate_file("large", "1.0.0");
    let gate = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), file.len() - 1);
    let mut client = Connection::open(mirror.addr()).await;
    let asked = client.ask("GET", &download("large"), &[]).await;
    asked.expect("a request sent");
    let temporary = mirror.store().join(".tmp");
    let is_there = |entry: std::io::Result<std::fs::DirEntry>| {
        let meta = entry.and_then(|entry| entry.metadata());
        meta.is_ok_and(|meta| meta.len() == file.len() as u64 - 1)
    };
    let has_come = || std::fs::read_dir(&temporary).is_ok_and(|mut all| all.any(is_there));
    until("all but the last byte is written", has_come).await;
    until("the index is written", || {
        mirror.index_record("large").exists()
    })
    .await;
    hang.hold_all_but_one_save();
    gate.open();
    let first = timeout(Duration::from_secs(20), client.try_reply()).await;
    drop(first.expect("nobody is kept waiting"));
    for _ in 0..3 {
        assert_had(&mirror, &upstream, "large").await;
    }
}

/// Asked for once, it comes whole and in time.
async fn assert_had(mirror: &Mirror, upstream: &Upstream, name: &str) {
    let path = download(name);
    let asked = client::try_request(mirror.addr(), "GET", &path, &[]);
    let reply = timeout(Duration::from_secs(20), asked).await;
    let reply = reply.expect("nobody is kept waiting").expect("an answer");
    assert_right(&reply, upstream, name);
}

#[tokio::test]
async fn a_disk_that_hangs_in_the_middle_of_a_stored_file_keeps_nobody_waiting() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let mirror = mirror(&upstream, &hang).settings(LITTLE_MEMORY);
    let mirror = mirror.start().await;
    assert_served(&mirror, &upstream, "large").await;
    until("stored", || is_stored(&mirror, "large")).await;
    hang.hold(&[Touch::Read]);
    let path = download("large");
    let cut_off = client::try_request(mirror.addr(), "GET", &path, &[]).await;
    assert!(!cut_off.is_ok_and(|reply| reply.complete), "by what?");
    hang.hold(ALL);
    assert_right(&mirror.get(&path).await, &upstream, "large");
}

/// A store into which a mirror has put the crate `small`.
async fn with_small(upstream: &Upstream) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::of(upstream).store(folder.path()).start().await;
    assert_served(&mirror, upstream, "small").await;
    mirror.stop().await;
    folder
}

#[track_caller]
fn assert_blames_the_store(reply: &Reply, for_what: &str) {
    reply.assert_unavailable("it isn't to be had");
    let (text, said) = (
        reply.text(),
        format!("this mirror's store can't give {for_what}"),
    );
    assert!(text.contains(&format!("{said} at the moment")), "{text}");
}

/// The answers used to blame upstream.
#[tokio::test]
async fn a_copy_that_the_disk_does_not_give_is_said_to_be_its_fault() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let folder = with_small(&upstream).await;
    upstream.stop().await;
    hang.hold(ALL);
    let mirror = mirror(&upstream, &hang).store(folder.path());
    let mirror = mirror.settings("[upstream]\nretries = 0").start().await;
    let reply = mirror.get(&index("small")).await;
    assert_blames_the_store(&reply, "the index file of small");
}

#[tokio::test]
async fn a_crate_that_the_disk_does_not_give_is_said_to_be_its_fault() {
    let hang = Hang::default();
    let upstream = upstream().await;
    let folder = with_small(&upstream).await;
    let mirror = mirror(&upstream, &hang).store(folder.path());
    let mirror = mirror.settings("[upstream]\nretries = 0").start().await;
    assert_eq!(mirror.get(&index("small")).await.status, 200);
    hang.hold(ALL);
    upstream.stop().await;
    let reply = mirror.get(&download("small")).await;
    assert_blames_the_store(&reply, "small 1.0.0");
}

/// Offline, the mirror looks at the disk before every answer, even one from memory.
#[tokio::test]
async fn what_is_in_memory_is_served_offline_while_the_disk_hangs() {
    let hang = Hang::default();
    let upstream = super::offline::upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0"), ("lib", "1.0.0")]).await;
    let start = async |store: &Path| {
        let mirror = mirror(&upstream, &hang).store(store).settings(OFFLINE);
        mirror.start().await
    };
    let mirror = start(store.path()).await;
    let app = super::offline::download("app", "1.0.0");
    let lines = mirror.get(&index("app")).await.text();
    assert_eq!(mirror.get(&app).await.status, 200);
    hang.hold(ALL);
    for _ in 0..20 {
        assert_eq!(mirror.get(&index("app")).await.text(), lines);
        assert_eq!(mirror.get(&app).await.status, 200);
    }
    let missing = mirror.get(&index("lib")).await;
    missing.assert_unavailable("nobody can say that it isn't there");
    hang.release();
    until("nobody is stuck", || hang.stuck() == 0).await;
    assert_eq!(mirror.get(&index("lib")).await.status, 200);
}
