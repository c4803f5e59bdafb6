//! One store for many mirrors: what one of them has put into the bucket all of them have, and nothing of a bucket's trouble reaches their clients.
//!
//! The bucket is in this process, or on the engine that `CRATE_MIRROR_TEST_S3` names: see `support/bucket.rs`.

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    offline::{download, index, upstream},
    support::{
        Bucket, Cargo, Mirror, Package, Reply, Upstream, Zone, assert_serves, mirror::files_below,
        sha256, stored::Record,
    },
};

/// No answer takes longer that still is one; a mirror promises 24 s, and this machine may be busy.
const LATEST: Duration = Duration::from_secs(26);

/// Has real cargo build a project that needs `app` and, through it, `lib`, from nothing.
async fn builds(index_url: &str) {
    let cargo = Cargo::new(index_url).project(&[("app", "1")]);
    cargo.run(&["build"]).await.success();
}

/// A bucket that a mirror has filled for that project.
async fn filled(upstream: &Upstream) -> Bucket {
    let bucket = Bucket::new().await;
    let zone = Zone::of(upstream, &bucket).start().await;
    builds(&zone.index_url()).await;
    bucket.until_stored(&IN_BUCKET).await;
    zone.stop().await;
    bucket
}

/// What that project needs.
const IN_BUCKET: [&str; 4] = [
    "mirror/crates-io/index/3/a/app",
    "mirror/crates-io/index/3/l/lib",
    "mirror/crates-io/crates/3/a/app/1.1.0.",
    "mirror/crates-io/crates/3/l/lib/1.1.0.",
];

#[track_caller]
fn assert_crate(reply: &Reply, upstream: &Upstream, name: &str, version: &str) {
    let right =
        reply.status == 200 && reply.complete && reply.body == upstream.crate_file(name, version);
    assert!(
        right,
        "{name} {version}: {} {:.200}",
        reply.status,
        reply.text()
    );
}

/// Asks for it, and panics if that takes longer than any request may.
async fn get_in_time(zone: &Zone, path: &str) -> (Reply, Duration) {
    let started = Instant::now();
    let reply = tokio::time::timeout(LATEST, zone.get(path)).await;
    let reply = reply.unwrap_or_else(|_| panic!("{path} hangs"));
    (reply, started.elapsed())
}

/// The key of the one object that has this in it.
async fn key_of(bucket: &Bucket, part: &str) -> String {
    let found = bucket.stored_with(part).await;
    let [key] = &found[..] else {
        panic!("{part} is in {found:?}");
    };
    key.clone()
}

#[tokio::test]
async fn a_new_mirror_with_an_empty_folder_asks_upstream_for_no_crate_that_another_has_had() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    upstream.clear_log();
    let second = Zone::of(&upstream, &bucket).start().await;
    builds(&second.index_url()).await;
    let asked = upstream.crate_requests();
    assert!(asked.is_empty(), "{asked:#?}");
    let crates = |files: Vec<String>| files.iter().filter(|f| f.ends_with(".crate")).count();
    crate::support::until("the folder keeps what was read", || {
        crates(second.files()) == 2
    })
    .await;
}

