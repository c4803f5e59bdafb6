//! Prefetch: what is asked for by name, by lockfile or by setting is in the store before anyone asks, each file fetched once, and what can't be had
//! is said.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use crate_mirror::domain::Key;
use tempfile::TempDir;

use crate::support::{
    Cargo, Ended, Mirror, Package, Process, Program, Upstream, process, stored::corrupt, until,
};

async fn a_registry() -> Upstream {
    Upstream::new()
        .publish(Package::new("leaf", "1.0.0").pubtime("2024-01-01T00:00:00Z"))
        .publish(Package::new("leaf", "1.2.0").pubtime("2025-01-01T00:00:00Z"))
        .publish(
            Package::new("leaf", "1.3.0")
                .yanked(true)
                .pubtime("2025-02-02T00:00:00Z"),
        )
        .publish(Package::new("leaf", "2.0.0-rc.1"))
        .publish(Package::new("a_b-c", "0.1.0"))
        .publish(Package::new("bound-sys", "0.14.2+1.5.1"))
        .publish(Package::new("tree", "0.3.0").dep("leaf", "1.0"))
        .start()
        .await
}

/// Runs `prefetch` with these arguments in a folder of its own.
fn prefetching(upstream: &Upstream, words: &str) -> Program {
    Program::serving(upstream, "")
        .command("prefetch")
        .words(words)
}

/// The same in a folder where it has run before.
async fn again(upstream: &Upstream, folder: TempDir, words: &str) -> Ended {
    upstream.clear_log();
    let program = prefetching(upstream, words).in_folder(folder);
    program.run().await
}

/// The versions stored, as `name version`, sorted.
fn stored(folder: &Path) -> Vec<String> {
    let store = folder.join("cache");
    let files = walkdir::WalkDir::new(&store).into_iter().flatten();
    let keys = files.filter_map(|file| {
        let path = file.path().strip_prefix(&store).ok()?.to_str()?.to_owned();
        Key::from_path(&path)?
            .crate_file()
            .map(|key| key.id.to_string())
    });
    let mut versions: Vec<_> = keys.collect();
    versions.sort();
    versions
}

#[tokio::test]
async fn a_name_brings_the_versions_that_are_meant() {
    let upstream = a_registry().await;
    for (words, versions) in [
        ("leaf", &["leaf 1.2.0"][..]),
        ("leaf@1.0.0 leaf@1.3.0", &["leaf 1.0.0", "leaf 1.3.0"]),
        ("leaf@<1.2 crates-io:tree", &["leaf 1.0.0", "tree 0.3.0"]),
        ("leaf --latest 2", &["leaf 1.0.0", "leaf 1.2.0"]),
        ("leaf --since 2025-01-01", &["leaf 1.2.0"]),
        (
            "leaf@1 --all-versions",
            &["leaf 1.0.0", "leaf 1.2.0", "leaf 1.3.0"],
        ),
        ("bound-sys@0.14.2", &["bound-sys 0.14.2+1.5.1"]),
        // Case and separators as somebody remembers them.
        ("A-B_c LEAF a-b-c", &["a_b-c 0.1.0", "leaf 1.2.0"]),
    ] {
        let ended = prefetching(&upstream, words).run().await;
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
        assert_eq!(stored(ended.folder.path()), versions, "{words}: {ended:?}");
    }
}

#[tokio::test]
async fn names_come_from_files_and_standard_input_too() {
    let upstream = a_registry().await;
    let program = prefetching(&upstream, "list - ./leaf")
        .file("list", "\u{feff}# what we need\n\n  tree@0.3.0  \n")
        .file("leaf", "a_b-c")
        .input("\u{feff}leaf@1.0.0\r\nleaf@1\n");
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let all = ["a_b-c 0.1.0", "leaf 1.0.0", "leaf 1.2.0", "tree 0.3.0"];
    assert_eq!(stored(ended.folder.path()), all);
}

