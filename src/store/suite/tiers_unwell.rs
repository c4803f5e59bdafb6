//! What becomes of reads and writes when a tier is unwell: a bucket whose bodies hang, a folder that takes nothing or hangs, readers who take their time, a
//! mirror that is killed.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use object_store::{ObjectStore, signer::Signer};

use super::{
    bucket_at, crate_key, index_key, large, record,
    tiers::{TieredMirror, content, in_bucket, open, put},
    unwell::{BucketRequest, Instead, Unwell},
    whole,
};
use crate::{
    domain::{CrateKey, Key},
    metrics::Metrics,
    store::{
        BucketSettings, FolderSettings, Links, Next, Sight, Signed, SigningSettings, Store,
        bucket::Connected, disk::Touch,
    },
};

/// A crate that is read in several blocks.
fn large_content(number: u8) -> (CrateKey, Bytes) {
    let content: Bytes = (0..3_000_000_u32)
        .map(|n| (n / 991) as u8 ^ number)
        .collect();
    let key = crate_key("large", &format!("{number}.0.0"), &content);
    (key, content)
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(20), "never {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_in_bucket(bucket: &Unwell, key: &CrateKey, bytes: &Bytes) {
    let is_there = async || in_bucket(bucket, &key.path()).await.as_ref() == Some(bytes);
    until("in the bucket", is_there).await;
}

/// Every head was a success, so that the circuit never opened, and each reader waited for his whole time limit.
#[tokio::test(start_paused = true)]
async fn a_bucket_whose_bodies_hang_is_left_alone_soon_also_where_heads_come() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let keys: Vec<_> = (0..30)
        .map(|n| crate_key("serde", &format!("1.0.{n}"), b"content"))
        .collect();
    for key in &keys {
        put(&bucket, &key.path(), "content".into()).await;
    }
    let index = index_key("serde");
    let bytes = record("lines").encode().concat();
    put(&bucket, &index.path(), bytes.into()).await;
    bucket.when(|_, at| at.ends_with(".crate").then_some(Instead::HangsInTheMiddle));
    let mut waited = 0;
    for key in &keys {
        // What isn't a crate comes as it always does.
        assert!(
            mirror
                .store
                .peek_record(index)
                .await
                .is_ok_and(|r| r.is_some())
        );
        assert!(mirror.store.size_of(&Key::from(*key)).await.is_ok());
        let started = tokio::time::Instant::now();
        let loaded = mirror.store.load_file(key, SystemTime::now(), |_| Some(()));
        assert!(loaded.await.is_err());
        waited += usize::from(started.elapsed() >= Duration::from_secs(1));
    }
    assert!(waited <= 6, "{waited} of {} waited", keys.len());
    assert_eq!(mirror.metrics.bucket_circuit_open.get(), 1);
    bucket.well();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(whole(&mirror.store, &keys[0]).await.is_some(), "it is back");
    assert_eq!(mirror.metrics.bucket_circuit_open.get(), 0);
}

/// A folder in which nothing can be put: a file is where its first folder should be.
async fn without_room(bucket: &Unwell) -> TieredMirror {
    let mirror = TieredMirror::over(bucket).await;
    fs::write(mirror.folder.path().join("crates-io"), "").expect("a file");
    mirror
}

#[tokio::test]
async fn what_the_folder_cannot_keep_is_written_into_the_bucket() {
    let bucket = Unwell::new();
    let mirror = without_room(&bucket).await;
    let (key, bytes) = content();
    let saved = mirror.store.save_file(key, bytes.clone()).await;
    saved.expect_err("the folder's failure");
    until_in_bucket(&bucket, &key, &bytes).await;
    // A large one went with its file.
    let (key, bytes) = large_content(1);
    let spool = mirror.store.spool().await.expect("a file");
    let spool = spool.append(bytes.clone()).await.expect("written");
    let committed = mirror.store.commit(&key.into(), spool).await;
    committed.expect_err("the folder's failure");
    until_in_bucket(&bucket, &key, &bytes).await;
}

