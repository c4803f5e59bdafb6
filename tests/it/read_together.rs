//! A stored file that is too large to be kept in memory for one client goes there when several read it at once.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crate_mirror::store::{DiskStall, Touch};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::{Connection, Mirror, Package, Upstream, assert_serves, client, stored::flip};

/// Files of 3 MiB are kept for one client then, and those of 24 for several.
const MEMORY: &str = "[memory]\nbudget = \"48MiB\"";
/// Files, and how many times twelve bytes they have: 18 and 17 MB.
const FILES: [(&str, usize); 2] = [("large", 1_500_000), ("other", 1_400_000)];

fn path(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

async fn upstream() -> Upstream {
    let package = |(name, times)| {
        let content = format!("{name:12}").repeat(times);
        Package::new(name, "1.0.0").file("payload.txt", &content)
    };
    let upstream = Upstream::new().publish_all(FILES.map(package));
    upstream.start().await
}

/// A mirror that has stored these files, with nothing in memory.
async fn mirror(settings: &str) -> (Upstream, Mirror) {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    for (name, _) in FILES {
        assert!(mirror.get(&path(name)).await.complete);
    }
    (upstream, mirror.restart().await)
}

/// A client that has the beginning, and takes no more for now.
async fn slow(mirror: &Mirror, name: &str) -> Connection {
    let mut slow = Connection::open(mirror.addr()).await;
    let asked = slow.ask("GET", &path(name), &[]).await;
    asked.expect("a request sent");
    assert!(!slow.body_so_far(1).await.is_empty());
    slow
}

async fn in_memory(mirror: &Mirror) -> f64 {
    mirror.metric("crate_mirror_memory_bytes").await
}

/// Two clients at once, and the file is in memory: for the second of them, unless that takes longer than he waits.
async fn several_read(mirror: &Mirror, name: &str, file: &Bytes) {
    let _slow = slow(mirror, name).await;
    let before = in_memory(mirror).await;
    assert_serves(&mirror.get(&path(name)).await, "hit", file, "the second");
    let kept = async {
        loop {
            let now = in_memory(mirror).await;
            if now != before && now > file.len() as f64 {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let kept = timeout(Duration::from_secs(20), kept).await;
    kept.expect("it is kept in memory");
}

/// Fifty clients that installed the same compiler had it read and hashed fifty times.
#[tokio::test]
async fn what_several_read_at_once_is_read_once_and_comes_from_memory_then() {
    let (upstream, mirror) = mirror(MEMORY).await;
    let file = upstream.crate_file("large", "1.0.0");
    assert!(in_memory(&mirror).await < 1e6);
    several_read(&mirror, "large", &file).await;
    assert!(in_memory(&mirror).await > file.len() as f64);
    // Who reads the disk now gets nothing whole.
    flip(&mirror.stored_crate("large", "1.0.0"), file.len() - 1, 1);
    let third = mirror.get(&path("large")).await;
    assert_serves(&third, "hit", &file, "from memory");
}

#[tokio::test]
async fn what_one_client_reads_after_the_other_takes_nobodys_place_in_memory() {
    let (upstream, mirror) = mirror(MEMORY).await;
    let file = upstream.crate_file("large", "1.0.0");
    let mut client = Connection::open(mirror.addr()).await;
    for _ in 0..2 {
        let asked = client.ask("GET", &path("large"), &[]).await;
        asked.expect("a request sent");
        assert_serves(&client.reply().await, "hit", &file, "it");
    }
    assert!(in_memory(&mirror).await < 1e6);
}

/// Clients who are slow to take large files would have all of the memory.
#[tokio::test]
async fn together_they_take_half_of_the_memory_and_one_that_nobody_reads_makes_way() {
    let (upstream, mirror) = mirror(MEMORY).await;
    for (name, _) in FILES {
        several_read(&mirror, name, &upstream.crate_file(name, "1.0.0")).await;
        assert!(in_memory(&mirror).await < f64::from(24 << 20));
    }
    // One that is larger than that half stays where it is.
    let (upstream, mirror) = self::mirror("[memory]\nbudget = \"32MiB\"").await;
    let file = upstream.crate_file("large", "1.0.0");
    let _slow = slow(&mirror, "large").await;
    let second = mirror.get(&path("large")).await;
    assert_serves(&second, "hit", &file, "the second");
    assert!(in_memory(&mirror).await < 1e6);
}

#[tokio::test]
async fn what_turns_out_wrong_on_its_way_into_memory_goes_to_nobody() {
    let (upstream, mirror) = mirror(MEMORY).await;
    let file = upstream.crate_file("large", "1.0.0");
    flip(&mirror.stored_crate("large", "1.0.0"), file.len() - 1, 1);
    let mut slow = slow(&mirror, "large").await;
    upstream.clear_log();
    let reply = mirror
        .get_until(&path("large"), |reply| reply.complete)
        .await;
    assert!(reply.body == file, "a complete wrong file");
    assert_eq!(upstream.crate_requests().len(), 1, "it is fetched anew");
    assert!(!slow.reply().await.complete, "a complete wrong file");
}

/// A disk of which one read of a large file can be made to hang.
#[derive(Default)]
struct Disk {
    reads: AtomicUsize,
    /// Whether the next one hangs.
    hangs: AtomicBool,
}

impl Disk {
    /// It ends when the second of these is dropped.
    fn stall(self: &Arc<Self>) -> (DiskStall, mpsc::Sender<()>) {
        let (held, waits) = mpsc::channel::<()>();
        let (disk, waits) = (self.clone(), Mutex::new(waits));
        let stall = move |touch| {
            if touch != Touch::Read {
                return;
            }
            disk.reads.fetch_add(1, Ordering::Relaxed);
            if disk.hangs.swap(false, Ordering::Relaxed) {
                let waits = waits.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = waits.recv();
            }
        };
        (Arc::new(stall), held)
    }

    /// Waits until nobody reads on, because no client takes more.
    async fn is_quiet(&self) {
        let mut before = 0;
        while before != self.reads.load(Ordering::Relaxed) {
            before = self.reads.load(Ordering::Relaxed);
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// All who wanted the file waited for as long as it took to read it into memory.
#[tokio::test]
async fn nobody_waits_longer_than_a_moment_for_a_file_to_be_in_memory() {
    let (upstream, folder) = (upstream().await, TempDir::new().expect("a folder"));
    let filled = Mirror::of(&upstream).store(folder.path()).start().await;
    assert!(filled.get(&path("large")).await.complete);
    filled.stop().await;
    let disk = Arc::<Disk>::default();
    let (stall, held) = disk.stall();
    let mirror = Mirror::of(&upstream)
        .store(folder.path())
        .settings(MEMORY)
        .store_settings("stall_timeout = \"10s\"")
        .stall(stall)
        .start()
        .await;
    upstream.clear_log();
    let _slow = slow(&mirror, "large").await;
    disk.is_quiet().await;
    disk.hangs.store(true, Ordering::Relaxed);
    let mut second = Connection::open(mirror.addr()).await;
    let asked = second.ask("GET", &path("large"), &[]).await;
    asked.expect("a request sent");
    let begun = timeout(Duration::from_secs(15), second.body_so_far(1));
    begun.await.expect("it comes from the disk meanwhile");
    assert!(!disk.hangs.load(Ordering::Relaxed), "nothing hung");
    assert!(in_memory(&mirror).await < 1e6, "another read hung");
    drop(held);
    let file = upstream.crate_file("large", "1.0.0");
    assert_serves(&second.reply().await, "hit", &file, "the second");
    assert!(upstream.crate_requests().is_empty(), "it is in the store");
}

/// A head and a part of a file are what they are of any other.
async fn head_and_part_are_right(mirror: &Mirror, name: &str, file: &Bytes, when: &str) {
    let head = client::head(mirror.addr(), &path(name), &[]).await;
    let length = head.header("content-length").map(str::to_owned);
    assert_eq!(head.status, 200, "{when}");
    assert_eq!(length, Some(file.len().to_string()), "{when}");
    let from = file.len() - 1_000_000;
    let range = format!("bytes={from}-");
    let part = mirror.get_with(&path(name), &[("range", &range)]).await;
    assert_eq!(part.status, 206, "{when}");
    let right = part.complete && part.body == file[from..];
    assert!(right, "{when}: other bytes");
}

#[tokio::test]
async fn a_head_and_a_part_are_right_wherever_they_come_from() {
    let (upstream, mirror) = mirror(MEMORY).await;
    let file = upstream.crate_file("large", "1.0.0");
    head_and_part_are_right(&mirror, "large", &file, "from the disk").await;
    assert!(in_memory(&mirror).await < 1e6);
    several_read(&mirror, "large", &file).await;
    head_and_part_are_right(&mirror, "large", &file, "from memory").await;
    // The second to want another file wants a part of it only.
    let other = upstream.crate_file("other", "1.0.0");
    let _slow = slow(&mirror, "other").await;
    head_and_part_are_right(&mirror, "other", &other, "on its way into memory").await;
}

/// Two files that are read by turns pushed one another out of memory again and again.
#[tokio::test]
async fn a_file_that_had_to_make_way_is_not_read_into_memory_again_at_once() {
    let (upstream, mirror) = mirror(MEMORY).await;
    let files = FILES.map(|(name, _)| upstream.crate_file(name, "1.0.0"));
    let started = Instant::now();
    for ((name, _), file) in FILES.iter().zip(&files) {
        several_read(&mirror, name, file).await;
    }
    let of_other = in_memory(&mirror).await;
    let _slow = slow(&mirror, "large").await;
    let second = mirror.get(&path("large")).await;
    assert_serves(&second, "hit", &files[0], "the second");
    let now = in_memory(&mirror).await;
    // Where all of this took half a minute it may have come again.
    if started.elapsed() < Duration::from_secs(30) {
        assert_eq!(now, of_other, "the other has its place");
    }
}
