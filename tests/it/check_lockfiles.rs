//! `check Cargo.lock`: before anyone builds it says, from the store alone, what a build without network would lack.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::support::{Ended, Package, Program, Upstream, index_path, sha256, stored::corrupt};

async fn a_registry() -> Upstream {
    Upstream::new()
        .publish(Package::new("leaf", "1.0.0"))
        .publish(Package::new("leaf", "1.2.0"))
        .publish(Package::new("tree", "0.3.0").dep("leaf", "1.0"))
        .start()
        .await
}

fn entry(name: &str, version: &str, checksum: &str) -> String {
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{checksum}\"\n\n"
    )
}

/// The Cargo.lock of a project that needs these, as upstream has them.
fn lockfile(upstream: &Upstream, packages: &[(&str, &str)]) -> String {
    let entry = |(name, version): &(&str, &str)| {
        entry(name, version, &sha256(&upstream.crate_file(name, version)))
    };
    packages.iter().map(entry).collect()
}

const ALL: &[(&str, &str)] = &[("leaf", "1.0.0"), ("leaf", "1.2.0"), ("tree", "0.3.0")];

/// A folder with a store that has all of it, two lockfiles, and an upstream that is gone.
async fn filled() -> (Upstream, Program) {
    let upstream = a_registry().await;
    let program = Program::serving(&upstream, "")
        .file("Cargo.lock", &lockfile(&upstream, ALL))
        .file("small.lock", &lockfile(&upstream, &ALL[..1]));
    let program = program.command("prefetch").arg("Cargo.lock");
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    upstream.clear_log();
    let program = Program::new(&["check", "Cargo.lock", "small.lock"]).in_folder(ended.folder);
    (upstream, program)
}

fn stored(upstream: &Upstream, name: &str, version: &str) -> PathBuf {
    let sum = sha256(&upstream.crate_file(name, version));
    let path = index_path(name);
    PathBuf::from(format!(
        "cache/crates-io/crates/{path}/{version}.{sum}.crate"
    ))
}

#[track_caller]
fn rows(ended: &Ended) -> Vec<Vec<&str>> {
    let lines = ended.stdout.lines();
    lines
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .collect()
        })
        .collect()
}

#[tokio::test]
async fn a_store_that_has_everything_passes_and_upstream_hears_nothing() {
    let (upstream, program) = filled().await;
    let ended = program.arg("--verify").run().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{ended:?}");
    assert!(
        ended.stderr.contains("all 3 packages are here"),
        "{ended:?}"
    );
    assert!(upstream.requests().is_empty());
}

/// A build that fetches from a git server fails where there is no network, whatever is stored.
#[tokio::test]
async fn what_comes_from_elsewhere_is_lacking_too() {
    let (upstream, program) = filled().await;
    let own = "[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n";
    let git = "[[package]]\nname = \"part\"\nversion = \"0.1.0\"\nsource = \"git+https://example.com/part#1a2b\"\n";
    let all = own.to_owned() + &lockfile(&upstream, ALL);
    let program = program
        .file("Cargo.lock", &all)
        .file("small.lock", &(all + git));
    let ended = program.run().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
    for words in [
        "not of this mirror  part@0.1.0: it comes from the git repository",
        "all 3 packages are here, and 1 comes from elsewhere\n",
    ] {
        assert_eq!(ended.stderr.matches(words).count(), 1, "{ended:?}");
    }
    let program = Program::new(&["check", "Cargo.lock"]).in_folder(ended.folder);
    let ended = program.run().await;
    assert_eq!(ended.code, Some(0), "its own parts are there: {ended:?}");
}

/// A check changes nothing in the store, and makes no running mirror look at it again.
#[tokio::test]
async fn a_check_changes_nothing() {
    let (_upstream, program) = filled().await;
    let store = program.folder().join("cache");
    let record = |name| store.join("crates-io/index").join(index_path(name));
    corrupt(&record("tree"));
    let lately = SystemTime::now() - Duration::from_secs(3 * 3600);
    let leaf = fs::File::open(record("leaf")).expect("a record");
    leaf.set_modified(lately).expect("made older");
    let state = || {
        let entries = walkdir::WalkDir::new(&store).sort_by_file_name();
        let entries = entries.into_iter().map(|entry| {
            let entry = entry.expect("an entry");
            let modified = entry.metadata().expect("its metadata").modified();
            (entry.into_path(), modified.expect("a time"))
        });
        entries.collect::<Vec<_>>()
    };
    let before = state();
    let ended = program.arg("--verify").run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let rows = rows(&ended);
    assert!(rows[0][1].contains("is corrupt"), "{ended:?}");
    assert_eq!((rows.len(), rows[0][0]), (1, "tree@0.3.0"), "{ended:?}");
    assert_eq!(state(), before);
}

