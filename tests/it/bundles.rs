//! Crossing the air gap: what is exported is imported whole, only what is new is carried, and nothing good is lost on the way.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{
    Cargo, Mirror, Package, Upstream,
    bundle::{Desk, carried, export, fetch, filled, import, members, objects},
    index_path, program,
    stored::{Record, corrupt, is_beside},
    until,
};

/// Three crates: one has two versions, one has a capital in its name and an unusual version.
fn packages() -> Vec<Package> {
    vec![
        Package::new("alpha", "1.0.0"),
        Package::new("alpha", "1.1.0").payload(200_000),
        Package::new("Beta", "2.0.0-RC.1+Build.5"),
        Package::new("c", "0.1.0"),
    ]
}

fn record_of(store: &Path, name: &str) -> std::path::PathBuf {
    store.join("crates-io/index").join(index_path(name))
}

#[tokio::test]
async fn what_is_exported_is_imported_byte_for_byte() {
    let (_upstream, store) = filled(packages()).await;
    let (desk, inside) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    let bundle = desk.file("bundle.tar.zst");
    let ran = export(store.path(), &bundle, &[]).await;
    ran.code(0).stdout_contains("7 entries of");
    assert_eq!(desk.files(), ["bundle.manifest.json", "bundle.tar.zst"]);

    let ran = import(inside.path(), &[&desk.name("bundle.tar.zst")]).await;
    ran.code(0).stdout_contains("7 entries of");
    let before = objects(store.path());
    assert_eq!(before.len(), 7);
    assert_eq!(objects(inside.path()), before);
    assert!(inside.path().join(".changed").exists(), "a mirror is told");

    let again = import(inside.path(), &[&desk.name("bundle.tar.zst")]).await;
    again
        .code(0)
        .stdout_contains("0 entries of")
        .stdout_contains("7 were there");
}

