//! What was served once is served again: after a restart, without upstream, after a deletion, to many at once.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use crate::support::{Connection, Mirror, Package, Reply, Upstream, assert_serves, index_path};

/// Crates that are kept in memory, and with [`LITTLE_MEMORY`] one that is too large for it.
const SIZES: [(&str, usize); 3] = [("small", 0), ("medium", 60_000), ("large", 3_000_000)];
/// With it, files above 64 KiB are too large for memory.
const LITTLE_MEMORY: &str = "[memory]\nbudget = \"1MiB\"";

async fn upstream() -> Upstream {
    let packages = SIZES.map(|(name, size)| Package::new(name, "1.0.0").payload(size));
    Upstream::new().publish_all(packages).start().await
}

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

fn download(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

async fn fetch_everything(mirror: &Mirror, upstream: &Upstream) {
    for (name, _) in SIZES {
        assert_serves(
            &mirror.get(&index(name)).await,
            "miss",
            upstream.index_file(name),
            name,
        );
        let file = upstream.crate_file(name, "1.0.0");
        assert_serves(&mirror.get(&download(name)).await, "miss", file, name);
    }
}

#[tokio::test]
async fn everything_is_served_again_after_a_restart_without_upstream() {
    let upstream = upstream().await;
    for settings in ["", LITTLE_MEMORY] {
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        fetch_everything(&mirror, &upstream).await;
        let mirror = mirror.restart().await;
        upstream.stop().await;
        for (name, _) in SIZES {
            mirror.age(name, Duration::from_secs(3600));
        }
        for _ in 0..2 {
            for (name, _) in SIZES {
                let file = upstream.crate_file(name, "1.0.0");
                assert_serves(&mirror.get(&download(name)).await, "hit", file, name);
                let lines = upstream.index_file(name);
                assert_serves(&mirror.get(&index(name)).await, "stale", lines, name);
            }
        }
        upstream.restart().await;
    }
}

#[tokio::test]
async fn a_download_needs_no_index_request_before_it() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for outcome in ["miss", "hit"] {
        for (name, _) in SIZES {
            let file = upstream.crate_file(name, "1.0.0");
            assert_serves(&mirror.get(&download(name)).await, outcome, file, name);
        }
    }
    upstream.stop().await;
    let mirror = mirror.restart().await;
    let file = upstream.crate_file("small", "1.0.0");
    assert_serves(&mirror.get(&download("small")).await, "hit", file, "small");
}

/// A crate that vanishes from crates.io breaks every build that has it in its Cargo.lock.
#[tokio::test]
async fn a_crate_deleted_upstream_is_gone_from_the_index_but_still_downloaded() {
    let upstream = upstream().await;
    let files = SIZES.map(|(name, _)| (name, upstream.crate_file(name, "1.0.0")));
    for settings in ["", LITTLE_MEMORY] {
        let mirror = Mirror::of(&upstream).always_asks().settings(settings);
        let mut mirror = mirror.start().await;
        fetch_everything(&mirror, &upstream).await;
        for (name, _) in SIZES {
            upstream.delete(name);
        }
        for _ in 0..2 {
            for (name, file) in &files {
                let gone = mirror.get(&index(name)).await;
                assert_eq!((gone.status, gone.header("x-cache")), (404, Some("absent")));
                assert_serves(&mirror.get(&download(name)).await, "hit", file, name);
            }
            mirror = mirror.restart().await;
        }
        for (name, size) in SIZES {
            upstream.publish(Package::new(name, "1.0.0").payload(size));
        }
    }
}

/// Names and versions come back after a deletion, with other content.
#[tokio::test]
async fn a_version_that_comes_back_with_other_content_is_another_file() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    fetch_everything(&mirror, &upstream).await;
    upstream.delete("small");
    // Upstream says that it is gone: what comes then is a new crate.
    assert_eq!(mirror.get(&index("small")).await.status, 404);
    let other = Package::new("small", "1.0.0").file("src/lib.rs", "//! Another one.\n");
    let new = other.crate_file();
    upstream.publish(other);
    let lines = upstream.index_file("small");
    assert_serves(&mirror.get(&index("small")).await, "miss", lines, "small");
    assert_serves(&mirror.get(&download("small")).await, "miss", &new, "small");
    let mirror = mirror.restart().await;
    upstream.stop().await;
    assert_serves(&mirror.get(&download("small")).await, "hit", &new, "small");
    let kept = mirror.stored().into_iter();
    let kept = kept.filter(|path| path.contains("/small/")).count();
    assert_eq!(kept, 2, "both contents are kept");
}

async fn ask_at_once(mirror: &Mirror, path: &str) -> Vec<tokio::task::JoinHandle<Reply>> {
    let mut asking = Vec::new();
    for _ in 0..20 {
        let mut client = Connection::open(mirror.addr()).await;
        client.ask("GET", path, &[]).await.expect("a request sent");
        asking.push(tokio::spawn(async move { client.reply().await }));
    }
    asking
}

#[tokio::test]
async fn a_crate_too_large_for_memory_is_fetched_once_for_twenty_clients_at_once() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    let file = upstream.crate_file("large", "1.0.0");
    let gate = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), 1_000_000);
    let early = ask_at_once(&mirror, &download("large")).await;
    gate.await_waiting(1).await;
    let late = ask_at_once(&mirror, &download("large")).await;
    gate.open();
    for reply in early.into_iter().chain(late) {
        let reply = reply.await.expect("a reply");
        assert!(reply.complete && reply.body == file, "other bytes");
    }
    assert_eq!(upstream.crate_requests().len(), 1);

    upstream.stop().await;
    let mirror = mirror.restart().await;
    for reply in ask_at_once(&mirror, &download("large")).await {
        assert_serves(&reply.await.expect("a reply"), "hit", &file, "small");
    }
}

#[tokio::test]
async fn the_store_folder_is_made_when_it_is_missing() {
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("not/there/yet");
    let mirror = Mirror::of(&upstream).store(&store).start().await;
    fetch_everything(&mirror, &upstream).await;
    let mirror = mirror.restart().await;
    assert_eq!(mirror.stored().len(), 2 * SIZES.len());

    // The folder is removed while the mirror runs.
    let removed = || fs::remove_dir_all(&store).is_ok();
    crate::support::until("the store removed", removed).await;
    fetch_everything(&mirror, &upstream).await;
    assert_eq!(mirror.restart().await.stored().len(), 2 * SIZES.len());
}

#[tokio::test]
async fn left_overs_of_a_killed_process_do_no_harm_and_go_after_a_day() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    fetch_everything(&mirror, &upstream).await;
    let temporary = mirror.store().join(".tmp");
    let day = Duration::from_secs(24 * 3600);
    for (name, age) in [("young", day / 2), ("old", day * 2)] {
        let file = fs::File::create(temporary.join(name)).expect("a left-over");
        file.set_len(1_000_000).expect("a left-over");
        file.set_modified(SystemTime::now() - age).expect("its age");
    }
    let mirror = mirror.restart().await;
    upstream.stop().await;
    for (name, _) in SIZES {
        let file = upstream.crate_file(name, "1.0.0");
        assert_serves(&mirror.get(&download(name)).await, "hit", file, name);
    }
    assert!(
        temporary.join("young").exists(),
        "another process may own it"
    );
    assert!(!temporary.join("old").exists());
}