#[tokio::test]
async fn an_empty_store_lacks_everything_and_upstream_hears_nothing() {
    let upstream = a_registry().await;
    let program = Program::serving(&upstream, "").file("Cargo.lock", &lockfile(&upstream, ALL));
    let program = program.command("check").arg(".");
    fs::create_dir(program.folder().join("cache")).expect("a store");
    let ended = program.run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let row = |what| vec![what, "its index file isn't here", "./Cargo.lock"];
    let all = ["leaf@1.0.0", "leaf@1.2.0", "tree@0.3.0"].map(row);
    assert_eq!(rows(&ended), all, "{ended:?}");
    assert!(
        ended.stderr.contains("3 of 3 packages are missing"),
        "{ended:?}"
    );
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn each_way_to_lack_something_is_named_with_who_needs_it() {
    let (upstream, program) = filled().await;
    let folder = program.folder().to_owned();
    let file = |name, version| folder.join(stored(&upstream, name, version));
    fs::remove_file(file("leaf", "1.0.0")).expect("a stored file");
    fs::write(file("tree", "0.3.0"), "").expect("a stored file");
    corrupt(&file("leaf", "1.2.0"));
    let ended = program.run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = [
        [
            "leaf@1.0.0",
            "its .crate file isn't here",
            "Cargo.lock, small.lock",
        ],
        ["tree@0.3.0", "its .crate file is empty", "Cargo.lock"],
    ];
    assert_eq!(rows(&ended), expected, "{ended:?}");

    let other = "ab".repeat(32);
    let program = Program::new(&["check", "odd.lock", "--verify"])
        .in_folder(ended.folder)
        .file(
            "odd.lock",
            &[
                entry("leaf", "9.0.0", &other),
                entry("leaf", "1.0.0", &other),
                entry(
                    "leaf",
                    "1.2.0",
                    &sha256(&upstream.crate_file("leaf", "1.2.0")),
                ),
            ]
            .concat(),
        );
    let ended = program.run().await;
    for (row, words) in rows(&ended).into_iter().zip([
        "the index file here doesn't list it",
        &format!("its checksum must be {other}, but the index file here says"),
        "its .crate file is bad: its checksum is",
    ]) {
        assert!(row[1].starts_with(words), "{words}: {ended:?}");
    }
    assert_eq!(rows(&ended).len(), 3, "{ended:?}");
    assert!(upstream.requests().is_empty());
}

/// The loop that closes an air gap: what the check lists is what prefetch takes.
#[tokio::test]
async fn the_first_column_is_what_prefetch_takes() {
    let (upstream, program) = filled().await;
    let lost = program.folder().join(stored(&upstream, "leaf", "1.0.0"));
    fs::remove_file(&lost).expect("a stored file");
    let ended = program.run().await;
    let list = ended
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next());
    let list = list.collect::<Vec<_>>().join("\n");
    let program = Program::new(&["prefetch", "-"])
        .in_folder(ended.folder)
        .input(&list);
    let ended = program.run().await;
    assert!(ended.stdout.contains("1 fetched"), "{ended:?}");
    let program = Program::new(&["check", "Cargo.lock"]).in_folder(ended.folder);
    assert_eq!(program.run().await.code, Some(0));
}

/// A misspelt `store.path` would otherwise look like a store from which everything is missing.
#[tokio::test]
async fn a_store_that_is_not_there_is_named_and_not_made() {
    let upstream = a_registry().await;
    let program = Program::serving(&upstream, "").file("Cargo.lock", "");
    let ended = program.command("check").arg("Cargo.lock").run().await;
    ended.refused(&["cache"]);
    assert!(!ended.folder.path().join("cache").exists());
}

#[tokio::test]
async fn only_lockfiles_and_folders_can_be_checked() {
    let upstream = a_registry().await;
    for (words, why) in [
        ("leaf", "no Cargo.lock"),
        ("gone.lock", "no file or folder"),
    ] {
        let program = Program::serving(&upstream, "")
            .command("check")
            .words(words);
        program.run().await.refused(&[why]);
    }
}
