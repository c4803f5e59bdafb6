//! Who got what is written down, one line each, and can be asked for afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Mirror, MirrorBuilder, Package, Program, TokenFile, Upstream, client, sha256, until,
};

const CRATE: &str = "/api/v1/crates/a/1.0.0/download";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").payload(3_000))
        .publish(Package::new("b", "2.0.0"))
        .start()
        .await
}

fn audited(upstream: &Upstream, folder: &TempDir, more: &str) -> (PathBuf, MirrorBuilder) {
    let path = folder.path().join("audit.jsonl");
    let settings = format!("[audit]\npath = {path:?}\n{more}\n");
    (path, Mirror::of(upstream).settings(&settings))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let parsed = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    parsed.collect()
}

#[tokio::test]
async fn each_crate_that_is_handed_out_is_a_line() {
    let (upstream, folder) = (upstream().await, TempDir::new().expect("a folder"));
    let (path, mirror) = audited(&upstream, &folder, "");
    let mirror = mirror.start().await;
    let etag = mirror
        .get(CRATE)
        .await
        .header("etag")
        .expect("a tag")
        .to_owned();
    mirror
        .get("/registries/crates-io/crates/a/a-1.0.0.crate")
        .await;
    let part = mirror.get_with(CRATE, &[("range", "bytes=0-9")]).await;
    assert_eq!(part.status, 206);
    // These hand out no crate.
    let known = mirror.get_with(CRATE, &[("if-none-match", &etag)]).await;
    assert_eq!(known.status, 304);
    client::head(mirror.addr(), CRATE, &[]).await;
    mirror.get("/index/1/a").await;
    mirror.get("/api/v1/crates/nothing/1.0.0/download").await;
    mirror.stop().await;
    let lines = lines(&path);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let file = upstream.crate_file("a", "1.0.0");
    for (line, outcome) in lines.iter().zip(["miss", "hit", "hit"]) {
        for (field, value) in [
            ("who", "anonymous"),
            ("address", "127.0.0.1"),
            ("registry", "crates-io"),
            ("name", "a"),
            ("version", "1.0.0"),
            ("sha256", &sha256(&file)),
            ("outcome", outcome),
            ("verdict", "allowed"),
        ] {
            assert_eq!(line[field], value, "{field} in {line}");
        }
        let time = line["time"].as_str().expect("a time");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
}

#[tokio::test]
async fn a_line_is_there_within_a_second_and_says_who() {
    let (upstream, folder, tokens) = (
        upstream().await,
        TempDir::new().expect("a folder"),
        TokenFile::new(),
    );
    let token = tokens.add("ci");
    let (path, mirror) = audited(&upstream, &folder, "");
    let mirror = mirror.settings(&tokens.settings("")).start().await;
    assert_eq!(mirror.get(CRATE).await.status, 401);
    assert_eq!(mirror.get("/index/config.json").await.status, 401);
    mirror.get_with(CRATE, &[("authorization", &token)]).await;
    let started = std::time::Instant::now();
    until("two lines", || lines(&path).len() == 2).await;
    // It takes a quarter of a second, and what a busy machine takes.
    assert!(started.elapsed().as_secs() < 10);
    let lines = lines(&path);
    assert_eq!(
        (&lines[0]["outcome"], &lines[0]["who"]),
        (&"refused".into(), &"anonymous".into())
    );
    assert!(lines[0].get("name").is_none() && lines[0].get("version").is_none());
    assert_eq!(
        (&lines[1]["name"], &lines[1]["who"]),
        (&"a".into(), &"ci".into())
    );
}

#[tokio::test]
async fn what_must_be_written_down_and_cannot_be_is_not_handed_out() {
    for (more, expected) in [("required = true", 503), ("", 200)] {
        let (upstream, folder) = (upstream().await, TempDir::new().expect("a folder"));
        let (path, mirror) = audited(&upstream, &folder, more);
        let mirror = mirror.start().await;
        assert_eq!(mirror.get(CRATE).await.status, 200);
        until("a line", || lines(&path).len() == 1).await;
        // Every write to it fails as on a full disk.
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        mirror.get(CRATE).await;
        let fails = mirror.get_until("/metrics", |reply| {
            reply.text().contains("audit_unwritable 1")
        });
        fails.await;
        let reply = mirror.get(CRATE).await;
        assert_eq!(reply.status, expected, "{}", reply.text());
        assert_eq!(mirror.get("/index/1/a").await.status, 200);
        fs::remove_dir(&path).expect("removed");
        mirror.get_until(CRATE, |reply| reply.status == 200).await;
        mirror.stop().await;
        assert!(lines(&path).len() >= 2);
    }
}

#[tokio::test]
async fn who_got_a_crate_can_be_asked() {
    let (upstream, folder) = (upstream().await, TempDir::new().expect("a folder"));
    let (path, mirror) = audited(&upstream, &folder, "max_size = \"1KiB\"\nkeep = 3");
    let mirror = mirror.start().await;
    for n in 0..6 {
        mirror.get(CRATE).await;
        mirror.get("/api/v1/crates/b/2.0.0/download").await;
        let _ = n;
    }
    mirror.stop().await;
    assert!(
        folder.path().join("audit.jsonl.1").exists(),
        "it was put aside"
    );
    let settings = format!("[audit]\npath = {path:?}\n");
    let ask = async |words: &str| {
        let program = Program::new(&["audit", "who"]).words(words);
        let ended = program.settings(&settings).run().await;
        assert_eq!(ended.code, Some(0), "{words}: {}", ended.stderr);
        ended
    };
    for (words, count) in [
        ("a", 6),
        ("A@1.0.0", 6),
        ("a@^1", 6),
        ("a@2", 0),
        ("crates-io:b", 6),
        ("other:b", 0),
        ("a --since 2020-01-01", 6),
        ("a --since 2999-01-01", 0),
        ("c", 0),
    ] {
        let found = ask(words).await;
        assert_eq!(
            found.stdout.lines().count(),
            count,
            "{words}: {}",
            found.stdout
        );
        assert_eq!(found.stderr.contains("nobody"), count == 0, "{words}");
    }
    let line = ask("a").await.stdout;
    for word in ["anonymous", "127.0.0.1", "a 1.0.0", "crates-io"] {
        assert!(line.contains(word), "{line}");
    }
    let json = ask("b --format json").await.stdout;
    let parsed: Vec<Value> = json
        .lines()
        .map(|l| serde_json::from_str(l).expect(l))
        .collect();
    assert!(parsed.len() == 6 && parsed.iter().all(|line| line["name"] == "b"));
    let none = Program::new(&["audit", "who", "a"])
        .settings("")
        .run()
        .await;
    none.refused(&["`audit.path`"]);
    let missing = Program::new(&["audit", "who", "a"]).settings("[audit]\npath = \"x\"");
    missing.run().await.refused(&["no audit log at x"]);
    let wrong = Program::new(&["audit", "who", "a@?"])
        .settings(&settings)
        .run()
        .await;
    wrong.refused(&["a"]);
}