#[tokio::test]
async fn what_is_stored_is_not_fetched_again() {
    let upstream = a_registry().await;
    let first = prefetching(&upstream, "leaf tree").run().await;
    assert!(
        first.stdout.contains("2 fetched, 0 already here"),
        "{first:?}"
    );
    let second = again(&upstream, first.folder, "leaf tree leaf@1.0.0").await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(
        second.stdout.contains("1 fetched, 2 already here"),
        "{second:?}"
    );
    assert_eq!(upstream.crate_requests().len(), 1);
    // A file that has gone bad is fetched again.
    let sums = crate::support::sha256(&upstream.crate_file("tree", "0.3.0"));
    let path = format!("cache/crates-io/crates/tr/ee/tree/0.3.0.{sums}.crate");
    corrupt(&second.folder.path().join(path));
    let third = again(&upstream, second.folder, "leaf tree").await;
    assert!(
        third.stdout.contains("1 fetched, 1 already here"),
        "{third:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_listed_and_all_else_is_fetched() {
    let upstream = a_registry().await;
    upstream.publish(Package::new("lie", "1.0.0").checksum(&"ab".repeat(32)));
    let words = "leaf nothing leaf@9.0.0 leaf@^7 inner:x lie";
    let ended = prefetching(&upstream, words).run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(stored(ended.folder.path()), ["leaf 1.2.0"]);
    for words in [
        "missing  nothing: crates-io has no crate nothing\n",
        "missing  leaf@9.0.0: crates-io has no version 9.0.0 of leaf\n",
        "missing  leaf@^7: crates-io has no version of leaf that ^7 allows\n",
        "missing  inner:x: this mirror has no registry inner",
        "missing  lie@1.0.0: crates-io sent a file for lie 1.0.0 whose checksum is",
        "1 fetched, 0 already here, 0 skipped, 5 missing",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {ended:?}");
    }
}

/// A minute of trouble must not cost an hour's run.
#[tokio::test]
async fn trouble_that_passes_is_waited_out() {
    let upstream = a_registry().await;
    // More failures than the retries of a client's request make up for.
    let trouble = upstream.on_crate_files().times(4).fail(503);
    let ended = prefetching(&upstream, "leaf").run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(trouble.hits(), 4);
}

#[tokio::test]
async fn several_are_fetched_at_once_but_no_more_than_upstream_may_be_asked() {
    let upstream = a_registry().await;
    let gate = upstream.gate("/dl/");
    let takes = Duration::from_millis(300);
    upstream.on("/dl/").slow(takes);
    let program = Program::serving(&upstream, "[upstream]\nmax_concurrent = 2\n");
    let program = program
        .command("prefetch")
        .words("leaf@1 leaf@1.0.0 tree a_b-c");
    let held = async {
        gate.await_waiting(2).await;
        let opened = Instant::now();
        gate.open();
        opened
    };
    let (ended, opened) = tokio::join!(program.run(), held);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let asked = upstream.crate_requests();
    assert_eq!(asked.len(), 4);
    // Not before one of the first two was answered.
    assert!(asked[2].at >= opened + takes, "a third beside two");
}

/// The store may be carried away, and what is missing there can't be fetched later.
#[tokio::test]
async fn what_the_store_did_not_take_is_missing() {
    let upstream = a_registry().await;
    let program = prefetching(&upstream, "leaf");
    let folder = program.folder().join("cache/crates-io");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("crates"), "in the way").expect("a file");
    let ended = program.run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = "missing  leaf@1.2.0: it was fetched, but the store didn't take it";
    assert!(ended.stdout.contains(words), "{ended:?}");
}

