//! Withdrawn versions: what was served once is served again to who asks for it by name, also when the index doesn't list it any more.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use crate::support::{Cargo, Mirror, Package, Reply, Upstream, sha256, until};

const PKG: &str = "/index/3/p/pkg";
const DOWNLOAD: &str = "/api/v1/crates/pkg/1.1.0/download";

async fn upstream() -> Upstream {
    let old = Package::new("pkg", "1.0.0");
    let new = Package::new("pkg", "1.1.0").payload(200_000);
    Upstream::new().publish(old).publish(new).start().await
}

#[track_caller]
fn assert_hit(reply: &Reply, file: &[u8], when: &str) {
    let seen = (reply.status, reply.header("x-cache"), reply.complete);
    assert_eq!(
        seen,
        (200, Some("hit"), true),
        "{when}: {:.200}",
        reply.text()
    );
    assert!(reply.body == file, "{when}: other bytes");
}

fn stored_crates(mirror: &Mirror) -> Vec<String> {
    let stored = mirror.stored().into_iter();
    stored.filter(|path| path.ends_with(".crate")).collect()
}

#[tokio::test]
async fn a_version_that_vanished_is_served_from_the_store() {
    let upstream = upstream().await;
    let file = upstream.crate_file("pkg", "1.1.0");
    // In memory, and too large for it.
    for settings in ["", "[memory]\nbudget = \"1MiB\""] {
        upstream.publish(Package::new("pkg", "1.1.0").payload(200_000));
        let mirror = Mirror::of(&upstream).always_asks().settings(settings);
        let mirror = mirror.start().await;
        assert!(mirror.get(DOWNLOAD).await.body == file);
        until("stored", || stored_crates(&mirror).len() == 1).await;
        upstream.delete_version("pkg", "1.1.0");
        assert_eq!(mirror.get(PKG).await.text(), upstream.index_file("pkg"));
        assert_hit(&mirror.get(DOWNLOAD).await, &file, "vanished");
        let mirror = mirror.restart().await;
        assert_hit(&mirror.get(DOWNLOAD).await, &file, "after a restart");
        upstream.stop().await;
        assert_hit(&mirror.get(DOWNLOAD).await, &file, "in an outage");
        // Not another version, nor another crate.
        for other in [
            "pkg/1.1.1",
            "pkg/1.1.0-rc",
            "pkg/1.1.0+1",
            "pk/1.1.0",
            "Pkg/1.1.0",
        ] {
            let reply = mirror
                .get(&format!("/api/v1/crates/{other}/download"))
                .await;
            assert_ne!(reply.status, 200, "{other}");
        }
        upstream.restart().await;
    }
}

/// Cargo asks for the index of what a lock file names only if it doesn't know it.
#[tokio::test]
async fn cargo_gets_what_its_lock_file_names_though_the_version_vanished() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("pkg", "1")]);
    cargo.run(&["fetch"]).await.success();
    upstream.delete_version("pkg", "1.1.0");
    assert_eq!(mirror.get(PKG).await.text(), upstream.index_file("pkg"));
    for kept in ["registry/cache", "registry/src"] {
        fs::remove_dir_all(cargo.home().join(kept)).expect("cargo's own copies");
    }
    cargo.run(&["fetch", "--locked"]).await.success();
}

/// Whoever has a checksum has it from the index as it was last, so that it is that file he was given and wants.
#[tokio::test]
async fn of_a_version_published_twice_the_file_used_last_is_served() {
    let upstream = upstream().await;
    let again = Package::new("pkg", "1.1.0").file("src/lib.rs", "// Another one.");
    // Content that came back changed is handed out only if a rule names it.
    let rule = format!(
        "[[policy.rules]]\ncrates = [\"pkg\"]\naction = \"allow\"\nsha256 = \"{}\"",
        sha256(&again.crate_file())
    );
    let mirror = Mirror::of(&upstream).always_asks().settings(&rule);
    let mirror = mirror.start().await;
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
    until("stored", || stored_crates(&mirror).len() == 1).await;
    let first = mirror.store().join(&stored_crates(&mirror)[0]);
    upstream.publish(again);
    let second = upstream.crate_file("pkg", "1.1.0");
    assert_eq!(mirror.get(PKG).await.text(), upstream.index_file("pkg"));
    assert!(mirror.get(DOWNLOAD).await.body == second);
    until("stored", || stored_crates(&mirror).len() == 2).await;
    let file = File::options()
        .append(true)
        .open(&first)
        .expect("the first");
    let earlier = SystemTime::now() - Duration::from_secs(600);
    file.set_modified(earlier).expect("its age");
    upstream.delete_version("pkg", "1.1.0");
    assert_eq!(mirror.get(PKG).await.text(), upstream.index_file("pkg"));
    let mirror = mirror.restart().await;
    assert_hit(&mirror.get(DOWNLOAD).await, &second, "the second");
    // If that one is no good, there is still the first.
    let bad = stored_crates(&mirror)
        .into_iter()
        .find(|path| path.contains(&sha256(&second)));
    let bad = mirror.store().join(bad.expect("the second"));
    fs::write(&bad, "rubbish").expect("write");
    // What was written a moment ago isn't dropped: somebody may be at it.
    let file = File::options().append(true).open(&bad).expect("the second");
    file.set_modified(earlier + Duration::from_secs(60))
        .expect("its age");
    let mirror = mirror.restart().await;
    let reply = mirror.get(DOWNLOAD).await;
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(stored_crates(&mirror).len(), 1, "the bad one is dropped");
}

/// Paths fold case: the file of a version that is listed must not be passed off as that of one that isn't.
#[tokio::test]
async fn the_file_of_a_listed_version_is_not_served_for_one_that_differs_in_case() {
    let listed = Package::new("pkg", "1.1.0-rc");
    let upstream = Upstream::new().publish(listed).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let path = |version| format!("/api/v1/crates/pkg/{version}/download");
    assert_eq!(mirror.get(&path("1.1.0-rc")).await.status, 200);
    until("stored", || stored_crates(&mirror).len() == 1).await;
    assert_eq!(mirror.get(&path("1.1.0-RC")).await.status, 404);
}
