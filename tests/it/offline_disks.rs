//! Offline everything depends on the disk: nothing is removed by itself, and what fails, vanishes or can't be written does as little harm as it can.

use std::fs;

use crate_mirror::store::GLANCE;
use tempfile::TempDir;

use super::{
    failing_disk::SmallDisk,
    offline::{OFFLINE, add, download, filled, index, offline, pairs, shown, upstream},
};
use crate::support::{Mirror, Package, Program, until};

/// Offline nothing that goes can come back.
#[tokio::test]
async fn nothing_is_evicted_offline() {
    let upstream = upstream().await;
    upstream.publish(Package::new("lib", "2.0.0").payload(3_000_000));
    let store = filled(&upstream, &[("lib", "2.0.0")]).await;
    let twin = filled(&upstream, &[("lib", "2.0.0")]).await;
    let limits = "max_size = \"1MiB\"\nmax_age = \"1m\"";
    let mirror = offline(&upstream, &store).store_settings(limits);
    let mirror = mirror.start().await;
    let kept = mirror.stored_crate("lib", "2.0.0");
    let goes = twin
        .path()
        .join(kept.strip_prefix(store.path()).expect("below"));
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for file in [&kept, &goes] {
        let opened = fs::File::open(file).expect("stored");
        opened.set_modified(long_ago).expect("its time");
    }
    // An online mirror is started later. When it has evicted, the offline one has had its time, too.
    let online = Mirror::of(&upstream).store(twin.path());
    let _online = online.store_settings(limits).start().await;
    until("evicted where it is online", || !goes.exists()).await;
    // Stopping waits for what is under way.
    mirror.stop().await;
    assert!(kept.exists());
}

/// When a disk was taken away, clients used to be told that there are no such crates, and the folder was made anew in its place.
#[tokio::test]
async fn what_is_in_memory_is_served_when_the_disk_is_taken_away() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0"), ("lib", "1.0.0")]).await;
    let mirror = offline(&upstream, &store).start().await;
    let lines = mirror.get(&index("app")).await.text();
    assert_eq!(mirror.get(&download("app", "1.0.0")).await.status, 200);
    let elsewhere = TempDir::new().expect("a folder");
    fs::rename(store.path(), elsewhere.path().join("moved")).expect("moved");
    for _ in 0..2 {
        assert_eq!(mirror.get(&index("app")).await.text(), lines);
        assert_eq!(mirror.get(&download("app", "1.0.0")).await.status, 200);
        // Without the disk nobody knows whether these are stored, so it isn't a 404.
        for path in [
            index("lib"),
            download("app", "1.1.0"),
            download("lib", "1.0.0"),
        ] {
            mirror.get(&path).await.assert_unavailable(&path);
        }
        // Long enough for the mirror to look at the store again.
        tokio::time::sleep(2 * GLANCE).await;
    }
    assert!(!store.path().exists(), "the folder was made anew");
    fs::rename(elsewhere.path().join("moved"), store.path()).expect("moved back");
    assert_eq!(mirror.get(&download("lib", "1.0.0")).await.status, 200);
}

/// What was evicted or dropped by hand used to be offered until its index file was due.
#[tokio::test]
async fn what_is_removed_by_hand_is_not_offered_any_more() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0"), ("lib", "1.0.0")]).await;
    let mirror = offline(&upstream, &store).start().await;
    let app = || async { mirror.get(&index("app")).await };
    assert_eq!(app().await.status, 200);
    let path = store.path().to_str().expect("UTF-8");
    let ended = Program::new(&["evict", "--to", "1B", "--store", path])
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        (app().await.status, app().await.header("x-cache")),
        (404, Some("offline"))
    );
}

/// A disk that was written outside and is only read inside.
#[tokio::test]
async fn a_store_that_cannot_be_written_to_is_served_from() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let upstream = upstream().await;
    add(&upstream, disk.path(), &[("app", "1.0.0")]).await;
    disk.remount("ro");
    let mirror = Mirror::of(&upstream).store(disk.path()).settings(OFFLINE);
    let mirror = mirror.start().await;
    let file = mirror.get(&download("app", "1.0.0")).await;
    assert!(
        file.body == upstream.crate_file("app", "1.0.0"),
        "other bytes"
    );
    let lines = mirror.get(&index("app")).await.text();
    assert_eq!(shown(&lines), pairs(&[("1.0.0", false), ("1.1.0", true)]));
    assert_eq!(mirror.get(&download("app", "1.1.0")).await.status, 404);
    mirror.stop().await;
}
