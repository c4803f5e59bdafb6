//! What a folder in front of a bucket does beside what every store does: what is read from where, what is written when, and what becomes of it when the
//! bucket is unwell.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{
    ObjectStore, ObjectStoreExt,
    path::Path as ObjectPath,
    signer::{Method, Signer},
};
use url::Url;

use super::{
    bucket_at, crate_key, index_key, large, record,
    unwell::{BucketRequest, Instead, Unwell},
    whole,
};
use crate::{
    domain::{CrateKey, Key},
    error::Kind,
    metrics::Metrics,
    store::{
        BucketSettings, Doubt, FolderSettings, Signed, SigningSettings, Store, StoreRecord,
        bucket::Connected,
    },
};

/// A mirror's store over `bucket`, and what it counts.
pub(super) struct TieredMirror {
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) folder: tempfile::TempDir,
}

impl TieredMirror {
    pub(super) async fn over(bucket: &Unwell) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, metrics) = open(Some(folder.path()), bucket).await;
        Self {
            store,
            metrics,
            folder,
        }
    }

    pub(super) fn has_file(&self, path: &str) -> bool {
        self.folder.path().join(path).is_file()
    }

    /// Waits for what goes on beside.
    pub(super) async fn until_it_has(&self, path: &str) {
        while !self.has_file(path) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(super) async fn open(folder: Option<&Path>, bucket: &Unwell) -> (Store, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let folder = folder.map(|folder| FolderSettings::new(folder, false));
    let objects: Arc<dyn ObjectStore> = Arc::new(bucket.clone());
    let settings = bucket_at("mirror");
    let opened = Store::over_objects(folder, &settings, objects, metrics.clone());
    (opened.await.expect("a store"), metrics)
}

fn at(path: &str) -> ObjectPath {
    ObjectPath::parse(format!("mirror/{path}")).expect("a path")
}

pub(super) async fn put(bucket: &Unwell, path: &str, bytes: Bytes) {
    let put = bucket.objects().put(&at(path), bytes.into()).await;
    put.expect("in memory");
}

pub(super) async fn in_bucket(bucket: &Unwell, path: &str) -> Option<Bytes> {
    let got = bucket.objects().get(&at(path)).await.ok()?;
    Some(got.bytes().await.expect("in memory"))
}

pub(super) fn content() -> (CrateKey, Bytes) {
    let content = Bytes::from_static(b"content");
    (crate_key("serde", "1.0.0", &content), content)
}

#[tokio::test]
async fn what_one_mirror_has_fetched_another_reads_and_keeps() {
    let bucket = Unwell::new();
    let (one, other) = (
        TieredMirror::over(&bucket).await,
        TieredMirror::over(&bucket).await,
    );
    let (key, bytes) = content();
    one.store
        .save_file(key, bytes.clone())
        .await
        .expect("saved");
    one.store.settle().await;
    assert_eq!(in_bucket(&bucket, &key.path()).await, Some(bytes.clone()));
    assert_eq!(whole(&other.store, &key).await, Some(bytes.clone()));
    other.until_it_has(&key.path()).await;
    let asked = bucket.count(BucketRequest::Get, &key.path());
    assert_eq!(whole(&other.store, &key).await, Some(bytes));
    assert_eq!(
        bucket.count(BucketRequest::Get, &key.path()),
        asked,
        "the folder has it"
    );
}

#[tokio::test]
async fn a_large_one_is_kept_when_it_was_read_to_its_end_and_is_good() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let content: Bytes = (0..3_000_000_u32).map(|n| (n / 991) as u8).collect();
    for (version, good) in [("1.0.0", true), ("2.0.0", false)] {
        let key = crate_key("large", version, &content);
        let bytes = match good {
            true => content.clone(),
            false => content.iter().map(|b| !b).collect(),
        };
        put(&bucket, &key.path(), bytes).await;
        let mut reader = large(&mirror.store, &key).await;
        let mut ended = Ok(());
        while let Some(block) = reader.next().await {
            ended = ended.and(block.map(drop));
        }
        assert_eq!(ended.is_ok(), good);
        if good {
            mirror.until_it_has(&key.path()).await;
        }
        assert_eq!(mirror.has_file(&key.path()), good);
        assert_eq!(bucket.count(BucketRequest::Get, &key.path()), 1);
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_bucket_is_replaced_even_where_nothing_may_be_removed() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let (key, bytes) = content();
    put(&bucket, &key.path(), "consent".into()).await;
    bucket.when(|what, _| (what == BucketRequest::Delete).then_some(Instead::Denied));
    let now = std::time::SystemTime::now();
    let loaded = mirror.store.load_file(key, now, |_| Some(())).await;
    assert_eq!(loaded.err().expect("wrong").kind(), Kind::Corrupt);
    assert!(!mirror.has_file(&key.path()));
    let saved = mirror.store.save_file(key, bytes.clone()).await;
    saved.expect("saved");
    mirror.store.settle().await;
    assert_eq!(in_bucket(&bucket, &key.path()).await, Some(bytes));
}

#[tokio::test]
async fn while_the_bucket_is_throttled_or_hangs_nobody_waits_and_it_is_written_later() {
    for instead in [Instead::SlowDown, Instead::Hangs] {
        let bucket = Unwell::new();
        let mirror = TieredMirror::over(&bucket).await;
        bucket.when(move |_, _| Some(instead));
        let (key, bytes) = content();
        mirror
            .store
            .save_file(key, bytes.clone())
            .await
            .expect("saved");
        assert_eq!(whole(&mirror.store, &key).await, Some(bytes.clone()));
        assert_eq!(mirror.metrics.bucket_waiting.get(), 1);
        bucket.well();
        while mirror.metrics.bucket_waiting.get() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(in_bucket(&bucket, &key.path()).await, Some(bytes));
        assert_eq!(mirror.metrics.bucket_lost.get(), 0);
    }
}

#[tokio::test]
async fn a_bucket_that_keeps_failing_is_left_alone() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    bucket.when(|_, _| Some(Instead::SlowDown));
    for n in 0..100 {
        let key = crate_key("serde", &format!("1.0.{n}"), b"content");
        let loaded = mirror.store.size_of(&Key::from(key)).await;
        assert_eq!(loaded.expect_err("an error").kind(), Kind::Store);
    }
    let asked = bucket.count(BucketRequest::Get, "serde");
    assert!(asked < 10, "{asked} times");
    assert_eq!(mirror.metrics.bucket_circuit_open.get(), 1);
}

