//! Cargo can't tell it from crates.io: commands beside building work on a mirror, and those that can't say why.

use std::fs;

use crate::support::{Cargo, Mirror, Output, Package, Upstream};

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

/// One cargo command that talks to the web API of the mirror as a registry named `mirror`.
async fn at_the_web_api(mirror: &Mirror, manifest: &str, args: &[&str]) -> Output {
    let cargo = Cargo::unconfigured()
        .registry("mirror", &mirror.index_url())
        .env("CARGO_REGISTRIES_MIRROR_TOKEN", "secret")
        .env("CARGO_NET_RETRY", "0")
        .project_toml(manifest);
    // Large, so that the answer comes while cargo is still uploading; it must reach cargo all the same.
    let noise: String = (0..800_000u32)
        .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    cargo.write("noise.txt", &noise);
    cargo.run(args).await
}

#[tokio::test]
async fn publishing_to_the_mirror_fails_with_its_sentence() {
    let (upstream, mirror) = a_tool().await;
    let manifest = "license = \"MIT\"\ndescription = \"none\"\n";
    let publish = [
        "publish",
        "--registry",
        "mirror",
        "--no-verify",
        "--allow-dirty",
    ];
    let ran = at_the_web_api(&mirror, manifest, &publish).await;
    ran.failure()
        .stderr_contains("Uploading project v0.0.0")
        .stderr_contains(
            "the remote server responded with an error (status 405 Method Not Allowed)",
        )
        .stderr_contains("this is a read-only mirror");
    assert!(upstream.requests().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn yanking_and_owning_through_the_mirror_fail_with_its_sentence() {
    let (upstream, mirror) = a_tool().await;
    for args in [
        &["yank", "--registry", "mirror", "tool@2.0.0"][..],
        &["yank", "--registry", "mirror", "--undo", "tool@2.0.0"],
        &["owner", "--registry", "mirror", "--add", "someone", "tool"],
        &[
            "owner",
            "--registry",
            "mirror",
            "--remove",
            "someone",
            "tool",
        ],
    ] {
        let ran = at_the_web_api(&mirror, "", args).await;
        ran.failure()
            .stderr_contains("status 405 Method Not Allowed")
            .stderr_contains("this is a read-only mirror");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test]
async fn searching_the_mirror_fails_with_its_sentence() {
    let (_upstream, mirror) = a_tool().await;
    let search = ["search", "--registry", "mirror", "tool"];
    let ran = at_the_web_api(&mirror, "", &search).await;
    ran.failure()
        .stderr_contains("the remote server responded with an error (status 404 Not Found)")
        .stderr_contains("for search and everything else of the web API ask the registry itself");
}
