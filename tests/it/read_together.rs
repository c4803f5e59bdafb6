//! A stored file that is too large to be kept in memory for one client goes there when several read it at once.

use crate::support::{Connection, Mirror, Package, Upstream, assert_serves, stored::flip};

/// Files of 3 MiB are kept for one client then, those of 24 for several.
const MEMORY: &str = "[memory]\nbudget = \"48MiB\"";
const PATH: &str = "/api/v1/crates/large/1.0.0/download";

/// A mirror that has stored a file of 18 MB, with nothing in memory; and the file.
async fn mirror() -> (Upstream, Mirror, bytes::Bytes) {
    let content = "all the same".repeat(1_500_000);
    let package = Package::new("large", "1.0.0").file("payload.txt", &content);
    let upstream = Upstream::new().publish(package).start().await;
    let file = upstream.crate_file("large", "1.0.0");
    let mirror = Mirror::of(&upstream).settings(MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    (upstream, mirror.restart().await, file)
}

/// A client that has the beginning, and takes no more for now.
async fn slow(mirror: &Mirror) -> Connection {
    let mut slow = Connection::open(mirror.addr()).await;
    slow.ask("GET", PATH, &[]).await.expect("a request sent");
    assert!(!slow.body_so_far(1).await.is_empty());
    slow
}

async fn in_memory(mirror: &Mirror) -> f64 {
    mirror.metric("crate_mirror_memory_bytes").await
}

/// Fifty clients that installed the same compiler had it read and hashed fifty times.
#[tokio::test]
async fn what_several_read_at_once_is_read_once_and_comes_from_memory_then() {
    let (_upstream, mirror, file) = mirror().await;
    let slow = slow(&mirror).await;
    assert!(in_memory(&mirror).await < 1e6, "it is there for one client");
    assert_serves(&mirror.get(PATH).await, "hit", &file, "the second");
    assert!(in_memory(&mirror).await > file.len() as f64);
    drop(slow);
    // Who reads the disk now gets nothing whole.
    flip(&mirror.stored_crate("large", "1.0.0"), file.len() - 1, 1);
    assert_serves(&mirror.get(PATH).await, "hit", &file, "from memory");
}

#[tokio::test]
async fn what_one_client_reads_after_the_other_takes_nobodys_place_in_memory() {
    let (_upstream, mirror, file) = mirror().await;
    let mut client = Connection::open(mirror.addr()).await;
    for _ in 0..2 {
        client.ask("GET", PATH, &[]).await.expect("a request sent");
        assert_serves(&client.reply().await, "hit", &file, "it");
    }
    assert!(in_memory(&mirror).await < 1e6);
}

#[tokio::test]
async fn what_turns_out_wrong_on_its_way_into_memory_goes_to_nobody() {
    let (upstream, mirror, file) = mirror().await;
    flip(&mirror.stored_crate("large", "1.0.0"), file.len() - 1, 1);
    let mut slow = slow(&mirror).await;
    upstream.clear_log();
    assert_serves(&mirror.get(PATH).await, "miss", &file, "fetched anew");
    assert_eq!(upstream.crate_requests().len(), 1);
    assert!(!slow.reply().await.complete, "a complete wrong file");
}
