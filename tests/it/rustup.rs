//! Real rustup, in a RUSTUP_HOME and CARGO_HOME of its own, through the mirror, against a fake distribution host.

use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Connection, Dist, Mirror,
    dist::{HOST, OTHER_TARGET},
    tools::has,
    until,
};

const DAY: &str = "2026-01-22";
const LATER: &str = "2026-03-05";

/// rustup on a machine where there is none yet.
struct Rustup {
    home: TempDir,
    base: String,
}

/// What a run of it came to.
struct Ran {
    code: i32,
    text: String,
}

impl Rustup {
    /// One that is pointed at this mirror by its two variables; none where rustup isn't installed.
    fn of(mirror: &Mirror) -> Option<Self> {
        Self::at(mirror.url())
    }

    fn at(url: &str) -> Option<Self> {
        has("rustup", "--version").then(|| Self {
            home: TempDir::new().expect("a folder"),
            base: format!("{url}/toolchains"),
        })
    }

    async fn run(&self, words: &str) -> Ran {
        let home = self.home.path();
        let child = Command::new("rustup")
            .args(words.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("RUSTUP_HOME", home.join("rustup"))
            .env("CARGO_HOME", home.join("cargo"))
            .env("RUSTUP_DIST_SERVER", &self.base)
            .env("RUSTUP_UPDATE_ROOT", format!("{}/rustup", self.base))
            .env("RUSTUP_MAX_RETRIES", "0")
            .env("RUSTUP_TERM_COLOR", "never")
            .current_dir(home)
            .stdin(Stdio::null())
            .output();
        let output = child.await.expect("rustup runs");
        let text = [output.stdout, output.stderr].concat();
        Ran {
            code: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    async fn good(&self, words: &str) -> String {
        let ran = self.run(words).await;
        assert_eq!(ran.code, 0, "rustup {words}: {}", ran.text);
        ran.text
    }

    fn toolchain(&self, name: &str) -> std::path::PathBuf {
        self.home
            .path()
            .join(format!("rustup/toolchains/{name}-{HOST}"))
    }

    fn version(&self, name: &str) -> String {
        let rustc = self.toolchain(name).join("bin/rustc");
        std::fs::read_to_string(rustc).expect("rustc is installed")
    }
}

const INSTALL: &str = "toolchain install stable --profile minimal --no-self-update";

impl Rustup {
    /// Installs what is stable, which is that version.
    async fn installs(&self, version: &str) {
        self.good(INSTALL).await;
        let installed = self.version("stable");
        assert!(
            installed.contains(&format!("rustc {version}")),
            "{installed}"
        );
    }
}

/// A distribution host with a release, a mirror of it, and rustup that has installed the release through that; none where rustup isn't installed.
async fn installed(settings: &str) -> Option<(Dist, Mirror, Rustup)> {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let mirror = dist.mirror(settings).start().await;
    let rustup = Rustup::of(&mirror)?;
    rustup.installs("1.93.0").await;
    until("stored", || mirror.stored().len() >= 5).await;
    Some((dist, mirror, rustup))
}

#[tokio::test]
async fn it_installs_updates_and_adds_components_and_targets() {
    // A busy machine may take longer over a manifest than a client has patience.
    let settings = "fresh_for = \"0s\"\n[freshness]\npatience = \"20s\"";
    let Some((dist, _mirror, rustup)) = installed(settings).await else {
        return;
    };
    assert_eq!((dist.count(".tar.xz"), dist.count(".tar.gz")), (3, 0));
    let checked = rustup.run("check --no-self-update").await;
    assert!(checked.text.contains("p to date"), "{}", checked.text);
    rustup.good("component add clippy").await;
    assert!(rustup.toolchain("stable").join("bin/cargo-clippy").exists());
    rustup.good(&format!("target add {OTHER_TARGET}")).await;
    let std = rustup
        .toolchain("stable")
        .join(format!("lib/rustlib/{OTHER_TARGET}/lib/libstd.rlib"));
    assert_eq!(
        std::fs::read_to_string(&std).expect("the target's"),
        "std 1.93.0"
    );
    dist.release("stable", "1.94.0", LATER);
    let checked = rustup.run("check --no-self-update").await;
    assert!(checked.text.contains("1.94.0"), "{}", checked.text);
    rustup.good("update --no-self-update").await;
    assert!(rustup.version("stable").contains("rustc 1.94.0"));
    assert_eq!(
        std::fs::read_to_string(&std).expect("the target's"),
        "std 1.94.0"
    );
    rustup
        .good("toolchain install 1.93.0 --profile minimal --no-self-update")
        .await;
    assert!(rustup.version("1.93.0").contains("rustc 1.93.0"));
}

/// What rustup is told in its own words: the checksum it computes is not the one in the manifest, or the answer breaks off.
#[tokio::test]
async fn it_installs_nothing_that_is_corrupt_and_everything_when_upstream_is_well_again() {
    let dist = Dist::start().await;
    let release = dist.large_release("stable", "1.93.0", DAY, 200_000);
    let mirror = dist
        .mirror("")
        .settings("[upstream]\nretries = 0")
        .start()
        .await;
    let Some(rustup) = Rustup::of(&mirror) else {
        return;
    };
    dist.on(&release.component("rustc")).corrupt();
    let ran = rustup.run(INSTALL).await;
    assert_ne!(ran.code, 0, "{}", ran.text);
    assert!(!rustup.toolchain("stable").join("bin/rustc").exists());
    dist.heal();
    // A circuit that has opened closes within seconds.
    let path = format!("/toolchains{}", release.component("rustc"));
    mirror
        .get_until(&path, |reply| reply.complete && reply.status == 200)
        .await;
    rustup.installs("1.93.0").await;
}

#[tokio::test]
async fn with_upstream_gone_it_installs_what_others_have_installed() {
    let Some((dist, mirror, _)) = installed("fresh_for = \"0s\"").await else {
        return;
    };
    dist.on_everything().fail(500);
    let mirror = mirror.restart().await;
    let other = Rustup::of(&mirror).expect("it was there a moment ago");
    other.installs("1.93.0").await;
}

/// A mirror that is stopped in mid-download leaves nothing half, and rustup goes on when it is back.
#[tokio::test]
async fn after_a_restart_in_mid_download_it_goes_on() {
    let dist = Dist::start().await;
    let release = dist.large_release("stable", "1.93.0", DAY, 3_000_000);
    let mirror = dist
        .mirror("")
        .server("shutdown_grace = \"0s\"")
        .start()
        .await;
    if Rustup::of(&mirror).is_none() {
        return;
    }
    let gate = dist.gate_after(&release.component("rustc"), 1_000_000);
    let url = format!("/toolchains{}", release.component("rustc"));
    let mut connection = Connection::open(mirror.addr()).await;
    connection.ask("GET", &url, &[]).await.expect("asked");
    gate.await_waiting(1).await;
    let mirror = mirror.restart().await;
    drop(connection);
    gate.open();
    dist.heal();
    let rustup = Rustup::of(&mirror).expect("it was there a moment ago");
    rustup.installs("1.93.0").await;
}

#[tokio::test]
async fn offline_it_installs_what_is_here_and_says_what_is_not() {
    let Some((dist, filled, _)) = installed("").await else {
        return;
    };
    let store = filled.store().to_owned();
    let offline = Mirror::of_index("http://127.0.0.1:1/index/")
        .settings("[offline]\nenabled = true\n[toolchains]\nenabled = true")
        .store(&store)
        .start()
        .await;
    dist.clear_log();
    let rustup = Rustup::of(&offline).expect("it was there a moment ago");
    rustup.installs("1.93.0").await;
    // By its number it was never asked for, and that manifest isn't here; its day's is.
    rustup
        .good(&format!(
            "toolchain install stable-{DAY} --profile minimal --no-self-update"
        ))
        .await;
    let ran = rustup.run("component add rust-src").await;
    assert_ne!(ran.code, 0, "{}", ran.text);
    let missing = offline
        .get("/toolchains/dist/channel-rust-nightly.toml")
        .await;
    assert_eq!(missing.status, 404);
    assert!(
        missing.text().contains("prefetch --toolchain"),
        "{}",
        missing.text()
    );
    let wanted = offline
        .get_until("/wanted", |reply| {
            reply.text().contains("toolchains:nightly")
        })
        .await;
    assert!(
        wanted
            .text()
            .contains(&format!("toolchains:{DAY}:rust-src-1.93.0.tar.xz")),
        "{}",
        wanted.text()
    );
    assert_eq!(dist.requests().len(), 0, "{:?}", dist.requests());
    drop(filled);
}

/// What `rustup self update` asks for, and the script that installs rustup where there is none.
#[tokio::test]
async fn rustup_itself_comes_from_here() {
    let dist = Dist::start().await;
    dist.rustup("99.0.0");
    dist.release("stable", "1.93.0", DAY);
    let mirror = dist.mirror("").start().await;
    let Some(rustup) = Rustup::of(&mirror) else {
        return;
    };
    rustup.good(INSTALL).await;
    let checked = rustup.run("check").await;
    assert!(checked.text.contains("99.0.0"), "{}", checked.text);
    let archive = format!("/toolchains/rustup/archive/99.0.0/{HOST}/rustup-init");
    let newest = format!("/toolchains/rustup/dist/{HOST}/rustup-init");
    for path in [archive, newest] {
        let init = mirror.get(&path).await;
        assert_eq!(
            init.text(),
            "#!/bin/sh\necho rustup-init 99.0.0\n",
            "{path}"
        );
        let sum = mirror.get(&format!("{path}.sha256")).await.text();
        assert!(
            sum.starts_with(&crate::support::sha256(&init.body)),
            "{sum}"
        );
    }
}

/// A token may stand in the URL, as user and password or in the path: rustup knows no other way to send one.
#[tokio::test]
async fn it_shows_a_token_that_is_for_toolchains() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let tokens = crate::support::TokenFile::new();
    let (good, other) = (
        tokens.grant("ci", None, &["toolchains"]),
        tokens.grant("other", None, &["crates-io"]),
    );
    let mirror = dist
        .mirror("")
        .settings(&tokens.settings("token_in_path = true"))
        .start()
        .await;
    let host = mirror
        .url()
        .strip_prefix("http://")
        .expect("plain")
        .to_owned();
    let Some(rustup) = Rustup::at(&format!("http://ci:{good}@{host}")) else {
        return;
    };
    rustup.good(INSTALL).await;
    let in_path = Rustup::at(&format!("http://{host}/t/{good}")).expect("rustup");
    in_path.good(INSTALL).await;
    for url in [
        format!("http://ci:{other}@{host}"),
        format!("http://{host}"),
    ] {
        let refused = Rustup::at(&url).expect("rustup").run(INSTALL).await;
        assert_ne!(refused.code, 0, "{}", refused.text);
    }
}
