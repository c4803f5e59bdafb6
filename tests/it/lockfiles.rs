//! Lockfiles: what real cargo writes is read, and every package is fetched from the registry that it names, or not at all.

use std::fs;

use crate_mirror::domain::{Lockfile, lockfile::PackageSource};

use crate::support::{Cargo, Ended, Mirror, Package, Program, Upstream};

/// A project's Cargo.lock by real cargo.
async fn locked(upstream: &Upstream, deps: &[(&str, &str)]) -> String {
    let mirror = Mirror::of(upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(deps);
    cargo.run(&["generate-lockfile"]).await.success();
    let lockfile = cargo.lockfile();
    mirror.stop().await;
    upstream.clear_log();
    lockfile
}

async fn a_registry() -> Upstream {
    Upstream::new()
        .publish(Package::new("leaf", "1.0.0"))
        .publish(Package::new("leaf", "1.2.0"))
        .publish(Package::new("tree", "0.3.0").dep("leaf", "1.0"))
        .publish(Package::new("Upper_Case", "2.0.0+meta.1"))
        .start()
        .await
}

/// Runs `prefetch` with these arguments in a folder with this Cargo.lock.
async fn prefetch(upstream: &Upstream, lockfile: &str, args: &[&str], settings: &str) -> Ended {
    let mut program = Program::serving(upstream, settings).file("Cargo.lock", lockfile);
    program = program.command("prefetch");
    for arg in args {
        program = program.arg(arg);
    }
    program.run().await
}

fn entry(name: &str, version: &str, source: &str, checksum: &str) -> String {
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\nchecksum = \"{checksum}\"\n\n"
    )
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[tokio::test]
async fn what_cargo_locks_is_read_with_its_checksums() {
    let upstream = a_registry().await;
    let deps = [("tree", "0.3"), ("Upper_Case", "2")];
    let text = locked(&upstream, &deps).await;
    let lockfile = Lockfile::parse(&text).expect("cargo's own Cargo.lock");
    let mut found: Vec<_> = lockfile.packages.iter().map(|p| p.id.to_string()).collect();
    found.sort();
    assert_eq!(
        found,
        ["Upper_Case 2.0.0+meta.1", "leaf 1.2.0", "tree 0.3.0"]
    );
    for package in &lockfile.packages {
        assert_eq!(package.source, PackageSource::CratesIo);
        let (name, version) = (package.id.name.as_str(), package.id.version.as_str());
        let file = upstream.crate_file(name, version);
        let expected = crate::support::sha256(&file);
        assert_eq!(package.sha256.map(|s| s.to_string()), Some(expected));
    }
    assert_eq!(lockfile.skipped.len(), 1, "the project itself");
}

#[tokio::test]
async fn all_that_a_lockfile_names_is_fetched_once() {
    let upstream = a_registry().await;
    let lockfile = locked(&upstream, &[("tree", "0.3"), ("Upper_Case", "2")]).await;
    let ended = prefetch(&upstream, &lockfile, &["Cargo.lock", "."], "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("3 fetched, 0 already here, 1 skipped, 0 missing"),
        "{ended:?}"
    );
    assert_eq!(upstream.crate_requests().len(), 3);
    // A cargo with nothing but this store builds from it.
    let store = ended.folder.path().join("cache");
    upstream.stop().await;
    let mirror = Mirror::of(&upstream).store(&store).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("tree", "0.3"), ("Upper_Case", "2")]);
    cargo.write("Cargo.lock", &lockfile);
    cargo.run(&["build", "--locked"]).await.success();
}

