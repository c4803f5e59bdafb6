//! `policy test` and `policy why`: a policy is tried before it bites, and explains itself.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::support::{Cargo, Mirror, Package, Program, Upstream};

fn ago(days: u64) -> String {
    let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    humantime::format_rfc3339_seconds(time).to_string()
}

async fn upstream() -> Upstream {
    let gpl = "[package]\nname = \"gpl\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"GPL-3.0-only\"\n";
    Upstream::new()
        .publish(Package::new("a", "1.0.0").pubtime(&ago(100)))
        .publish(Package::new("a", "1.1.0").pubtime(&ago(1)))
        .publish(Package::new("b", "1.0.0").pubtime(&ago(100)).dep("a", "1"))
        .publish(
            Package::new("gpl", "1.0.0")
                .pubtime(&ago(100))
                .file("Cargo.toml", gpl),
        )
        .start()
        .await
}

/// A Cargo.lock that needs all of them, made without any rules.
async fn locked(upstream: &Upstream) -> String {
    let mirror = Mirror::of(upstream).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("b", "1"), ("gpl", "1")]);
    cargo.run(&["generate-lockfile"]).await.success();
    cargo.lockfile()
}

fn program(upstream: &Upstream, policy: &str, words: &str) -> Program {
    Program::serving(upstream, policy)
        .command("policy")
        .words(words)
}

const POLICY: &str = "[policy]\ncooldown = \"3d\"\ncontact = \"sec@example.com\"\n\
    [[policy.rules]]\nname = \"no gpl\"\ncrates = [\"gpl\"]\naction = \"deny\"\nreason = \"we can't\"\n";

