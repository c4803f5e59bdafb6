//! Offline: a resolver is shown only what is stored, no upstream is asked, and a client that asks for what isn't stored is told how to get it.

use std::path::Path;

use crate_mirror::store::{FolderSettings, Store};
use tempfile::TempDir;

use crate::support::{
    Cargo, Mirror, MirrorBuilder, Package, Program, Upstream, index_path, stored::corrupt,
};

pub(super) const OFFLINE: &str = "[offline]\nenabled = true";

/// `app` in two versions, the newer of which needs `lib`, and `lib` in two versions.
pub(super) async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("app", "1.0.0").dep("lib", "1.0.0"))
        .publish(Package::new("app", "1.1.0").dep("lib", "1.1.0"))
        .publish(Package::new("lib", "1.0.0"))
        .publish(Package::new("lib", "1.1.0"))
        .start()
        .await
}

pub(super) fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

pub(super) fn download(name: &str, version: &str) -> String {
    format!("/api/v1/crates/{name}/{version}/download")
}

/// A store filled by an online mirror with both index files and these crates.
pub(super) async fn filled(upstream: &Upstream, crates: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    add(upstream, folder.path(), crates).await;
    folder
}

pub(super) async fn add(upstream: &Upstream, store: &Path, crates: &[(&str, &str)]) {
    let mirror = Mirror::of(upstream).store(store).start().await;
    for name in ["app", "lib"] {
        assert_eq!(mirror.get(&index(name)).await.status, 200);
    }
    for (name, version) in crates {
        assert_eq!(mirror.get(&download(name, version)).await.status, 200);
    }
    mirror.stop().await;
}

pub(super) fn offline(upstream: &Upstream, store: &TempDir) -> MirrorBuilder {
    Mirror::of(upstream).store(store.path()).settings(OFFLINE)
}

/// The versions of an index file with whether they are yanked.
pub(super) fn shown(lines: &str) -> Vec<(String, bool)> {
    let line = |line: &str| -> (String, bool) {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let version = line["vers"].as_str().expect("a version").to_owned();
        (version, line["yanked"].as_bool().expect("a boolean"))
    };
    lines.lines().map(line).collect()
}

pub(super) fn pairs(versions: &[(&str, bool)]) -> Vec<(String, bool)> {
    let owned = versions.iter();
    owned
        .map(|(v, yanked)| ((*v).to_owned(), *yanked))
        .collect()
}

#[tokio::test]
async fn offline_nobody_is_asked_for_anything() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0")]).await;
    upstream.clear_log();
    let mirror = offline(&upstream, &store).start().await;
    for path in [
        &index("app"),
        &index("lib"),
        &index("nosuch"),
        &download("app", "1.0.0"),
        &download("app", "1.1.0"),
        &download("nosuch", "1.0.0"),
        "/index/config.json",
        "/api/v1/crates?q=app",
        "/readyz",
        "/metrics",
        "/",
    ] {
        mirror.get(path).await;
    }
    mirror.stop().await;
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

/// An offline mirror used not to start when certificates couldn't be read or a proxy couldn't be parsed, although it needs neither.
#[tokio::test]
async fn offline_starts_with_no_upstream_configured_and_no_certificates() {
    let program = Program::new(&["serve", "--offline", "--listen", "127.0.0.1:0"])
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent");
    let running = program.start().await;
    assert!(
        running.stdout().contains("It is offline"),
        "{}",
        running.stdout()
    );
    let reply = crate::support::client::get(running.addr(), &index("serde"), &[]).await;
    assert_eq!(
        (reply.status, reply.header("x-cache")),
        (404, Some("offline"))
    );
}

