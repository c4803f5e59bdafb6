//! A failing disk: full, gone or replaced, it costs nobody an answer, it is spoken of once, and writing goes on when it is well again.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::support::{
    Connection, Mirror, Package, Process, Reply, Upstream, index_path, tools, until,
};

/// Crates above 64 KiB go through a file then.
pub(crate) const LITTLE_MEMORY: &str = "[memory]\nbudget = \"1MiB\"";
const FAILURES: &str = "crate_mirror_store_failures_total";

/// Two small crates, three that go through a file, and one that is larger than the disk.
pub(crate) async fn upstream() -> Upstream {
    let sizes = [
        ("small", 0),
        ("small-2", 0),
        ("small-3", 0),
        ("large", 600_000),
        ("large-2", 600_000),
        ("large-3", 600_000),
        ("huge", 5_000_000),
    ];
    let packages = sizes.map(|(name, size)| Package::new(name, "1.0.0").payload(size));
    Upstream::new().publish_all(packages).start().await
}

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

pub(crate) fn download(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

#[track_caller]
pub(crate) fn assert_right(reply: &Reply, upstream: &Upstream, name: &str) {
    let seen = (reply.status, reply.complete);
    assert_eq!(seen, (200, true), "{name}: {:.200}", reply.text());
    let right = reply.body == upstream.crate_file(name, "1.0.0");
    assert!(right, "{name}: other bytes");
}

/// The index file and the crate, right and complete.
pub(crate) async fn assert_served(mirror: &Mirror, upstream: &Upstream, name: &str) {
    let reply = mirror.get(&index(name)).await;
    assert_eq!(reply.text(), upstream.index_file(name));
    let reply = mirror.get(&download(name)).await;
    assert_right(&reply, upstream, name);
}

/// Waits until the mirror has counted so many failures of the store; it writes beside its answers.
pub(crate) async fn until_failures(mirror: &Mirror, at_least: u32) {
    let start = format!("{FAILURES} ");
    let enough = |reply: &Reply| {
        let text = reply.text();
        let count = text.lines().find_map(|line| line.strip_prefix(&start));
        count.is_some_and(|count| count.parse::<u32>().is_ok_and(|n| n >= at_least))
    };
    mirror.get_until("/metrics", enough).await;
}

pub(crate) fn is_stored(mirror: &Mirror, name: &str) -> bool {
    let start = format!("crates-io/crates/{}/", index_path(name));
    let found = |path: &String| path.starts_with(&start);
    mirror.stored().iter().any(found) && mirror.index_record(name).exists()
}

async fn on(disk: &SmallDisk, upstream: &Upstream) -> Mirror {
    let mirror = Mirror::of(upstream).store(disk.path());
    mirror.settings(LITTLE_MEMORY).start().await
}

/// A file system of 2 MiB; unmounted when dropped.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where the test may not mount, as [`tools::skip`] has it.
    pub(crate) fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(SmallDisk(folder)),
            _ => {
                tools::skip("a test that needs a small disk may not mount one");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it anew with these options, as the system does by itself when a disk fails: `ro`.
    pub(crate) fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]);
        let done = mount.arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "{options}");
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) -> Filler {
        let path = self.path().join("filler");
        let mut file = fs::File::create(&path).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        Filler(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mirror may still have files open there.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "mounted");
    }
}

/// What fills a disk.
pub(crate) struct Filler(PathBuf);

impl Filler {
    pub(crate) fn remove(self) {
        fs::remove_file(self.0).expect("remove");
    }
}

#[tokio::test]
async fn a_full_disk_stops_nobody_and_is_written_to_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let upstream = upstream().await;
    let mirror = on(&disk, &upstream).await;
    assert_served(&mirror, &upstream, "large").await;
    until("stored", || is_stored(&mirror, "large")).await;
    let filler = disk.fill();
    for name in ["small", "large-2", "huge", "large", "small", "large-2"] {
        assert_served(&mirror, &upstream, name).await;
    }
    until_failures(&mirror, 1).await;
    assert_eq!(mirror.get("/readyz").await.status, 200);
    for name in ["small", "large-2", "huge"] {
        assert!(!is_stored(&mirror, name), "{name}: half of it?");
    }
    filler.remove();
    for name in ["small-2", "large-3"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored again", || is_stored(&mirror, name)).await;
    }
    let mirror = mirror.restart().await;
    upstream.stop().await;
    for name in ["large", "small-2", "large-3"] {
        let reply = mirror.get(&download(name)).await;
        assert_right(&reply, &upstream, name);
    }
}