#[tokio::test]
async fn without_a_folder_what_waits_is_read_from_memory() {
    let bucket = Unwell::new();
    let (store, _) = open(None, &bucket).await;
    bucket.when(|what, _| (what == BucketRequest::Put).then_some(Instead::SlowDown));
    let (key, bytes) = content();
    store.save_file(key, bytes.clone()).await.expect("saved");
    assert_eq!(whole(&store, &key).await, Some(bytes.clone()));
    assert!(store.near().is_none(), "there is nothing to be kept small");
    bucket.well();
    store.settle().await;
}

fn aged(body: &str, age: u64) -> StoreRecord {
    let record = record(body);
    StoreRecord {
        checked_at: record.checked_at - Duration::from_secs(age),
        ..record
    }
}

async fn body_in_bucket(bucket: &Unwell, path: &str) -> Bytes {
    let bytes = in_bucket(bucket, path).await.expect("there");
    StoreRecord::decode(bytes).expect("a record").body
}

#[tokio::test]
async fn an_older_index_record_takes_no_newer_ones_place() {
    let bucket = Unwell::new();
    let (one, other) = (
        TieredMirror::over(&bucket).await,
        TieredMirror::over(&bucket).await,
    );
    let key = index_key("serde");
    for (mirror, body, age) in [(&one, "new", 10), (&other, "old", 20), (&other, "newer", 0)] {
        let saved = mirror.store.save_record(key, &aged(body, age)).await;
        saved.expect("saved");
        mirror.store.settle().await;
        let expected = if body == "old" { "new" } else { body };
        assert_eq!(body_in_bucket(&bucket, &key.path()).await, expected);
    }
}