/// It used to try every upstream although the settings forbid it.
#[tokio::test]
async fn check_asks_nobody_offline() {
    let upstream = upstream().await;
    let program = Program::serving(&upstream, OFFLINE).command("check");
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("registry crates-io: offline"),
        "{ended:?}"
    );
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test]
async fn a_version_that_is_not_stored_is_shown_as_yanked_and_nothing_else_changes() {
    let upstream = upstream().await;
    let store = filled(
        &upstream,
        &[("app", "1.0.0"), ("lib", "1.0.0"), ("lib", "1.1.0")],
    )
    .await;
    let mirror = offline(&upstream, &store).start().await;
    let reply = mirror.get(&index("app")).await;
    assert_eq!((reply.status, reply.header("x-cache")), (200, Some("hit")));
    assert_eq!(
        shown(&reply.text()),
        pairs(&[("1.0.0", false), ("1.1.0", true)])
    );
    let unhidden = reply.text().replace("\"yanked\":true", "\"yanked\":false");
    assert_eq!(unhidden, upstream.index_file("app"), "other bytes");
    // Every version is stored, so the index file is byte for byte upstream's.
    assert_eq!(
        mirror.get(&index("lib")).await.text(),
        upstream.index_file("lib")
    );
}

#[tokio::test]
async fn with_the_full_index_every_version_is_shown_as_upstream_had_it() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0")]).await;
    let settings = "[offline]\nenabled = true\nindex = \"full\"";
    let mirror = Mirror::of(&upstream).store(store.path()).settings(settings);
    let mirror = mirror.start().await;
    assert_eq!(
        mirror.get(&index("app")).await.text(),
        upstream.index_file("app")
    );
    let missing = mirror.get(&download("app", "1.1.0")).await;
    assert_eq!(
        (missing.status, missing.header("x-cache")),
        (404, Some("offline"))
    );
}

#[tokio::test]
async fn a_version_that_is_not_stored_is_404_with_the_way_to_get_it() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[]).await;
    let mirror = offline(&upstream, &store).start().await;
    for (path, wanted) in [
        (download("app", "1.1.0"), "app@1.1.0"),
        (download("nosuch", "2.0.0"), "nosuch@2.0.0"),
        (index("nosuch"), "nosuch"),
    ] {
        let reply = mirror.get(&path).await;
        assert_eq!(
            (reply.status, reply.header("x-cache")),
            (404, Some("offline"))
        );
        let text = reply.text();
        for words in [
            "offline",
            &format!("crate-mirror prefetch {wanted}`"),
            "import",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
        assert!(text.len() < 512, "cargo shows no more than that: {text}");
        assert_eq!(
            text.trim_end().matches(". ").count(),
            0,
            "one sentence: {text}"
        );
    }
}

#[tokio::test]
async fn cargo_picks_the_newest_version_that_is_there() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0"), ("lib", "1.0.0")]).await;
    let mirror = offline(&upstream, &store).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("app", "1")]);
    cargo.run(&["build"]).await.success();
    for version in ["app\"\nversion = \"1.0.0", "lib\"\nversion = \"1.0.0"] {
        assert!(cargo.lockfile().contains(version), "{}", cargo.lockfile());
    }
    // What it locked builds again, from nothing, and an update changes nothing.
    let before = cargo.lockfile();
    cargo.fresh_home();
    cargo.run(&["build", "--locked"]).await.success();
    cargo.run(&["update"]).await.success();
    assert_eq!(cargo.lockfile(), before);
}

#[tokio::test]
async fn cargo_add_and_install_work_for_what_is_there() {
    let upstream = upstream().await;
    upstream.publish(
        Package::new("tool", "0.1.0")
            .dep("lib", "1")
            .file("src/main.rs", "fn main() {}"),
    );
    let store = filled(
        &upstream,
        &[("app", "1.0.0"), ("lib", "1.0.0"), ("tool", "0.1.0")],
    )
    .await;
    let mirror = offline(&upstream, &store).start().await;
    let cargo = Cargo::new(&mirror.index_url());
    cargo.run(&["add", "app"]).await.success();
    cargo.run(&["build"]).await.success();
    let root = cargo.project_dir().join("installed");
    let root = root.to_str().expect("UTF-8");
    cargo
        .run(&["install", "tool", "--root", root])
        .await
        .success();
    assert!(Path::new(root).join("bin/tool").exists());
}

/// A lockfile of the world outside names what was never carried in.
#[tokio::test]
async fn a_lockfile_that_names_a_missing_version_is_told_so_by_cargo() {
    let upstream = upstream().await;
    let outside = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&outside.index_url()).project(&[("app", "1")]);
    cargo.run(&["generate-lockfile"]).await.success();
    let store = filled(&upstream, &[("app", "1.1.0")]).await;
    let mirror = offline(&upstream, &store).start().await;
    let inside = Cargo::new(&mirror.index_url()).project(&[("app", "1")]);
    inside.write("Cargo.lock", &cargo.lockfile());
    let output = inside.run(&["build", "--locked"]).await;
    output
        .failure()
        .stderr_contains("crate-mirror prefetch lib@1.1.0");
}

