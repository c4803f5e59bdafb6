//! The real crates.io: what was fetched from it once is served again without it. The only test that leaves this machine.

use std::env;

use crate::support::{Cargo, Mirror, Output, Upstream};

/// Set to `1` on machines without a way to crates.io.
const OFFLINE: &str = "CRATE_MIRROR_TEST_OFFLINE";

/// Three crates everybody uses, with as few others as they go with.
const PROJECT: &str = "[dependencies]\n\
    tokio = { version = \"1\", default-features = false }\n\
    serde = { version = \"1\", default-features = false }\n\
    clap = { version = \"4\", default-features = false, features = [\"std\"] }\n";

/// `cargo fetch` by a machine that has nothing; its lock file.
async fn fetch(mirror: &Mirror) -> (Output, String) {
    let cargo = Cargo::new(&mirror.index_url()).project_toml(PROJECT);
    let ran = cargo.run(&["fetch"]).await;
    ran.success()
        .stderr_lacks("spurious")
        .stderr_lacks("warning");
    let lockfile = cargo.lockfile();
    (ran, lockfile)
}

/// The names in cargo's `Downloaded NAME vVERSION` lines.
fn downloaded(ran: &Output) -> Vec<&str> {
    let lines = ran.stderr.lines();
    let mut names: Vec<_> = lines
        .filter_map(|line| line.trim_start().strip_prefix("Downloaded "))
        .filter(|rest| rest.contains(" v"))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn what_came_from_crates_io_once_is_served_again_without_it() {
    if env::var(OFFLINE).is_ok_and(|value| value == "1") {
        eprintln!("skipped: {OFFLINE}=1 says that crates.io can't be reached from here");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let online = Mirror::unconfigured().store(folder.path()).start().await;
    let (first, lockfile) = fetch(&online).await;
    for name in ["tokio", "serde", "clap"] {
        assert!(downloaded(&first).contains(&name), "no {name}, {first}");
    }
    online.stop().await;

    // A port where nobody listens and nobody else will. `0s`: every index file has to be asked for, and can't be.
    let closed = Upstream::new().start().await;
    closed.stop().await;
    let offline = Mirror::of(&closed)
        .store(folder.path())
        .settings("[freshness]\nfresh_for = \"0s\"")
        .start()
        .await;
    let (second, same_lockfile) = fetch(&offline).await;
    assert_eq!(downloaded(&second), downloaded(&first));
    assert_eq!(same_lockfile, lockfile);

    let asked = async |kind: &str| {
        let start = format!("crate_mirror_upstream_requests_total{{kind=\"{kind}\"");
        offline.metric(&start).await
    };
    assert!(asked("index").await > 0.0, "the index was not asked for");
    let stale = "crate_mirror_requests_total{outcome=\"stale\",route=\"index\"}";
    assert!(offline.metric(stale).await > 0.0, "nothing was stale");
    assert_eq!(asked("config").await + asked("crate").await, 0.0);
}