#[tokio::test]
async fn deps_are_those_that_cargo_resolves() {
    let inner = Upstream::new()
        .publish(Package::new("other", "1.0.0"))
        .start()
        .await;
    let upstream = a_registry().await;
    upstream.publish(
        Package::new("root", "1.0.0")
            .dep("tree", "0.3")
            .build_dep("a_b-c", "0.1"),
    );
    upstream.publish(Package::new("wrong", "1.0.0").dep("tree", "9"));
    let settings = format!("[registries.inner]\nindex = \"{}\"\n", inner.index_url());
    let program = Program::serving(&upstream, &settings).command("prefetch");
    let program = program
        .words("--deps root leaf@1.0.0 inner:other wrong")
        // The machine's own settings for cargo and proxies don't get in the way.
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("CARGO_NET_OFFLINE", "true")
        .env("NO_PROXY", "127.0.0.1");
    let ended = program.with_cargo().run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let why = "missing  wrong@1.0.0: cargo can't tell its dependencies: failed to select a version";
    assert!(ended.stdout.contains(why), "{ended:?}");
    let all = [
        "a_b-c 0.1.0",
        "leaf 1.0.0",
        "leaf 1.2.0",
        "other 1.0.0",
        "root 1.0.0",
        "tree 0.3.0",
        "wrong 1.0.0",
    ];
    assert_eq!(stored(ended.folder.path()), all, "{ended:?}");
    assert!(ended.stdout.contains("0 skipped"), "{ended:?}");
    // And cargo builds from that alone.
    let store = ended.folder.path().join("cache");
    upstream.stop().await;
    let mirror = Mirror::of(&upstream).store(&store).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("root", "1")]);
    cargo.run(&["build"]).await.success();
}

/// A cargo that looks for its settings finds those of whoever owns the folders above, or the machine.
#[tokio::test]
async fn no_settings_for_cargo_are_in_the_way_of_deps() {
    let upstream = a_registry().await;
    for (file, text) in [
        (".cargo/config.toml", "[net]\noffline = true\n"),
        (
            ".cargo/config.toml",
            "[patch.crates-io]\nleaf = { path = \"nowhere\" }\n",
        ),
        (
            ".cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"nowhere\"\n",
        ),
        (".cargo/config.toml", "not = [settings\n"),
        (".cargo/config", "not = [settings\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.2.3\"\n"),
        ("rust-toolchain", "no-such-toolchain\n"),
        ("Cargo.toml", "not = [a manifest\n"),
    ] {
        let above = tempfile::tempdir().expect("a folder");
        let planted = above.path().join(file);
        fs::create_dir_all(planted.parent().expect("a folder")).expect("a folder");
        fs::write(planted, text).expect("a file");
        let temporary = above.path().join("tmp");
        fs::create_dir(&temporary).expect("a folder");
        let program = prefetching(&upstream, "--deps tree").with_cargo();
        let program = program
            .env("TMPDIR", temporary.to_str().expect("UTF-8"))
            .env("RUSTUP_TOOLCHAIN", "")
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback")
            .env("RUSTC", "/nowhere/rustc")
            .env("RUSTC_WRAPPER", "/nowhere/wrapper")
            .env("RUSTFLAGS", "--no-such-flag");
        let ended = program.run().await;
        assert_eq!(ended.code, Some(0), "{file} {text}: {ended:?}");
        let all = ["leaf 1.2.0", "tree 0.3.0"];
        assert_eq!(stored(ended.folder.path()), all, "{file}: {ended:?}");
        let left = fs::read_dir(&temporary).expect("the folder").count();
        assert_eq!(left, 0, "something is left in TMPDIR");
    }
}