/// Whoever carried in the crate used to be told for another minute that it wasn't there.
#[tokio::test]
async fn what_an_import_brings_is_visible_at_once() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0")]).await;
    let mirror = offline(&upstream, &store).start().await;
    let before = mirror.get(&index("app")).await;
    assert_eq!(shown(&before.text())[1], ("1.1.0".into(), true));
    assert_eq!(mirror.get(&download("app", "1.1.0")).await.status, 404);
    // Another process adds to the store and says so, as an import does.
    add(&upstream, store.path(), &[("app", "1.1.0")]).await;
    let metrics = std::sync::Arc::new(crate_mirror::metrics::Metrics::new());
    let now = std::time::SystemTime::now();
    let other = Store::open(FolderSettings::new(store.path(), true), metrics, now);
    other
        .expect("a store")
        .announce_change()
        .await
        .expect("announced");
    let tag = before.header("etag").expect("an ETag");
    let after = mirror
        .get_with(&index("app"), &[("if-none-match", tag)])
        .await;
    assert_eq!(
        after.status, 200,
        "a client with the old rendition gets the new one"
    );
    assert_eq!(after.text(), upstream.index_file("app"));
    assert_eq!(mirror.get(&download("app", "1.1.0")).await.status, 200);
}

#[tokio::test]
async fn a_rendition_has_its_own_validators() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[("app", "1.0.0")]).await;
    let mirror = offline(&upstream, &store).start().await;
    let hidden = mirror.get(&index("app")).await;
    let tag = hidden.header("etag").expect("an ETag").to_owned();
    let again = mirror
        .get_with(&index("app"), &[("if-none-match", &tag)])
        .await;
    assert_eq!(again.status, 304);
    // The index file's date is upstream's. It doesn't tell when a crate was stored or removed here, so no `Last-Modified` is sent.
    assert_eq!(hidden.header("last-modified"), None);
    let since = [("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")];
    assert_eq!(mirror.get_with(&index("app"), &since).await.status, 200);
    let online = Mirror::of(&upstream).start().await.get(&index("app")).await;
    assert_ne!(
        online.header("etag"),
        Some(&*tag),
        "other bytes under one ETag"
    );
}

#[tokio::test]
async fn a_corrupt_crate_is_503_and_then_shown_as_what_is_not_there() {
    let upstream = upstream().await;
    for settings in ["", "[memory]\nbudget = \"1MiB\""] {
        upstream.publish(Package::new("lib", "1.2.0").payload(100_000));
        let store = filled(&upstream, &[("lib", "1.2.0")]).await;
        let mirror = offline(&upstream, &store).settings(settings).start().await;
        corrupt(&mirror.stored_crate("lib", "1.2.0"));
        let reply = mirror.get(&download("lib", "1.2.0")).await;
        match settings {
            "" => {
                assert_eq!(
                    (reply.status, reply.header("x-cache")),
                    (503, Some("offline"))
                );
                assert!(reply.text().contains("import it anew"), "{}", reply.text());
            }
            // Too large for memory, it is checked on its way out.
            _ => assert!(!reply.complete),
        }
        let reply = mirror.get(&download("lib", "1.2.0")).await;
        assert_eq!(
            (reply.status, reply.header("x-cache")),
            (404, Some("offline"))
        );
        let lines = mirror.get(&index("lib")).await.text();
        assert_eq!(shown(&lines)[2], ("1.2.0".into(), true));
    }
}

#[tokio::test]
async fn a_corrupt_index_record_is_503() {
    let upstream = upstream().await;
    let store = filled(&upstream, &[]).await;
    let mirror = offline(&upstream, &store).start().await;
    corrupt(&mirror.index_record("app"));
    let reply = mirror.get(&index("app")).await;
    assert_eq!(
        (reply.status, reply.header("x-cache")),
        (503, Some("offline"))
    );
    assert!(reply.text().contains("import it anew"), "{}", reply.text());
}
