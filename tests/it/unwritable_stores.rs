//! A disk that takes no writes keeps nobody from starting: what is there is served, the rest is passed through, and it is written to when it can be.

use std::path::{Path, PathBuf};

use crate::{
    failing_disk::{SmallDisk, assert_right, assert_served, download, upstream},
    support::{Mirror, Process, Program, Upstream, index_path, until},
};

/// A disk on which a mirror has stored a crate, and where.
async fn filled(upstream: &Upstream) -> Option<(SmallDisk, PathBuf)> {
    let disk = SmallDisk::mount()?;
    let store = disk.path().join("cache");
    let mirror = Mirror::of(upstream).store(&store).start().await;
    assert_served(&mirror, upstream, "small").await;
    mirror.stop().await;
    upstream.clear_log();
    Some((disk, store))
}

fn is_stored(store: &Path, name: &str) -> bool {
    let folder = store.join("crates-io/crates").join(index_path(name));
    folder.is_dir()
}

/// It serves what is stored and what isn't, and says what is wrong with its disk.
async fn assert_serves(mirror: &Process, upstream: &Upstream) {
    let log = mirror.log();
    for words in ["ERROR", "can't be used", "passed on and not kept"] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    for name in ["small", "small-2", "large"] {
        let reply = mirror.get(&download(name)).await;
        assert_right(&reply, upstream, name);
    }
    assert_eq!(upstream.crate_requests().len(), 2, "the first was stored");
    let ready = mirror.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("store: can't be written to"));
    let metrics = mirror.get("/metrics").await.text();
    assert!(metrics.contains("\ncrate_mirror_store_unwritable 1\n"));
}

/// The disk is well: what comes from now on is stored, without a restart.
async fn assert_writes_again(mirror: &Process, upstream: &Upstream, store: &Path) {
    let reply = mirror.get(&download("small-3")).await;
    assert_right(&reply, upstream, "small-3");
    until("stored", || is_stored(store, "small-3")).await;
    for _ in 0..1000 {
        let ready = mirror.get("/readyz").await.text();
        if !ready.contains("store:") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("it still says that the store can't be written to");
}

/// What Linux makes of a disk that fails: a running mirror went on, and one that was started again didn't come up.
#[tokio::test]
async fn a_mirror_starts_on_a_read_only_disk_and_writes_when_it_may() {
    let upstream = upstream().await;
    let Some((disk, store)) = filled(&upstream).await else {
        return;
    };
    disk.remount("ro");
    let mirror = Process::start(&upstream, &store, "").await;
    assert_serves(&mirror, &upstream).await;
    disk.remount("rw");
    assert_writes_again(&mirror, &upstream, &store).await;
    mirror.stop().await;
}

#[tokio::test]
async fn a_mirror_starts_on_a_full_disk_and_writes_when_there_is_room() {
    let upstream = upstream().await;
    let Some((disk, store)) = filled(&upstream).await else {
        return;
    };
    let filler = disk.fill();
    let mirror = Process::start(&upstream, &store, "").await;
    assert_serves(&mirror, &upstream).await;
    filler.remove();
    assert_writes_again(&mirror, &upstream, &store).await;
    mirror.stop().await;
}

#[tokio::test]
async fn checking_says_that_the_store_cannot_be_written_to() {
    let upstream = upstream().await;
    let Some((disk, store)) = filled(&upstream).await else {
        return;
    };
    disk.remount("ro");
    let path = store.to_str().expect("UTF-8");
    let ended = Program::serving(&upstream, "").command("check");
    let ended = ended.arg("--store").arg(path).run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let failed = format!("failed  store {path}: the folder {path} can't be used: ");
    assert!(ended.stdout.contains(&failed), "{}", ended.stdout);
}

/// Nothing can be served from there, now or later.
#[tokio::test]
async fn a_folder_that_is_not_there_and_cannot_be_made_is_refused() {
    let mut places = vec!["/proc/nothing/here".to_owned()];
    let disk = SmallDisk::mount();
    if let Some(disk) = &disk {
        disk.remount("ro");
        places.push(disk.path().join("missing").display().to_string());
    }
    for place in places {
        let program = Program::new(&["serve", "--listen", "127.0.0.1:0", "--store", &place]);
        let ended = program.run().await;
        ended.refused(&["`store.path`", &place, "can't be used"]);
    }
}