/// `cargo install --locked` takes the versions of the day when the crate was packaged, which the newest ones say nothing of: that took four trips
/// across the gap.
#[tokio::test]
async fn deps_are_those_of_the_crate_s_own_lockfile_too() {
    let upstream = a_registry().await;
    upstream.publish(Package::new("extra", "1.0.0"));
    upstream.publish(Package::new("extra", "1.1.0"));
    let locked = |name: &str, version: &str, more: &str| {
        let sum = crate::support::sha256(&upstream.crate_file(name, version));
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{sum}\"\n{more}\n"
        )
    };
    let lockfile = [
        "version = 3\n\n[[package]]\nname = \"tool\"\nversion = \"1.0.0\"\ndependencies = [\n \"extra\",\n \"tree\",\n]\n\n",
        &locked("extra", "1.0.0", ""),
        &locked("leaf", "1.0.0", ""),
        &locked("tree", "0.3.0", "dependencies = [\n \"leaf\",\n]\n"),
    ]
    .concat();
    upstream.publish(
        Package::new("tool", "1.0.0")
            .dep("tree", "0.3")
            .optional_dep("extra", "1")
            .file("src/main.rs", "fn main() {}\n")
            .file("Cargo.lock", &lockfile),
    );
    upstream.publish(Package::new("odd", "1.0.0").file("Cargo.lock", "version = 9\n"));
    let ended = prefetching(&upstream, "--deps tool")
        .with_cargo()
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Those that cargo picks today, and those of that day.
    let all = [
        "extra 1.0.0",
        "leaf 1.0.0",
        "leaf 1.2.0",
        "tool 1.0.0",
        "tree 0.3.0",
    ];
    assert_eq!(stored(ended.folder.path()), all, "{ended:?}");
    let words = "5 fetched, 0 already here, 0 skipped, 0 missing";
    assert!(ended.stdout.contains(words), "{ended:?}");
    let store = ended.folder.path().join("cache");
    let mirror = Mirror::of(&upstream).store(&store);
    let mirror = mirror.settings("[offline]\nenabled = true").start().await;
    upstream.stop().await;
    let cargo = Cargo::new(&mirror.index_url());
    for words in [
        &["install", "--locked", "tool"][..],
        &["install", "--locked", "--force", "--all-features", "tool"],
    ] {
        cargo.run(words).await.success();
    }
    mirror.stop().await;
    upstream.restart().await;
    let ended = prefetching(&upstream, "--deps odd")
        .with_cargo()
        .run()
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = "missing  odd@1.0.0: the Cargo.lock in it can't be read";
    assert!(ended.stdout.contains(words), "{ended:?}");
}

/// Nobody else is asked in place of a registry that isn't mirrored.
#[tokio::test]
async fn deps_on_a_registry_that_is_disabled_are_missing() {
    let upstream = a_registry().await;
    let far = "https://github.com/rust-lang/crates.io-index";
    upstream.publish(Package::new("outward", "1.0.0").raw_line(&format!(
        "{{\"name\":\"outward\",\"vers\":\"1.0.0\",\"deps\":[{{\"name\":\"leaf\",\"req\":\"^1\",\"features\":[],\"optional\":false,\"default_features\":true,\"target\":null,\"kind\":\"normal\",\"registry\":\"{far}\"}}],\"cksum\":\"{}\",\"features\":{{}},\"yanked\":false}}",
        crate::support::sha256(&Package::new("outward", "1.0.0").crate_file())
    )));
    let settings = format!(
        "[registries.crates-io]\nenabled = false\n[registries.inner]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let program = Program::new(&["prefetch", "--deps", "inner:outward", "inner:tree"]);
    let ended = program.settings(&settings).with_cargo().run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in [
        "missing  inner:outward@1.0.0: cargo can't tell its dependencies: ",
        "failed to query replaced source registry `crates-io`",
        "3 fetched, 0 already here, 0 skipped, 1 missing",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {ended:?}");
    }
}

#[tokio::test]
async fn several_cargos_resolve_at_once() {
    let upstream = a_registry().await;
    for name in ["a", "b"] {
        let dep = format!("gated-{name}");
        upstream.publish(Package::new(&dep, "1.0.0"));
        upstream.publish(Package::new(&format!("root-{name}"), "1.0.0").dep(&dep, "1"));
    }
    let gate = upstream.gate("/ga/te/");
    let program = prefetching(&upstream, "--deps root-a root-b").with_cargo();
    let held = async {
        upstream.await_requests(2, "/ga/te/").await;
        gate.open();
    };
    let (ended, ()) = tokio::join!(program.run(), held);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(stored(ended.folder.path()).len(), 4, "{ended:?}");
}

/// A crate that would be evicted as soon as a mirror serves from the store doesn't count as stored.
#[tokio::test]
async fn a_store_that_has_become_too_large_is_told_of() {
    let upstream = a_registry().await;
    for name in ["large", "large-too"] {
        upstream.publish(Package::new(name, "1.0.0").payload(600_000));
    }
    let words = "now, more than `store.max_size`";
    for (what, told) in [(&["leaf"][..], false), (&["large", "large-too"], true)] {
        let program = Program::serving(&upstream, "[store]\nmax_size = \"1MiB\"\n");
        let prefetch = what
            .iter()
            .fold(program.command("prefetch"), |command, name| {
                command.arg(name)
            });
        let ended = prefetch.run().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stdout.contains(words), told, "{ended:?}");
    }
}

