//! Within its limits: a running mirror keeps its store within `max_size` and `max_age` by itself, and takes nothing away that is in use.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;

use crate::support::{Mirror, MirrorBuilder, Package, Upstream, command, index_path, until};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The store's limit in most of these tests.
const LIMIT: u64 = 4 << 20;

/// A mirror with a small store and that much memory.
fn small(upstream: &Upstream, memory: &str) -> MirrorBuilder {
    Mirror::of(upstream)
        .store_settings("max_size = \"4MiB\"")
        .settings(&format!("[memory]\nbudget = \"{memory}\""))
}

/// The bytes of all stored objects.
fn size(mirror: &Mirror) -> u64 {
    let files = mirror.stored().into_iter();
    let sizes = files.map(|path| fs::metadata(mirror.store().join(path)));
    sizes.flatten().map(|meta| meta.len()).sum()
}

/// Waits until the store is as small as it has to be.
async fn shrinks(mirror: &Mirror) {
    until("within 5 % of max_size", || {
        size(mirror) <= LIMIT + LIMIT / 20
    })
    .await;
}

fn has_crate(mirror: &Mirror, name: &str) -> bool {
    let start = format!("crates-io/crates/{}/", index_path(name));
    mirror.stored().iter().any(|path| path.starts_with(&start))
}

/// Makes a stored file one that was last used so long ago.
fn unused_for(path: &Path, age: Duration) {
    let file = File::options().write(true).open(path);
    let past = SystemTime::now() - age;
    file.expect("a stored file")
        .set_modified(past)
        .expect("its time");
}

async fn failures(mirror: &Mirror) -> f64 {
    mirror.metric("crate_mirror_store_failures_total").await
}

#[tokio::test]
async fn a_running_mirror_keeps_its_store_within_max_size() {
    let (upstream, names) = Upstream::with_many(20, 500_000).await;
    let mirror = small(&upstream, "1MiB").start().await;
    for _ in 0..2 {
        mirror.download_all(&upstream, &names).await;
        shrinks(&mirror).await;
    }
    assert!(size(&mirror) >= LIMIT * 3 / 4, "{} left", size(&mirror));
    for name in &names {
        assert!(mirror.index_record(name).exists(), "no record of {name}");
    }
    assert_eq!(failures(&mirror).await, 0.0);
}

/// A store may be smaller than the memory of the mirror on it.
#[tokio::test]
async fn a_store_smaller_than_the_memory_is_kept_within_max_size_too() {
    let (upstream, names) = Upstream::with_many(20, 500_000).await;
    let mirror = small(&upstream, "256MiB").start().await;
    mirror.download_all(&upstream, &names).await;
    shrinks(&mirror).await;
    mirror.download_all(&upstream, &names).await;
    assert_eq!(upstream.crate_requests().len(), names.len());
}

/// A hit from memory doesn't touch the disk, so the files that are used most would look unused to the eviction.
#[tokio::test]
async fn what_is_in_memory_is_kept_as_used_just_now() {
    let (upstream, names) = Upstream::with_many(12, 600_000).await;
    upstream.publish(Package::new("popular", "1.0.0").payload(400_000));
    upstream.publish(Package::new("unpopular", "1.0.0").payload(600_000));
    // Of these crates only one is small enough for this memory.
    let mirror = small(&upstream, "8MiB").start().await;
    for name in ["popular", "unpopular"] {
        mirror.download_all(&upstream, &[name.to_owned()]).await;
        until("stored", || has_crate(&mirror, name)).await;
        unused_for(&mirror.stored_crate(name, "1.0.0"), 100 * DAY);
    }
    mirror.download_all(&upstream, &names).await;
    until("evicted", || !has_crate(&mirror, "unpopular")).await;
    shrinks(&mirror).await;
    assert!(has_crate(&mirror, "popular"));
}

#[tokio::test]
async fn what_nobody_used_for_max_age_is_removed() {
    let (upstream, names) = Upstream::with_many(4, 1000).await;
    let mirror = Mirror::of(&upstream)
        .store_settings("max_age = \"30d\"")
        .start()
        .await;
    mirror.download_all(&upstream, &names).await;
    let mirror = mirror.restart().await;
    let stored = mirror.stored();
    assert_eq!(stored.len(), 8);
    let used = |name: &str, days: u32| {
        unused_for(&mirror.stored_crate(name, "1.0.0"), days * DAY);
        unused_for(&mirror.index_record(name), days * DAY);
    };
    used(&names[0], 31);
    used(&names[1], 300);
    used(&names[2], 29);
    // The first look at the store is right after the start.
    let mirror = mirror.restart().await;
    until("removed", || mirror.stored().len() <= 4).await;
    let left = names.iter().map(|name| has_crate(&mirror, name));
    assert_eq!(left.collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(mirror.stored().len(), 4, "{:?}", mirror.stored());
    mirror.download_all(&upstream, &names).await;
}

/// With two mirrors on one store, one may remove what the other one serves at the moment.
#[tokio::test]
async fn two_mirrors_on_one_small_store_do_no_harm() {
    let (upstream, names) = Upstream::with_many(16, 500_000).await;
    let one = small(&upstream, "1MiB").start().await;
    let other = small(&upstream, "1MiB").store(one.store()).start().await;
    let (there, mut back) = (names.clone(), names.clone());
    back.reverse();
    for _ in 0..3 {
        join_all([
            one.download_all(&upstream, &there),
            other.download_all(&upstream, &back),
        ])
        .await;
    }
    shrinks(&one).await;
    for mirror in [&one, &other] {
        assert_eq!(failures(mirror).await, 0.0);
        assert_eq!(mirror.metric("crate_mirror_store_corrupt_total").await, 0.0);
    }
    other.stop().await;
    let one = one.restart().await;
    let ran = command(&["verify"], one.store(), "").await;
    ran.code(0).stdout_contains(" 0 bad");
    one.download_all(&upstream, &names).await;
}
