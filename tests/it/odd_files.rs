//! Odd files: whatever lies in an object's place, nobody waits for it, nothing is read that can't be an object, and `verify` says what it is.

use std::{
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{CWD, FileType, mknodat};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    failing_disk::{assert_right, assert_served, download},
    offline::OFFLINE,
    support::{Mirror, Package, Process, Upstream, command, index_path, stored::is_beside},
};

const NAME: &str = "odd-one";
const OTHER: &str = "good-one";

/// A way to put something odd at a path, and the word that `verify` has for it.
type Oddity = (fn(&Path), &'static str);

const ODDITIES: [Oddity; 5] = [
    (pipe, "a named pipe"),
    (folder, "a folder"),
    (socket, "a socket"),
    (device, "a device"),
    (dead_link, "a link that leads nowhere"),
];

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, 0o644.into(), 0).expect("a pipe");
}

fn folder(path: &Path) {
    fs::create_dir(path).expect("a folder");
    fs::write(path.join("inside"), "somebody's").expect("a file");
}

fn socket(path: &Path) {
    // A socket can only be made under a short path.
    let short = TempDir::new().expect("a folder");
    let made = short.path().join("s");
    UnixListener::bind(&made).expect("a socket");
    fs::rename(made, path).expect("moved");
}

/// A path whose file never ends: who reads it to its end never comes back.
fn device(path: &Path) {
    symlink("/dev/zero", path).expect("a link");
}

fn dead_link(path: &Path) {
    symlink("nowhere", path).expect("a link");
}

async fn upstream() -> Upstream {
    let packages = [NAME, OTHER].map(|name| Package::new(name, "1.0.0").payload(10_000));
    Upstream::new().publish_all(packages).start().await
}

/// A folder in which a mirror has stored both crates and their index files.
async fn a_store(upstream: &Upstream) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let mirror = Mirror::of(upstream).store(folder.path()).start().await;
    for name in [NAME, OTHER] {
        assert_served(&mirror, upstream, name).await;
    }
    mirror.stop().await;
    upstream.clear_log();
    folder
}

/// The record and the .crate file of a crate.
fn objects(store: &Path, name: &str) -> [PathBuf; 2] {
    let folder = store.join("crates-io/crates").join(index_path(name));
    let files = fs::read_dir(folder).expect("a folder").flatten();
    let mut files = files.map(|entry| entry.path());
    let file = files.find(|path| !is_beside(path)).expect("a file");
    [store.join("crates-io/index").join(index_path(name)), file]
}

/// Replaces both objects of the crate `odd`, its record and its file.
fn make_odd(store: &Path, (make, _): Oddity) -> [PathBuf; 2] {
    let objects = objects(store, NAME);
    for path in &objects {
        fs::remove_file(path).expect("remove");
        make(path);
    }
    objects
}

/// A pipe in a file's place used to keep every request for its crate waiting, and the mirror from stopping.
#[tokio::test]
async fn what_is_odd_in_the_store_is_fetched_and_keeps_nobody_waiting() {
    let upstream = upstream().await;
    for oddity in ODDITIES {
        let store = a_store(&upstream).await;
        let [record, file] = make_odd(store.path(), oddity);
        let mirror = Mirror::of(&upstream).store(store.path()).start().await;
        let served = assert_served(&mirror, &upstream, NAME);
        let served = timeout(Duration::from_secs(20), served).await;
        assert!(served.is_ok(), "{}", oddity.1);
        let stopped = timeout(Duration::from_secs(20), mirror.stop()).await;
        assert!(stopped.is_ok(), "{}: it doesn't end", oddity.1);
        // A folder with something in it can't be replaced, anything else is.
        let replaced = [&record, &file].map(|path| path.is_file() && !path.is_symlink());
        assert_eq!(replaced, [oddity.1 != "a folder"; 2], "{}", oddity.1);
    }
}

/// Offline the file can't be fetched again, but the answer can say what is wrong.
#[tokio::test]
async fn what_is_odd_in_the_store_is_unavailable_offline() {
    let upstream = upstream().await;
    for oddity in ODDITIES {
        let store = a_store(&upstream).await;
        make_odd(store.path(), oddity);
        let mirror = Mirror::of(&upstream).store(store.path()).settings(OFFLINE);
        let mirror = mirror.start().await;
        let path = format!("/index/{}", index_path(NAME));
        let reply = timeout(Duration::from_secs(20), mirror.get(&path)).await;
        reply.expect("an answer").assert_unavailable(oddity.1);
        let stopped = timeout(Duration::from_secs(20), mirror.stop()).await;
        assert!(stopped.is_ok(), "{}: it doesn't end", oddity.1);
    }
}

/// `verify` used to pass over what is no file, and to say that nothing is bad.
#[tokio::test]
async fn verifying_names_what_is_odd_and_leaves_it() {
    let upstream = upstream().await;
    for oddity in ODDITIES {
        let store = a_store(&upstream).await;
        let odd = make_odd(store.path(), oddity);
        let ran = command(&["verify", "--repair"], store.path(), "").await;
        let ran = ran.code(1);
        ran.stdout_contains("2 objects of")
            .stdout_contains(", 2 bad");
        for path in &odd {
            let path = path.strip_prefix(store.path()).expect("below");
            let line = format!("bad  {}: it is {} and not a file", path.display(), oddity.1);
            assert!(ran.stdout.contains(&line), "no {line:?} in {ran}");
        }
        assert!(odd.iter().all(|path| path.symlink_metadata().is_ok()));
    }
}

