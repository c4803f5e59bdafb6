//! Killed at any moment it starts again, with every committed entry whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::support::{
    Package, Process, Upstream, client, index_path, sha256,
    stored::{Record, is_beside},
};

/// Some of these are held in memory while they arrive, some in a file.
const LITTLE_MEMORY: &str = "[memory]\nbudget = \"1MiB\"\n[freshness]\nfresh_for = \"1h\"";
const CRATES: usize = 16;

fn name(number: usize) -> String {
    format!("crate{number}")
}

fn paths(number: usize) -> [String; 2] {
    let name = name(number);
    [
        format!("/index/{}", index_path(&name)),
        format!("/api/v1/crates/{name}/1.0.0/download"),
    ]
}

/// Sizes from 0 to 2 MB, in no order.
async fn upstream() -> Upstream {
    let sizes = (0..CRATES).map(|number| number * 5 % 8 * 300_000);
    let packages = sizes.enumerate().map(|(number, size)| {
        let package = Package::new(&name(number), "1.0.0");
        package.file("payload.txt", &"payload".repeat(size / 7))
    });
    Upstream::new().publish_all(packages).start().await
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if is_beside(&path) => {}
            false => found.push(path),
        }
    }
    found
}

/// Checks every committed entry, and returns the paths under which they are served.
fn check_committed(store: &Path, upstream: &Upstream) -> Vec<String> {
    let mut served = Vec::new();
    for number in 0..CRATES {
        let (name, [index, download]) = (name(number), paths(number));
        let record = store.join("crates-io/index").join(index_path(&name));
        if record.exists() {
            let record = Record::read(&record);
            assert!(
                record.body == upstream.index_file(&name).as_bytes(),
                "{name}"
            );
            assert_eq!(record.header["sha256"], sha256(&record.body), "{name}");
            served.push(index);
        }
        let file = upstream.crate_file(&name, "1.0.0");
        let committed = store.join("crates-io/crates").join(index_path(&name));
        let committed = committed.join(format!("1.0.0.{}.crate", sha256(&file)));
        if committed.exists() {
            let bytes = fs::read(&committed).expect("a stored file");
            assert!(bytes == file, "{name}: {} bytes", bytes.len());
            served.push(download);
        }
    }
    let files = files(&store.join("crates-io"));
    assert_eq!(files.len(), served.len(), "something else: {files:#?}");
    served
}

#[tokio::test]
async fn killed_in_the_middle_of_downloads_it_starts_again_with_every_committed_entry_whole() {
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("cache");
    let (mut committed, mut left_over) = (0, 0);
    for answers_before_its_end in [1, 3, 8, 14, 20] {
        let mirror = Process::start(&upstream, &store, LITTLE_MEMORY).await;
        // The largest downloads stop in the middle, so that they are sure to be under way when it is killed.
        let gate = upstream.on("/dl/crate1").gate_after(900_000);
        let asking = (0..CRATES).flat_map(paths).map(|path| {
            let addr = mirror.addr();
            tokio::spawn(async move {
                let reply = client::try_request(addr, "GET", &path, &[]).await;
                reply.is_ok_and(|reply| reply.status == 200 && reply.complete)
            })
        });
        let mut asking: FuturesUnordered<_> = asking.collect();
        gate.await_waiting(1).await;
        for _ in 0..answers_before_its_end {
            let answered = asking.next().await.expect("an answer");
            assert!(answered.expect("a reply"), "before it was killed");
        }
        mirror.kill().await;
        gate.open();
        while asking.next().await.is_some() {}

        let served = check_committed(&store, &upstream);
        assert!(served.len() >= committed, "an entry vanished");
        committed = served.len();
        left_over += files(&store.join(".tmp")).len();
        upstream.stop().await;
        let mirror = Process::start(&upstream, &store, LITTLE_MEMORY).await;
        for path in served {
            let reply = mirror.get(&path).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            assert!(reply.complete, "{path}");
            assert_eq!(reply.header("x-cache"), Some("hit"), "{path}");
        }
        mirror.kill().await;
        upstream.restart().await;
    }
    assert!(committed > 0 && committed < 2 * CRATES, "{committed}");
    assert!(left_over > 0, "no download was killed in its middle");

    let mirror = Process::start(&upstream, &store, LITTLE_MEMORY).await;
    for number in 0..CRATES {
        let [_, download] = paths(number);
        let file = upstream.crate_file(&name(number), "1.0.0");
        let reply = mirror.get(&download).await;
        assert!(reply.complete && reply.body == file, "{download}");
    }
}