#[tokio::test]
async fn the_manifest_comes_first_and_says_what_follows() {
    let (upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    let settings = format!(
        "[registries.crates-io]\nindex = \"{}\"\n",
        upstream
            .index_url()
            .replace("http://", "http://user:secret@")
    );
    let bundle = desk.name("b.tar.zst");
    let ran = crate::support::command(&["export", "-o", &bundle], store.path(), &settings).await;
    ran.code(0);
    let members = members(Path::new(&bundle));
    let (name, manifest) = &members[0];
    assert_eq!(name, "manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(manifest).expect("JSON");
    assert_eq!(manifest["format"], 1);
    let index = manifest["registries"]["crates-io"].as_str().expect("a URL");
    assert_eq!(index, upstream.index_url(), "and no password");
    let checked = humantime::parse_rfc3339(manifest["created"].as_str().expect("a time"));
    let age = SystemTime::now().duration_since(checked.expect("a time"));
    assert!(age.expect("past") < Duration::from_secs(60));
    let listed: Vec<_> = manifest["entries"].as_array().expect("entries").clone();
    for (entry, (path, bytes)) in listed.iter().zip(&members[1..]) {
        assert_eq!(entry["path"], **path);
        assert_eq!(entry["size"], bytes.len());
        assert_eq!(entry["sha256"], crate::support::sha256(bytes));
    }
    let paths: Vec<_> = members[1..].iter().map(|(path, _)| &path[..]).collect();
    assert_eq!(paths.len(), listed.len());
    let beta = paths
        .iter()
        .position(|path| path.contains("index/be/ta/beta"));
    assert_eq!(
        (paths[0], beta),
        ("crates-io/index/1/c", Some(5)),
        "a record comes before its crates: {paths:?}"
    );
    let beside = fs::read(desk.file("b.manifest.json")).expect("a manifest");
    assert_eq!(beside, members[0].1, "the same is beside it");
}

#[tokio::test]
async fn the_same_content_makes_the_same_bytes() {
    let (_upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    export(store.path(), &desk.file("1.tar.zst"), &[])
        .await
        .code(0);
    let other = tempfile::tempdir().expect("a folder");
    import(other.path(), &[&desk.name("1.tar.zst")])
        .await
        .code(0);
    export(other.path(), &desk.file("2.tar.zst"), &[])
        .await
        .code(0);
    let read = |name| fs::read(desk.file(name)).expect("a bundle");
    assert!(read("1.tar.zst") == read("2.tar.zst"));
}

#[tokio::test]
async fn a_delta_carries_only_what_is_new() {
    let (upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    export(store.path(), &desk.file("1.tar.zst"), &[])
        .await
        .code(0);
    // Upstream confirms the record an hour later. Its content is the same, so that there is nothing new to carry.
    let mut record = Record::read(&record_of(store.path(), "c"));
    let checked = record.header["checked_at"].as_u64().expect("milliseconds");
    record.header["checked_at"] = (checked + 3_600_000).into();
    record.write(&record_of(store.path(), "c"));
    upstream.publish(Package::new("alpha", "1.2.0"));
    fetch(&upstream, store.path(), &[Package::new("alpha", "1.2.0")]).await;

    let inside = tempfile::tempdir().expect("a folder");
    import(inside.path(), &[&desk.name("1.tar.zst")])
        .await
        .code(0);
    let manifest = desk.file("inside.json");
    export(inside.path(), &manifest, &["--manifest-only"])
        .await
        .code(0);
    assert!(!desk.file("inside.manifest.json").exists());

    for (number, since) in ["1.manifest.json", "1.tar.zst", "inside.json"]
        .iter()
        .enumerate()
    {
        let delta = desk.file(&format!("delta{number}.tar.zst"));
        let ran = export(store.path(), &delta, &["--since", &desk.name(since)]).await;
        ran.code(0).stdout_contains("2 entries of");
        let carried = carried(&delta);
        assert_eq!(carried[0], "crates-io/index/al/ph/alpha", "{since}");
        assert!(
            carried[1].starts_with("crates-io/crates/al/ph/alpha/1.2.0."),
            "{since}"
        );
    }
    import(inside.path(), &[&desk.name("delta0.tar.zst")])
        .await
        .code(0);
    let (mut outside, mut inside) = (objects(store.path()), objects(inside.path()));
    let record = "crates-io/index/1/c";
    assert_ne!(
        outside.remove(record),
        inside.remove(record),
        "only confirmed again"
    );
    assert_eq!(outside, inside);

    // What two bundles have carried together isn't carried a third time.
    let args = ["1.manifest.json", "delta0.manifest.json"].map(|name| desk.name(name));
    let args = ["--since", &args[0], "--since", &args[1]];
    let ran = export(store.path(), &desk.file("none.tar.zst"), &args).await;
    ran.code(0).stdout_contains("0 entries of");
    import(store.path(), &[&desk.name("none.tar.zst")])
        .await
        .code(0);
}

#[tokio::test]
async fn a_date_leaves_out_what_was_stored_before() {
    let (_upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    let day = |days: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = now.expect("a time").as_secs() as i64 + days * 86_400;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64);
        humantime::format_rfc3339_seconds(time).to_string()
    };
    for (since, entries) in [(&day(-2)[..10], 7), (&day(2)[..10], 0), (&day(-1), 7)] {
        let ran = export(store.path(), &desk.file("b.tar.zst"), &["--since", since]).await;
        ran.code(0)
            .stdout_contains(&format!("{entries} entries of"));
    }
}

#[tokio::test]
async fn a_cargo_lock_takes_along_what_it_needs_and_lists_what_is_missing() {
    let upstream = Upstream::new().publish_all(packages()).start().await;
    let store = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::of(&upstream).store(store.path()).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("alpha", "=1.0.0"), ("c", "0.1")]);
    cargo.run(&["fetch"]).await.success();
    mirror.stop().await;
    fetch(&upstream, store.path(), &packages()).await;
    let lockfile = cargo.project_dir().join("Cargo.lock");
    let lockfile = lockfile.to_str().expect("UTF-8");
    let desk = Desk::new();
    let bundle = desk.file("b.tar.zst");
    export(store.path(), &bundle, &[lockfile]).await.code(0);
    let carried_now = carried(&bundle);
    assert_eq!(carried_now.len(), 4);
    assert!(
        carried_now
            .iter()
            .all(|path| !path.contains("1.1.0") && !path.contains("beta"))
    );

    fs::remove_dir_all(store.path().join("crates-io/crates/1/c")).expect("removed");
    let ran = export(store.path(), &bundle, &[lockfile]).await;
    ran.code(1)
        .stderr_contains("missing  c 0.1.0 of crates-io: its .crate file is not stored")
        .stdout_contains("1 missing");
    assert_eq!(carried(&bundle).len(), 3, "everything else is carried");
    fs::remove_dir_all(store.path().join("crates-io/index/al")).expect("removed");
    let ran = export(store.path(), &bundle, &[lockfile]).await;
    ran.code(1)
        .stderr_contains("missing  alpha 1.0.0 of crates-io: its index file is not stored");
    let text = fs::read_to_string(lockfile).expect("a Cargo.lock");
    let line = text
        .lines()
        .find(|line| line.starts_with("checksum"))
        .expect("a checksum");
    cargo.write(
        "Cargo.lock",
        &text.replace(line, &format!("checksum = \"{}\"", "ab".repeat(32))),
    );
    fetch(&upstream, store.path(), &packages()).await;
    let ran = export(store.path(), &bundle, &[lockfile]).await;
    ran.code(1)
        .stderr_contains("with another checksum than the Cargo.lock");
}

#[tokio::test]
async fn a_damaged_object_is_named_and_everything_else_is_carried() {
    let (_upstream, store) = filled(packages()).await;
    let folder = store.path().join("crates-io/crates/be/ta/beta");
    let files = fs::read_dir(&folder).expect("a folder").flatten();
    let file = files
        .map(|entry| entry.path())
        .find(|path| !is_beside(path));
    corrupt(&file.expect("a crate"));
    corrupt(&record_of(store.path(), "c"));
    let desk = Desk::new();
    let bundle = desk.file("b.tar.zst");
    let ran = export(store.path(), &bundle, &[]).await;
    ran.code(1)
        .stderr_contains("bad      crates-io/crates/be/ta/beta/2.0.0-rc.1+build.5.")
        .stderr_contains("bad      crates-io/index/1/c: ")
        .stdout_contains("2 bad");
    assert_eq!(carried(&bundle).len(), 4);
    let inside = tempfile::tempdir().expect("a folder");
    import(inside.path(), &[&desk.name("b.tar.zst")])
        .await
        .code(0);

    // What is damaged inside is mended by an import.
    export(inside.path(), &bundle, &[]).await.code(0);
    let whole = objects(inside.path());
    for path in whole.keys() {
        corrupt(&inside.path().join(path));
    }
    let ran = import(inside.path(), &[&desk.name("b.tar.zst")]).await;
    ran.code(0).stdout_contains("4 entries of");
    assert_eq!(objects(inside.path()), whole);
}

#[tokio::test]
async fn a_newer_index_record_is_never_replaced_by_an_older_one() {
    let (upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    export(store.path(), &desk.file("old.tar.zst"), &[])
        .await
        .code(0);
    let old = objects(store.path());
    upstream.publish(Package::new("alpha", "1.2.0"));
    fetch(&upstream, store.path(), &[Package::new("alpha", "1.2.0")]).await;
    export(store.path(), &desk.file("new.tar.zst"), &[])
        .await
        .code(0);
    let new = objects(store.path());

    let inside = tempfile::tempdir().expect("a folder");
    let both = [desk.name("new.tar.zst"), desk.name("old.tar.zst")];
    import(inside.path(), &[&both[0], &both[1]]).await.code(0);
    assert_eq!(objects(inside.path()), new);
    let inside = tempfile::tempdir().expect("a folder");
    import(inside.path(), &[&both[1]]).await.code(0);
    assert_eq!(objects(inside.path()), old);
    import(inside.path(), &[&both[0]]).await.code(0);
    assert_eq!(objects(inside.path()), new);
}

#[tokio::test]
async fn parts_keep_within_their_size_and_can_each_be_imported_alone() {
    let sizes = [300_000, 400_000, 500_000, 900_000, 200_000];
    let mut packages: Vec<_> = (0..5)
        .map(|n| Package::new(&format!("crate-{n}"), "1.0.0").payload(sizes[n]))
        .collect();
    // One crate is larger than a part may be.
    packages.extend((0..4).map(|n| Package::new("large", &format!("1.0.{n}")).payload(600_000)));
    let (_upstream, store) = filled(packages).await;
    let desk = Desk::new();
    let ran = export(
        store.path(),
        &desk.file("all.tar.zst"),
        &["--split", "1MiB"],
    )
    .await;
    ran.code(0);
    let together = tempfile::tempdir().expect("a folder");
    let mut parts = desk.files();
    assert_eq!(parts.remove(0), "all.1.tar.zst");
    assert_eq!(parts.pop().as_deref(), Some("all.manifest.json"));
    assert!(parts.len() >= 5, "{parts:?}");
    for part in ["all.1.tar.zst"]
        .into_iter()
        .chain(parts.iter().map(|part| &**part))
    {
        let size = fs::metadata(desk.file(part)).expect("a part").len();
        assert!(size <= 1 << 20, "{part} has {size} bytes");
        let alone = tempfile::tempdir().expect("a folder");
        import(alone.path(), &[&desk.name(part)]).await.code(0);
        import(together.path(), &[&desk.name(part)]).await.code(0);
    }
    assert_eq!(objects(together.path()), objects(store.path()));
    let since = ["--since", &desk.name("all.manifest.json")];
    let ran = export(store.path(), &desk.file("none.tar.zst"), &since).await;
    ran.code(0).stdout_contains("0 entries of");

    fetch_large(store.path()).await;
    let ran = export(
        store.path(),
        &desk.file("more.tar.zst"),
        &["--split", "1MiB"],
    )
    .await;
    ran.code(2)
        .stderr_contains("crates-io/crates/hu/ge/huge/1.0.0.");
    assert!(!desk.file("more.1.tar.zst").exists());
}

async fn fetch_large(store: &Path) {
    let huge = Package::new("huge", "1.0.0").payload(1_100_000);
    let upstream = Upstream::new().publish(huge.clone()).start().await;
    fetch(&upstream, store, &[huge]).await;
}

/// A file that upstream has replaced or deleted stays in the store for people with an old Cargo.lock. No index lists it any more, so it isn't exported.
#[tokio::test]
async fn what_no_index_lists_is_left_out_and_counted() {
    let (_upstream, store) = filled(packages()).await;
    fs::remove_dir_all(store.path().join("crates-io/index/al")).expect("removed");
    let desk = Desk::new();
    let ran = export(store.path(), &desk.file("b.tar.zst"), &[]).await;
    ran.code(0)
        .stdout_contains("4 entries of")
        .stdout_contains("2 crates left out");
}

#[tokio::test]
async fn a_bundle_goes_through_pipes() {
    let (_upstream, store) = filled(packages()).await;
    let inside = tempfile::tempdir().expect("a folder");
    let script = "\"$0\" export --store \"$1\" -o - | \"$0\" import --store \"$2\" -";
    let run = Command::new("sh")
        .args(["-c", script, program::binary()])
        .args([store.path(), inside.path()])
        .current_dir(inside.path())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("a shell");
    assert!(run.status.success(), "{run:?}");
    assert_eq!(objects(inside.path()), objects(store.path()));
}

#[tokio::test]
async fn flags_that_make_no_sense_are_wrong_usage() {
    let store = tempfile::tempdir().expect("a folder");
    let desk = Desk::new();
    let nothing = desk.name("nothing");
    for (args, words) in [
        (&["--split", "lots"][..], "--split \"lots\" is not a size"),
        (&["--split", "1kB"], "at least 1MiB"),
        (&["--since", &nothing], "can't be read"),
        (&["--url", "http://x"], "--url goes with --format static"),
        (&["--format", "static"], "needs --url"),
        (&["--format", "static", "--url", "x"], "--url \"x\" is not"),
        (
            &["--format", "local-registry", "--split", "1GiB"],
            "--split goes with bundles",
        ),
        (
            &["--manifest-only", "--split", "1GiB"],
            "a manifest isn't split",
        ),
        (&["--registry", "../x"], "--registry"),
        (&["serde"], "serde is the name of a crate"),
        (&["--sign", &nothing], "--sign"),
    ] {
        let ran = export(store.path(), &desk.file("b.tar.zst"), args).await;
        ran.code(2).stderr_contains(words);
    }
    File::create(desk.file("empty")).expect("a file");
    let ran = export(
        store.path(),
        &desk.file("b"),
        &["--since", &desk.name("empty")],
    )
    .await;
    ran.failure().stderr_contains("--since");
    import(store.path(), &[]).await.code(2);
    import(store.path(), &[&nothing])
        .await
        .code(1)
        .stderr_contains("can't be read");
    assert_eq!(desk.files(), ["empty"]);
}

#[tokio::test]
async fn an_import_killed_half_way_leaves_no_half_object_and_is_finished_by_another() {
    let packages = (0..6).map(|n| Package::new(&format!("crate-{n}"), "1.0.0").payload(200_000));
    let (_upstream, store) = filled(packages.collect()).await;
    let (desk, inside) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    export(store.path(), &desk.file("b.tar.zst"), &[])
        .await
        .code(0);
    let bundle = fs::read(desk.file("b.tar.zst")).expect("a bundle");
    let whole = objects(store.path());
    let mut running = Command::new(program::binary())
        .args(["import", "-", "--store"])
        .arg(inside.path())
        .current_dir(inside.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdin = running.stdin.take().expect("a pipe");
    let part = &bundle[..bundle.len() * 2 / 3];
    stdin.write_all(part).await.expect("it reads");
    let begun = || {
        let files = fs::read_dir(inside.path().join(".tmp"));
        files.into_iter().flatten().count() > 2
    };
    until("an entry written", begun).await;
    running.kill().await.expect("killed");
    let stored = objects(inside.path());
    let good = |(path, bytes): (&String, &Vec<u8>)| whole.get(path) == Some(bytes);
    assert!(stored.iter().all(good));
    import(inside.path(), &[&desk.name("b.tar.zst")])
        .await
        .code(0);
    assert_eq!(objects(inside.path()), whole);
}
