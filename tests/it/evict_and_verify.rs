//! Evicting and verifying by hand: the commands do what they say and touch nothing else.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use crate::failing_disk::SmallDisk;
use crate::support::{
    Mirror, Output, Upstream, command, index_path,
    stored::{corrupt, flip, is_beside},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A folder in which a mirror has stored these crates and then stopped.
async fn a_store_of(upstream: &Upstream, names: &[String]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::of(upstream).store(folder.path()).start().await;
    mirror.download_all(upstream, names).await;
    mirror.stop().await;
    folder
}

/// The files below a store, relative to it, temporary ones among them.
fn files(store: &Path) -> BTreeSet<String> {
    let entries = walkdir::WalkDir::new(store).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file() && !is_beside(entry.path()));
    let relative = |path: &Path| {
        path.strip_prefix(store)
            .expect("below")
            .display()
            .to_string()
    };
    let all = files.map(|entry| relative(entry.path()));
    // What tells other mirrors that something has changed.
    all.filter(|path| path != ".changed").collect()
}

fn record_of(name: &str) -> String {
    format!("crates-io/index/{}", index_path(name))
}

#[track_caller]
fn crate_of(store: &Path, name: &str) -> String {
    let start = format!("crates-io/crates/{}/", index_path(name));
    let found = files(store)
        .into_iter()
        .find(|path| path.starts_with(&start));
    found.expect("a stored crate")
}

fn has_crate(store: &Path, name: &str) -> bool {
    let start = format!("crates-io/crates/{}/", index_path(name));
    files(store).iter().any(|path| path.starts_with(&start))
}

/// Makes a stored file one that was last used so long ago.
fn unused_for(store: &Path, path: &str, age: Duration) {
    let file = File::options()
        .write(true)
        .open(store.join(path))
        .expect("a stored file");
    file.set_modified(SystemTime::now() - age)
        .expect("its time");
}

/// Files that no mirror has put there.
fn add_unknown_files(store: &Path) -> BTreeSet<String> {
    let unknown = [
        "notes.txt",
        "crates-io/index/README",
        "crates-io/crates/na/me/name-0/1.0.0.crate",
        "other/file",
        ".tmp/half",
    ];
    for path in unknown {
        let file = store.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, vec![b'x'; 10_000]).expect("write");
        if path != ".tmp/half" {
            unused_for(store, path, 1000 * DAY);
        }
    }
    unknown.map(str::to_owned).into()
}

async fn verify(store: &Path, args: &[&str]) -> Output {
    command(&[&["verify"], args].concat(), store, "").await
}

async fn evict(store: &Path, to: &str) -> Output {
    command(&["evict", "--to", to], store, "").await
}

#[tokio::test]
async fn a_clean_store_is_found_clean_and_counted() {
    let (upstream, names) = Upstream::with_many(3, 100_000).await;
    let store = a_store_of(&upstream, &names).await;
    add_unknown_files(store.path());
    let before = files(store.path());
    let ran = verify(store.path(), &[]).await;
    ran.code(0)
        .stdout_contains("6 objects of")
        .stdout_contains(" 0 bad");
    assert!(!ran.stdout.contains("bad  "), "{ran}");
    assert_eq!(files(store.path()), before);

    let empty = tempfile::tempdir().expect("a folder");
    let ran = verify(empty.path(), &[]).await;
    ran.code(0).stdout_contains("0 objects of");
}

/// The folder of a misspelt path would be made, found to be empty, and called clean.
#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("misspelt");
    fs::write(folder.path().join("file"), "").expect("write");
    for args in [&["verify"][..], &["verify", "--repair"], &["evict"]] {
        let ran = command(args, &store, "").await;
        ran.code(2)
            .stderr_contains("`store.path`")
            .stderr_contains("misspelt")
            .stderr_contains("there is no such folder");
        assert!(!store.exists(), "{args:?} made it");
        let ran = command(args, &folder.path().join("file"), "").await;
        ran.code(2).stderr_contains("not a folder");
    }
}

/// A store may be a copy, a snapshot, or a disk that Linux has made read-only after errors.
#[tokio::test]
async fn verifying_writes_nothing_and_needs_no_leave_to() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let (upstream, names) = Upstream::with_many(2, 10_000).await;
    let store = disk.path().join("cache");
    let mirror = Mirror::of(&upstream).store(&store).start().await;
    mirror.download_all(&upstream, &names).await;
    mirror.stop().await;
    fs::remove_dir_all(store.join(".tmp")).expect("remove");
    verify(&store, &[]).await.code(0);
    assert!(!store.join(".tmp").exists(), "it was written to");
    disk.remount("ro");
    let ran = verify(&store, &[]).await;
    ran.code(0).stdout_contains("4 objects of");
}

