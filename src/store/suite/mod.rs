//! What every store has to do, wherever its objects are: one suite over a folder, memory, a bucket, and a bucket with a folder in front or none.

mod tiers;
mod tiers_unwell;
mod unwell;

use std::{path::Path, sync::Arc, time::SystemTime};

use bytes::Bytes;
use object_store::{ObjectStore, memory::InMemory};

use super::{
    BucketSettings, FolderSettings, Links, Next, Removal, Sight, Store, StoreRecord, StoredFile,
    StoredFileReader, StoredRecord, Verification,
};
use crate::{
    domain::{
        BucketUrl, CrateId, CrateKey, CrateName, History, IndexKey, Key, Manifest, MissedRequest,
        RegistryName, Sha256, Validators,
    },
    error::Kind,
    metrics::Metrics,
};

/// A store of each kind, and what it is called.
struct Stores {
    all: Vec<(&'static str, Store)>,
    _folder: tempfile::TempDir,
}

/// The settings of a bucket with a prefix.
pub(super) fn bucket_at(prefix: &str) -> BucketSettings {
    let url = format!("s3://crates/{prefix}");
    BucketSettings {
        at: BucketUrl::parse(&url).expect("valid"),
        endpoint: None,
        stall_timeout: std::time::Duration::from_secs(2),
        authorities: Vec::new(),
        signing: None,
    }
}

/// Tiers over `objects`.
pub(super) async fn tiers(folder: Option<&Path>, objects: &Arc<dyn ObjectStore>) -> Store {
    let folder = folder.map(|folder| FolderSettings::new(folder, false));
    let metrics = Arc::new(Metrics::new());
    let settings = bucket_at("tiers");
    let opened = Store::over_objects(folder, &settings, objects.clone(), metrics);
    opened.await.expect("a store")
}

async fn stores() -> Stores {
    let folder = tempfile::tempdir().expect("a folder");
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let metrics = || Arc::new(Metrics::new());
    let alone = FolderSettings::new(&folder.path().join("alone"), false);
    let alone = Store::open(alone, metrics(), SystemTime::now()).expect("a store");
    let bucket = Store::over_bucket(&bucket_at("alone"), objects.clone(), metrics());
    let near = folder.path().join("near");
    let without: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    Stores {
        all: vec![
            ("a folder", alone),
            ("memory", Store::in_memory(metrics())),
            ("a bucket", bucket),
            (
                "a folder before a bucket",
                tiers(Some(&near), &objects).await,
            ),
            ("a bucket without a folder", tiers(None, &without).await),
        ],
        _folder: folder,
    }
}

fn crate_key(name: &str, version: &str, content: &[u8]) -> CrateKey {
    CrateKey {
        registry: RegistryName::crates_io(),
        id: CrateId::parse(name, version).expect("valid"),
        sha256: Sha256::of(content),
    }
}

fn index_key(name: &str) -> IndexKey {
    let name = CrateName::parse(name).expect("valid");
    IndexKey::new(RegistryName::crates_io(), name)
}

fn record(body: &str) -> StoreRecord {
    let now = SystemTime::now();
    StoreRecord {
        body: Bytes::copy_from_slice(body.as_bytes()),
        sha256: Sha256::of(body.as_bytes()),
        validators: Validators::default(),
        modified_at: now,
        checked_at: now,
        gone: false,
        history: Arc::new(History::default()),
        sum: None,
    }
}

async fn whole(store: &Store, key: &CrateKey) -> Option<Bytes> {
    let loaded = store.load_file(key, SystemTime::now(), |_| Some(())).await;
    loaded.expect("no failure").map(|found| match found {
        StoredFile::Whole(bytes, ()) => bytes,
        StoredFile::Large(_) => panic!("it was admitted"),
    })
}

async fn large(store: &Store, key: &CrateKey) -> Box<StoredFileReader> {
    let loaded = store.load_file(key, SystemTime::now(), |_| None::<()>);
    match loaded.await.expect("no failure").expect("there") {
        StoredFile::Large(reader) => reader,
        StoredFile::Whole(..) => panic!("it wasn't admitted"),
    }
}

async fn body(store: &Store, key: &IndexKey) -> Option<Bytes> {
    let loaded = store
        .load_record(key, SystemTime::now(), |_| Some(()))
        .await;
    loaded.expect("no failure").map(|found| match found {
        StoredRecord::Whole(record, ()) => record.body,
        StoredRecord::Large(_) => panic!("it was admitted"),
    })
}

async fn walked(store: &Store, then: Next) -> Vec<String> {
    let visit = move |seen: &mut Vec<String>, sight: Sight| match sight {
        Sight::Object(stored) => {
            seen.push(stored.path);
            then
        }
        Sight::Removed(_) => Next::Go,
        other => panic!("{other:?}"),
    };
    let seen = store.each(Links::Followed, Vec::new(), visit).await;
    let mut seen = seen.expect("walked");
    seen.sort();
    seen
}

/// What a thread that may block does.
async fn blocking<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(Store) -> T + Send + 'static,
) -> T {
    let store = store.clone();
    let done = tokio::task::spawn_blocking(move || work(store)).await;
    done.expect("it doesn't panic")
}

