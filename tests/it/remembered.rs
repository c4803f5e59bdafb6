//! What is remembered of versions (when they were first seen, what they were before) is lost neither when memory is short nor when a bundle brings another
//! record, and holds for every spelling of a version.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    Mirror, Package, Upstream,
    bundle::{Desk, carried, export, filled, import},
    command, sha256,
    stored::Record,
};

const RECORD: &str = "crates-io/index/1/a";
const DOWNLOAD: &str = "/api/v1/crates/a/1.0.0/download";
/// Milliseconds since 1970, in 2023.
const LONG_AGO: u64 = 1_700_000_000_000;

/// A version without a date whose content says `content`.
fn package(content: &str) -> Package {
    let source = format!("//! {content}");
    Package::new("a", "1.0.0").file("src/lib.rs", &source)
}

/// What a store's record remembers of the first version.
fn remembered(store: &Path) -> Value {
    Record::read(&store.join(RECORD)).header["remembered"][0].clone()
}

/// Changes a stored record.
fn change(store: &Path, change: impl FnOnce(&mut Record)) {
    let path = store.join(RECORD);
    let mut record = Record::read(&path);
    change(&mut record);
    record.write(&path);
}

/// Has the record say that 1.0.0 was first seen then.
fn first_seen(store: &Path, millis: u64) {
    change(store, |record| {
        record.header["remembered"][0]["first_seen"] = millis.into();
    });
}

/// Has a mirror in front of `upstream` look at the crate, on this store, and says whether 1.0.0 may be picked.
async fn look(upstream: &Upstream, store: &Path, settings: &str) -> bool {
    let mirror = Mirror::of(upstream).store(store).settings(settings);
    let mirror = mirror.always_asks().start().await;
    let reply = mirror.get("/index/1/a").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    mirror.stop().await;
    !reply.text().contains("\"yanked\":true")
}

/// There used to be no memory to look at the record, and it was replaced by one that remembered nothing: content that had changed was new.
#[tokio::test]
async fn a_record_that_there_is_no_memory_for_is_not_replaced_and_remembers_what_it_did() {
    let upstream = Upstream::new().publish(package("good")).start().await;
    let store = tempfile::tempdir().expect("a folder");
    assert!(look(&upstream, store.path(), "").await);
    first_seen(store.path(), LONG_AGO);
    change(store.path(), |record| {
        // More than a small memory has room for; a blank line says nothing.
        record.body.resize(record.body.len() + (20 << 20), b' ');
        record.header["length"] = record.body.len().into();
        record.header["sha256"] = sha256(&record.body).into();
    });
    let large = fs::metadata(store.path().join(RECORD))
        .expect("a record")
        .len();
    upstream.publish(package("changed"));
    let small = "[memory]\nbudget = \"1MiB\"";
    let mirror = Mirror::of(&upstream).store(store.path()).settings(small);
    let mirror = mirror.always_asks().start().await;
    // Upstream's word is taken, and asked for again.
    for _ in 0..2 {
        let reply = mirror.get("/index/1/a").await;
        assert_eq!(reply.text(), upstream.index_file("a"));
    }
    mirror.stop().await;
    let left = fs::metadata(store.path().join(RECORD))
        .expect("a record")
        .len();
    assert_eq!(left, large, "it is still there");
    // With memory, it is looked at, and what it knows counts again.
    assert!(!look(&upstream, store.path(), "").await);
    let remembered = remembered(store.path());
    assert_eq!(remembered["first_seen"], LONG_AGO);
    let before = sha256(&package("good").crate_file());
    assert_eq!(remembered["sha256"], before);
}

/// Two stores of the same crate: one that knows it from before, and one of a mirror that was built later.
struct Two {
    older: tempfile::TempDir,
    younger: tempfile::TempDir,
    upstream: Upstream,
    desk: Desk,
}

impl Two {
    /// The older one has seen other content under 1.0.0 if it `changed`, and looked last before the younger one did, or after that.
    async fn new(changed: bool, older_is_newer: bool) -> Two {
        let upstream = Upstream::new().publish(package("good")).start().await;
        let folder = || tempfile::tempdir().expect("a folder");
        let (older, younger) = (folder(), folder());
        look(&upstream, older.path(), "").await;
        first_seen(older.path(), LONG_AGO);
        if changed {
            upstream.publish(package("changed"));
        }
        look(&upstream, younger.path(), "").await;
        if older_is_newer {
            look(&upstream, older.path(), "").await;
            change(older.path(), |record| {
                let now = record.header["checked_at"].as_u64().expect("a time");
                record.header["checked_at"] = (now + 60_000).into();
            });
        }
        let desk = Desk::new();
        Two {
            older,
            younger,
            upstream,
            desk,
        }
    }

    /// Carries all of one store into the other.
    async fn carry(&self, from: &Path, to: &Path) {
        let bundle = self.desk.file("b.tar.zst");
        export(from, &bundle, &[]).await.code(0);
        import(to, &[&self.desk.name("b.tar.zst")]).await.code(0);
    }
}

