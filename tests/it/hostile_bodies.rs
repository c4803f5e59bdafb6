//! Hostile bodies: whatever upstream sends, the process takes its budget and at most 100 MB more, and the disk what the store may hold. Each test says how
//! much it was at the most.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;

use crate::{
    failing_disk::{SmallDisk, download},
    support::{Connection, Package, Process, Reply, Upstream, client, index_path},
};

const MIB: u64 = 1 << 20;
const BESIDE: u64 = 100_000_000;
const MB: usize = 1_000_000;

/// How many of something a test uses: `all` with `CRATE_MIRROR_TEST_FULL=1`, else fewer, because the program of an ordinary run isn't optimised.
fn so_many(ordinary: usize, full: usize) -> usize {
    match std::env::var_os("CRATE_MIRROR_TEST_FULL") {
        Some(_) => full,
        None => ordinary,
    }
}

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

/// A line of an index file.
fn line(name: &str, version: &str) -> String {
    let sum = "0123456789abcdef".repeat(4);
    format!(
        r#"{{"name":"{name}","vers":"{version}","deps":[],"cksum":"{sum}","features":{{}},"yanked":false}}"#
    )
}

fn gzip(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in pieces {
        encoder.write_all(piece.as_ref()).expect("memory");
    }
    encoder.finish().expect("memory").into()
}

/// A gzip file of about a thousandth of `size` that unpacks to so many bytes: zeros, or white space after an entry.
fn bomb(name: &str, size: usize, lawful: bool) -> Bytes {
    match lawful {
        false => gzip([vec![0; size]]),
        true => gzip([
            format!("{}\n", line(name, "1.0.0")).into_bytes(),
            vec![b' '; size],
        ]),
    }
}

/// The upstream answers with this gzipped body when it is asked for the index file of `name`.
fn answers(upstream: &Upstream, name: &str, body: Bytes) {
    let when = upstream.on(&index_path(name));
    when.fail_with(200, &[("content-encoding", "gzip")], body);
}
fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}-{n:03}")).collect()
}

/// Without read-ahead, so that upstream is asked for nothing but what the test asks for.
const ALONE: &str = "[read_ahead]\nenabled = false\n";

/// Within its budget and 100 MB.
#[track_caller]
fn assert_within(mirror: &Process, budget: u64, what: &str) {
    let peak = mirror.peak_memory();
    eprintln!("{what}: {} MB at the peak", peak / 1_000_000);
    assert!(peak <= budget + BESIDE, "{what}: {peak} bytes at the peak");
}

/// Asks until there is an answer in time. Returns it, and how often there was none.
async fn ask(mirror: &Process, path: &str) -> (Reply, usize) {
    let started = Instant::now();
    for refused in 0.. {
        let headers = [("accept-encoding", "gzip")];
        let reply = client::get(mirror.addr(), path, &headers).await;
        let text = reply.text();
        match reply.status {
            503 => assert!(text.contains("this mirror's memory is taken up"), "{text}"),
            504 => {}
            _ => return (reply, refused),
        }
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(started.elapsed() < PATIENCE, "{path}: {text}");
    }
    unreachable!("it returns or panics")
}

async fn ask_all(mirror: &Process, names: &[String]) -> Vec<Reply> {
    let asked = names.iter().map(|name| async move {
        let (reply, refused) = ask(mirror, &index(name)).await;
        (reply, refused)
    });
    let replies = join_all(asked).await;
    let refused: usize = replies.iter().map(|(_, refused)| refused).sum();
    eprintln!("{refused} times there was no memory in time");
    replies.into_iter().map(|(reply, _)| reply).collect()
}

/// They took 5.6 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn index_files_that_are_gzip_bombs_are_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    let upstream = Upstream::new().start().await;
    let names = names("bomb", 64);
    let one_in = 64 / so_many(8, 32);
    let lawful = |number: usize| number.is_multiple_of(one_in);
    let zeros = bomb("", 60 * MB, false);
    for (number, name) in names.iter().enumerate() {
        answers(
            &upstream,
            name,
            match lawful(number) {
                true => bomb(name, 60 * MB, true),
                false => zeros.clone(),
            },
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Process::start(&upstream, folder.path(), ALONE).await;
    for (number, reply) in ask_all(&mirror, &names).await.iter().enumerate() {
        // A lawful one is passed on as it came.
        let expected = if lawful(number) { 200 } else { 502 };
        assert_eq!(reply.status, expected, "{:.300}", reply.text());
    }
    assert_within(&mirror, 256 * MIB, "64 gzip bombs of 60 MB");
}

/// They took 4.1 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_a_length_are_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    let upstream = Upstream::new().start().await;
    let names = names("long", so_many(16, 64));
    let blank = vec![b' '; 62 * MB];
    for name in &names {
        let line = line(name, "1.0.0").into_bytes();
        let body = [line.as_slice(), b"\n", &blank[..blank.len() - 1], b"\n"].concat();
        upstream
            .on(&index_path(name))
            .fail_with(200, &[("transfer-encoding", "chunked")], body);
    }
    drop(blank);
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Process::start(&upstream, folder.path(), ALONE).await;
    for reply in ask_all(&mirror, &names).await {
        assert_eq!((reply.status, reply.complete), (200, true));
    }
    let what = format!("{} bodies of 62 MB without a length", names.len());
    assert_within(&mirror, 256 * MIB, &what);
}