/// Something that happens to the first file; the second one is another object of the same kind.
type Damage = (&'static str, fn(&Path, &Path));

const DAMAGES: &[Damage] = &[
    ("a flipped bit", |file, _| corrupt(file)),
    ("a flipped bit in the first byte", |file, _| {
        flip(file, 0, 1)
    }),
    ("cut in half", |file, _| {
        let bytes = fs::read(file).expect("a stored file");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("write");
    }),
    ("emptied", |file, _| fs::write(file, "").expect("write")),
    ("another header", |file, _| {
        let bytes = fs::read(file).expect("a stored file");
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(10);
        fs::write(file, [b"{\"format\":1}", &bytes[end..]].concat()).expect("write");
    }),
    ("another object", |file, other| {
        fs::copy(other, file).expect("copy");
    }),
];

#[tokio::test]
async fn every_damage_is_found_named_repaired_and_fetched_again() {
    let (upstream, names) = Upstream::with_many(DAMAGES.len() + 1, 100_000).await;
    let store = a_store_of(&upstream, &names).await;
    let store = store.path();
    let (good, damaged) = names.split_last().expect("names");
    let paths = |name: &str| [record_of(name), crate_of(store, name)];
    let mut bad = Vec::new();
    for (name, (damage, happens)) in damaged.iter().zip(DAMAGES) {
        for (path, other) in paths(name).into_iter().zip(paths(good)) {
            happens(&store.join(&path), &store.join(other));
            bad.push((path, damage));
        }
    }
    let before = files(store);
    for _ in 0..2 {
        let ran = verify(store, &[]).await;
        ran.code(1).stdout_contains(&format!(" {} bad", bad.len()));
        for (path, damage) in &bad {
            let named = ran.stdout.contains(&format!("bad  {path}: "));
            assert!(named, "{damage} in {path} is not named, {ran}");
        }
        for path in paths(good) {
            assert!(!ran.stdout.contains(&path), "{ran}");
        }
        assert_eq!(files(store), before, "nothing is dropped without --repair");
    }

    let ran = verify(store, &["--repair"]).await;
    ran.code(1).stdout_contains("dropped");
    assert_eq!(files(store), paths(good).into());
    let ran = verify(store, &[]).await;
    ran.code(0)
        .stdout_contains("2 objects of")
        .stdout_contains(" 0 bad");

    let mirror = Mirror::of(&upstream).store(store).start().await;
    upstream.clear_log();
    mirror.download_all(&upstream, &names).await;
    assert_eq!(upstream.crate_requests().len(), damaged.len());
    mirror.stop().await;
    verify(store, &[])
        .await
        .code(0)
        .stdout_contains("14 objects of");
}

#[tokio::test]
async fn evicting_takes_the_least_recently_used_crates_and_nothing_else() {
    let (upstream, names) = Upstream::with_many(4, 500_000).await;
    let store = a_store_of(&upstream, &names).await;
    let store = store.path();
    for (name, days) in names.iter().zip([10, 40, 20, 30]) {
        unused_for(store, &crate_of(store, name), days * DAY);
        unused_for(store, &record_of(name), 100 * DAY);
    }
    let unknown = add_unknown_files(store);
    evict(store, "50GiB")
        .await
        .code(0)
        .stdout_contains("0 objects of");
    let ran = evict(store, "1100kB").await;
    ran.code(0).stdout_contains("2 objects of");
    let left = [0, 2].map(|at| crate_of(store, &names[at]));
    let records: BTreeSet<_> = names.iter().map(|name| record_of(name)).collect();
    let expected: BTreeSet<_> = left
        .into_iter()
        .chain(records.clone())
        .chain(unknown.clone())
        .collect();
    assert_eq!(files(store), expected);

    // Without a crate left, records go, least recently used first.
    unused_for(store, &record_of(&names[3]), 50 * DAY);
    let record = fs::metadata(store.join(record_of(&names[3]))).expect("a record");
    evict(store, &record.len().to_string()).await.code(0);
    let expected: BTreeSet<_> = unknown
        .iter()
        .cloned()
        .chain([record_of(&names[3])])
        .collect();
    assert_eq!(files(store), expected);
    evict(store, "0").await.code(0);
    assert_eq!(files(store), unknown);
}

#[tokio::test]
async fn evicting_keeps_what_was_asked_for_lately() {
    let (upstream, names) = Upstream::with_many(3, 500_000).await;
    let store = a_store_of(&upstream, &names).await;
    let store = store.path();
    for (name, days) in names.iter().zip([30, 20, 10]) {
        unused_for(store, &crate_of(store, name), days * DAY);
    }
    let mirror = Mirror::of(&upstream).store(store).start().await;
    mirror.download_all(&upstream, &names[..1]).await;
    mirror.stop().await;
    let settings = "[store]\nmax_size = \"1MiB\"";
    let ran = command(&["evict"], store, settings).await;
    ran.code(0).stdout_contains("1 objects of");
    let kept = names.iter().map(|name| has_crate(store, name));
    assert_eq!(kept.collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn a_size_that_is_none_is_wrong_usage() {
    let store = tempfile::tempdir().expect("a folder");
    for size in ["lots", "", "-1GiB", "10 parsecs"] {
        let to = format!("--to={size}");
        let ran = command(&["evict", &to], store.path(), "").await;
        ran.code(2).stderr_contains("not a size");
    }
    let ran = command(&["evict", "--to"], store.path(), "").await;
    ran.code(2);
}