/// Served on, the wrong file would fail only when somebody builds, behind the air gap.
#[tokio::test]
async fn a_lockfile_at_odds_with_the_index_is_an_error_that_names_both_checksums() {
    let upstream = a_registry().await;
    let other = "ab".repeat(32);
    let lockfile = entry("leaf", "1.0.0", CRATES_IO, &other);
    let ended = prefetch(&upstream, &lockfile, &["Cargo.lock"], "").await;
    let actual = crate::support::sha256(&upstream.crate_file("leaf", "1.0.0"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in ["missing  leaf@1.0.0", &other, &actual, "Cargo.lock"] {
        assert!(ended.stdout.contains(words), "no {words} in {ended:?}");
    }
    assert!(upstream.crate_requests().is_empty());
}

#[tokio::test]
async fn what_is_of_no_registry_is_skipped_and_what_is_of_another_one_is_missing() {
    let upstream = a_registry().await;
    let inner = Upstream::new()
        .publish(Package::new("inner", "1.0.0"))
        .start()
        .await;
    let sha =
        |upstream: &Upstream, name| crate::support::sha256(&upstream.crate_file(name, "1.0.0"));
    let lockfile = [
        "[[package]]\nname = \"project\"\nversion = \"0.0.0\"\n\n".to_owned(),
        entry("leaf", "1.0.0", CRATES_IO, &sha(&upstream, "leaf")),
        entry("inner", "1.0.0", &format!("sparse+{}", inner.index_url()), &sha(&inner, "inner")),
        entry("far", "1.0.0", "sparse+https://u:secret@far.example/", &"ab".repeat(32)),
        entry("odd", "1.0.0", "carrier+pigeon", &"ab".repeat(32)),
        "[[package]]\nname = \"part\"\nversion = \"0.1.0\"\nsource = \"git+https://example.com/part#1a2b\"\n".to_owned(),
    ]
    .concat();
    // Without its last slash here, with it there.
    let index = inner.index_url();
    let settings = format!(
        "[registries.inner]\nindex = \"{}\"\n",
        index.trim_end_matches('/')
    );
    let ended = prefetch(&upstream, &lockfile, &["Cargo.lock"], &settings).await;
    assert_eq!(ended.code, Some(1), "a build lacks it: {ended:?}");
    for words in [
        "missing  far@1.0.0: https://far.example/ is no registry of this mirror (Cargo.lock)",
        "missing  odd@1.0.0: it can't be mirrored",
        "skipped  part@0.1.0: it comes from the git repository https://example.com/part",
        "2 fetched, 0 already here, 2 skipped, 2 missing",
    ] {
        assert!(ended.stdout.contains(words), "no {words:?} in {ended:?}");
    }
    assert!(!ended.stdout.contains("secret"));
    assert_eq!(
        (
            inner.crate_requests().len(),
            upstream.crate_requests().len()
        ),
        (1, 1)
    );
}

/// Who uses the mirror as a registry has its URL in the Cargo.lock, and may write a registry's with a password or in another program's way. `prefetch`
/// passed these over with exit code 0, where `check` and `export` knew them; with `0.0.0.0` none did.
#[tokio::test]
async fn whatever_url_of_a_registry_is_locked_all_commands_know_it() {
    let upstream = a_registry().await;
    let (host, path) = upstream
        .index_url()
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .map(|(host, path)| (host.to_owned(), path.to_owned()))
        .expect("a plain URL");
    let sum = crate::support::sha256(&upstream.crate_file("leaf", "1.0.0"));
    for (listen, source) in [
        (
            "127.0.0.1:8080",
            "sparse+http://127.0.0.1:8080/index/".to_owned(),
        ),
        (
            "127.0.0.1:8080",
            "sparse+http://localhost:8080/registries/crates-io/index/".to_owned(),
        ),
        (
            "0.0.0.0:8080",
            "sparse+http://127.0.0.1:8080/index/".to_owned(),
        ),
        (
            "[::]:8080",
            "registry+sparse+http://[::1]:8080/index/".to_owned(),
        ),
        (
            "127.0.0.1:8080",
            "sparse+https://crates.example/index/".to_owned(),
        ),
        ("127.0.0.1:8080", format!("sparse+http://{host}/{path}")),
        (
            "127.0.0.1:8080",
            format!("registry+sparse+http://me:mine@{host}/{path}"),
        ),
    ] {
        let settings = format!(
            "[server]\nlisten = \"{listen}\"\npublic_url = \"https://crates.example\"\n[registries.crates-io]\nindex = \"http://ci:secret@{host}/{path}\"\n"
        );
        // As an editor on Windows writes it.
        let lockfile = format!("\u{feff}{}", entry("leaf", "1.0.0", &source, &sum));
        let program = Program::new(&["prefetch", "Cargo.lock"]).settings(&settings);
        let mut ended = program.file("Cargo.lock", &lockfile).run().await;
        assert!(ended.stdout.contains("1 fetched"), "{source}: {ended:?}");
        for words in [
            "check Cargo.lock",
            "export Cargo.lock -o bundle.tar.zst",
            "prefetch --deps Cargo.lock",
        ] {
            let program = Program::new(&[]).words(words).in_folder(ended.folder);
            ended = program.with_cargo().run().await;
            assert_eq!(ended.code, Some(0), "{words} {source}: {ended:?}");
        }
    }
    assert_eq!(upstream.crate_requests().len(), 7, "once for each store");
}

/// A bundle without it would be carried across the gap for nothing.
#[tokio::test]
async fn an_export_lacks_what_is_of_another_registry() {
    let upstream = a_registry().await;
    let sum = crate::support::sha256(&upstream.crate_file("leaf", "1.0.0"));
    let ours = entry("leaf", "1.0.0", CRATES_IO, &sum);
    let ended = prefetch(&upstream, &ours, &["Cargo.lock"], "").await;
    let far = entry("far", "1.0.0", "sparse+https://far.example/", &sum);
    let program = Program::new(&["export", "Cargo.lock", "-o", "bundle.tar.zst"]);
    let program = program.in_folder(ended.folder);
    let ended = program.file("Cargo.lock", &(ours + &far)).run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = "missing  far@1.0.0: https://far.example/ is no registry of this mirror";
    assert!(ended.stderr.contains(words), "{ended:?}");
    assert!(ended.stdout.contains("1 missing"), "{ended:?}");
}

/// What a script gives by mistake is refused before anything is asked.
#[tokio::test]
async fn a_lockfile_that_is_none_is_named() {
    let upstream = a_registry().await;
    for (file, text, words) in [
        (
            "Cargo.lock",
            "<<<<<<< HEAD\n",
            &["Cargo.lock: ", "not a Cargo.lock at line 1"][..],
        ),
        (
            "Cargo.lock",
            "version = 9\n",
            &["Cargo.lock: ", "version 9"],
        ),
        (
            "list",
            "# ours\n\nleaf\nle af\n",
            &["list, line 4: ", "not a crate name"],
        ),
    ] {
        let program = Program::serving(&upstream, "")
            .file(file, text)
            .command("prefetch");
        program.arg(file).run().await.refused(words);
    }
    let program = Program::serving(&upstream, "")
        .command("prefetch")
        .arg("leaf");
    fs::create_dir(program.folder().join("leaf")).expect("a folder");
    let words = ["no Cargo.lock in the folder leaf", "written crates-io:leaf"];
    program.run().await.refused(&words);
    for (argument, words) in [
        ("missing/Cargo.lock", "no file or folder"),
        ("leaf@", "neither a version"),
        (".", "no Cargo.lock in the folder"),
    ] {
        let program = Program::serving(&upstream, "")
            .command("prefetch")
            .arg(argument);
        program.run().await.refused(&[words]);
    }
    assert!(upstream.requests().is_empty());
}