/// It took 3.8 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_ahead_that_meets_gzip_bombs_is_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    let names = names("bomb", 200);
    let root = names
        .iter()
        .fold(Package::new("root", "1.0.0"), |root, name| {
            root.dep(name, "1")
        });
    let upstream = Upstream::new().publish(root).start().await;
    let size = so_many(20, 60) * MB;
    let zeros = bomb("", size, false);
    for (number, name) in names.iter().enumerate() {
        answers(
            &upstream,
            name,
            match number % 20 {
                1 => bomb(name, size, true),
                _ => zeros.clone(),
            },
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Process::start(&upstream, folder.path(), "").await;
    assert_eq!(mirror.get(&index("root")).await.status, 200);
    let started = Instant::now();
    while upstream.count("bomb-") < names.len() && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whatever is still being looked into has had its time.
    let (reply, _) = ask(&mirror, &index("bomb-001")).await;
    assert_eq!(reply.status, 200, "{:.300}", reply.text());
    assert_within(&mirror, 256 * MIB, "a read-ahead that meets 200 bombs");
}

/// They took 643 MB. Each of them has to come through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_honest_index_files_are_within_memory_and_come_through() {
    let _alone = crate::support::memory_is_measured().await;
    let upstream = Upstream::new().start().await;
    let names = names("large", so_many(16, 64));
    let budget = so_many(32, 256) as u64 * MIB;
    let makes = names.iter().cloned().map(|name| {
        tokio::task::spawn_blocking(move || {
            let some: String = (0..300)
                .map(|n| {
                    line(&name, &format!("1.0.{n}")).replace("[]", &format!("[{:300}]", "")) + "\n"
                })
                .collect();
            let times = 30 * MB / some.len() + 1;
            (some.len() * times, gzip(std::iter::repeat_n(some, times)))
        })
    });
    let mut lengths = Vec::new();
    for (name, made) in names.iter().zip(join_all(makes).await) {
        let (length, body) = made.expect("a body");
        answers(&upstream, name, body);
        lengths.push(length);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!("[memory]\nbudget = \"{budget}B\"\n{ALONE}");
    let mirror = Process::start(&upstream, folder.path(), &settings).await;
    let replies = ask_all(&mirror, &names).await;
    for ((name, length), reply) in names.iter().zip(lengths).zip(replies) {
        assert_eq!(reply.status, 200, "{name}: {:.300}", reply.text());
        assert_eq!(reply.decoded().len(), length, "{name}");
    }
    let what = format!("{} honest index files of 30 MB", names.len());
    assert_within(&mirror, budget, &what);
}

/// The bytes of all files below a folder.
fn on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => on_disk(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// The largest size of `folder` that is seen until nothing is written there any more.
async fn most_on_disk(folder: &Path) -> u64 {
    let (started, mut most) = (Instant::now(), 0);
    let temporary = folder.join(".tmp");
    loop {
        let now = on_disk(folder);
        most = most.max(now);
        let over = on_disk(&temporary) == 0 && started.elapsed() > Duration::from_secs(2);
        if over || started.elapsed() > PATIENCE {
            return most;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn endless(count: usize) -> (Upstream, Vec<String>) {
    let names = names("endless", count);
    let packages = names.iter().map(|name| Package::new(name, "1.0.0"));
    let upstream = Upstream::new().publish_all(packages).start().await;
    upstream.on_crate_files().endless();
    (upstream, names)
}

/// Asks for a crate, and reads all of the answer or only its beginning.
async fn read(mirror: &Process, name: &str, on: bool) -> bool {
    let mut client = Connection::open(mirror.addr()).await;
    let asked = client.ask("GET", &download(name), &[]).await;
    asked.expect("a request sent");
    if !on {
        client.body_so_far(100_000).await;
        return false;
    }
    let (mut stream, _) = client.into_parts();
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    true
}

/// 1,951 MB were on the disk of a store for 50 MB, and most of it came when no client was there any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_crates_take_no_more_than_the_store_may_hold() {
    let _alone = crate::support::memory_is_measured().await;
    for stay in [false, true] {
        let (upstream, names) = endless(4).await;
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("cache");
        let mirror = Process::start(&upstream, &store, "[store]\nmax_size = \"50MB\"").await;
        let reading = join_all(names.iter().map(|name| read(&mirror, name, stay)));
        let (_, most) = tokio::join!(reading, most_on_disk(&store));
        let what = format!("endless crates, clients stay: {stay}");
        eprintln!("{what}: {} MB on the disk", most / 1_000_000);
        assert_within(&mirror, 256 * MIB, &what);
        // A look takes a moment, in which one file may go that was counted, and others grow that weren't yet.
        assert!(most <= 52 * MB as u64, "{what}: {most} bytes on the disk");
    }
}

/// The disk is full. Downloads used to go on in memory then, which took more than 2 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_crates_on_a_full_disk_are_within_memory() {
    let _alone = crate::support::memory_is_measured().await;
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let (upstream, names) = endless(4).await;
    let mirror = Process::start(&upstream, &disk.path().join("cache"), "").await;
    let reading = join_all(names.iter().map(|name| read(&mirror, name, true)));
    reading.await;
    assert_within(&mirror, 256 * MIB, "endless crates on a full disk");
}
