//! Cargo can't tell it from crates.io: commands beside building work on a mirror, and those that can't say why.

use std::fs;

use crate::support::{Cargo, Mirror, Package, Upstream};

/// A tool that can be installed, with a dependency.
async fn a_tool() -> (Upstream, Mirror) {
    let main = "fn main() { println!(\"tool with part {}\", part::version()) }";
    let upstream = Upstream::new()
        .publish(Package::new("part", "1.0.0"))
        .publish(
            Package::new("tool", "2.0.0")
                .dep("part", "1")
                .file("src/main.rs", main),
        )
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    (upstream, mirror)
}

#[tokio::test]
async fn cargo_install_builds_a_tool() {
    let (_upstream, mirror) = a_tool().await;
    let cargo = Cargo::new(&mirror.index_url());
    let ran = cargo.run(&["install", "tool", "--root", "."]).await;
    ran.success()
        .stderr_contains("Installed package `tool v2.0.0`");
    let tool = cargo.project_dir().join("bin/tool");
    let output = std::process::Command::new(tool).output().expect("it runs");
    assert_eq!(output.stdout, b"tool with part 1.0.0\n");
}

#[tokio::test]
async fn cargo_vendor_fills_its_folder() {
    let (_upstream, mirror) = a_tool().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("tool", "2")]);
    let ran = cargo.run(&["vendor", "--respect-source-config"]).await;
    ran.success();
    for (name, line) in [
        ("part", "version = \"1.0.0\""),
        ("tool", "version = \"2.0.0\""),
    ] {
        let manifest = cargo
            .project_dir()
            .join("vendor")
            .join(name)
            .join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("a vendored manifest");
        assert!(manifest.contains(line), "{name}: {manifest}");
    }
}

/// `cargo add` finds the right spelling through the same variants, so a variant that isn't there must be a plain 404.
#[tokio::test]
async fn cargo_add_corrects_a_name() {
    let upstream = Upstream::new()
        .publish(Package::new("my-part", "1.2.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url());
    let ran = cargo.run(&["add", "my_part"]).await;
    ran.success()
        .stderr_contains("translating `my_part` to `my-part`");
    let manifest = fs::read_to_string(cargo.project_dir().join("Cargo.toml"));
    let manifest = manifest.expect("a manifest");
    assert!(manifest.contains("my-part = \"1.2.0\""), "{manifest}");
}

#[tokio::test]
async fn cargo_info_shows_a_crate() {
    let (_upstream, mirror) = a_tool().await;
    let cargo = Cargo::unconfigured().registry("mirror", &mirror.index_url());
    let ran = cargo.run(&["info", "tool", "--registry", "mirror"]).await;
    ran.success().stdout_contains("version: 2.0.0");
}

/// What changes something is done at the registry itself. Cargo prints the sentence that says so, and nothing of it goes upstream.
#[tokio::test]
async fn commands_that_change_something_say_where_that_is_done() {
    let (upstream, mirror) = a_tool().await;
    let cargo = Cargo::unconfigured()
        .registry("mirror", &mirror.index_url())
        .env("CARGO_REGISTRIES_MIRROR_TOKEN", "secret")
        .project_toml("license = \"MIT\"\ndescription = \"none\"\n");
    for words in [
        "publish --registry mirror --no-verify --allow-dirty",
        "yank --registry mirror tool@2.0.0",
        "yank --registry mirror --undo tool@2.0.0",
        "owner --registry mirror --list tool",
        "owner --registry mirror --add someone tool",
        "owner --registry mirror --remove someone tool",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let ran = cargo.run(&words).await;
        ran.failure()
            .stderr_contains("this is a read-only mirror of crates-io")
            .stderr_contains("--registry crates-io");
    }
    let asked = upstream.requests();
    assert!(asked.iter().all(|seen| seen.method == "GET"), "{asked:?}");
    assert!(upstream.crate_requests().is_empty(), "{asked:?}");
}