/// Each of them read the index record of what he wanted for himself: 200 clients who wanted 100 crates asked the bucket 20,000 times, until it was too slow, was
/// left alone, and some were told 504.
#[tokio::test]
async fn what_a_crowd_at_a_new_mirror_wants_is_read_from_the_bucket_once() {
    const CLIENTS: usize = 40;
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    upstream.clear_log();
    let relay = bucket.relay().await;
    let (record, file) = ("/index/3/l/lib", "/lib/1.1.0.");
    let gate = relay.gate(record);
    let zone = Zone::of(&upstream, &bucket).over(&relay).start().await;
    let path = download("lib", "1.1.0");
    let asking = (0..CLIENTS).map(|_| get_in_time(&zone, &path));
    let opened = async {
        gate.await_waiting(1).await;
        let connections = CLIENTS as f64 + 1.0;
        while zone.metric("crate_mirror_connections").await < connections {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.open();
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(asking), opened);
    for (reply, _) in replies {
        assert_crate(&reply, &upstream, "lib", "1.1.0");
    }
    assert_eq!([record, file].map(|part| relay.count(part)), [1, 1]);
    assert!(upstream.crate_requests().is_empty(), "the bucket has it");
}

#[tokio::test]
async fn a_bucket_has_the_same_keys_and_the_same_bytes_as_a_folder() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    let folder = TempDir::new().expect("a folder");
    let alone = Mirror::of(&upstream).store(folder.path()).start().await;
    builds(&alone.index_url()).await;
    alone.stop().await;
    let copied = TempDir::new().expect("a folder");
    bucket.copy_to(copied.path(), "mirror").await;
    let objects = |folder: &TempDir| {
        let mut objects = files_below(folder.path());
        objects.retain(|path| path.starts_with("crates-io/") && !path.ends_with(".license"));
        objects
    };
    assert_eq!(objects(&copied), objects(&folder));
    for path in objects(&folder) {
        let [here, there] = [&copied, &folder].map(|it| fs::read(it.path().join(&path)));
        let [here, there] = [here.expect("a file"), there.expect("a file")];
        // A record's first line says when it was fetched.
        let body = |bytes: &[u8]| match path.contains("/index/") {
            true => bytes.splitn(2, |b| *b == b'\n').nth(1).map(<[u8]>::to_vec),
            false => Some(bytes.to_vec()),
        };
        assert_eq!(body(&here), body(&there), "{path}");
    }
}

#[tokio::test]
async fn a_bucket_copied_to_a_folder_is_a_working_store_and_back() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    let folder = TempDir::new().expect("a folder");
    bucket.copy_to(folder.path(), "mirror").await;
    let from_folder = Mirror::of(&upstream).store(folder.path());
    let from_folder = from_folder
        .settings("[offline]\nenabled = true")
        .start()
        .await;
    builds(&from_folder.index_url()).await;
    from_folder.stop().await;

    let back = Bucket::new().await;
    back.copy_from(folder.path(), "elsewhere").await;
    upstream.stop().await;
    let from_back = Zone::of(&upstream, &back).prefix("elsewhere").offline();
    let verified = from_back.run(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    builds(&from_back.start().await.index_url()).await;
}

