//! Whatever a bundle holds, only what its manifest and an index vouch for gets into a store, and the refusal names the entry.

use std::{
    fs,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate_mirror::{
    bundle::{self, Imported, Observer},
    error::{Kind, Result},
    metrics::Metrics,
    store::{FolderSettings, Store},
};
use serde_json::json;
use tar::EntryType;
use tempfile::TempDir;
use zstd::zstd_safe::CParameter;

use crate::support::{
    Package,
    bundle::{Desk, Forged, entry, export, filled, import, objects, pack},
    sha256,
};

/// A store, and the parts of a bundle that was made of it.
async fn a_bundle() -> (TempDir, Forged) {
    let packages = vec![
        Package::new("alpha", "1.0.0"),
        Package::new("alpha", "1.1.0"),
        Package::new("beta", "1.0.0"),
    ];
    let (_upstream, store) = filled(packages).await;
    let desk = Desk::new();
    let bundle = desk.file("b.tar.zst");
    export(store.path(), &bundle, &[]).await.code(0);
    (store, Forged::of(&bundle))
}

fn import_into(store: &Path, bundle: &[u8]) -> Result<Imported> {
    let metrics = Arc::new(Metrics::new());
    let store = Store::open(
        FolderSettings::new(store, false),
        metrics,
        SystemTime::now(),
    )
    .expect("a store");
    let observer = Observer {
        total: &|_| {},
        bytes: &|_| {},
        say: &|_| {},
        is_over: &|| false,
    };
    let mut done = Imported::default();
    bundle::import(
        bundle,
        None,
        &store,
        SystemTime::now(),
        &observer,
        &mut done,
    )
    .map(|()| done)
}

/// Imports something that must be refused with these words, and returns what got into the store before.
#[track_caller]
fn refused(bundle: &[u8], words: &[&str]) -> Vec<String> {
    let store = tempfile::tempdir().expect("a folder");
    let error = import_into(store.path(), bundle).expect_err("must be refused");
    assert_eq!(error.kind(), Kind::BadRequest, "{error}");
    for word in words {
        assert!(error.message().contains(word), "no {word:?} in {error}");
    }
    assert!(error.message().len() < 1_000, "{error}");
    let left = fs::read_dir(store.path().join(".tmp")).expect("a folder");
    assert_eq!(left.count(), 0, "temporary files are left");
    objects(store.path()).into_keys().collect()
}

#[tokio::test]
async fn a_bundle_taken_apart_and_put_together_is_taken() {
    let (store, forged) = a_bundle().await;
    let inside = tempfile::tempdir().expect("a folder");
    let done = import_into(inside.path(), &forged.bundle()).expect("a bundle");
    assert_eq!((done.written, done.skipped), (5, 0));
    assert_eq!(objects(inside.path()), objects(store.path()));
}

#[tokio::test]
async fn no_path_leads_out_of_the_store() {
    let (_store, forged) = a_bundle().await;
    let sum = "ab".repeat(32);
    let paths = [
        "../../etc/passwd",
        "/etc/passwd",
        "crates-io/index/../../x",
        "crates-io/index/al/ph/../../../../x",
        "crates-io/index/al/ph//alpha",
        "crates-io/index/al/ph/alpha/",
        "./crates-io/index/al/ph/alpha",
        "crates-io/index/AL/PH/ALPHA",
        "../index/al/ph/alpha",
        "Crates-IO/index/al/ph/alpha",
        ".tmp/index/al/ph/alpha",
        "crates-io/index/al/ph/alpha\0",
        "crates-io\\index\\al",
        "manifest.json",
        "",
    ];
    let crates = [
        "",
        "/..",
        "1.0.0",
        &format!("1.0.0.{sum}"),
        &format!("../1.0.0.{sum}.crate"),
    ];
    let crates = crates.map(|file| format!("crates-io/crates/al/ph/alpha/{file}"));
    for path in paths.iter().map(|path| (*path).to_owned()).chain(crates) {
        let named = format!("{path:?}");
        let named = &named[..named.len().min(40)];
        // In the manifest and in the archive.
        let both = Forged {
            entries: vec![],
            members: vec![],
            ..forged.clone()
        };
        let both = both.with(&path, b"x");
        let stored = refused(
            &both.bundle(),
            &["its manifest names an entry that can't be"],
        );
        assert!(stored.is_empty(), "{named}: {stored:?}");
        // In the archive alone, where a zero byte ends a name.
        if path.ends_with('\0') {
            continue;
        }
        let mut archive = forged.clone();
        archive.members[0].1 = path.clone().into_bytes();
        let stored = refused(
            &archive.bundle(),
            &["where its manifest has crates-io/index/al/ph/alpha"],
        );
        assert!(stored.is_empty(), "{named}: {stored:?}");
    }
}

#[tokio::test]
async fn a_bundle_holds_plain_files_only() {
    let (_store, forged) = a_bundle().await;
    for (kind, word) in [
        (EntryType::Symlink, "a link"),
        (EntryType::Link, "a link"),
        (EntryType::Directory, "a folder"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a device"),
        (EntryType::XHeader, "unknown"),
        (EntryType::XGlobalHeader, "unknown"),
        (EntryType::GNULongLink, "unknown"),
        (EntryType::GNUSparse, "unknown"),
        (EntryType::Continuous, "unknown"),
    ] {
        let mut odd = forged.clone();
        odd.members[0].0 = kind;
        let stored = refused(&odd.bundle(), &[word, "al/ph/alpha"]);
        assert!(stored.is_empty(), "{kind:?}");
        let mut more = forged.clone();
        more.members.insert(1, (kind, b"more".to_vec(), vec![]));
        let stored = refused(&more.bundle(), &[word, "more"]);
        assert!(stored.len() <= 1, "{kind:?}: {stored:?}");
    }
}

#[tokio::test]
async fn what_is_not_as_the_manifest_says_is_refused_and_what_came_before_is_kept() {
    let (_store, forged) = a_bundle().await;
    for at in 0..forged.members.len() {
        let path = String::from_utf8(forged.members[at].1.clone()).expect("UTF-8");
        let check = |forged: &Forged, words: &[&str]| {
            let stored = refused(&forged.bundle(), words);
            assert_eq!(stored.len(), at, "those before {path}: {stored:?}");
        };
        let mut changed = forged.clone();
        let middle = changed.members[at].2.len() / 2;
        changed.members[at].2[middle] ^= 1;
        check(&changed, &[&path, "has been changed"]);
        let mut longer = forged.clone();
        longer.members[at].2.push(0);
        check(&longer, &[&path, "bytes, and the manifest says"]);
        let mut missing = forged.clone();
        missing.members.remove(at);
        check(&missing, &[&path]);
        let mut twice = forged.clone();
        let member = twice.members[at].clone();
        twice.members.insert(at, member);
        let stored = refused(&twice.bundle(), &[&path]);
        assert_eq!(stored.len(), at + 1, "{stored:?}");
        let mut swapped = forged.clone();
        let next = (at + 1) % swapped.members.len();
        swapped.members.swap(at, next);
        refused(&swapped.bundle(), &["where its manifest has"]);
    }
    let mut more = forged.clone();
    more.members
        .push((EntryType::Regular, b"README".to_vec(), b"x".to_vec()));
    refused(
        &more.bundle(),
        &["\"README\", which is not in its manifest"],
    );
}

#[tokio::test]
async fn a_manifest_in_the_wrong_order_or_with_an_entry_twice_is_refused_before_anything_is_written()
 {
    let (_store, forged) = a_bundle().await;
    for at in 1..forged.entries.len() {
        let mut swapped = forged.clone();
        swapped.entries.swap(at - 1, at);
        swapped.members.swap(at - 1, at);
        assert!(refused(&swapped.bundle(), &["in the wrong place"]).is_empty());
        let mut twice = forged.clone();
        twice.entries.insert(at, twice.entries[at].clone());
        twice.members.insert(at, twice.members[at].clone());
        assert!(refused(&twice.bundle(), &["or twice"]).is_empty());
    }
}

#[tokio::test]
async fn a_crate_must_be_in_an_index() {
    let (store, forged) = a_bundle().await;
    let path = format!("crates-io/crates/be/ta/beta/2.0.0.{}.crate", sha256(b"x"));
    let unlisted = forged.clone().with(&path, b"x");
    assert_eq!(
        refused(&unlisted.bundle(), &[&path, "is in no index"]).len(),
        5
    );
    // A version that is listed, with another content.
    let path = format!("crates-io/crates/be/ta/beta/1.0.0.{}.crate", sha256(b"x"));
    let mut other = forged.clone();
    other.entries.pop();
    other.members.pop();
    let other = other.with(&path, b"x");
    refused(&other.bundle(), &[&path, "is in no index"]);
    // The index may be in the store already, but it must be there.
    let mut alone = forged.clone();
    alone.entries.drain(..4);
    alone.members.drain(..4);
    assert!(refused(&alone.bundle(), &["is in no index"]).is_empty());
    let done = import_into(store.path(), &alone.bundle()).expect("the store has the index");
    assert_eq!((done.written, done.skipped), (0, 1));
}

#[tokio::test]
async fn an_index_record_must_be_one_and_of_its_crate() {
    let (_store, forged) = a_bundle().await;
    let forge = |at: usize, bytes: &[u8]| {
        let mut changed = forged.clone();
        let path = String::from_utf8(changed.members[at].1.clone()).expect("UTF-8");
        changed.members[at].2 = bytes.to_vec();
        let body = changed.entries[at]["body"].clone();
        changed.entries[at] = entry(&path, bytes);
        changed.entries[at]["body"] = body;
        changed
    };
    let words = ["crates-io/index/al/ph/alpha is not a stored index file"];
    for bytes in [&b""[..], b"{}\n", b"<html>", b"{\"format\":1}\n{}"] {
        assert!(refused(&forge(0, bytes).bundle(), &words).is_empty());
    }
    let of_beta = forged.members[3].2.clone();
    let mut changed = forge(0, &of_beta);
    changed.entries[0]["body"] = changed.entries[3]["body"].clone();
    assert!(refused(&changed.bundle(), &words).is_empty());
    let mut lies = forged.clone();
    lies.entries[0]["body"] = json!("ab".repeat(32));
    assert!(refused(&lies.bundle(), &words).is_empty());
}

#[tokio::test]
async fn absurd_sizes_are_refused_at_once() {
    let (_store, forged) = a_bundle().await;
    for (at, size) in [
        (0, (64 << 20) + (2 << 20) + 1),
        (1, (2u64 << 30) + 1),
        (1, u64::MAX),
    ] {
        let mut large = forged.clone();
        large.entries[at]["size"] = json!(size);
        let path = large.entries[at]["path"]
            .as_str()
            .expect("a path")
            .to_owned();
        let stored = refused(&large.bundle(), &[&path, "is the most that is carried"]);
        assert!(stored.is_empty());
    }
    for size in [json!(-1), json!(1.5), json!("1"), json!(null)] {
        let mut odd = forged.clone();
        odd.entries[0]["size"] = size;
        assert!(refused(&odd.bundle(), &["its manifest can't be read"]).is_empty());
    }
}

/// What would unpack to gigabytes is given up early: nothing is read beyond what the manifest says.
#[tokio::test]
async fn decompression_bombs_are_not_unpacked() {
    let (_store, forged) = a_bundle().await;
    let started = Instant::now();
    // A manifest that is said to have 3 GiB. The archive has the first part of it.
    let mut header = tar::Header::new_gnu();
    header.set_path("manifest.json").expect("a path");
    header.set_size(3 << 30);
    header.set_cksum();
    refused(&pack(header.as_bytes()), &["manifest has more than"]);
    // Within the limit, but one line of 300 MB.
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    header.set_size(300 << 20);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).expect("memory");
    let block = vec![b' '; 1 << 20];
    (0..300).for_each(|_| bomb.write_all(&block).expect("memory"));
    let bomb = bomb.finish().expect("memory");
    refused(&bomb, &["a line has more than"]);
    // Gigabytes after the end.
    let mut tail = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    tail.write_all(&forged.tar()).expect("memory");
    let zeros = vec![0; 1 << 20];
    (0..100).for_each(|_| tail.write_all(&zeros).expect("memory"));
    refused(
        &tail.finish().expect("memory"),
        &["something follows its end"],
    );
    // A name of 200 MB.
    let mut long = forged.clone();
    let name = (EntryType::GNULongName, b"x".to_vec(), vec![b'a'; 200 << 20]);
    long.members.insert(0, name);
    refused(&long.bundle(), &["a long name has more than"]);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_window_that_takes_much_memory_is_refused() {
    let (_store, forged) = a_bundle().await;
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder
        .set_parameter(CParameter::WindowLog(27))
        .expect("a parameter");
    encoder.write_all(&forged.tar()).expect("memory");
    let bundle = encoder.finish().expect("memory");
    assert!(refused(&bundle, &["broken or cut off at manifest.json"]).is_empty());
}

#[track_caller]
fn assert_cut_off(ended: Result<Imported>, how: &str) {
    let error = ended.map(|done| done.written).expect_err(how);
    assert_eq!(error.kind(), Kind::BadRequest, "{how}: {error}");
    let text = error.message();
    let told = ["cut off", "not a bundle", "doesn't hold"];
    assert!(
        told.iter().any(|words| text.contains(words)),
        "{how}: {text}"
    );
}

#[tokio::test]
async fn wherever_a_bundle_is_cut_off_it_is_refused_and_the_rest_finishes_the_job() {
    let (store, forged) = a_bundle().await;
    let bundle = forged.bundle();
    let inside = tempfile::tempdir().expect("a folder");
    let step = (bundle.len() / 60).max(1);
    let cuts = (0..bundle.len()).step_by(step).chain([bundle.len() - 1]);
    for cut in cuts {
        let ended = import_into(inside.path(), &bundle[..cut]);
        assert_cut_off(ended, &format!("{cut} of {} bytes", bundle.len()));
    }
    let tar = forged.tar();
    for cut in (0..tar.len() - 1_024).step_by(512) {
        let ended = import_into(inside.path(), &pack(&tar[..cut]));
        assert_cut_off(ended, &format!("{cut} of {} bytes of tar", tar.len()));
    }
    let done = import_into(inside.path(), &bundle).expect("the whole bundle");
    assert!(done.skipped > 0, "what came before was kept");
    assert_eq!(objects(inside.path()), objects(store.path()));
}

#[tokio::test]
async fn no_flipped_bit_gets_a_wrong_byte_into_the_store() {
    let (store, forged) = a_bundle().await;
    let (whole, bundle, tar) = (objects(store.path()), forged.bundle(), forged.tar());
    let inside = tempfile::tempdir().expect("a folder");
    let flipped = |bytes: &[u8], at: usize| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        flipped
    };
    let of_bundle = (0..bundle.len())
        .step_by(bundle.len() / 100 + 1)
        .map(|at| flipped(&bundle, at));
    let of_tar = (0..tar.len())
        .step_by(tar.len() / 200 + 1)
        .map(|at| pack(&flipped(&tar, at)));
    for bundle in of_bundle.chain(of_tar) {
        // Bits that don't matter are skipped: those of an owner's name, of padding.
        let _ = import_into(inside.path(), &bundle);
        for (path, bytes) in objects(inside.path()) {
            assert!(whole.get(&path) == Some(&bytes), "{path}");
        }
    }
    // With a bit that doesn't matter everything is imported, which shows that the others were really tried.
    assert_eq!(objects(inside.path()), whole);
}

#[tokio::test]
async fn other_formats_and_no_bundles_at_all_are_told_so() {
    let (_store, forged) = a_bundle().await;
    let later = Forged {
        format: 2,
        ..forged.clone()
    };
    refused(
        &later.bundle(),
        &["it is of format 2, and this program reads format 1"],
    );
    let with = |manifest: &str| Forged {
        manifest: Some(manifest.to_owned()),
        ..forged.clone()
    };
    for (manifest, word) in [
        ("", "its manifest can't be read"),
        ("{}", "missing field `format`"),
        ("{\"format\":1}", "missing field `entries`"),
        (
            "{\"format\":1,\"entries\":[],\"entries\":[]}",
            "duplicate field",
        ),
        ("{\"format\":1,\"entries\":[]} x", "trailing"),
        (
            "{\"format\":1,\"registries\":{\"../x\":null},\"entries\":[]}",
            "not a registry name",
        ),
        ("[[[[", "its manifest can't be read"),
    ] {
        refused(&with(manifest).bundle(), &[word]);
    }
    refused(b"", &["broken or cut off at manifest.json"]);
    refused(b"{\"format\":1}", &["broken or cut off at manifest.json"]);
    refused(&pack(b""), &["it is not a bundle"]);
    refused(&pack(&[0; 10_240]), &["it is not a bundle"]);
    let mut followed = forged.bundle();
    followed.extend(b"more");
    refused(&followed, &["broken or cut off at its end"]);
    // A registry that isn't configured is stored: the settings may come later.
    let store = tempfile::tempdir().expect("a folder");
    let desk = Desk::new();
    let renamed = |path: &str| path.replacen("crates-io", "internal", 1);
    let mut other = forged.clone();
    for (entry, member) in other.entries.iter_mut().zip(&mut other.members) {
        entry["path"] = json!(renamed(entry["path"].as_str().expect("a path")));
        member.1 = entry["path"].as_str().expect("a path").as_bytes().to_vec();
    }
    other.manifest = Some(format!(
        "{{\"format\":1,\"registries\":{{\"internal\":null}},\"entries\":[{}]}}",
        other
            .entries
            .iter()
            .map(|e| format!("\n{e}"))
            .collect::<Vec<_>>()
            .join(",")
    ));
    fs::write(desk.file("b"), other.bundle()).expect("a file");
    let ran = import(store.path(), &[&desk.name("b")]).await;
    ran.code(0).stderr_contains("[registries.internal]");
    assert_eq!(objects(store.path()).len(), 5);
}

#[tokio::test]
async fn a_refusal_is_told_even_if_a_running_mirror_can_not_be() {
    let (_store, forged) = a_bundle().await;
    let (store, desk) = (tempfile::tempdir().expect("a folder"), Desk::new());
    let mut changed = forged.clone();
    changed.members[4].2[100] ^= 1;
    fs::write(desk.file("bad"), changed.bundle()).expect("a file");
    fs::create_dir_all(store.path().join(".changed/in/the/way")).expect("a folder");
    let ran = import(store.path(), &[&desk.name("bad")]).await;
    ran.code(1)
        .stderr_contains("crates-io/crates/be/ta/beta")
        .stderr_contains("4 entries of")
        .stderr_contains(".changed");
}

#[tokio::test]
async fn a_refusal_names_the_bundle_and_exits_with_1() {
    let (_store, forged) = a_bundle().await;
    let (store, desk) = (tempfile::tempdir().expect("a folder"), Desk::new());
    let mut changed = forged.clone();
    changed.members[4].2[100] ^= 1;
    fs::write(desk.file("good"), forged.bundle()).expect("a file");
    fs::write(desk.file("bad"), changed.bundle()).expect("a file");
    let ran = import(store.path(), &[&desk.name("bad")]).await;
    ran.code(1)
        .stderr_contains(&format!(
            "the bundle {}: crates-io/crates/be/ta/beta",
            desk.name("bad")
        ))
        .stderr_contains("4 entries of");
    assert!(
        store.path().join(".changed").exists(),
        "what came before is told of"
    );
    let ran = import(store.path(), &[&desk.name("good")]).await;
    ran.code(0)
        .stdout_contains("1 entries of")
        .stdout_contains("4 were there");
}