#[tokio::test]
async fn deps_without_a_cargo_is_refused() {
    let upstream = a_registry().await;
    let program = prefetching(&upstream, "--deps leaf").env("PATH", "/nowhere");
    program.run().await.refused(&["--deps needs cargo", "PATH"]);
}

#[tokio::test]
async fn nothing_to_do_is_refused_unless_the_settings_say_what() {
    let upstream = a_registry().await;
    let ended = prefetching(&upstream, "").run().await;
    ended.refused(&["nothing to prefetch", "prefetch.lockfiles"]);
    for (words, why) in [
        ("leaf --since soon", "--since"),
        ("leaf --offline", "offline.enabled"),
    ] {
        prefetching(&upstream, words).run().await.refused(&[why]);
    }
    let settings = "[prefetch]\nlockfiles = [\"app.lock\"]\n";
    let program = Program::serving(&upstream, settings).command("prefetch");
    let lockfile = "[[package]]\nname = \"leaf\"\nversion = \"1.0.0\"\nsource = \"sparse+https://index.crates.io/\"\n";
    let ended = program.file("app.lock", lockfile).run().await;
    assert_eq!(
        (ended.code, &*stored(ended.folder.path())),
        (Some(0), &["leaf 1.0.0".to_owned()][..])
    );
}

#[tokio::test]
async fn update_brings_every_stored_index_file_up_to_date() {
    let upstream = a_registry().await;
    let ended = prefetching(&upstream, "leaf tree a_b-c").run().await;
    upstream.publish(Package::new("leaf", "1.4.0"));
    upstream.delete("a_b-c");
    let ended = again(&upstream, ended.folder, "--update").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let words = "1 index files were out of date, 2 were not";
    assert!(ended.stdout.contains(words), "{ended:?}");
    assert_eq!(
        (
            upstream.index_requests().len(),
            upstream.crate_requests().len()
        ),
        (3, 0)
    );
    let index = ended.folder.path().join("cache/crates-io/index/le/af/leaf");
    assert!(
        fs::read_to_string(&index)
            .expect("a record")
            .contains("1.4.0")
    );
}

/// An old copy that passes for current would be carried away as news.
#[tokio::test]
async fn an_upstream_that_cannot_be_asked_is_not_taken_for_current() {
    let upstream = a_registry().await;
    let ended = prefetching(&upstream, "leaf").run().await;
    upstream.stop().await;
    let ended = prefetching(&upstream, "--update leaf").in_folder(ended.folder);
    let settings = format!(
        "[upstream]\nretries = 0\n[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let ended = ended.settings(&settings).run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in [
        "note     crates-io couldn't say whether there are newer versions of leaf",
        "missing  crates-io/le/af/leaf: crates-io couldn't say",
        "0 fetched, 1 already here, 0 skipped, 1 missing",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {ended:?}");
    }
}