#[tokio::test]
async fn exporting_and_checking_end_whatever_is_in_the_store() {
    let upstream = upstream().await;
    for oddity in ODDITIES {
        let store = a_store(&upstream).await;
        make_odd(store.path(), oddity);
        let out = TempDir::new().expect("a folder");
        let bundle = out.path().join("all.tar.zst");
        let bundle = bundle.to_str().expect("UTF-8");
        let ran = command(&["export", "-o", bundle], store.path(), "").await;
        assert!(Path::new(bundle).exists(), "{}: {ran}", oddity.1);
        let ran = command(&["evict", "--to", "0"], store.path(), "").await;
        ran.code(0).stdout_contains("2 objects of");
    }
}

/// A record's size used to be believed: three gigabytes of zeros were read into memory before anybody looked at them.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_record_of_gigabytes_is_not_read() {
    let upstream = upstream().await;
    let store = a_store(&upstream).await;
    let [record, _] = objects(store.path(), NAME);
    let make = || {
        let file = File::create(&record).expect("a file");
        file.set_len(3 << 30).expect("sparse");
    };
    make();
    let mirror = Process::start(&upstream, store.path(), "").await;
    let reply = mirror.get(&format!("/index/{}", index_path(NAME))).await;
    assert_eq!(reply.text(), upstream.index_file(NAME));
    let reply = mirror.get(&download(NAME)).await;
    assert_right(&reply, &upstream, NAME);
    let peak = mirror.peak_memory() >> 20;
    assert!(peak < 200, "{peak} MiB at its peak");
    mirror.stop().await;

    make();
    let ran = command(&["verify", "--repair"], store.path(), "").await;
    ran.code(1)
        .stdout_contains("it has 3221225472 bytes, and no record has more than")
        .stdout_contains("1 bad, dropped");
    assert!(!record.exists());
}

/// The mark of change and what is wanted lie in the store as well.
#[tokio::test]
async fn pipes_among_the_stores_own_files_keep_nobody_waiting() {
    let upstream = upstream().await;
    let store = a_store(&upstream).await;
    let wanted = store.path().join(".wanted");
    fs::create_dir(&wanted).expect("a folder");
    pipe(&wanted.join("crates-io:missing"));
    pipe(&store.path().join(".changed"));
    let mirror = Mirror::of(&upstream).store(store.path()).settings(OFFLINE);
    let mirror = mirror.start().await;
    let asked = async {
        for _ in 0..3 {
            assert_right(&mirror.get(&download(NAME)).await, &upstream, NAME);
            let missing = format!("/index/{}", index_path("missing"));
            assert_eq!(mirror.get(&missing).await.status, 404);
        }
        mirror.stop().await;
    };
    let ended = timeout(Duration::from_secs(20), asked).await;
    assert!(ended.is_ok(), "somebody waits for a pipe");
    let ran = command(&["wanted"], store.path(), "").await;
    ran.code(1)
        .stderr_contains("it is a named pipe and not a file");
    // The next change puts a proper mark in its place.
    let ran = command(&["evict", "--to", "0"], store.path(), "").await;
    ran.code(0);
    assert!(store.path().join(".changed").is_file());
}

/// A store on links, as some fill theirs: they are read and checked wherever they lead, and nothing is changed there.
#[tokio::test]
async fn links_are_read_and_what_they_lead_to_is_left_alone() {
    let upstream = upstream().await;
    let (elsewhere, store) = (a_store(&upstream).await, TempDir::new().expect("a folder"));
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    let mut targets = Vec::new();
    for path in objects(elsewhere.path(), NAME) {
        let link = store
            .path()
            .join(path.strip_prefix(elsewhere.path()).expect("below"));
        fs::create_dir_all(link.parent().expect("a folder")).expect("folders");
        symlink(&path, &link).expect("a link");
        let file = File::options().write(true).open(&path).expect("a file");
        file.set_modified(long_ago).expect("its time");
        targets.push((path, link));
    }
    let untouched = || {
        targets.iter().all(|(path, _)| {
            let modified = fs::metadata(path).and_then(|meta| meta.modified());
            modified.is_ok_and(|time| time == long_ago)
        })
    };
    let mirror = Mirror::of(&upstream).store(store.path()).settings(OFFLINE);
    let mirror = mirror.start().await;
    let lines = mirror.get(&format!("/index/{}", index_path(NAME))).await;
    assert_eq!(
        lines.text(),
        upstream.index_file(NAME),
        "as it is: all here"
    );
    assert_right(&mirror.get(&download(NAME)).await, &upstream, NAME);
    mirror.stop().await;
    let ran = command(&["verify"], store.path(), "").await;
    ran.code(0).stdout_contains("2 objects of");
    let ran = command(&["evict", "--to", "0"], store.path(), "").await;
    ran.code(0).stdout_contains("0 objects of");
    let bundle = elsewhere.path().join("bundle.tar.zst");
    let bundle = bundle.to_str().expect("UTF-8");
    let ran = command(&["export", "-o", bundle], store.path(), "").await;
    ran.code(0).stdout_contains("2 entries of");
    assert!(untouched(), "a use was noted at the other end");

    let (file, link) = &targets[1];
    fs::write(file, "bad").expect("write");
    let ran = command(&["verify", "--repair"], store.path(), "").await;
    ran.code(1).stdout_contains("1 bad, dropped");
    assert_eq!(fs::read(file).expect("it is left"), b"bad");
    assert!(link.symlink_metadata().is_err(), "the link is gone");
}
