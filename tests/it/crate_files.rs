//! Cargo can't tell it from crates.io: a version's file is the one that its index line names by checksum, and no other ever is.

use crate::support::{Cargo, Mirror, Package, Upstream};

fn crates_in(stored: &[String]) -> Vec<&String> {
    stored
        .iter()
        .filter(|path| path.ends_with(".crate"))
        .collect()
}

fn prints_version_of_meta(mirror: &Mirror) -> Cargo {
    let cargo = Cargo::new(&mirror.index_url()).project(&[("meta", "=1.0.0")]);
    let main = "fn main() { println!(\"meta {}\", meta::version()) }";
    cargo.write("src/main.rs", main);
    cargo
}

/// Cargo sends the `+` as it is; to a server that decodes forms it is a space.
#[tokio::test]
async fn versions_that_differ_only_in_build_metadata_are_different_files() {
    let plain = Package::new("meta", "1.0.0");
    let upstream = Upstream::new().publish(plain).start().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let before = prints_version_of_meta(&mirror);
    before
        .run(&["run"])
        .await
        .success()
        .stdout_contains("meta 1.0.0\n");

    upstream.publish(Package::new("meta", "1.0.0+1.1.0f"));
    upstream.publish(Package::new("meta", "1.0.0+1.1.0F").yanked(true));
    let after = prints_version_of_meta(&mirror);
    after
        .run(&["run"])
        .await
        .success()
        .stdout_contains("meta 1.0.0+1.1.0f\n");
    before.fresh_home();
    before
        .run(&["run", "--locked"])
        .await
        .success()
        .stdout_contains("meta 1.0.0\n");

    let mirror = mirror.restart().await;
    for version in ["1.0.0", "1.0.0+1.1.0f", "1.0.0+1.1.0F"] {
        let file = upstream.crate_file("meta", version);
        for written in [version.to_owned(), version.replace('+', "%2B")] {
            let reply = mirror
                .get(&format!("/api/v1/crates/meta/{written}/download"))
                .await;
            assert_eq!(reply.status, 200, "{written}");
            assert!(reply.body == file, "{written}: other bytes");
        }
    }
}

/// Index and file disagree: someone tampers with one of them, or upstream sends another file by mistake.
#[tokio::test]
async fn a_file_that_is_not_what_the_index_says_fails_with_the_mirrors_sentence_and_is_not_kept() {
    let wrong = "0123456789abcdef".repeat(4);
    let upstream = Upstream::new()
        .publish(Package::new("bad-cksum", "0.0.1").checksum(&wrong))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url())
        .env("CARGO_NET_RETRY", "0")
        .project(&[("bad-cksum", "0.0.1")]);

    let ran = cargo.run(&["fetch"]).await;
    ran.failure()
        .stderr_contains("sent a file for bad-cksum 0.0.1 whose checksum is")
        .stderr_contains(&format!(
            "not {wrong} as its index says; it is not passed on."
        ));
    let mirror = mirror.restart().await;
    assert!(
        crates_in(&mirror.stored()).is_empty(),
        "{:?}",
        mirror.stored()
    );
}

/// Cargo has the beginning of a file with several chunks before its checksum turns out to be wrong.
#[tokio::test]
async fn a_large_wrong_file_is_never_complete_for_cargo_and_not_kept() {
    let package = Package::new("large", "1.0.0").payload(2_000_000);
    let upstream = Upstream::new().publish(package).start().await;
    let lie = upstream.on_crate_files().corrupt();
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url())
        .env("CARGO_NET_RETRY", "0")
        .project(&[("large", "1")]);

    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_lacks("failed to verify the checksum");
    assert_eq!(lie.hits(), 1);
    let mirror = mirror.restart().await;
    assert!(
        crates_in(&mirror.stored()).is_empty(),
        "{:?}",
        mirror.stored()
    );

    lie.lift();
    let cargo = Cargo::new(&mirror.index_url()).project(&[("large", "1")]);
    cargo.run(&["fetch"]).await.success();
}
