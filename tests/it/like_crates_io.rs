//! Cargo can't tell it from crates.io: what cargo makes of names and versions is what it makes of the registry itself.
//!
//! The cases are those of cargo's own test suite that a server in between could spoil. Files and their checksums are in `crate_files.rs`, what
//! changes at the registry in `registry_changes.rs`, what stands in its index lines in `index_lines.rs`, commands beside building in
//! `other_commands.rs`.

use crate::support::{Cargo, Mirror, Package, Seen, Upstream, index_path};

/// A project that prints the version of its one dependency `name`.
fn prints_version_of(cargo: Cargo, name: &str, req: &str) -> Cargo {
    let cargo = cargo.project(&[(name, req)]);
    let module = name.replace('-', "_");
    let main = format!("fn main() {{ println!(\"{name} {{}}\", {module}::version()) }}");
    cargo.write("src/main.rs", &main);
    cargo
}

/// The paths that were asked for, each as often as it was, sorted.
fn paths(seen: &[Seen]) -> Vec<&str> {
    let mut paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

#[tokio::test]
async fn a_dependency_is_fetched_and_built() {
    let package = Package::new("simple", "1.2.3");
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = prints_version_of(Cargo::new(&mirror.index_url()), "simple", "1");

    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("simple 1.2.3");
    ran.stderr_contains("Downloaded simple v1.2.3")
        .stderr_lacks("warning");
    let lockfile = cargo.lockfile();
    assert!(
        lockfile.contains("registry+https://github.com/rust-lang/crates.io-index"),
        "the lock file must do without the mirror: {lockfile}"
    );

    upstream.clear_log();
    cargo.fresh_home();
    cargo.run(&["run", "--locked"]).await.success();
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test]
async fn dependencies_of_dependencies_are_fetched_too_and_nothing_else() {
    let upstream = Upstream::new()
        .publish(Package::new("top", "1.0.0").dep("middle", "1"))
        .publish(Package::new("middle", "1.0.0").dep("bottom", "1"))
        .publish(Package::new("middle", "2.0.0"))
        .publish(
            Package::new("bottom", "1.0.0")
                .dev_dep("only_for_tests", "1")
                .optional_dep("only_on_demand", "1"),
        )
        .publish(Package::new("only_for_tests", "1.0.0"))
        .publish(Package::new("only_on_demand", "1.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = prints_version_of(Cargo::new(&mirror.index_url()), "top", "1");

    cargo
        .run(&["run"])
        .await
        .success()
        .stdout_contains("top 1.0.0");
    let wanted = ["bottom", "middle", "top"].map(|name| upstream.crate_path(name, "1.0.0"));
    assert_eq!(paths(&upstream.crate_requests()), wanted);
}

/// All four shapes of index path, neighbours in one folder, capitals, and names that are words of the mirror's own paths.
#[tokio::test]
async fn a_crate_of_any_name_is_found() {
    let longest = format!("long_{}", "x".repeat(59));
    let names = [
        "a",
        "ab",
        "abc",
        "abcd",
        "abcde",
        "Mixed-Case_name",
        "index",
        "crates",
        "download",
        "config",
        &longest,
    ];
    let builder = names.iter().fold(Upstream::new(), |upstream, name| {
        upstream.publish(Package::new(name, "1.0.0"))
    });
    let upstream = builder.start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let deps = names.map(|name| (name, "1"));
    let cargo = Cargo::new(&mirror.index_url()).project(&deps);

    cargo
        .run(&["fetch"])
        .await
        .success()
        .stderr_lacks("warning");
    assert_eq!(upstream.crate_requests().len(), names.len());
    for name in names {
        let index = mirror.get(&format!("/index/{}", index_path(name))).await;
        assert_eq!(index.text(), upstream.index_file(name));
        let file = mirror
            .get(&format!("/api/v1/crates/{name}/1.0.0/download"))
            .await;
        assert!(
            file.body == upstream.crate_file(name, "1.0.0"),
            "{name}: other bytes"
        );
    }
}

#[tokio::test]
async fn a_crate_that_does_not_exist_is_not_found_by_its_name() {
    let upstream = Upstream::new().start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("nonexistent", ">=0.0.0")]);

    cargo
        .run(&["fetch"])
        .await
        .failure()
        .stderr_contains("no matching package named `nonexistent` found")
        .stderr_lacks("spurious");
}

/// The index path of `Init` is that of `init`; cargo compares the name within, and suggests it.
#[tokio::test]
async fn a_name_in_the_wrong_case_brings_cargos_suggestion() {
    let package = Package::new("init", "0.0.1");
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("Init", ">=0.0.0")]);

    cargo
        .run(&["fetch"])
        .await
        .failure()
        .stderr_contains("searched package name: `Init`")
        .stderr_contains("perhaps you meant:      init");
    assert!(upstream.crate_requests().is_empty());
}

#[tokio::test]
async fn a_mis_hyphenated_name_brings_cargos_suggestion() {
    let package = Package::new("mis-hyphenated", "0.0.1");
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("mis_hyphenated", ">=0.0.0")]);

    cargo
        .run(&["fetch"])
        .await
        .failure()
        .stderr_contains("searched package name: `mis_hyphenated`")
        .stderr_contains("perhaps you meant:      mis-hyphenated");
}

/// A typo in a popular project would otherwise cost crates.io three requests for every build of it.
#[tokio::test]
async fn the_spellings_cargo_tries_of_a_missing_name_are_remembered_as_absent() {
    let upstream = Upstream::new().start().await;
    let hour = "[freshness]\nabsent_for = \"1h\"";
    let mirror = Mirror::of(&upstream).settings(hour).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("a-b_c", "1")]);

    let not_found = "no matching package named `a-b_c` found";
    let first = cargo.run(&["fetch"]).await;
    first.failure().stderr_contains(not_found);
    let spellings = [
        "/index/a-/b-/a-b-c",
        "/index/a-/b_/a-b_c",
        "/index/a_/b_/a_b_c",
    ];
    assert_eq!(paths(&upstream.index_requests()), spellings);

    cargo.fresh_home();
    let second = cargo.run(&["fetch"]).await;
    second.failure().stderr_contains(not_found);
    assert_eq!(paths(&upstream.index_requests()), spellings);
}

#[tokio::test]
async fn a_requirement_that_no_version_meets_lists_those_there_are() {
    let upstream = Upstream::new()
        .publish(Package::new("few", "0.0.1"))
        .publish(Package::new("few", "0.0.2"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("few", ">=1.0.0")]);

    cargo
        .run(&["fetch"])
        .await
        .failure()
        .stderr_contains("failed to select a version for the requirement `few = \">=1.0.0\"`")
        .stderr_contains("candidate versions found which didn't match: 0.0.2, 0.0.1");
}
