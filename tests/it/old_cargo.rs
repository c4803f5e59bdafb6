//! Cargo of other times, for real: those whose libcurl breaks on the upgrade to HTTP/2 aren't upgraded, and fetch a hundred packages without a word.
//!
//! It runs only with `CRATE_MIRROR_TEST_OLD_CARGO=1`, because it wants other cargos: those whose paths `CRATE_MIRROR_TEST_CARGOS` lists, separated by
//! colons (`LD_LIBRARY_PATH` is passed on to them), or else the releases below, which rustup installs into a RUSTUP_HOME that goes with the test.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Cargo, Mirror, Output, Package, Upstream};

const RELEASES: [&str; 4] = ["1.68.2", "1.70.0", "1.72.1", "1.74.1"];
const PACKAGES: usize = 107;
/// How often each cargo fetches all of them. When it was upgraded, an old one failed at most of its tries, but not at each.
const RUNS: usize = 6;

#[tokio::test]
async fn cargo_of_any_age_fetches_without_trouble() {
    if env::var_os("CRATE_MIRROR_TEST_OLD_CARGO").is_none_or(|value| value != "1") {
        eprintln!("not asked for: CRATE_MIRROR_TEST_OLD_CARGO=1 runs other cargos");
        return;
    }
    let rustup_home = tempfile::tempdir().expect("a folder for rustup");
    let cargos: Vec<PathBuf> = match env::var_os("CRATE_MIRROR_TEST_CARGOS") {
        Some(paths) => env::split_paths(&paths).collect(),
        None => installed(rustup_home.path()),
    };
    assert!(!cargos.is_empty());
    let (upstream, names) = packages().await;
    let mut troubled = Vec::new();
    for server in ["h2c = \"always\"", "h2c = \"auto\""] {
        let mirror = Mirror::of(&upstream).server(server).start().await;
        for cargo in &cargos {
            let (mut spurious, mut failed, mut last) = (0, 0, None);
            for _ in 0..RUNS {
                let ran = fetch(cargo, &mirror, &names).await;
                let is_troubled = ["spurious", "warning", "checksum"]
                    .iter()
                    .any(|word| ran.stderr.contains(word));
                spurious += usize::from(is_troubled);
                failed += usize::from(!ran.status.success());
                if is_troubled || !ran.status.success() {
                    last = Some(ran);
                }
            }
            let http2 = "crate_mirror_requests_by_protocol_total{protocol=\"HTTP/2\"}";
            let http2 = mirror.metric(http2).await;
            println!(
                "{server}, {}: {spurious} of {RUNS} runs with warnings, {failed} failed; {http2} requests over HTTP/2 so far",
                version(cargo)
            );
            if server.contains("auto") {
                troubled.extend(last.map(|ran| format!("{}: {ran}", version(cargo))));
            } else if let Some(ran) = last {
                let warnings = ran.stderr.lines().filter(|line| {
                    line.contains("warning") || line.contains("error") || line.contains("curl")
                });
                warnings.take(3).for_each(|line| println!("    {line}"));
            }
        }
    }
    assert!(troubled.is_empty(), "{}", troubled.join("\n"));
}

/// Many packages of all sizes, none of which needs another, so that cargo asks for all of them together.
async fn packages() -> (Upstream, Vec<String>) {
    let names: Vec<_> = (0..PACKAGES).map(|n| format!("many-{n:03}")).collect();
    let sized = |n: usize| 1_000 + (n * n * 37) % 300_000;
    let all = names.iter().enumerate();
    let upstream = all.fold(Upstream::new(), |upstream, (n, name)| {
        upstream.publish(Package::new(name, "1.0.0").payload(sized(n)))
    });
    (upstream.start().await, names)
}

async fn fetch(cargo: &Path, mirror: &Mirror, names: &[String]) -> Output {
    let deps: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let mut project = Cargo::new(&mirror.index_url())
        .program(cargo)
        .project(&deps);
    if let Some(path) = env::var_os("LD_LIBRARY_PATH") {
        project = project.env("LD_LIBRARY_PATH", &path.to_string_lossy());
    }
    let rustc = cargo.with_file_name("rustc");
    if rustc.exists() {
        project = project.env("RUSTC", &rustc.to_string_lossy());
    }
    project.run(&["fetch"]).await
}

fn version(cargo: &Path) -> String {
    let output = Command::new(cargo).arg("-vV").output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = |key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .map(str::to_owned)
    };
    let told = [said("cargo "), said("libcurl: ")];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The cargos of [`RELEASES`].
fn installed(rustup_home: &Path) -> Vec<PathBuf> {
    let install = |release: &&str| {
        let installed = Command::new("rustup")
            .args([
                "toolchain",
                "install",
                "--no-self-update",
                "--profile",
                "minimal",
                release,
            ])
            .env("RUSTUP_HOME", rustup_home)
            .status();
        assert!(
            installed.is_ok_and(|status| status.success()),
            "rustup can't install {release}; CRATE_MIRROR_TEST_CARGOS may name cargos that are here"
        );
    };
    RELEASES.iter().for_each(install);
    let toolchains = std::fs::read_dir(rustup_home.join("toolchains")).expect("toolchains");
    toolchains
        .flatten()
        .map(|entry| entry.path().join("bin/cargo"))
        .collect()
}
