//! A stored file that is too large to be kept in memory for one client goes there when several read it at once.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::support::{Connection, Mirror, Package, Upstream, assert_serves, stored::flip};

/// Files of 3 MiB are kept for one client then, and those of 24 for several.
const MEMORY: &str = "[memory]\nbudget = \"48MiB\"";
/// Files, and how many times twelve bytes they have: 18 and 17 MB.
const FILES: [(&str, usize); 2] = [("large", 1_500_000), ("other", 1_400_000)];

fn path(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

/// A mirror that has stored these files, with nothing in memory.
async fn mirror(settings: &str) -> (Upstream, Mirror) {
    let package = |(name, times)| {
        let content = format!("{name:12}").repeat(times);
        Package::new(name, "1.0.0").file("payload.txt", &content)
    };
    let upstream = Upstream::new().publish_all(FILES.map(package));
    let upstream = upstream.start().await;
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
