//! Dates in bundles: an index record carries its own dates, and whatever a bundle says there, its crate can be served and doesn't stay old for ever.

use std::{
    fs,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use crate_mirror::{
    domain::{CrateName, IndexKey, RegistryName, Sha256, Validators},
    metrics::Metrics,
    store::{Batch, FolderSettings, GivesWay, Store, StoreRecord},
};
use serde_json::json;

use crate::support::{
    Mirror, Package, Upstream,
    bundle::{Desk, Forged, entry, export, filled, import, objects},
    sha256,
    stored::Record,
};

const RECORD: &str = "crates-io/index/al/ph/alpha";

/// A bundle of one crate whose record has been dated anew.
async fn dated(desk: &Desk, store: &Path, dates: &[(&str, u64)]) -> String {
    let file = desk.file("b.tar.zst");
    export(store, &file, &[]).await.code(0);
    let mut forged = Forged::of(&file);
    let mut record = Record::read(&store.join(RECORD));
    for (field, millis) in dates {
        record.header[field] = json!(millis);
    }
    record.write(&desk.file("record"));
    let bytes = fs::read(desk.file("record")).expect("a record");
    forged.entries[0] = entry(RECORD, &bytes);
    forged.entries[0]["body"] = json!(sha256(&record.body));
    forged.members[0].2 = bytes;
    fs::write(desk.file("dated"), forged.bundle()).expect("a file");
    desk.name("dated")
}

fn in_days(days: u64) -> u64 {
    let time = SystemTime::now() + Duration::from_secs(days * 86_400);
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a time").as_millis() as u64
}

#[tokio::test]
async fn a_record_of_a_time_to_come_is_refused_by_name() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let desk = Desk::new();
    for (dates, words) in [
        (
            ("fetched_at", 1_000_000_000_000_000),
            "beyond the year 9999",
        ),
        (("checked_at", u64::MAX), "beyond the year 9999"),
        (("checked_at", in_days(2)), "more than a day ahead"),
    ] {
        let bundle = dated(&desk, store.path(), &[dates]).await;
        let inside = tempfile::tempdir().expect("a folder");
        let ran = import(inside.path(), &[&bundle]).await;
        ran.code(1).stderr_contains(RECORD).stderr_contains(words);
        assert!(objects(inside.path()).is_empty());
    }
    let bundle = dated(&desk, store.path(), &[("checked_at", in_days(0))]).await;
    let inside = tempfile::tempdir().expect("a folder");
    import(inside.path(), &[&bundle]).await.code(0);
}

#[tokio::test]
async fn a_stored_record_of_a_time_to_come_gives_way_to_every_other() {
    let (_upstream, store) = filled(vec![Package::new("alpha", "1.0.0")]).await;
    let desk = Desk::new();
    let bundle = dated(&desk, store.path(), &[]).await;
    let whole = objects(store.path());
    let mut record = Record::read(&store.path().join(RECORD));
    record.header["checked_at"] = json!(in_days(400));
    record.write(&store.path().join(RECORD));
    let ran = import(store.path(), &[&bundle]).await;
    ran.code(0).stdout_contains("1 entries of");
    assert_eq!(objects(store.path()), whole);
}

/// Such a record used to make every request for its crate fail.
#[tokio::test]
async fn a_stored_record_that_no_date_can_be_made_of_is_fetched_anew() {
    let package = Package::new("alpha", "1.0.0");
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/index/al/ph/alpha").await;
    let mirror = mirror.restart().await;
    let path = mirror.index_record("alpha");
    let mut record = Record::read(&path);
    record.header["fetched_at"] = json!(1_000_000_000_000_000_u64);
    record.write(&path);
    let reply = mirror.get("/index/al/ph/alpha").await;
    assert_eq!(
        (reply.status, reply.text()),
        (200, upstream.index_file("alpha"))
    );
}

/// A running mirror may write a newer record after the import has looked at the old one, hundreds of entries before.
#[test]
fn a_record_that_is_put_there_meanwhile_is_not_replaced_by_an_older_one() {
    let now = SystemTime::now();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = FolderSettings::new(folder.path(), false);
    let store = Store::open(settings, Arc::new(Metrics::new()), now).expect("a store");
    let name = CrateName::parse("alpha").expect("a name");
    let key = IndexKey::new(RegistryName::crates_io(), name);
    let record = |age: u64| {
        let body = Bytes::from_static(b"{\"name\":\"alpha\"}\n");
        let time = now - Duration::from_secs(age);
        StoreRecord {
            sha256: Sha256::of(&body),
            body,
            validators: Validators::default(),
            modified_at: time,
            checked_at: time,
            gone: false,
            history: Default::default(),
            sum: None,
        }
    };
    let stage = |batch: &mut Batch, record: &StoreRecord| {
        let mut incoming = store.incoming().expect("a file");
        let bytes = record.encode().concat();
        incoming.write_all(&bytes).expect("written");
        let staged = batch.stage_record(key, GivesWay::AsNew(record.age()), incoming);
        staged.expect("staged");
    };
    let stored = || {
        let record = store.open_record(key).expect("readable");
        record.expect("stored").age()
    };
    let (mut slow, mut quick) = (store.batch(now), store.batch(now));
    stage(&mut slow, &record(20));
    stage(&mut quick, &record(10));
    quick.finish().expect("written");
    let newer = stored();
    slow.finish().expect("written");
    assert_eq!(stored(), newer);
    let mut newest = store.batch(now);
    stage(&mut newest, &record(0));
    newest.finish().expect("written");
    assert!(stored() > newer);
    let left = fs::read_dir(folder.path().join(".tmp")).expect("a folder");
    assert_eq!(left.count(), 0, "temporary files are left");
}