#[tokio::test]
async fn where_the_folder_has_no_place_for_a_file_a_large_crate_is_spooled_elsewhere() {
    let bucket = Unwell::new();
    let mirror = without_room(&bucket).await;
    let aside = mirror.folder.path().join(".tmp");
    fs::remove_dir_all(&aside).expect("it was made at the start");
    fs::write(&aside, "").expect("a file");
    let (key, bytes) = large_content(1);
    let spool = mirror.store.spool().await.expect("a file elsewhere");
    let spool = spool.append(bytes.clone()).await.expect("written");
    let _ = mirror.store.commit(&key.into(), spool).await;
    until_in_bucket(&bucket, &key, &bytes).await;
}

/// The write into the bucket began when the one into the folder had come to its end, which it never did.
#[tokio::test]
async fn a_folder_that_hangs_keeps_nothing_from_the_bucket() {
    let bucket = Unwell::new();
    let folder = tempfile::tempdir().expect("a folder");
    let hangs = Arc::new(AtomicBool::new(false));
    let stall = {
        let hangs = hangs.clone();
        move |what: Touch| {
            while what == Touch::Save && hangs.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    };
    let settings = FolderSettings::new(folder.path(), false)
        .with_stall_timeout(Duration::from_millis(50))
        .with_stall(Arc::new(stall));
    let objects: Arc<dyn ObjectStore> = Arc::new(bucket.clone());
    let metrics = Arc::new(Metrics::new());
    let at = bucket_at("mirror");
    let store = Store::over_objects(Some(settings), &at, objects, metrics);
    let store = store.await.expect("a store");
    let (key, bytes) = content();
    let (large_key, large_bytes) = large_content(1);
    let spool = store.spool().await.expect("a file");
    let spool = spool.append(large_bytes.clone()).await.expect("written");
    hangs.store(true, Ordering::Release);
    let saving = tokio::spawn({
        let (store, bytes) = (store.clone(), bytes.clone());
        async move {
            let large_file = large_key.into();
            let (small, large) = tokio::join!(
                store.save_file(key, bytes),
                store.commit(&large_file, spool)
            );
            small.and(large)
        }
    });
    until_in_bucket(&bucket, &key, &bytes).await;
    until_in_bucket(&bucket, &large_key, &large_bytes).await;
    assert!(!saving.is_finished(), "the folder still hangs");
    hangs.store(false, Ordering::Release);
    saving.await.expect("no panic").expect("saved");
}

/// They held both permits for as long as their clients took.
#[tokio::test]
async fn a_copy_into_the_folder_is_not_paced_by_who_reads_slowly() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let all: Vec<_> = (1..=3).map(large_content).collect();
    for (key, bytes) in &all {
        put(&bucket, &key.path(), bytes.clone()).await;
    }
    let mut readers = Vec::new();
    for (key, _) in &all {
        let mut reader = large(&mirror.store, key).await;
        reader.next().await.expect("a block").expect("read");
        readers.push(reader);
        if readers.len() == 2 {
            for (key, _) in &all[..2] {
                mirror.until_it_has(&key.path()).await;
            }
        }
    }
    mirror.until_it_has(&all[2].0.path()).await;
    for (reader, (key, bytes)) in readers.iter_mut().zip(&all) {
        while let Some(block) = reader.next().await {
            block.expect("read");
        }
        let file = fs::read(mirror.folder.path().join(key.path()));
        assert!(file.expect("a file") == *bytes, "{key:?}");
    }
}

/// Who went away was read for all the same.
#[tokio::test]
async fn a_copy_for_a_slow_reader_ends_with_him() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let (key, bytes) = large_content(1);
    put(&bucket, &key.path(), bytes).await;
    let mut reader = large(&mirror.store, &key).await;
    reader.next().await.expect("a block").expect("read");
    drop(reader);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!mirror.has_file(&key.path()));
    assert_eq!(bucket.count(BucketRequest::Get, &key.path()), 1);
}

/// Removes all that may be removed.
async fn empty(store: &Store) {
    let remove = |(): &mut (), sight: Sight| match sight {
        Sight::Object(_) => Next::Remove,
        Sight::Odd(..) | Sight::Unread(_) | Sight::Removed(_) | Sight::Unchanged(_) => Next::Go,
    };
    let near = store.near().expect("a folder");
    let walked = near.each(Links::PassedOver, (), remove).await;
    walked.expect("walked");
}