#[tokio::test]
async fn what_would_be_refused_of_a_project_is_said_before_anybody_is_refused_anything() {
    let upstream = upstream().await;
    let lockfile = locked(&upstream).await;
    let test = |policy: &str, words: &str| {
        let program = program(&upstream, policy, &format!("test projects {words}"));
        let folder = program.folder().join("projects/one");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("Cargo.lock"), &lockfile).expect("a file");
        program.run()
    };
    let ended = test(POLICY, "").await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    for said in [
        "a 1.1.0    cooldown  a 1.1.0 was published on",
        "the newest version that is allowed is 1.0.0",
        "gpl 1.0.0  rule      gpl 1.0.0 is denied by rule \"no gpl\" of this mirror's policy: we can't",
        "needed by projects/one/Cargo.lock",
        "3 versions: 2 would be refused, 0 handed out with a warning, 0 not known",
    ] {
        assert!(ended.stdout.contains(said), "{said}: {}", ended.stdout);
    }
    let ended = test(POLICY, "--format json").await;
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(json["checked"], 3);
    assert_eq!(json["refused"][0]["name"], "a");
    assert_eq!(json["refused"][0]["kind"], "cooldown");
    assert!(json["refused"][0]["until"].is_string());
    assert_eq!(json["refused"][1]["rule"], "no gpl");
    // Nothing was downloaded for it.
    let downloads = upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.path.contains("download"));
    assert_eq!(downloads.count(), 0);
    assert_eq!(json["mode"], "enforce");
    assert!(!ended.stdout.contains("nothing is refused"));
    // Who only tries it out is told so, or would look for what is broken.
    let tried = POLICY.replace("[policy]", "[policy]\nmode = \"report\"");
    let ended = test(&tried, "").await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    let note = "`policy.mode` is \"report\": nothing is refused";
    assert!(ended.stdout.contains(note), "{}", ended.stdout);
    let ended = test(&tried, "--format json").await;
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(json["mode"], "report");
    let ended = test("", "").await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("3 versions: 0 would be refused"));
    let ended = test("[policy.licenses]\nallow = [\"MIT\"]\n", "").await;
    assert!(
        ended.stdout.contains("3 licences aren't known here"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn why_says_what_holds_and_which_rule_decided() {
    let upstream = upstream().await;
    for (words, code, said) in [
        (
            "why a@1.1.0",
            1,
            "[cooldown: cooldown] a 1.1.0 was published on",
        ),
        ("why a@1.0.0", 0, "a 1.0.0 may come in: no rule is about it"),
        ("why a", 1, "a: 1 of 2 versions may not come in"),
        ("why a", 1, "the newest that may be picked is 1.0.0"),
        (
            "why gpl",
            1,
            "[rule: no gpl] gpl is denied by rule \"no gpl\" of this mirror's policy: we can't; ask sec@example.com about it",
        ),
        ("why gpl@1.0.0", 1, "[rule: no gpl]"),
        ("why crates-io:b", 0, "b: all 1 versions may come in"),
        ("why a --view 2020-01-01", 1, "none may be picked"),
        ("why a@1.1.0", 1, "wait for 3 days;"),
    ] {
        let ended = program(&upstream, POLICY, words).run().await;
        assert_eq!(
            ended.code,
            Some(code),
            "{words}: {}{}",
            ended.stdout,
            ended.stderr
        );
        assert!(ended.stdout.contains(said), "{words}: {}", ended.stdout);
    }
    let ended = program(&upstream, POLICY, "why a@1.1.0 --format json")
        .run()
        .await;
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        (&json["allowed"], &json["denied"]["kind"]),
        (&Value::Bool(false), &"cooldown".into())
    );
    for (words, said) in [
        ("why a@^1", "name a crate or one version"),
        ("why a/b", "is not a crate"),
        ("why a --view lts", "there is no table [views.lts]"),
        ("test nothing-here", "Cargo.lock"),
    ] {
        let ended = program(&upstream, POLICY, words).run().await;
        assert_eq!(
            ended.code,
            Some(2),
            "{words}: {}{}",
            ended.stdout,
            ended.stderr
        );
        assert!(ended.stderr.contains(said), "{words}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn licences_are_those_of_the_manifests_inside() {
    let upstream = upstream().await;
    let rules = "[policy.licenses]\nallow = [\"MIT\"]\nunknown = \"deny\"\n[[policy.rules]]\ncrates = [\"a\"]\nversions = \"*\"\naction = \"allow\"\n";
    let store = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::of(&upstream).store(store.path()).settings(rules);
    let mirror = mirror.start().await;
    let download = |name: &str| format!("/api/v1/crates/{name}/1.0.0/download");
    let reply = mirror.get(&download("gpl")).await;
    assert_eq!(
        (reply.status, reply.header("x-cache")),
        (403, Some("denied"))
    );
    assert!(
        reply
            .text()
            .contains("because of its licence, \"GPL-3.0-only\""),
        "{}",
        reply.text()
    );
    // The index knows nothing of it.
    assert!(
        !mirror
            .get("/index/3/g/gpl")
            .await
            .text()
            .contains("\"yanked\":true")
    );
    let reply = mirror.get(&download("b")).await;
    assert_eq!(reply.status, 403);
    assert!(
        reply.text().contains("names no licence that is known"),
        "{}",
        reply.text()
    );
    assert_eq!(
        mirror.get(&download("a")).await.status,
        200,
        "a rule lets it in"
    );
    // It was stored all the same, and what is known of it is kept beside it: the rules of tomorrow may let it in.
    mirror
        .get_until(&download("gpl"), |reply| reply.status == 403)
        .await;
    mirror.stop().await;
    let rules = "[policy.licenses]\nallow = [\"GPL-3.0-only\"]\n";
    let mirror = Mirror::of(&upstream).store(store.path()).settings(rules);
    let mirror = mirror.start().await;
    for cached in ["hit", "hit"] {
        let reply = mirror.get(&download("gpl")).await;
        assert_eq!((reply.status, reply.header("x-cache")), (200, Some(cached)));
    }
    mirror.stop().await;
    let list = |folder: &std::path::Path| {
        fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|e| e.file_name())
            .collect::<Vec<_>>()
    };
    let kept = list(&store.path().join("crates-io/crates/3/g/gpl"));
    assert!(
        kept.iter()
            .any(|name| name.to_string_lossy().contains("license")),
        "{kept:?}"
    );
}

/// Of a crate as a whole, licences weren't looked at: `why gpl` said yes, and the download no.
#[tokio::test]
async fn why_looks_at_the_licences_that_are_known_here() {
    let upstream = upstream().await;
    let mit =
        "[package]\nname = \"gpl\"\nversion = \"0.9.0\"\nedition = \"2021\"\nlicense = \"MIT\"\n";
    upstream.publish(
        Package::new("gpl", "0.9.0")
            .pubtime(&ago(200))
            .file("Cargo.toml", mit),
    );
    let rules = "[policy.licenses]\nallow = [\"MIT\"]\n";
    let ask = |folder, words: &str| {
        let program = program(&upstream, rules, words);
        let text = fs::read_to_string(program.folder().join("mirror.toml")).expect("settings");
        program.in_folder(folder).settings(&text)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let ended = ask(folder, "why gpl").run().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let unknown = "the licences of 2 versions aren't known here";
    assert!(ended.stdout.contains(unknown), "{}", ended.stdout);
    let fetch = program(&upstream, "", "").command("prefetch");
    let text = fs::read_to_string(fetch.folder().join("mirror.toml")).expect("settings");
    let fetch = fetch.in_folder(ended.folder).settings(&text);
    let ended = fetch.words("--all-versions gpl").run().await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let ended = ask(ended.folder, "why gpl").run().await;
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    for said in [
        "gpl: 1 of 2 versions may not come in",
        "[license: license] gpl 1.0.0 is denied by this mirror's policy because of its licence, \"GPL-3.0-only\"",
        "the newest that may be picked is 0.9.0",
    ] {
        assert!(ended.stdout.contains(said), "{said}: {}", ended.stdout);
    }
    assert!(
        !ended.stdout.contains("aren't known here"),
        "{}",
        ended.stdout
    );
    let ended = ask(ended.folder, "why gpl --format json").run().await;
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(json["denied_versions"][0]["kind"], "license");
    assert_eq!(
        (&json["newest_allowed"], &json["licenses_unknown"]),
        (&"0.9.0".into(), &0.into())
    );
}