#[tokio::test]
async fn what_is_saved_is_loaded_and_what_replaces_it_too() {
    for (what, store) in stores().await.all {
        let key = crate_key("Serde", "1.0.0+B", b"content");
        assert_eq!(whole(&store, &key).await, None, "{what}");
        store.save_file(key, "content".into()).await.expect(what);
        assert_eq!(
            whole(&store, &key).await.as_deref(),
            Some(&b"content"[..]),
            "{what}"
        );
        let index = index_key("serde");
        assert_eq!(body(&store, &index).await, None, "{what}");
        for text in ["one", "two"] {
            store.save_record(index, &record(text)).await.expect(what);
            assert_eq!(
                body(&store, &index).await.as_deref(),
                Some(text.as_bytes()),
                "{what}"
            );
        }
        store.settle().await;
        assert_eq!(
            body(&store, &index).await.as_deref(),
            Some(&b"two"[..]),
            "{what}"
        );
        let size = store.size_of(&Key::from(key)).await.expect(what);
        assert_eq!(size, Some(7), "{what}");
        assert!(store.has_index(&index).await.expect(what), "{what}");
        let paths = [key.path(), index.path()];
        assert_eq!(walked(&store, Next::Go).await, paths, "{what}");
        let peeked = store.peek_record(index).await.expect(what);
        assert_eq!(peeked.expect("there").body, "two", "{what}");
    }
}

