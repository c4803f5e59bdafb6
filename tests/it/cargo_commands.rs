//! Commands of cargo that look beyond index and downloads: those that work, and what cargo says of those that can't.

use crate::support::{Cargo, Mirror, Package, Upstream};

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .start()
        .await
}

/// A cargo that has what the mirror's page says to paste, and a project that could be published.
async fn as_pasted(mirror: &Mirror) -> Cargo {
    let page = mirror.get("/").await.text();
    let lines = page
        .lines()
        .filter(|line| line.starts_with('[') || line.contains(" = "));
    let settings: String = lines.flat_map(|line| [line, "\n"]).collect();
    let cargo = Cargo::unconfigured()
        .config(&settings)
        .env("CARGO_REGISTRIES_MIRROR_TOKEN", "token")
        .project_toml(
            "description = \"a project\"\nlicense = \"MIT\"\n[dependencies]\nserde = \"1\"\n",
        );
    cargo.run(&["generate-lockfile"]).await.success();
    cargo
}

/// Replaced by a mere source, `--registry mirror` used to be unknown to cargo: "registry index was not found in any configuration".
#[tokio::test]
async fn what_is_pasted_makes_the_mirror_a_registry_with_a_name() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = as_pasted(&mirror).await;
    let ran = cargo.run(&["info", "serde", "--registry", "mirror"]).await;
    ran.success().stdout_contains("version: 1.0.0");
    // Cargo.lock says that the packages are from crates.io.
    let lockfile = cargo.lockfile();
    assert!(
        lockfile.contains("registry+https://github.com/rust-lang/crates.io-index"),
        "{lockfile}"
    );
    assert!(!lockfile.contains("127.0.0.1"), "{lockfile}");
}

/// A registry may be called what crates.io's stand-in is usually called; two tables of one name are an error for cargo.
#[tokio::test]
async fn a_registry_named_mirror_leaves_that_name_to_itself() {
    let upstream = upstream().await;
    let other = "[registries.mirror]\nindex = \"http://127.0.0.1:1/\"";
    let mirror = Mirror::of(&upstream).settings(other).start().await;
    let cargo = as_pasted(&mirror).await;
    let ran = cargo
        .run(&["info", "serde", "--registry", "mirror-2"])
        .await;
    ran.success().stdout_contains("version: 1.0.0");
}