/// What both know together: how long there has been the version, and what it was if that has changed.
#[tokio::test]
async fn a_first_sighting_and_changed_content_survive_an_import_both_ways() {
    for changed in [false, true] {
        for older_is_newer in [false, true] {
            for into_older in [false, true] {
                let two = Two::new(changed, older_is_newer).await;
                let (older, younger) = (two.older.path(), two.younger.path());
                let (from, to) = match into_older {
                    true => (younger, older),
                    false => (older, younger),
                };
                two.carry(from, to).await;
                let case = format!(
                    "changed: {changed}, the older one looked last: {older_is_newer}, into it: {into_older}"
                );
                let remembered = remembered(to);
                let before = match changed {
                    true => json!(sha256(&package("good").crate_file())),
                    false => Value::Null,
                };
                assert_eq!(remembered["first_seen"], LONG_AGO, "{case}");
                // A bundle whose record is the older one brings its content as well, which the younger store may have never seen.
                assert_eq!(remembered["sha256"], before, "{case}");
                assert_eq!(look(&two.upstream, to, "").await, !changed, "{case}");
            }
        }
    }
}

/// It had the crate's index file in memory, wrote its own record over the imported one, and what that remembered was lost.
#[tokio::test]
async fn a_mirror_that_runs_while_something_is_imported_remembers_it_with_its_next_record() {
    let two = Two::new(false, false).await;
    let younger = two.younger.path();
    let mirror = Mirror::of(&two.upstream).store(younger);
    let mirror = mirror.always_asks().start().await;
    mirror.get("/index/1/a").await;
    two.carry(two.older.path(), younger).await;
    assert_eq!(remembered(younger)["first_seen"], LONG_AGO);
    two.upstream.publish(package("changed"));
    let reply = mirror.get("/index/1/a").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    mirror.stop().await;
    let remembered = remembered(younger);
    assert_eq!(remembered["first_seen"], LONG_AGO);
    let before = sha256(&package("good").crate_file());
    assert_eq!(remembered["sha256"], before);
}

/// Nothing was there: all of it is taken as it is.
#[tokio::test]
async fn an_import_into_an_empty_store_brings_what_is_remembered() {
    let two = Two::new(true, true).await;
    let empty = tempfile::tempdir().expect("a folder");
    two.carry(two.older.path(), empty.path()).await;
    assert_eq!(remembered(empty.path()), remembered(two.older.path()));
    assert!(!look(&two.upstream, empty.path(), "").await);
    let mirror = Mirror::of(&two.upstream).store(empty.path()).start().await;
    let reply = mirror.get(DOWNLOAD).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(
        reply.text().contains("has other content"),
        "{}",
        reply.text()
    );
}

/// A crate and a version whose names have capitals, which stored paths don't have.
fn capitals() -> Package {
    Package::new("Big_Crate", "1.0.0-RC.1").pubtime("2024-01-01T00:00:00Z")
}

/// What is denied as 1.0.0-RC.1 was handed out as 1.0.0-rc.1 once its line was gone: the path it is stored under is the same.
#[tokio::test]
async fn a_withdrawn_version_is_denied_however_it_is_spelt() {
    let other = Package::new("Big_Crate", "0.9.0");
    let (upstream, store) = filled(vec![capitals(), other]).await;
    upstream.delete_version("Big_Crate", "1.0.0-RC.1");
    let ask = async |settings: &str, version: &str| {
        let mirror = Mirror::of(&upstream).store(store.path()).settings(settings);
        let mirror = mirror.always_asks().start().await;
        let path = format!("/api/v1/crates/Big_Crate/{version}/download");
        let reply = mirror.get(&path).await;
        mirror.stop().await;
        reply
    };
    for version in ["1.0.0-RC.1", "1.0.0-rc.1"] {
        assert_eq!(ask("", version).await.status, 200, "{version}");
    }
    for (name, denied) in [
        ("big-crate", "=1.0.0-RC.1"),
        ("Big_Crate", "=1.0.0-RC.1"),
        ("big?cr*", "=1.0.0-rc.1"),
    ] {
        let rule = format!(
            "[[policy.rules]]\ncrates = [\"{name}\"]\nversions = \"{denied}\"\naction = \"deny\""
        );
        for version in ["1.0.0-RC.1", "1.0.0-rc.1", "1.0.0-Rc.1"] {
            let reply = ask(&rule, version).await;
            let case = format!("{name} {denied}, asked for {version}");
            assert_eq!(reply.status, 403, "{case}: {}", reply.text());
            assert_eq!(reply.header("x-cache"), Some("denied"), "{case}");
        }
    }
}

/// Stored paths are in lower case. What was read of them was found in no index, judged without its date, and by no rule that names it.
#[tokio::test]
async fn what_is_carried_is_judged_by_its_line_in_the_index_whatever_the_case() {
    let (_upstream, store) = filled(vec![capitals()]).await;
    let desk = Desk::new();
    let bundle = desk.name("b.tar.zst");
    let args = ["export", "-o", &bundle];
    let young = "[policy]\ncooldown = \"30d\"\n";
    command(&args, store.path(), young).await.code(0);
    let crates = carried(Path::new(&bundle)).into_iter();
    let crates = crates.filter(|path| path.ends_with(".crate"));
    assert_eq!(crates.count(), 1, "it is years old");
    let rule = "[[policy.rules]]\ncrates = [\"big-crate\"]\nversions = \"=1.0.0-RC.1\"\naction = \"deny\"\n";
    command(&args, store.path(), rule)
        .await
        .code(0)
        .stderr_contains("Big_Crate 1.0.0-RC.1 is denied by rule")
        .stdout_contains("1 crates left out that the rules keep out");
}