/// Many mirrors confirm the same body all the time.
#[tokio::test]
async fn a_record_of_which_only_the_time_has_changed_is_written_once_an_hour() {
    let bucket = Unwell::new();
    let (one, other) = (
        TieredMirror::over(&bucket).await,
        TieredMirror::over(&bucket).await,
    );
    let key = index_key("serde");
    for (age, written) in [(7_000, 1), (6_000, 1), (4_000, 1), (3_000, 2), (0, 2)] {
        for mirror in [&one, &other] {
            let saved = mirror.store.save_record(key, &aged("same", age)).await;
            saved.expect("saved");
            mirror.store.settle().await;
        }
        assert_eq!(
            bucket.count(BucketRequest::Put, &key.path()),
            written,
            "{age} s ago"
        );
    }
}

#[tokio::test]
async fn an_import_elsewhere_is_noticed_and_one_that_is_announced_here_at_once() {
    let bucket = Unwell::new();
    let (one, other) = (
        TieredMirror::over(&bucket).await,
        TieredMirror::over(&bucket).await,
    );
    let before = one.store.change_mark().await;
    assert_eq!(other.store.change_mark().await, before);
    let objects: Arc<dyn ObjectStore> = Arc::new(bucket.clone());
    let metrics = Arc::new(Metrics::new());
    let import = Store::over_bucket(&bucket_at("mirror"), objects, metrics);
    import.announce_change().await.expect("announced");
    let started = std::time::Instant::now();
    while one.store.change_mark().await == before {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_later_layout_is_refused_at_the_start() {
    let bucket = Unwell::new();
    put(&bucket, ".layout", "crate-mirror layout 2\n".into()).await;
    let objects: Arc<dyn ObjectStore> = Arc::new(bucket);
    let metrics = Arc::new(Metrics::new());
    let opened = Store::over_objects(None, &bucket_at("mirror"), objects, metrics).await;
    let error = opened.map(drop).expect_err("refused");
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("version 2"), "{error}");
}

#[tokio::test]
async fn two_prefixes_of_one_bucket_know_nothing_of_each_other() {
    let objects: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let open = |prefix: &str| {
        let metrics = Arc::new(Metrics::new());
        Store::over_bucket(&bucket_at(prefix), objects.clone(), metrics)
    };
    let (one, other) = (open("a"), open("a/b"));
    let (key, bytes) = content();
    other.save_file(key, bytes).await.expect("saved");
    assert_eq!(whole(&one, &key).await, None);
    assert_eq!(one.size().await.expect("a size"), 0);
    assert_eq!(other.size().await.expect("a size"), 7);
}

/// Signs everything.
#[derive(Debug)]
struct Signs;

#[async_trait]
impl Signer for Signs {
    async fn signed_url(
        &self,
        method: Method,
        path: &ObjectPath,
        _expires_in: Duration,
    ) -> object_store::Result<Url> {
        let url = format!("https://signed.example/{path}?{method}");
        Ok(Url::parse(&url).expect("a URL"))
    }
}

async fn signing(bucket: &Unwell) -> Store {
    let settings = BucketSettings {
        signing: Some(SigningSettings {
            endpoint: None,
            good_for: Duration::from_secs(60),
        }),
        ..bucket_at("mirror")
    };
    let connected = Connected::to(Arc::new(bucket.clone())).signed_by(Arc::new(Signs));
    let (metrics, now) = (Arc::new(Metrics::new()), SystemTime::now());
    let opened = Store::tiers_over(None, &settings, connected, metrics, now);
    opened.await.expect("a store").0
}

/// A store that has saved a file, and sends people to the bucket for it.
async fn signing_what_it_saved(bucket: &Unwell) -> (Store, CrateKey) {
    let store = signing(bucket).await;
    let (key, bytes) = content();
    store.save_file(key, bytes).await.expect("saved");
    store.settle().await;
    assert!(is_signed(&store, &key).await);
    (store, key)
}

async fn is_signed(store: &Store, key: &CrateKey) -> bool {
    let url = store.signed_url(&key.into(), Signed::Get).await;
    url.expect("no failure").is_some()
}

#[tokio::test]
async fn nobody_is_sent_to_what_was_never_found_good() {
    let bucket = Unwell::new();
    let store = signing(&bucket).await;
    let (key, bytes) = content();
    assert!(!is_signed(&store, &key).await, "it isn't there");
    // Another mirror has written something of that length.
    put(&bucket, &key.path(), "consent".into()).await;
    assert!(!is_signed(&store, &key).await, "it was never read");
    store.save_file(key, bytes).await.expect("saved");
    store.settle().await;
    assert!(!is_signed(&store, &key).await, "it was there already");
}

/// The bucket gave the rest of a good file to who had the beginning of a wrong one.
#[tokio::test]
async fn nobody_is_sent_to_the_bucket_for_the_rest_of_what_may_have_begun_wrong() {
    let bucket = Unwell::new();
    let (store, key) = signing_what_it_saved(&bucket).await;
    store.doubt(key.into(), Doubt::Wrong);
    assert!(!is_signed(&store, &key).await);
}

/// A rule of the bucket's own removes what is old, and a bucket may be gone.
#[tokio::test]
async fn nobody_is_sent_to_what_is_no_longer_there_or_to_a_bucket_that_is_gone() {
    let bucket = Unwell::new();
    let (store, key) = signing_what_it_saved(&bucket).await;
    bucket.when(|_, _| Some(Instead::SlowDown));
    assert!(!is_signed(&store, &key).await, "the bucket is gone");
    bucket.well();
    assert!(is_signed(&store, &key).await, "it is back");
    let removed = bucket.objects().delete(&at(&key.path())).await;
    removed.expect("in memory");
    assert!(!is_signed(&store, &key).await, "it isn't there any more");
}

#[tokio::test]
async fn what_the_folder_has_wrong_is_read_from_the_bucket() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let (key, bytes) = content();
    let saved = mirror.store.save_file(key, bytes.clone()).await;
    saved.expect("saved");
    mirror.store.settle().await;
    let file = mirror.folder.path().join(key.path());
    std::fs::write(&file, "consent").expect("written");
    assert_eq!(whole(&mirror.store, &key).await, Some(bytes));
}

