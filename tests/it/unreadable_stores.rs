//! What of a store can't be read is said and not called clean, and nothing is removed that nobody could read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{
    Mirror, Package, Upstream, command, command_held_by_modes, index_path, stored::is_beside,
};

const NAMES: [&str; 2] = ["small-a", "wide-b"];

/// A folder in which a mirror has stored two crates and their index files.
async fn a_store() -> TempDir {
    let packages = NAMES.map(|name| Package::new(name, "1.0.0").payload(10_000));
    let upstream = Upstream::new().publish_all(packages).start().await;
    let folder = TempDir::new().expect("a folder");
    let mirror = Mirror::of(&upstream).store(folder.path()).start().await;
    for name in NAMES {
        let path = format!("/api/v1/crates/{name}/1.0.0/download");
        assert_eq!(mirror.get(&path).await.status, 200);
    }
    mirror.stop().await;
    folder
}

/// The only file in this folder, but for what is beside it.
fn only_file(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.find(|path| !is_beside(path)).expect("a file")
}

fn crate_file(store: &Path, name: &str) -> PathBuf {
    only_file(&store.join("crates-io/crates").join(index_path(name)))
}

/// Something that may not be read, until dropped.
struct Closed<'a>(&'a Path, u32);

impl<'a> Closed<'a> {
    fn new(path: &'a Path) -> Self {
        let mode = fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode();
        let closed = Self(path, mode);
        closed.set(0);
        closed
    }

    fn set(&self, mode: u32) {
        fs::set_permissions(self.0, fs::Permissions::from_mode(mode)).expect("a mode");
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.set(self.1);
    }
}

/// "0 bad" and exit code 0 it was, because what couldn't be listed was passed over without a word.
#[tokio::test]
async fn a_folder_that_cannot_be_read_is_not_called_clean() {
    let store = a_store().await;
    let folder = store.path().join("crates-io/crates/sm");
    let closed = Closed::new(&folder);
    let Some(ran) = command_held_by_modes(&["verify"], store.path()).await else {
        return;
    };
    ran.code(1)
        .stdout_contains("unread  looking at")
        .stdout_contains("crates-io/crates/sm failed: Permission denied")
        .stdout_contains("3 objects of")
        .stdout_contains(" 0 bad; 1 files or folders can't be read");
    drop(closed);
    command(&["verify"], store.path(), "").await.code(0);
}

/// It counted what it could see, and called that all there is.
#[tokio::test]
async fn eviction_says_that_it_could_not_count_everything() {
    let store = a_store().await;
    let folder = store.path().join("crates-io/crates/sm");
    let kept = crate_file(store.path(), NAMES[0]);
    let closed = Closed::new(&folder);
    let Some(ran) = command_held_by_modes(&["evict", "--to", "0"], store.path()).await else {
        return;
    };
    ran.code(1)
        .stdout_contains("failed  looking at")
        .stdout_contains("crates-io/crates/sm failed: Permission denied")
        .stdout_contains("3 objects of")
        .stdout_contains("; 1 files or folders couldn't be counted or removed");
    drop(closed);
    assert!(kept.exists());
    let ran = command(&["evict", "--to", "0"], store.path(), "").await;
    ran.code(0).stdout_contains("1 objects of");
}

/// What a passing fault kept from being read used to be removed as bad.
#[tokio::test]
async fn repairing_removes_nothing_that_could_not_be_read() {
    let store = a_store().await;
    let file = crate_file(store.path(), NAMES[0]);
    let record = store
        .path()
        .join("crates-io/index")
        .join(index_path(NAMES[0]));
    let closed = [Closed::new(&file), Closed::new(&record)];
    let repair = ["verify", "--repair"];
    let Some(ran) = command_held_by_modes(&repair, store.path()).await else {
        return;
    };
    ran.code(1)
        .stdout_contains("unread  crates-io/crates/sm/al/small-a/1.0.0.")
        .stdout_contains("unread  crates-io/index/sm/al/small-a: Permission denied")
        .stdout_contains("2 objects of")
        .stdout_contains(" 0 bad; 2 files or folders can't be read");
    drop(closed);
    let ran = command(&["verify"], store.path(), "").await;
    ran.code(0).stdout_contains("4 objects of");
}

/// The kernel's own EIO: that is what reading `/proc/self/mem` from its start comes to.
#[tokio::test]
async fn a_disk_error_is_no_reason_to_remove_anything() {
    let store = a_store().await;
    let file = crate_file(store.path(), NAMES[0]);
    fs::remove_file(&file).expect("remove");
    symlink("/proc/self/mem", &file).expect("a link");
    let ran = command(&["verify", "--repair"], store.path(), "").await;
    ran.code(1)
        .stdout_contains("unread  crates-io/crates/sm/al/small-a/1.0.0.")
        .stdout_contains("Input/output error")
        .stdout_contains(" 0 bad");
    assert!(file.is_symlink());
}