fn lockfile(upstream: &Upstream, version: &str) -> String {
    let sum = crate::support::sha256(&upstream.crate_file("leaf", version));
    format!(
        "version = 4\n\n[[package]]\nname = \"leaf\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{sum}\"\n"
    )
}

/// A lockfile that isn't there yet must not end the service for those that are.
#[tokio::test]
async fn a_server_keeps_what_its_lockfiles_need_without_being_asked() {
    let upstream = a_registry().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    fs::write(path("one.lock"), lockfile(&upstream, "1.0.0")).expect("a lockfile");
    let settings = format!(
        "[prefetch]\nevery = \"1s\"\nlockfiles = [{:?}, {:?}]\n",
        path("late.lock"),
        path("one.lock")
    );
    let process = Process::start(&upstream, &path("cache"), &settings).await;
    upstream.await_requests(1, "leaf/1.0.0").await;
    fs::write(path("late.lock"), lockfile(&upstream, "1.2.0")).expect("a lockfile");
    upstream.await_requests(1, "leaf/1.2.0").await;
    let both = ["leaf 1.0.0", "leaf 1.2.0"];
    until("stored", || stored(folder.path()) == both).await;
    let log = process.stop().await;
    assert!(log.contains("late.lock can't be read"), "{log}");
    assert_eq!(upstream.crate_requests().len(), 2, "each once");
}

/// What clients use stays in memory, and upstream isn't asked for what no lockfile names.
#[tokio::test]
async fn what_is_kept_without_being_asked_for_is_left_on_the_disk() {
    let upstream = a_registry().await;
    let large = Package::new("large", "1.0.0").payload(200_000);
    upstream.publish(large.dep("leaf", "1"));
    let ended = prefetching(&upstream, "large").run().await;
    let (folder, sum) = (ended.folder.path(), upstream.crate_file("large", "1.0.0"));
    let path = format!(
        "cache/crates-io/crates/la/rg/large/1.0.0.{}.crate",
        crate::support::sha256(&sum)
    );
    let lately = SystemTime::now() - Duration::from_secs(3 * 3600);
    let stored = fs::File::open(folder.join(path)).expect("a stored file");
    stored.set_modified(lately).expect("made older");
    let lockfile = "[[package]]\nname = \"large\"\nversion = \"1.0.0\"\nsource = \"sparse+https://index.crates.io/\"\n";
    fs::write(folder.join("one.lock"), lockfile).expect("a lockfile");
    let settings = format!(
        "[freshness]\nfresh_for = \"0s\"\n[prefetch]\nevery = \"1s\"\nlockfiles = [{:?}]\n",
        folder.join("one.lock")
    );
    upstream.clear_log();
    let process = Process::start(&upstream, &folder.join("cache"), &settings).await;
    // The second round begins when the first has ended.
    upstream.await_requests(2, "la/rg/large").await;
    let metrics = process.get("/metrics").await.text();
    let in_memory = metrics
        .lines()
        .find_map(|line| line.strip_prefix("crate_mirror_memory_bytes "));
    let in_memory: u64 = in_memory.expect("a metric").parse().expect("a number");
    assert!(in_memory < 100_000, "{in_memory}");
    assert_eq!(upstream.count("leaf"), 0, "nobody asked");
    let used = stored.metadata().and_then(|meta| meta.modified());
    assert!(
        used.expect("a time") > lately,
        "eviction sees that it is used"
    );
    process.stop().await;
}

/// A running mirror remembers what it has looked up; it is told to look again.
#[tokio::test]
async fn a_run_beside_a_server_is_seen_by_it() {
    let upstream = a_registry().await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("cache");
    let settings = format!(
        "[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let server = Process::start(&upstream, &store, "[offline]\nenabled = true").await;
    assert_eq!(server.get("/index/le/af/leaf").await.status, 404);
    process::command(&["prefetch", "leaf"], &store, &settings)
        .await
        .success();
    let reply = server.get("/index/le/af/leaf").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