#[tokio::test]
async fn a_large_object_is_spooled_and_read_in_blocks() {
    // More than one part of an upload.
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 997) as u8).collect();
    let key = crate_key("large", "1.0.0", &content);
    for (what, store) in stores().await.all {
        let mut spool = store.spool().await.expect(what);
        for chunk in content.chunks(1 << 20) {
            let chunk = Bytes::copy_from_slice(chunk);
            spool = spool.append(chunk).await.expect(what);
        }
        store.commit(&key.into(), spool).await.expect(what);
        for settled in [false, true] {
            let mut reader = large(&store, &key).await;
            assert_eq!(reader.length(), content.len() as u64, "{what}");
            let mut read = Vec::new();
            while let Some(block) = reader.next().await {
                read.extend_from_slice(&block.expect(what));
            }
            assert!(read == content, "{what}, {settled}");
            store.settle().await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_found_dropped_and_can_be_replaced() {
    for (what, store) in stores().await.all {
        let key = crate_key("serde", "1.0.0", b"content");
        // A name that says something else than what is in it.
        store.save_file(key, "consent".into()).await.expect(what);
        store.settle().await;
        if what.starts_with("a folder") {
            // What was written so lately may be half of what somebody is writing.
            continue;
        }
        let loaded = store.load_file(key, SystemTime::now(), |_| Some(()));
        let error = loaded.await.err().expect(what);
        assert_eq!(error.kind(), Kind::Corrupt, "{what}");
        assert_eq!(whole(&store, &key).await, None, "{what}");
        store.save_file(key, "content".into()).await.expect(what);
        store.settle().await;
        assert_eq!(
            whole(&store, &key).await.as_deref(),
            Some(&b"content"[..]),
            "{what}"
        );
        let checked = store.verify(&Key::from(key)).await.expect(what);
        assert_eq!(checked, Verification::Good, "{what}");
    }
}

#[tokio::test]
async fn a_flaw_is_removed_where_it_was_found_and_nowhere_else() {
    for (what, store) in stores().await.all {
        let key = crate_key("serde", "1.0.0", b"content");
        store.save_file(key, "consent".into()).await.expect(what);
        store.settle().await;
        if what.ends_with("before a bucket") || what.ends_with("without a folder") {
            // Who serves removes nothing that others share; it is written over.
            continue;
        }
        let Verification::Bad(flaw) = store.verify(&Key::from(key)).await.expect(what) else {
            panic!("{what}: it is bad");
        };
        let again = store
            .remove_flawed(&Key::from(key), &flaw)
            .await
            .expect(what);
        assert_eq!(again, Removal::Removed, "{what}");
        let gone = store
            .remove_flawed(&Key::from(key), &flaw)
            .await
            .expect(what);
        assert_eq!(gone, Removal::Gone, "{what}");
    }
}

#[tokio::test]
async fn a_crates_files_are_listed_and_removed_with_what_is_beside_them() {
    for (what, store) in stores().await.all {
        let own = crate_key("serde", "1.0.0", b"a");
        let other = crate_key("serde_json", "1.0.0", b"b");
        for (key, content) in [(own, "a"), (other, "b")] {
            store.save_file(key, content.into()).await.expect(what);
        }
        store
            .save_manifest(&own, &Manifest::none())
            .await
            .expect(what);
        store.settle().await;
        let listed = store.crates_of(&index_key("serde")).await.expect(what);
        assert_eq!(listed, [own], "{what}");
        let known = store.load_manifest(&own).await.expect(what);
        assert_eq!(known, Some(Manifest::none()), "{what}");
        let mut names = Vec::new();
        names.extend(
            blocking(&store, |store| {
                let mut names = Vec::new();
                let walked = store.holdings(|holding| {
                    names.push((holding.index.path(), holding.crates.len()));
                    Ok(())
                });
                walked.map(|()| names)
            })
            .await
            .expect(what),
        );
        let expected = [("serde", 1), ("serde_json", 1)];
        let expected = expected.map(|(name, count)| (index_key(name).path(), count));
        assert_eq!(names, expected, "{what}");
        if what != "a folder before a bucket" {
            assert_eq!(walked(&store, Next::Remove).await.len(), 2, "{what}");
            assert_eq!(walked(&store, Next::Go).await, [""; 0], "{what}");
            assert_eq!(store.load_manifest(&own).await.expect(what), None, "{what}");
        }
    }
}

#[tokio::test]
async fn an_announcement_is_a_change_and_no_object() {
    for (what, store) in stores().await.all {
        let before = store.change_mark().await;
        store.announce_change().await.expect(what);
        assert_ne!(store.change_mark().await, before, "{what}");
        assert_eq!(walked(&store, Next::Go).await, [""; 0], "{what}");
    }
}

#[tokio::test]
async fn a_missed_request_is_noted_once_and_forgotten() {
    let (now, text) = (SystemTime::now(), "serde_json@1.0.0");
    let request = MissedRequest::parse(text).expect("valid");
    for (what, store) in stores().await.all {
        for _ in 0..2 {
            store.note_missed(request, now).await.expect(what);
        }
        assert_eq!(store.missed(now).await.expect(what), [request], "{what}");
        store.forget_missed(&[request]).await.expect(what);
        assert_eq!(store.missed(now).await.expect(what), [], "{what}");
    }
}

#[tokio::test]
async fn a_batch_is_there_when_it_is_finished() {
    for (what, store) in stores().await.all {
        let finished = blocking(&store, |store| {
            let mut batch = store.batch(SystemTime::now());
            for n in 0..100_u32 {
                let content = n.to_le_bytes();
                let mut incoming = store.incoming()?;
                std::io::Write::write_all(&mut incoming, &content).expect("written");
                let version = format!("1.0.{n}");
                batch.stage_file(crate_key("serde", &version, &content), incoming)?;
            }
            batch.finish()
        });
        finished.await.expect(what);
        let listed = store.crates_of(&index_key("serde")).await.expect(what);
        assert_eq!(listed.len(), 100, "{what}");
    }
}
