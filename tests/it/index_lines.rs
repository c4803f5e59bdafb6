//! Cargo can't tell it from crates.io: index lines reach it byte for byte, also those that this mirror, or this cargo, can't read.

use serde_json::json;

use crate::support::{Cargo, Mirror, Package, Upstream};

/// What a registry may write now or later, in one index file.
async fn odd_lines() -> Upstream {
    let odd = [
        // A line that isn't JSON, one without a checksum, one whose version is no version.
        "this is not JSON at all".to_owned(),
        r#"{"name":"odd","vers":"1.0.1","deps":"nonsense"}"#.to_owned(),
        Package::new("odd", "1.0.2").index_line().replace("1.0.2", "one.two"),
        // Spaces, escapes, numbers that aren't integers, fields in an unusual order.
        r#"{ "v" : 1e0, "yanked":false,"vers":"1.0.3" , "cksum":"<", "name":"\u006fdd", "price": 1.50 }"#
            .replace('<', &"ab".repeat(32)),
        String::new(),
    ];
    let lines = odd.join("\r\n");
    Upstream::new()
        .publish(
            Package::new("odd", "1.0.0")
                .field("zebra", json!({"b": [1.5e300, null], "a": "ä \u{1f980}"})),
        )
        .publish(Package::new("odd", "1.0.1").raw_line(&lines))
        .publish(
            Package::new("odd", "1.1.0")
                .rust_version("1.56")
                .pubtime("2024-02-03T04:05:06Z"),
        )
        .start()
        .await
}

#[tokio::test]
async fn every_byte_of_an_index_file_is_passed_on() {
    let upstream = odd_lines().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gzip = [("accept-encoding", "deflate, gzip")];
    let sent = upstream.index_file("odd");
    for _ in ["from upstream", "from memory"] {
        assert_eq!(mirror.get("/index/3/o/odd").await.text(), sent);
        let reply = mirror.get_with("/index/3/o/odd", &gzip).await;
        assert_eq!(reply.decoded(), sent.as_bytes());
    }
    let mirror = mirror.restart().await;
    assert_eq!(mirror.get("/index/3/o/odd").await.text(), sent);
    assert_eq!(upstream.index_requests().len(), 1);
}

/// Compressed on its way here, without its last line feed, without validators: what corporate registries send.
#[tokio::test]
async fn a_reencoded_index_file_is_passed_on_as_it_reads() {
    let upstream = Upstream::new()
        .publish(Package::new("odd", "1.0.0"))
        .publish(Package::new("odd", "1.1.0"))
        .no_validators()
        .chunked()
        .gzip()
        .start()
        .await;
    let sent = upstream.index_file("odd");
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_eq!(mirror.get("/index/3/o/odd").await.text(), sent);

    let cut = sent.trim_end();
    let plain = [("content-type", "text/plain")];
    upstream
        .on_index_files()
        .fail_with(200, &plain, cut.to_owned());
    assert_eq!(mirror.get("/index/3/o/odd").await.text(), cut);
    let cargo = Cargo::new(&mirror.index_url()).project(&[("odd", "1.1")]);
    cargo.run(&["fetch"]).await.success();
}

#[tokio::test]
async fn lines_that_cannot_be_read_hide_no_others_from_cargo() {
    let upstream = odd_lines().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url())
        .project_toml("[dependencies]\nolder = { package = \"odd\", version = \"=1.0.0\" }\n");
    cargo
        .run(&["fetch"])
        .await
        .success()
        .stderr_lacks("warning");
    let cargo = Cargo::new(&mirror.index_url()).project(&[("odd", "1.1")]);
    cargo
        .run(&["fetch"])
        .await
        .success()
        .stderr_lacks("warning");
}

/// Whether a line's format is too new is for cargo to say, which also says which version of cargo would do.
#[tokio::test]
async fn a_version_in_a_later_format_is_cargos_to_ignore() {
    let upstream = Upstream::new()
        .publish(Package::new("later", "1.0.0"))
        .publish(Package::new("later", "1.1.0").v(99))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("later", "1")]);
    cargo.run(&["fetch"]).await.success();
    assert!(cargo.lockfile().contains("version = \"1.0.0\""));

    let cargo = cargo.project(&[("later", "1.1")]);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure()
        .stderr_contains("version 1.1.0 requires a Cargo version that supports index version 99");
}

/// Cargo's resolver goes by `rust_version`, which another mirror lost.
#[tokio::test]
async fn the_resolver_sees_the_rust_version_that_a_version_needs() {
    let upstream = Upstream::new()
        .publish(Package::new("msrv", "1.0.0").rust_version("1.60"))
        .publish(Package::new("msrv", "1.1.0").rust_version("1.80"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let fallback = "[resolver]\nincompatible-rust-versions = \"fallback\"\n";
    let old = "rust-version = \"1.70\"\n[dependencies]\nmsrv = \"1\"\n";
    let cargo = Cargo::new(&mirror.index_url())
        .config(fallback)
        .project_toml(old);
    cargo.run(&["fetch"]).await.success();
    assert!(cargo.lockfile().contains("version = \"1.0.0\""));

    let new = old.replace("1.70", "1.81");
    let cargo = Cargo::new(&mirror.index_url())
        .config(fallback)
        .project_toml(&new);
    cargo.run(&["fetch"]).await.success();
    assert!(cargo.lockfile().contains("version = \"1.1.0\""));
}

/// `features2` exists because older cargos choke on `dep:`; whoever rebuilds lines from the fields they know loses it.
#[tokio::test]
async fn features_of_both_kinds_and_renamed_dependencies_arrive() {
    let renamed = Package::new("user", "1.0.0")
        .optional_dep("hidden", "1")
        .feature("on", &["dep:hidden"])
        .feature("more", &["on", "hidden?/extra"]);
    let upstream = Upstream::new()
        .publish(renamed)
        .publish(Package::new("hidden", "1.0.0").feature("extra", &[]))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let without = Cargo::new(&mirror.index_url()).project(&[("user", "1")]);
    without.run(&["check"]).await.success();
    assert!(!without.lockfile().contains("hidden"));

    let with = Cargo::new(&mirror.index_url()).project_toml(
        "[dependencies]\nother_name = { package = \"user\", version = \"1\", features = [\"more\"] }\n",
    );
    let tree = with.run(&["tree", "-e", "features"]).await;
    tree.success().stdout_contains("hidden feature \"extra\"");
    with.run(&["check"]).await.success();
}

/// Of two lines for one version cargo takes the later one. The checksum of the other would make a good file look forged.
#[tokio::test]
async fn of_two_lines_for_a_version_the_later_one_counts() {
    let twice = Package::new("twice", "1.0.0");
    let stale = twice.clone().checksum(&"0".repeat(64)).index_line();
    let lines = format!("{stale}\n{stale}\n{}", twice.index_line());
    let upstream = Upstream::new()
        .publish(twice.raw_line(&lines))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("twice", "1")]);
    cargo
        .env("CARGO_NET_RETRY", "0")
        .run(&["fetch"])
        .await
        .success();
}
