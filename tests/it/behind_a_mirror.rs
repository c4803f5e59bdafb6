//! A mirror in front of a mirror that has rules: what that one refuses is refused by both, in its own words.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use crate::support::{Cargo, Mirror, Package, TokenFile, Upstream};

const DOWNLOAD: &str = "/api/v1/crates/a/1.1.0/download";
const RULES: &str = "[policy]\ncooldown = \"3d\"\ncontact = \"sec@example.com\"\n\
    [[policy.rules]]\nname = \"no b\"\ncrates = [\"b\"]\naction = \"deny\"\nreason = \"use a instead\"\n";

fn ago(days: u64) -> String {
    let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A crate with an old version and one that has to wait, and one that is denied.
async fn registry() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").pubtime(&ago(100)))
        .publish(Package::new("a", "1.1.0").pubtime(&ago(0)))
        .publish(Package::new("b", "1.0.0").pubtime(&ago(100)))
        .start()
        .await
}

/// It used to say that the mirror behind had refused this one's credential, and asked to have that renewed; without one, that there was no such file.
#[tokio::test]
async fn what_the_mirror_behind_refuses_is_said_in_its_words_and_cargo_prints_them() {
    let registry = registry().await;
    let (tokens, folder) = (TokenFile::new(), tempfile::tempdir().expect("a folder"));
    let token = folder.path().join("token");
    fs::write(&token, tokens.add("front")).expect("written");
    let credential =
        format!("[registries.crates-io.credential]\nkind = \"raw\"\nfile = {token:?}\n");
    for (access, credential) in [(String::new(), ""), (tokens.settings(""), &credential)] {
        let behind = Mirror::of(&registry).settings(RULES).settings(&access);
        let behind = behind.start().await;
        let audit = folder.path().join("audit.jsonl");
        let mirror = Mirror::of_index(&behind.index_url())
            .settings(credential)
            .settings(&format!("[audit]\npath = {audit:?}"))
            .start()
            .await;
        let cargo = Cargo::new(&mirror.index_url()).project(&[("b", "1")]);
        let ran = cargo.run(&["fetch"]).await;
        let words = "127.0.0.1 says: b is denied by rule \"no b\" of this mirror's policy: use a instead; ask sec@example.com about it";
        ran.failure().stderr_contains(words);
        // The resolver passes over what waits there, and who names it is told why.
        let cargo = cargo.project(&[("a", "1")]);
        cargo.run(&["fetch"]).await.success();
        assert!(cargo.lockfile().contains("version = \"1.0.0\""));
        let ran = cargo.run(&["update", "a", "--precise", "1.1.0"]).await;
        ran.success();
        cargo.fresh_home();
        let ran = cargo.run(&["fetch", "--locked"]).await;
        ran.failure()
            .stderr_contains("127.0.0.1 says: a 1.1.0 was published on")
            .stderr_contains("the newest version that is allowed is 1.0.0");
        for path in ["/index/1/b", DOWNLOAD] {
            let reply = mirror.get(path).await;
            let said = (reply.status, reply.header("x-cache"));
            assert_eq!(said, (403, Some("denied")), "{path}");
        }
        mirror.stop().await;
        let written = fs::read_to_string(&audit).expect("an audit log");
        let line = "\"verdict\":\"denied\",\"rule\":\"upstream\"";
        assert!(written.contains(line), "{written}");
        fs::remove_file(&audit).expect("removed");
    }
}

/// What is passed on is a stranger's.
#[tokio::test]
async fn what_is_passed_on_is_one_line_that_can_be_printed_and_no_longer_than_cargo_prints() {
    let upstream = registry().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let denied = [("x-cache", "denied"), ("content-type", "text/plain")];
    let path = upstream.index_path("a");
    let long = "word ".repeat(500);
    let endless = "x".repeat(1 << 20);
    for (body, said) in [
        ("It is bad.\n", "127.0.0.1 says: It is bad.\n".to_owned()),
        (
            "a\nb\u{1b}[31m\r\n\u{202e}c\0d",
            "127.0.0.1 says: a b [31m c d.\n".to_owned(),
        ),
        (
            "",
            "127.0.0.1 keeps the index file 1/a out by its rules (403).\n".to_owned(),
        ),
        (
            &endless,
            "127.0.0.1 keeps the index file 1/a out by its rules (403).\n".to_owned(),
        ),
        (&long, String::new()),
    ] {
        let answer = upstream.on(&path);
        answer.fail_with(403, &denied, body.to_owned());
        let reply = mirror.get("/index/1/a").await;
        let cached = (reply.status, reply.header("x-cache"));
        assert_eq!(cached, (403, Some("denied")), "{body:.20}");
        let text = reply.text();
        assert!(text.trim_end().chars().count() <= 512, "{text}");
        match said.is_empty() {
            true => assert!(text.starts_with("127.0.0.1 says: word") && text.ends_with("….\n")),
            false => assert_eq!(text, said),
        }
        upstream.heal();
    }
}

/// A refusal of another kind, and anybody else's, is none by rules.
#[tokio::test]
async fn another_403_is_what_it_was() {
    let upstream = registry().await;
    for headers in [
        &[("content-type", "text/plain")][..],
        &[
            ("x-cache", "denied from proxy"),
            ("content-type", "text/plain"),
        ],
        &[("x-cache", "denied"), ("content-type", "text/html")],
    ] {
        let mirror = Mirror::of(&upstream).start().await;
        upstream.on("/1/a").fail_with(403, headers, "It is bad.\n");
        let reply = mirror.get("/index/1/a").await;
        assert_eq!(reply.header("x-cache"), Some("miss"), "{headers:?}");
        assert!(!reply.text().contains("It is bad"), "{}", reply.text());
        upstream.heal();
    }
}

/// Somebody there has found out that it does harm: whoever asked for it yesterday isn't given yesterday's index.
#[tokio::test]
async fn a_copy_is_no_way_around_a_denial_and_comes_back_when_that_ends() {
    let upstream = registry().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_eq!(mirror.get("/index/1/a").await.status, 200);
    let denied = [("x-cache", "denied"), ("content-type", "text/plain")];
    upstream
        .on("/1/a")
        .fail_with(403, &denied, "It does harm.\n");
    let reply = mirror.get("/index/1/a").await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.text(), "127.0.0.1 says: It does harm.\n");
    upstream.heal();
    assert_eq!(mirror.get("/index/1/a").await.status, 200);
}
