//! A registry as a folder of plain files: real cargo builds from it through a server that knows of nothing but files, or through none.

use std::fs;

use tempfile::TempDir;

use crate::support::{
    Cargo, Package, Upstream,
    bundle::{Desk, export, fetch},
    files::Files,
};

fn packages() -> Vec<Package> {
    vec![
        Package::new("part", "1.0.0+odd.1"),
        Package::new("Tool", "1.0.0").dep("part", "1"),
        Package::new("Tool", "1.1.0").dep("part", "1"),
        Package::new("Tool", "1.2.0").dep("part", "1"),
    ]
}

/// A store in which the newest `Tool` is missing.
async fn a_store() -> (Upstream, TempDir) {
    let upstream = Upstream::new().publish_all(packages()).start().await;
    let store = tempfile::tempdir().expect("a folder");
    fetch(&upstream, store.path(), &packages()[..3]).await;
    (upstream, store)
}

/// Builds a program that uses `Tool`, first with what is newest, then with a Cargo.lock that names what isn't there.
async fn build(cargo: Cargo) {
    let cargo = cargo.project(&[("Tool", "1")]);
    cargo.write(
        "src/main.rs",
        "fn main() { print!(\"{}\", Tool::version()); }",
    );
    cargo.run(&["run"]).await.success().stdout_contains("1.1.0");
    let lockfile = cargo.lockfile();
    assert!(lockfile.contains("1.0.0+odd.1"), "{lockfile}");
    cargo.fresh_home();
    cargo.run(&["build", "--locked"]).await.success();
    let precise = ["update", "--precise", "1.2.0", "Tool"];
    cargo
        .run(&precise)
        .await
        .success()
        .stderr_contains("yanked");
    cargo.run(&["fetch"]).await.failure();
    cargo.run(&["update"]).await.success();
    assert!(
        cargo.lockfile().contains("1.1.0"),
        "the newest that is there"
    );
}

#[tokio::test]
async fn any_web_server_can_serve_a_static_export() {
    let (_upstream, store) = a_store().await;
    let desk = Desk::new();
    let folder = desk.file("site");
    let files = Files::of(&folder).await;
    let args = ["--format", "static", "--url", &format!("{}/", files.url())];
    let ran = export(store.path(), &folder, &args).await;
    ran.code(0).stdout_contains("2 index files and 3 crates of");
    build(Cargo::new(&format!("{}/", files.url()))).await;
    let asked = files.asked();
    let download = "/crates/part/part-1.0.0+odd.1.crate";
    assert!(asked.iter().any(|path| path == download), "{asked:?}");
}

#[tokio::test]
async fn cargo_builds_from_a_local_registry_without_any_server() {
    let (_upstream, store) = a_store().await;
    let desk = Desk::new();
    let folder = desk.file("registry");
    let ran = export(store.path(), &folder, &["--format", "local-registry"]).await;
    ran.code(0).stdout_contains("2 index files and 3 crates of");
    let config = format!(
        "[source.crates-io]\nreplace-with = \"disk\"\n\n[source.disk]\nlocal-registry = {folder:?}\n"
    );
    build(Cargo::unconfigured().config(&config)).await;
}

#[tokio::test]
async fn an_index_file_shows_what_is_not_exported_as_yanked_and_nothing_else_differently() {
    let (upstream, store) = a_store().await;
    let desk = Desk::new();
    let folder = desk.file("site");
    let args = [
        "--format",
        "static",
        "--url",
        "https://crates.example/mirror",
    ];
    export(store.path(), &folder, &args).await.code(0);
    let config = fs::read_to_string(folder.join("config.json")).expect("a file");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    let dl = "https://crates.example/mirror/crates/{crate}/{crate}-{version}.crate";
    assert_eq!(config, serde_json::json!({ "dl": dl }));
    let shown = fs::read_to_string(folder.join("to/ol/tool")).expect("an index file");
    let sent = upstream.index_file("Tool");
    let expected: String = sent
        .split_inclusive('\n')
        .map(|line| match line.contains("\"1.2.0\"") {
            true => line.replace("\"yanked\":false", "\"yanked\":true"),
            false => line.to_owned(),
        })
        .collect();
    assert_ne!(expected, sent);
    assert_eq!(shown, expected);
    assert_eq!(
        fs::read_to_string(folder.join("pa/rt/part")).expect("a file"),
        upstream.index_file("part")
    );

    // Once more, when there is more.
    fetch(&upstream, store.path(), &packages()).await;
    export(store.path(), &folder, &args).await.code(0);
    assert_eq!(
        fs::read_to_string(folder.join("to/ol/tool")).expect("a file"),
        sent
    );
    let file = fs::read(folder.join("crates/Tool/Tool-1.2.0.crate")).expect("a crate");
    assert_eq!(file, upstream.crate_file("Tool", "1.2.0"));
}

#[tokio::test]
async fn a_cargo_lock_makes_a_folder_of_what_it_needs() {
    let (upstream, store) = a_store().await;
    fetch(&upstream, store.path(), &packages()).await;
    let cargo = Cargo::new(&upstream.index_url()).project(&[("Tool", "=1.0.0")]);
    cargo.run(&["generate-lockfile"]).await.success();
    let lockfile = cargo.project_dir();
    let desk = Desk::new();
    let args = [
        "--format",
        "local-registry",
        lockfile.to_str().expect("UTF-8"),
    ];
    let ran = export(store.path(), &desk.file("registry"), &args).await;
    ran.code(0).stdout_contains("2 index files and 2 crates of");
    fs::remove_dir_all(store.path().join("crates-io/crates/pa")).expect("removed");
    let ran = export(store.path(), &desk.file("registry"), &args).await;
    ran.code(1).stderr_contains("missing  part 1.0.0+odd.1");
}