/// The disk is full when half of the download is in a file there.
#[tokio::test]
async fn a_disk_that_fills_in_the_middle_of_a_download_cuts_nobody_off() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let upstream = upstream().await;
    let mirror = on(&disk, &upstream).await;
    let path = download("large");
    let gate = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), 400_000);
    let mut first = Connection::open(mirror.addr()).await;
    first.ask("GET", &path, &[]).await.expect("a request sent");
    assert!(first.body_so_far(100_000).await.len() >= 100_000);
    let mut second = Connection::open(mirror.addr()).await;
    second.ask("GET", &path, &[]).await.expect("a request sent");
    assert!(!second.body_so_far(1).await.is_empty());
    let filler = disk.fill();
    let mut third = Connection::open(mirror.addr()).await;
    third.ask("GET", &path, &[]).await.expect("a request sent");
    assert!(!third.body_so_far(1).await.is_empty());
    gate.open();
    for client in [&mut second, &mut third, &mut first] {
        assert_right(&client.reply().await, &upstream, "large");
    }
    assert_eq!(upstream.crate_requests().len(), 1);
    until_failures(&mirror, 1).await;
    // This crate alone is larger than the disk.
    filler.remove();
    let before = mirror.metric(FAILURES).await as u32;
    assert_served(&mirror, &upstream, "huge").await;
    until_failures(&mirror, before + 1).await;
    // The file that filled it goes a moment after its failure is counted.
    let temporary = || fs::read_dir(disk.path().join(".tmp")).expect("a folder");
    until("there is room again", || temporary().count() == 0).await;
    assert_served(&mirror, &upstream, "large-2").await;
    until("stored", || is_stored(&mirror, "large-2")).await;
    let mirror = mirror.restart().await;
    assert!(!is_stored(&mirror, "huge"));
    assert_eq!(temporary().count(), 0, "temporary files are left");
}

/// Linux makes a file system read-only when its disk fails.
#[tokio::test]
async fn a_disk_that_becomes_read_only_is_read_and_written_to_again_when_it_may_be() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let upstream = upstream().await;
    let mirror = on(&disk, &upstream).await;
    for name in ["small", "large"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored", || is_stored(&mirror, name)).await;
    }
    disk.remount("ro");
    for name in ["small-2", "large-2", "huge", "small", "large", "large-2"] {
        assert_served(&mirror, &upstream, name).await;
    }
    until_failures(&mirror, 1).await;
    assert_eq!(mirror.get("/readyz").await.status, 200);
    upstream.stop().await;
    for name in ["small", "large"] {
        let reply = mirror.get(&download(name)).await;
        assert_right(&reply, &upstream, name);
    }
    upstream.restart().await;
    disk.remount("rw");
    for name in ["small-3", "large-3"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored again", || is_stored(&mirror, name)).await;
    }
}

#[tokio::test]
async fn a_store_folder_that_vanishes_is_made_again() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert_served(&mirror, &upstream, "small").await;
    assert_served(&mirror, &upstream, "large").await;
    until("stored", || is_stored(&mirror, "large")).await;
    // What is kept of manifests may still be on its way there.
    until("removed", || fs::remove_dir_all(mirror.store()).is_ok()).await;
    for name in ["small", "small-2", "large", "large-2"] {
        assert_served(&mirror, &upstream, name).await;
    }
    for name in ["small-2", "large-2"] {
        until("stored again", || is_stored(&mirror, name)).await;
    }
    // And in the middle of a download into a file.
    let gate = upstream.gate_after(&upstream.crate_path("large-3", "1.0.0"), 400_000);
    let mut client = Connection::open(mirror.addr()).await;
    let path = download("large-3");
    client.ask("GET", &path, &[]).await.expect("a request sent");
    assert!(client.body_so_far(100_000).await.len() >= 100_000);
    // What is kept of manifests may still be on its way there.
    until("removed", || fs::remove_dir_all(mirror.store()).is_ok()).await;
    gate.open();
    assert_right(&client.reply().await, &upstream, "large-3");
    // That download can't be read any more, because its file is gone. A request that comes after it begins a new one.
    let stored = |path: &String| path.starts_with("crates-io/crates/la/rg/large-3/");
    for _ in 0..1000 {
        let reply = mirror.get(&path).await;
        assert_right(&reply, &upstream, "large-3");
        if mirror.stored().iter().any(stored) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("never stored");
}