#[tokio::test]
async fn offline_a_bucket_is_all_there_is_and_is_enough() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    upstream.clear_log();
    let zone = Zone::of(&upstream, &bucket).offline().start().await;
    builds(&zone.index_url()).await;
    let missing = zone.get(&download("app", "1.0.0")).await;
    assert_eq!(
        (missing.status, missing.header("x-cache")),
        (404, Some("offline"))
    );
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_wrong_crate_in_the_bucket_goes_to_nobody_and_is_replaced() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    let key = key_of(&bucket, "/lib/1.1.0.").await;
    let right = bucket.get(&key).await;
    for wrong in [
        b"not it at all".to_vec(),
        right[..right.len() - 1].to_vec(),
        vec![0; right.len()],
        Vec::new(),
    ] {
        bucket.put(&key, wrong).await;
        let zone = Zone::of(&upstream, &bucket).start().await;
        let (reply, _) = get_in_time(&zone, &download("lib", "1.1.0")).await;
        assert_crate(&reply, &upstream, "lib", "1.1.0");
        let started = Instant::now();
        while !bucket.holds(&key, &right).await {
            assert!(started.elapsed() < LATEST, "it is never replaced");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_index_record_in_the_bucket_goes_to_nobody_and_is_replaced() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    let key = key_of(&bucket, "/index/3/l/lib").await;
    let right = bucket.get(&key).await.to_vec();
    let mut flipped = right.clone();
    let last = flipped.len() - 3;
    flipped[last] ^= 1;
    for wrong in [b"{}\n".to_vec(), right[..right.len() / 2].to_vec(), flipped] {
        bucket.put(&key, wrong.clone()).await;
        let zone = Zone::of(&upstream, &bucket).start().await;
        let (reply, _) = get_in_time(&zone, &index("lib")).await;
        assert_eq!(reply.text(), upstream.index_file("lib"));
        let started = Instant::now();
        // It is gone first, and comes back.
        while bucket.stored_with(&key).await.is_empty() || bucket.holds(&key, &wrong).await {
            assert!(started.elapsed() < LATEST, "it is never replaced");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn without_a_folder_everything_works_and_no_file_is_left() {
    let upstream = Upstream::new()
        .publish(Package::new("app", "1.0.0").dep("lib", "1"))
        .publish(Package::new("lib", "1.0.0").payload(20_000_000))
        .start()
        .await;
    let bucket = Bucket::new().await;
    // Far too little memory for that crate.
    let alone = Zone::of(&upstream, &bucket)
        .store("max_size = \"0\"")
        .settings("[memory]\nbudget = \"4MiB\"");
    let zone = alone.clone().start().await;
    builds(&zone.index_url()).await;
    let parts = ["/app/1.0.0.", "/lib/1.0.0.", "/index/3/l/lib"];
    bucket.until_stored(&parts).await;
    assert!(zone.files().is_empty(), "{:?}", zone.files());
    zone.stop().await;
    let key = key_of(&bucket, "/lib/1.0.0.").await;
    assert_eq!(bucket.get(&key).await, upstream.crate_file("lib", "1.0.0"));
    upstream.clear_log();
    let zone = alone.start().await;
    builds(&zone.index_url()).await;
    assert!(upstream.crate_requests().is_empty());
    assert!(zone.files().is_empty(), "{:?}", zone.files());
}

#[tokio::test]
async fn a_large_crate_is_uploaded_in_parts_and_read_back_whole() {
    let upstream = Upstream::new()
        .publish(Package::new("large", "1.0.0").payload(30_000_000))
        .start()
        .await;
    let bucket = Bucket::new().await;
    let relay = bucket.relay().await;
    let zone = Zone::of(&upstream, &bucket)
        .over(&relay)
        .settings("[memory]\nbudget = \"4MiB\"");
    let first = zone.clone().start().await;
    let reply = first.get(&download("large", "1.0.0")).await;
    assert_crate(&reply, &upstream, "large", "1.0.0");
    // A busy machine signs and copies 30 MB more slowly than 20 s allow.
    let stored = bucket.until_stored_within(Duration::from_secs(90), &["/large/1.0.0."]);
    stored.await;
    assert!(relay.count("partNumber=") > 1, "in one piece");
    let second = zone.start().await;
    upstream.clear_log();
    let reply = second.get(&download("large", "1.0.0")).await;
    assert_crate(&reply, &upstream, "large", "1.0.0");
    assert!(upstream.crate_requests().is_empty());
}

#[tokio::test]
async fn prefixes_and_registries_in_one_bucket_know_nothing_of_one_another() {
    let upstream = upstream().await;
    let other = Upstream::new()
        .publish(Package::new("lib", "9.0.0"))
        .start()
        .await;
    let bucket = Bucket::new().await;
    let both = format!("[registries.other]\nindex = \"{}\"", other.index_url());
    let one = Zone::of(&upstream, &bucket).settings(&both).start().await;
    builds(&one.index_url()).await;
    let named = "/registries/other/api/v1/crates/lib/9.0.0/download";
    assert_crate(&one.get(named).await, &other, "lib", "9.0.0");
    bucket.until_stored(&IN_BUCKET).await;
    // A crate and the record it was checked by are written apart from one another: what is listed before both are there isn't all.
    let others = [
        "mirror/other/crates/3/l/lib/9.0.0.",
        "mirror/other/index/3/l/lib",
    ];
    bucket.until_stored(&others).await;
    // Beside objects there are notes, which come and go.
    let objects = async || {
        let mut objects = bucket.stored_with("mirror/").await;
        objects.retain(|key| !key.contains("/."));
        objects
    };
    let before = objects().await;

    for prefix in ["second/one", ""] {
        upstream.clear_log();
        let zone = Zone::of(&upstream, &bucket).prefix(prefix).start().await;
        let reply = zone.get(&download("app", "1.1.0")).await;
        assert_crate(&reply, &upstream, "app", "1.1.0");
        assert_eq!(upstream.crate_requests().len(), 1, "{prefix:?} has its own");
        let key = format!("{prefix}/crates-io/crates/3/a/app/1.1.0.");
        bucket.until_stored(&[key.trim_start_matches('/')]).await;
        zone.stop().await;
    }
    assert_eq!(objects().await, before, "the first one's are as they were");
}

/// Two mirrors that evict know nothing of one another's folder.
#[tokio::test]
async fn what_is_too_much_for_the_folder_stays_in_the_bucket() {
    let names: Vec<_> = (0..12).map(|n| format!("name-{n:02}")).collect();
    let packages = names
        .iter()
        .map(|n| Package::new(n, "1.0.0").payload(400_000));
    let upstream = Upstream::new().publish_all(packages).start().await;
    let bucket = Bucket::new().await;
    let small = Zone::of(&upstream, &bucket)
        .store("max_size = \"1MiB\"")
        .settings("[memory]\nbudget = \"1MiB\"");
    let zone = small.start().await;
    for name in &names {
        assert_crate(
            &zone.get(&download(name, "1.0.0")).await,
            &upstream,
            name,
            "1.0.0",
        );
    }
    let parts: Vec<_> = names.iter().map(|name| format!("/{name}/1.0.0.")).collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    bucket.until_stored(&parts).await;
    upstream.clear_log();
    for name in &names {
        assert_crate(
            &zone.get(&download(name, "1.0.0")).await,
            &upstream,
            name,
            "1.0.0",
        );
    }
    assert!(upstream.crate_requests().is_empty(), "the bucket has them");
    let size = |path: &String| fs::metadata(zone.folder().join(path)).map_or(0, |m| m.len());
    let kept = || zone.files().iter().map(size).sum::<u64>();
    crate::support::until("evicted", || kept() <= 1 << 20).await;
    assert_eq!(bucket.stored_with(".crate").await.len(), names.len());
}

/// Publishes another version of `a`, and waits until it is in the bucket; gives the record that was under `key` before.
async fn replaced(upstream: &Upstream, bucket: &Bucket, zone: &Zone, key: &str) -> Bytes {
    let old = bucket.get(key).await;
    upstream.publish(Package::new("a", "1.1.0"));
    let new = zone.get_until("/index/1/a", LATEST, |reply| reply.text().contains("1.1.0"));
    new.await;
    while bucket.get(key).await == old {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    old
}

/// The mirror that has asked last knows the most; another one's older record, written later, doesn't take that back.
#[tokio::test]
async fn a_mirror_never_serves_an_index_file_older_than_it_has_served() {
    let upstream = Upstream::with_one_crate().await;
    let bucket = Bucket::new().await;
    let key = "mirror/crates-io/index/1/a";
    let asks = "[freshness]\nfresh_for = \"0s\"\npatience = \"20s\"";
    let zone = Zone::of(&upstream, &bucket).settings(asks).start().await;
    zone.get("/index/1/a").await;
    bucket.until_stored(&[key]).await;
    let old = replaced(&upstream, &bucket, &zone, key).await;
    bucket.put(key, old).await;
    upstream.stop().await;
    for _ in 0..5 {
        let reply = zone.get("/index/1/a").await;
        assert!(reply.text().contains("1.1.0"), "{}", reply.text());
    }
}

/// Each index file in use had its record written into the bucket once an hour, for nothing but another time in it: 30 dollars a day for 250,000 of them.
#[tokio::test]
async fn that_an_index_file_is_current_is_written_into_a_bucket_when_what_is_there_is_half_a_day_old()
 {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    let aged = async |key: &str, hours: u64| {
        let mut record = Record::of(&bucket.get(key).await);
        record.age(Duration::from_secs(hours * 3600));
        bucket.put(key, record.bytes()).await;
        record.bytes()
    };
    let [app, lib, ..] = IN_BUCKET;
    let (of_app, of_lib) = (aged(app, 13).await, aged(lib, 11).await);
    let zone = Zone::of(&upstream, &bucket)
        .settings("[freshness]\nfresh_for = \"0s\"\npatience = \"20s\"");
    let zone = zone.start().await;
    for name in ["lib", "app"] {
        let reply = zone.get(&index(name)).await;
        assert_serves(&reply, "revalidated", upstream.index_file(name), name);
    }
    // What is to be written is written before it ends.
    zone.stop().await;
    assert!(!bucket.holds(app, &of_app).await, "it was 13 hours old");
    assert!(bucket.holds(lib, &of_lib).await, "it was 11 hours old");
}

/// Without a folder only memory knew what was served; once it had let go of that, an older record came back from the bucket.
#[tokio::test]
async fn without_a_folder_no_older_index_file_comes_back_when_memory_has_let_go() {
    let names: Vec<_> = (0..12).map(|n| format!("name-{n:02}")).collect();
    let large = |name: &String| {
        let filler = "x".repeat(150_000).into();
        Package::new(name, "1.0.0").field("filler", filler)
    };
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .publish_all(names.iter().map(large))
        .start()
        .await;
    let bucket = Bucket::new().await;
    let key = "mirror/crates-io/index/1/a";
    let zone = Zone::of(&upstream, &bucket)
        .store("max_size = \"0\"")
        .settings("[freshness]\nfresh_for = \"0s\"\n[memory]\nbudget = \"1MiB\"");
    let zone = zone.start().await;
    zone.get("/index/1/a").await;
    bucket.until_stored(&[key]).await;
    let old = replaced(&upstream, &bucket, &zone, key).await;
    for _ in 0..3 {
        for name in &names {
            zone.get(&index(name)).await;
        }
    }
    bucket.put(key, old).await;
    upstream.stop().await;
    let reply = zone.get("/index/1/a").await;
    let is_older = reply.status == 200 && !reply.text().contains("1.1.0");
    assert!(!is_older && reply.status != 404, "{}", reply.text());
}

#[tokio::test]
async fn what_a_mirror_had_is_there_for_others_when_it_is_killed() {
    let upstream = upstream().await;
    let bucket = Bucket::new().await;
    let zone = Zone::of(&upstream, &bucket).start().await;
    builds(&zone.index_url()).await;
    bucket.until_stored(&IN_BUCKET).await;
    zone.kill().await;
    upstream.stop().await;
    let zone = Zone::of(&upstream, &bucket).start().await;
    builds(&zone.index_url()).await;
    for key in bucket.stored_with(".crate").await {
        let checksum = sha256(&bucket.get(&key).await);
        assert!(key.contains(&checksum), "{key} is {checksum}");
    }
}

/// The page had no figure for a bucket.
#[tokio::test]
async fn what_a_bucket_holds_and_what_is_nearer_is_said() {
    let upstream = upstream().await;
    let bucket = filled(&upstream).await;
    let folder = TempDir::new().expect("a folder");
    let zone = Zone::of(&upstream, &bucket).folder(folder.path());
    let first = zone.clone().start().await;
    builds(&first.index_url()).await;
    // What is copied is copied beside the answers. And a store is looked through two seconds after the start, and then not for a minute.
    let objects = |files: Vec<String>| files.iter().filter(|f| f.starts_with("crates-io/")).count();
    crate::support::until("copied", || objects(first.files()) >= IN_BUCKET.len()).await;
    first.stop().await;
    let zone = zone.start().await;
    let figures = async || {
        let text = zone.get("/status.json").await.text();
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let mut said = figures().await;
    for _ in 0..200 {
        if !said["store"]["census"].is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        said = figures().await;
    }
    let store = &said["store"];
    let sizes = ["app", "lib"].map(|name| upstream.crate_file(name, "1.1.0").len());
    let held = &store["census"]["registries"][0];
    assert_eq!(held["crates"], 2, "{store}");
    assert_eq!(held["crate_bytes"], sizes[0] + sizes[1], "{store}");
    let near = store["census"]["near"]["objects"].as_u64();
    assert!(near.is_some_and(|near| near >= 2), "{store}");
    assert_eq!(store["bucket"]["waiting"], 0, "{store}");
    assert_eq!(store["bucket"]["circuit_open"], false, "{store}");
    let page = zone.get_with("/", &[("accept", "text/html")]).await.text();
    assert!(
        page.contains("the bucket holds") && page.contains("In the folder in front of it"),
        "{page}"
    );
}