/// It was lost for all mirrors.
#[tokio::test]
async fn what_waits_for_the_bucket_is_not_evicted_from_the_folder() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    bucket.when(|what, _| (what == BucketRequest::Put).then_some(Instead::SlowDown));
    let (key, bytes) = content();
    let saved = mirror.store.save_file(key, bytes.clone()).await;
    saved.expect("saved");
    empty(&mirror.store).await;
    assert!(mirror.has_file(&key.path()));
    bucket.well();
    until("written", async || mirror.metrics.bucket_waiting.get() == 0).await;
    assert_eq!(in_bucket(&bucket, &key.path()).await, Some(bytes));
    empty(&mirror.store).await;
    assert!(!mirror.has_file(&key.path()), "now it may go");
    assert_eq!(mirror.metrics.bucket_lost.get(), 0);
}

async fn is_written_down(folder: &Path, path: &str) -> bool {
    let text = fs::read_to_string(folder.join(".unsent")).unwrap_or_default();
    text.contains(path)
}

/// It was forgotten when the mirror ended, and came into the bucket when somebody asked for it again, if ever.
#[tokio::test]
async fn what_waited_when_a_mirror_was_killed_is_written_by_the_next_one() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    bucket.when(|what, _| (what == BucketRequest::Put).then_some(Instead::SlowDown));
    let ((key, bytes), index) = (content(), index_key("serde"));
    mirror
        .store
        .save_file(key, bytes.clone())
        .await
        .expect("saved");
    mirror
        .store
        .save_record(index, &record("lines"))
        .await
        .expect("saved");
    let TieredMirror { store, folder, .. } = mirror;
    for path in [key.path(), index.path()] {
        until("noted", async || {
            is_written_down(folder.path(), &path).await
        })
        .await;
    }
    drop(store);
    bucket.well();
    let (next, metrics) = open(Some(folder.path()), &bucket).await;
    until_in_bucket(&bucket, &key, &bytes).await;
    until("the record", async || {
        in_bucket(&bucket, &index.path()).await.is_some()
    })
    .await;
    until("forgotten", async || {
        !is_written_down(folder.path(), &key.path()).await
    })
    .await;
    assert_eq!(metrics.bucket_lost.get(), 0);
    drop(next);
}

/// Signs nothing.
#[derive(Debug)]
struct NoKey;

#[async_trait::async_trait]
impl Signer for NoKey {
    async fn signed_url(
        &self,
        _method: object_store::signer::Method,
        _path: &object_store::path::Path,
        _expires_in: Duration,
    ) -> object_store::Result<url::Url> {
        Err(object_store::Error::Generic {
            store: "S3",
            source: "no answer from http://169.254.169.254/role".into(),
        })
    }
}

#[tokio::test]
async fn why_no_url_can_be_signed_is_said_and_counted() {
    let bucket = Unwell::new();
    let settings = BucketSettings {
        signing: Some(SigningSettings {
            endpoint: None,
            good_for: Duration::from_secs(60),
        }),
        ..bucket_at("mirror")
    };
    let connected = Connected::to(Arc::new(bucket.clone())).signed_by(Arc::new(NoKey));
    let (metrics, now) = (Arc::new(Metrics::new()), SystemTime::now());
    let opened = Store::tiers_over(None, &settings, connected, metrics.clone(), now);
    let (store, _) = opened.await.expect("a store");
    let (key, bytes) = content();
    store.save_file(key, bytes).await.expect("saved");
    store.settle().await;
    let error = store.signed_url(&key.into(), Signed::Get).await.map(drop);
    let error = error.expect_err("no key");
    assert!(error.message().contains("no key to sign"), "{error}");
    assert_eq!(metrics.store_failures.get(), 1);
    let counted =
        "crate_mirror_bucket_requests_total{operation=\"sign\",result=\"no-credentials\"} 1";
    let text = String::from_utf8(metrics.render()).expect("text");
    assert!(text.contains(counted), "{text}");
}