/// The folder may be removed by a script, or its mount may go.
#[tokio::test]
async fn a_file_in_the_place_of_the_store_stops_nobody() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert_served(&mirror, &upstream, "small").await;
    assert_served(&mirror, &upstream, "large").await;
    until("stored", || is_stored(&mirror, "large")).await;
    // What is kept of their manifests may still be on its way there.
    let replace = || {
        let removed = fs::remove_dir_all(mirror.store()).is_ok();
        removed && fs::write(mirror.store(), "in the way").is_ok()
    };
    until("replaced", replace).await;
    for name in ["small", "small-2", "large", "large-2", "huge", "large"] {
        assert_served(&mirror, &upstream, name).await;
    }
    until_failures(&mirror, 1).await;
    assert_eq!(mirror.get("/readyz").await.status, 200);
    fs::remove_file(mirror.store()).expect("remove");
    for name in ["small-3", "large-3"] {
        assert_served(&mirror, &upstream, name).await;
        until("stored again", || is_stored(&mirror, name)).await;
    }
}

/// What was served once is served again: an index file that upstream confirms is written down if the store doesn't have it.
#[tokio::test]
async fn an_index_file_that_could_not_be_stored_is_stored_when_upstream_confirms_it() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    // What is kept of their manifests may still be on its way there.
    let replace = || {
        let removed = fs::remove_dir_all(mirror.store()).is_ok();
        removed && fs::write(mirror.store(), "in the way").is_ok()
    };
    until("replaced", replace).await;
    assert_eq!(mirror.get(&index("small")).await.status, 200);
    // One for reading, one for writing.
    until_failures(&mirror, 2).await;
    fs::remove_file(mirror.store()).expect("remove");
    let reply = mirror.get(&index("small")).await;
    assert_eq!(reply.header("x-cache"), Some("revalidated"));
    let mirror = mirror.restart().await;
    upstream.stop().await;
    let reply = mirror.get(&index("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// What a mirror logs while it serves twenty crates of that size without a store.
async fn log_without_a_store(size: usize) -> String {
    let names: Vec<_> = (0..20).map(|n| format!("name-{n}")).collect();
    let packages = names.iter().map(|n| Package::new(n, "1.0.0").payload(size));
    let upstream = Upstream::new().publish_all(packages).start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("cache");
    let mirror = Process::start(&upstream, &store, LITTLE_MEMORY).await;
    fs::remove_dir_all(&store).expect("remove");
    fs::write(&store, "in the way").expect("write");
    for name in &names {
        let reply = mirror.get(&download(name)).await;
        assert_right(&reply, &upstream, name);
    }
    mirror.stop().await
}

/// A read-only disk fails with every request as well, and its errors are others.
#[tokio::test]
async fn a_read_only_disk_is_spoken_of_once() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let upstream = upstream().await;
    let store = disk.path().join("cache");
    let mirror = Process::start(&upstream, &store, LITTLE_MEMORY).await;
    disk.remount("ro");
    for name in ["small", "small-2", "small-3", "large", "large-2"] {
        let reply = mirror.get(&download(name)).await;
        assert_right(&reply, &upstream, name);
    }
    let log = mirror.stop().await;
    assert!(log.contains("Read-only file system"), "{log}");
    assert_eq!(log.matches("the store has failed").count(), 1, "{log}");
    assert!(log.lines().count() <= 2, "{log}");
}

/// A full disk fails with every request; a log that says so every time fills the next disk.
#[tokio::test]
async fn a_failing_store_is_spoken_of_once_and_not_with_every_request() {
    let log = log_without_a_store(0).await;
    assert!(log.contains("the store has failed"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test]
async fn a_failing_store_is_spoken_of_once_and_not_with_every_large_crate() {
    let log = log_without_a_store(600_000).await;
    assert!(log.contains("the store has failed"), "{log}");
    assert!(log.lines().count() <= 2, "{log}");
}
