//! Exporting what is in use: a mirror may go on writing, and a mistake is told before anything is read.

use std::{fs, os::unix::net::UnixListener, path::Path, sync::Arc};

use crate_mirror::{
    bundle::{self, Observer, Output, Plan},
    metrics::Metrics,
    store::{FolderSettings, Store},
};

use crate::support::{
    Package,
    bundle::{Desk, carried, export, filled, import, members, objects},
    index_path,
    stored::Record,
};

fn packages() -> Vec<Package> {
    vec![
        Package::new("alpha", "1.0.0"),
        Package::new("alpha", "1.1.0").payload(900_000),
        Package::new("alpha", "1.2.0").payload(900_000),
        Package::new("beta", "1.0.0"),
    ]
}

/// Upstream has confirmed the record once more, an hour later.
fn confirm(store: &Path, name: &str) {
    let path = store.join("crates-io/index").join(index_path(name));
    let mut record = Record::read(&path);
    let checked = record.header["checked_at"].as_u64().expect("milliseconds");
    record.header["checked_at"] = (checked + 3_600_000).into();
    record.write(&path);
}

#[tokio::test]
async fn a_mirror_that_confirms_index_files_meanwhile_does_not_spoil_a_bundle() {
    let (_upstream, folder) = filled(packages()).await;
    let before = objects(folder.path());
    let store = Store::existing(
        FolderSettings::new(folder.path(), false),
        Arc::new(Metrics::new()),
    );
    let store = store.expect("a store");
    let observer = Observer {
        total: &|_| {},
        bytes: &|_| {},
        say: &|line| panic!("{line}"),
        is_over: &|| false,
    };
    let desk = Desk::new();
    for limit in [None, Some(1 << 20)] {
        let plan = Plan {
            limit,
            ..Plan::default()
        };
        let contents = bundle::collect(&store, &plan, Vec::new(), &observer).expect("contents");
        confirm(folder.path(), "alpha");
        confirm(folder.path(), "beta");
        let file = desk.file("b.tar.zst");
        let output = match limit {
            None => Output::Bundle(file),
            Some(_) => Output::Parts(file),
        };
        let written = bundle::export(&store, contents, &output, None, &observer);
        written.expect("written");
        if limit.is_none() {
            let inside = tempfile::tempdir().expect("a folder");
            import(inside.path(), &[&desk.name("b.tar.zst")])
                .await
                .code(0);
            assert_eq!(objects(inside.path()), before, "as it was looked at");
            // What is collected next is as it is now.
            fs::remove_file(desk.file("b.tar.zst")).expect("removed");
        }
    }
    let inside = tempfile::tempdir().expect("a folder");
    for part in ["b.1.tar.zst", "b.2.tar.zst"] {
        let record = &members(&desk.file(part))[1];
        assert_eq!(record.0, "crates-io/index/al/ph/alpha", "{part}");
        import(inside.path(), &[&desk.name(part)]).await.code(0);
    }
    assert_eq!(objects(inside.path()).len(), before.len());
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let desk = Desk::new();
    let misspelt = desk.file("misspelt");
    for args in [&[][..], &["--format", "local-registry"]] {
        let ran = export(&misspelt, &desk.file("b.tar.zst"), args).await;
        ran.code(2).stderr_contains("there is no such folder");
        assert!(!misspelt.exists());
        assert!(desk.files().is_empty() && !desk.file("b.tar.zst").exists());
    }
}

#[tokio::test]
async fn an_export_of_nothing_at_all_is_a_failure() {
    let (desk, store) = (Desk::new(), tempfile::tempdir().expect("a folder"));
    for args in [&[][..], &["--manifest-only"]] {
        let ran = export(store.path(), &desk.file("b.tar.zst"), args).await;
        ran.code(1)
            .stdout_contains("0 entries of")
            .stderr_contains("nothing of what was asked for is stored");
    }
    let args = ["--format", "local-registry"];
    let ran = export(store.path(), &desk.file("folder"), &args).await;
    ran.code(1)
        .stderr_contains("nothing of what was asked for is stored");
    // A delta may well be empty.
    let ran = export(
        store.path(),
        &desk.file("d.tar.zst"),
        &["--since", "2026-01-01"],
    )
    .await;
    ran.code(0);
    assert!(carried(&desk.file("d.tar.zst")).is_empty());
}

#[tokio::test]
async fn what_an_output_can_not_replace_is_told_before_anything_is_read() {
    let (_upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    fs::create_dir(desk.file("folder")).expect("a folder");
    fs::create_dir(desk.file("c.manifest.json")).expect("a folder");
    fs::create_dir(desk.file("s.1.tar.zst")).expect("a folder");
    let _socket = UnixListener::bind(desk.file("socket")).expect("a socket");
    for (output, args, words) in [
        ("folder", &[][..], "it is a folder"),
        ("folder/", &[], "it is no file's name"),
        ("folder", &["--manifest-only"], "it is a folder"),
        ("socket", &[], "it is not a file"),
        (
            "c.tar.zst",
            &[],
            "c.manifest.json can't be written: it is a folder",
        ),
        (
            "s.tar.zst",
            &["--split", "1GiB"],
            "s.1.tar.zst can't be written: it is a folder",
        ),
        ("nowhere/b.tar.zst", &[], "there is no such folder"),
    ] {
        let ran = export(store.path(), &desk.file(output), args).await;
        ran.code(2).stderr_contains(words);
    }
    assert!(desk.files().is_empty(), "{:?}", desk.files());
    // What is there of an earlier export is written over.
    fs::write(desk.file("b.tar.zst"), "old").expect("a file");
    export(store.path(), &desk.file("b.tar.zst"), &[])
        .await
        .code(0);
    assert_eq!(carried(&desk.file("b.tar.zst")).len(), 6);
}

#[tokio::test]
async fn a_folder_does_not_show_a_crate_that_upstream_has_withdrawn() {
    let (_upstream, store) = filled(packages()).await;
    let desk = Desk::new();
    let site = ["--format", "static", "--url", "https://crates.example"];
    let disk = ["--format", "local-registry"];
    let files = [
        (desk.file("site"), &site[..], "al/ph/alpha"),
        (desk.file("disk"), &disk[..], "index/al/ph/alpha"),
    ];
    for (folder, args, index) in &files {
        export(store.path(), folder, args).await.code(0);
        assert!(folder.join(index).exists());
    }
    let path = store.path().join("crates-io/index/al/ph/alpha");
    let mut record = Record::read(&path);
    record.header["gone"] = true.into();
    record.write(&path);
    for (folder, args, index) in &files {
        let fresh = folder.with_extension("fresh");
        for folder in [folder, &fresh] {
            let ran = export(store.path(), folder, args).await;
            ran.code(0)
                .stdout_contains("1 index files and 1 crates of")
                .stderr_contains("gone     alpha: upstream has withdrawn it");
            assert!(!folder.join(index).exists(), "{}", folder.display());
            assert!(
                folder
                    .join(index.replace("al/ph/alpha", "be/ta/beta"))
                    .exists()
            );
        }
    }
}