/// It took the place of a newer one that waited for the bucket, and that one was lost.
#[tokio::test]
async fn a_look_at_what_all_share_puts_nothing_older_into_the_folder() {
    let bucket = Unwell::new();
    let mirror = TieredMirror::over(&bucket).await;
    let key = index_key("serde");
    let older = aged("older", 100).encode().concat();
    put(&bucket, &key.path(), older.into()).await;
    bucket.when(|what, _| (what == BucketRequest::Put).then_some(Instead::SlowDown));
    let saved = mirror.store.save_record(key, &aged("newer", 0)).await;
    saved.expect("saved");
    let now = SystemTime::now();
    let shared = mirror.store.load_shared_record(key, now, |_| Some(()));
    assert!(shared.await.expect("read").is_some());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let peeked = mirror.store.peek_record(key).await.expect("read");
    assert_eq!(peeked.expect("there").body, "newer");
    bucket.well();
    while mirror.metrics.bucket_waiting.get() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(body_in_bucket(&bucket, &key.path()).await, "newer");
}

/// What was fetched while the bucket was gone never came there after a restart.
#[tokio::test]
async fn what_only_the_folder_has_comes_into_the_bucket_when_it_is_asked_for() {
    let bucket = Unwell::new();
    let folder = tempfile::tempdir().expect("a folder");
    let (key, bytes) = content();
    let settings = FolderSettings::new(folder.path(), false);
    let alone = Store::open(settings, Arc::new(Metrics::new()), SystemTime::now());
    let saved = alone.expect("a store").save_file(key, bytes.clone()).await;
    saved.expect("saved");
    let (store, _) = open(Some(folder.path()), &bucket).await;
    assert_eq!(whole(&store, &key).await, Some(bytes.clone()));
    store.settle().await;
    assert_eq!(in_bucket(&bucket, &key.path()).await, Some(bytes));
}
