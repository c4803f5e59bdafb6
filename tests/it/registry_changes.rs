//! Cargo can't tell it from crates.io: what is published, yanked and deleted there is so here, and a lock file keeps working.

use crate::support::{Cargo, Mirror, Package, Upstream, sha256};

/// Versions 1.0.0 and 1.1.0 of `pkg`, and a mirror that asks for the index file every time.
async fn two_versions() -> (Upstream, Mirror) {
    let upstream = Upstream::new()
        .publish(Package::new("pkg", "1.0.0"))
        .publish(Package::new("pkg", "1.1.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    (upstream, mirror)
}

/// A project that prints the version of `pkg`.
fn project(mirror: &Mirror) -> Cargo {
    let cargo = Cargo::new(&mirror.index_url()).project(&[("pkg", "1")]);
    cargo.write(
        "src/main.rs",
        "fn main() { println!(\"pkg {}\", pkg::version()) }",
    );
    cargo
}

/// Resolves anew, with nothing that cargo kept.
async fn resolves_to(cargo: &Cargo, version: &str) {
    cargo.fresh_home();
    cargo.remove_lockfile();
    cargo.run(&["fetch"]).await.success();
    let wanted = format!("name = \"pkg\"\nversion = \"{version}\"\n");
    let lockfile = cargo.lockfile();
    assert!(lockfile.contains(&wanted), "not {version}: {lockfile}");
}

#[tokio::test]
async fn a_yanked_version_is_not_picked() {
    let upstream = Upstream::new()
        .publish(Package::new("pkg", "1.0.0"))
        .publish(Package::new("pkg", "1.1.0").yanked(true))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = project(&mirror);
    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("pkg 1.0.0");

    let cargo = project(&mirror).project(&[("pkg", "=1.1.0")]);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_contains("version 1.1.0 is yanked");
}

#[tokio::test]
async fn a_lock_file_that_names_a_yanked_version_still_builds() {
    let (upstream, mirror) = two_versions().await;
    let cargo = project(&mirror);
    cargo.run(&["generate-lockfile"]).await.success();

    upstream.yank("pkg", "1.1.0");
    let ran = cargo.run(&["run", "--locked"]).await;
    ran.success().stdout_contains("pkg 1.1.0");
}

#[tokio::test]
async fn a_new_version_is_there_with_the_next_update() {
    let (upstream, mirror) = two_versions().await;
    let cargo = project(&mirror);
    cargo.run(&["fetch"]).await.success();

    upstream.publish(Package::new("pkg", "1.2.0").dep("new_dep", "1"));
    upstream.publish(Package::new("new_dep", "1.0.0"));
    let ran = cargo.run(&["update"]).await;
    ran.success()
        .stderr_contains("Updating pkg v1.1.0 -> v1.2.0")
        .stderr_contains("Adding new_dep v1.0.0");
    let ran = cargo.run(&["run", "--locked"]).await;
    ran.success().stdout_contains("pkg 1.2.0");
}

/// The way of a new crate: built against before it was there, so remembered as absent, then published.
#[tokio::test]
async fn a_new_crate_is_there_with_the_next_update() {
    let upstream = Upstream::new().start().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let cargo = project(&mirror);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure()
        .stderr_contains("no matching package named `pkg` found");

    upstream.publish(Package::new("pkg", "1.0.0"));
    cargo.run(&["fetch"]).await.success();
}

#[tokio::test]
async fn a_yank_and_its_undoing_are_seen() {
    let (upstream, mirror) = two_versions().await;
    let cargo = project(&mirror);
    cargo.run(&["generate-lockfile"]).await.success();
    resolves_to(&cargo, "1.1.0").await;
    upstream.yank("pkg", "1.1.0");
    resolves_to(&cargo, "1.0.0").await;
    upstream.unyank("pkg", "1.1.0");
    resolves_to(&cargo, "1.1.0").await;
}

#[tokio::test]
async fn a_version_that_was_deleted_is_not_picked_any_more() {
    let (upstream, mirror) = two_versions().await;
    let cargo = project(&mirror);
    cargo.run(&["fetch"]).await.success();

    upstream.delete_version("pkg", "1.1.0");
    resolves_to(&cargo, "1.0.0").await;
    assert_eq!(
        mirror.get("/index/3/p/pkg").await.text(),
        upstream.index_file("pkg")
    );
}

#[tokio::test]
async fn a_crate_that_was_deleted_is_not_found_until_it_returns() {
    let (upstream, mirror) = two_versions().await;
    let cargo = project(&mirror);
    cargo.run(&["fetch"]).await.success();

    upstream.delete("pkg");
    cargo.remove_lockfile();
    let ran = cargo.run(&["fetch"]).await;
    ran.failure()
        .stderr_contains("no matching package named `pkg` found");

    upstream.publish(Package::new("pkg", "1.0.5"));
    cargo.run(&["fetch"]).await.success();
    resolves_to(&cargo, "1.0.5").await;
}

/// crates.io allows a deleted version to be published again with other content. A mirror that keys files by name and version alone hands out the
/// old file, which cargo refuses. Here it is that content, once a rule names it.
#[tokio::test]
async fn a_version_that_returns_with_other_content_is_that_content() {
    let other = "pub fn version() -> &'static str { \"another\" }";
    let other = Package::new("pkg", "1.1.0").file("src/lib.rs", other);
    let (upstream, _) = two_versions().await;
    let rule = format!(
        "[[policy.rules]]\ncrates = [\"pkg\"]\naction = \"allow\"\nsha256 = \"{}\"",
        sha256(&other.crate_file())
    );
    let mirror = Mirror::of(&upstream).always_asks().settings(&rule);
    let mirror = mirror.start().await;
    let cargo = project(&mirror);
    cargo.run(&["fetch"]).await.success();

    upstream.publish(other);
    cargo.fresh_home();
    let ran = cargo.run(&["run", "--locked"]).await;
    ran.failure()
        .stderr_contains("checksum for `pkg v1.1.0` changed between lock files");

    resolves_to(&cargo, "1.1.0").await;
    let ran = cargo.run(&["run"]).await;
    ran.success().stdout_contains("pkg another");
    let mirror = mirror.restart().await;
    let reply = mirror.get("/api/v1/crates/pkg/1.1.0/download").await;
    assert!(
        reply.body == upstream.crate_file("pkg", "1.1.0"),
        "other bytes"
    );
}

/// An updated index file must reach a cargo that asks with the ETag it was given for the one before, whoever told the mirror.
#[tokio::test]
async fn two_projects_see_the_same_change() {
    let (upstream, mirror) = two_versions().await;
    let (one, other) = (project(&mirror), project(&mirror));
    for cargo in [&one, &other] {
        cargo.run(&["fetch"]).await.success();
    }
    upstream.publish(Package::new("pkg", "1.2.0"));
    for cargo in [&one, &other] {
        let ran = cargo.run(&["update"]).await;
        ran.success()
            .stderr_contains("Updating pkg v1.1.0 -> v1.2.0");
    }
    let files = upstream.crate_requests();
    assert_eq!(files.len(), 1, "{files:?}");
}

/// Cargo asks with the ETag the mirror gave it, the mirror with the one the registry gave it.
#[tokio::test]
async fn an_update_without_news_transfers_nothing() {
    let (upstream, mirror) = two_versions().await;
    let cargo = project(&mirror);
    cargo.run(&["fetch"]).await.success();
    let lockfile = cargo.lockfile();

    upstream.clear_log();
    let cargo = cargo
        .env("CARGO_HTTP_DEBUG", "true")
        .env("CARGO_LOG", "network=debug");
    let ran = cargo.run(&["update"]).await;
    ran.success().stderr_contains("HTTP/2 304");
    let statuses: Vec<_> = upstream.requests().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [Some(304)]);
    assert_eq!(cargo.lockfile(), lockfile);
}
