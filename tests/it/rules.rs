//! What the rules forbid is never picked by the resolver, and refused with its reason to who asks for it by name.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use crate::support::{Cargo, Mirror, Package, Program, Upstream, client, sha256};

/// A moment so many seconds ago, as `pubtime` writes it.
fn ago(seconds: u64) -> String {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

const DAY: u64 = 24 * 3600;

/// A crate with an old, a recent and a new version.
async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").pubtime(&ago(100 * DAY)))
        .publish(Package::new("a", "1.1.0").pubtime(&ago(10 * DAY)))
        .publish(Package::new("a", "1.2.0").pubtime(&ago(3600)))
        .publish(Package::new("b", "1.0.0").pubtime(&ago(100 * DAY)))
        .start()
        .await
}

fn locked(cargo: &Cargo, version: &str) -> bool {
    cargo
        .lockfile()
        .contains(&format!("name = \"a\"\nversion = \"{version}\""))
}

/// The versions of an index file that aren't shown as yanked.
async fn shown(mirror: &Mirror, path: &str) -> Vec<String> {
    let reply = mirror.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    let text = reply.text();
    let lines = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line");
        (line["vers"].as_str().expect("a version").to_owned(), line)
    });
    let picked = lines.filter(|(_, line)| line["yanked"] != true);
    picked.map(|(version, _)| version).collect()
}

fn download(version: &str) -> String {
    format!("/api/v1/crates/a/{version}/download")
}

#[tokio::test]
async fn cargo_resolves_to_the_newest_version_that_has_waited_long_enough() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream)
        .settings("[policy]\ncooldown = \"3d\"\ncontact = \"sec@example.com\"")
        .start()
        .await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("a", "1")]);
    cargo.run(&["fetch"]).await.success();
    assert!(locked(&cargo, "1.1.0"), "{}", cargo.lockfile());
    // By name it can't be had either; cargo resolves to it and prints why.
    let ran = cargo.run(&["update", "a", "--precise", "1.2.0"]).await;
    ran.success();
    cargo.fresh_home();
    let ran = cargo.run(&["fetch", "--locked"]).await;
    ran.failure()
        .stderr_contains("a 1.2.0 was published on")
        .stderr_contains("wait for 3 days")
        .stderr_contains("the newest version that is allowed is 1.1.0")
        .stderr_contains("ask sec@example.com");
    let reply = mirror.get(&download("1.2.0")).await;
    assert_eq!(
        (reply.status, reply.header("x-cache")),
        (403, Some("denied"))
    );
    // What may not go out needn't come in.
    let asked = upstream.crate_path("a", "1.2.0");
    assert!(!upstream.requests().iter().any(|seen| seen.path == asked));
    assert_eq!(
        mirror.metric("crate_mirror_policy_versions_waiting").await,
        1.0
    );
    let denied = "crate_mirror_policy_denied_total{kind=\"cooldown\"}";
    assert!(mirror.metric(denied).await >= 2.0);
}

#[tokio::test]
async fn a_crate_that_is_denied_says_so_on_its_index_file_and_cargo_prints_it() {
    let upstream = upstream().await;
    let rule = "[[policy.rules]]\nname = \"no a\"\ncrates = [\"A\"]\naction = \"deny\"\nreason = \"use b instead\"";
    let mirror = Mirror::of(&upstream).settings(rule).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("a", "1")]);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_contains(
        "a is denied by rule \"no a\" of this mirror's policy: use b instead; ask whoever runs this mirror about it",
    );
    for path in ["/index/1/a".to_owned(), download("1.0.0")] {
        let reply = mirror.get(&path).await;
        assert_eq!(
            (reply.status, reply.header("x-cache")),
            (403, Some("denied")),
            "{path}"
        );
    }
    let of_a = |path: &str| path.contains("/a");
    assert!(!upstream.requests().iter().any(|seen| of_a(&seen.path)));
    let cargo = cargo.project(&[("b", "1")]);
    cargo.run(&["fetch"]).await.success();
}

/// A crate that others name for systems nobody here builds for has to stay in the resolver's sight.
#[tokio::test]
async fn all_versions_denied_are_shown_as_yanked_and_the_crate_stays() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .publish(Package::new("user", "1.0.0").target_dep("cfg(windows)", "a", "1"))
        .start()
        .await;
    let rule = "[[policy.rules]]\ncrates = [\"a\"]\nversions = \"*\"\naction = \"deny\"";
    let mirror = Mirror::of(&upstream).settings(rule).start().await;
    assert_eq!(shown(&mirror, "/index/1/a").await, [""; 0]);
    let reply = mirror.get(&download("1.0.0")).await;
    assert_eq!(reply.status, 403);
    let text = reply.text();
    assert!(
        text.starts_with("a 1.0.0 is denied by rule \"1\""),
        "{text}"
    );
}

#[tokio::test]
async fn where_nothing_comes_in_without_a_rule_the_first_that_matches_decides() {
    let upstream = upstream().await;
    let rules = "[policy]\ndefault = \"deny\"\n\
        [[policy.rules]]\ncrates = [\"a\"]\nversions = \"=1.1.0\"\naction = \"deny\"\n\
        [[policy.rules]]\ncrates = [\"a\"]\naction = \"allow\"\n";
    let mirror = Mirror::of(&upstream).settings(rules).start().await;
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0", "1.2.0"]);
    let reply = mirror.get("/index/1/b").await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("lets in only what a rule allows"));
    let cargo = Cargo::new(&mirror.index_url()).project(&[("a", "1")]);
    cargo.run(&["fetch"]).await.success();
    assert!(locked(&cargo, "1.2.0"));
    let cargo = cargo.project(&[("b", "1")]);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_contains("b is denied because");
}

/// An allow rule that names versions overrules a waiting time; one that doesn't only answers `default`.
#[tokio::test]
async fn a_rule_may_let_a_version_in_at_once_or_have_a_crate_wait_longer() {
    let upstream = upstream().await;
    let with = |rule: &str| {
        let rules =
            format!("[policy]\ncooldown = \"3d\"\n[[policy.rules]]\ncrates = [\"a\"]\n{rule}");
        let builder = Mirror::of(&upstream).settings(&rules);
        async move { shown(&builder.start().await, "/index/1/a").await }
    };
    let all = ["1.0.0", "1.1.0", "1.2.0"];
    assert_eq!(with("versions = \"1.2\"\naction = \"allow\"").await, all);
    assert_eq!(with("action = \"allow\"").await, all[..2]);
    assert_eq!(with("cooldown = \"30d\"").await, all[..1]);
    assert_eq!(with("cooldown = \"0s\"").await, all);
    assert_eq!(
        with("until = \"2020-01-01\"\naction = \"deny\"").await,
        all[..2]
    );
    let other = "registries = [\"other\"]\naction = \"deny\"\n[registries.other]\nindex = \"http://127.0.0.1:1/\"";
    assert_eq!(with(other).await, all[..2]);
}

/// Nothing comes from upstream when a version is old enough: what was made of the index file before must not be served for ever.
#[tokio::test]
async fn a_version_ripens_without_upstream_s_doing_and_its_etag_changes() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0").pubtime(&ago(DAY)))
        .publish(Package::new("a", "1.0.1").pubtime(&ago(0)))
        .start()
        .await;
    let mirror = Mirror::of(&upstream)
        .settings("[freshness]\nfresh_for = \"1h\"\n[policy]\ncooldown = \"6s\"")
        .start()
        .await;
    let first = mirror.get("/index/1/a").await;
    let etag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0"]);
    assert_eq!(mirror.get(&download("1.0.1")).await.status, 403);
    let ripe = mirror
        .get_until("/index/1/a", |reply| {
            !reply.text().contains("\"yanked\":true")
        })
        .await;
    assert_ne!(ripe.header("etag"), Some(&*etag));
    let asked = mirror
        .get_with("/index/1/a", &[("if-none-match", &etag)])
        .await;
    assert_eq!(asked.status, 200, "the copy is another one now");
    assert_eq!(mirror.get(&download("1.0.1")).await.status, 200);
    let of_index = |path: &str| path == upstream.index_path("a");
    let seen = upstream.requests();
    assert_eq!(seen.iter().filter(|s| of_index(&s.path)).count(), 1);
}

#[tokio::test]
async fn a_policy_that_is_only_tried_refuses_nothing_and_says_what_it_would() {
    let (upstream, folder) = (upstream().await, tempfile::tempdir().expect("a folder"));
    let audit = folder.path().join("audit.jsonl");
    let settings = format!(
        "[policy]\nmode = \"report\"\ncooldown = \"3d\"\n[[policy.rules]]\nname = \"no b\"\ncrates = [\"b\"]\naction = \"deny\"\n[audit]\npath = {audit:?}"
    );
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    assert_eq!(shown(&mirror, "/index/1/a").await.len(), 3);
    let reply = mirror.get(&download("1.2.0")).await;
    assert_eq!((reply.status, reply.header("x-cache")), (200, Some("miss")));
    assert_eq!(mirror.get("/index/1/b").await.status, 200);
    let of_b = mirror.get("/api/v1/crates/b/1.0.0/download").await;
    assert_eq!(of_b.status, 200);
    for kind in ["cooldown", "rule"] {
        let would = format!("crate_mirror_policy_would_deny_total{{kind=\"{kind}\"}}");
        assert!(mirror.metric(&would).await >= 1.0, "{kind}");
    }
    assert_eq!(mirror.metric("crate_mirror_policy_denied_total").await, 0.0);
    mirror.stop().await;
    let written = fs::read_to_string(&audit).expect("an audit log");
    assert!(
        written.contains("\"verdict\":\"would-deny\",\"rule\":\"cooldown\""),
        "{written}"
    );
    assert!(written.contains("\"rule\":\"no b\""), "{written}");
}

#[tokio::test]
async fn a_refusal_is_a_line_of_the_audit_log() {
    let (upstream, folder) = (upstream().await, tempfile::tempdir().expect("a folder"));
    let audit = folder.path().join("audit.jsonl");
    let settings = format!("[policy]\ncooldown = \"3d\"\n[audit]\npath = {audit:?}");
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    mirror.get("/index/1/a").await;
    mirror.get(&download("1.2.0")).await;
    mirror.stop().await;
    let written = fs::read_to_string(&audit).expect("an audit log");
    let line: serde_json::Value = serde_json::from_str(written.trim()).expect("one line");
    assert_eq!(line["name"], "a");
    assert_eq!(line["version"], "1.2.0");
    assert_eq!(line["outcome"], "denied");
    assert_eq!(line["verdict"], "denied");
    assert_eq!(line["rule"], "cooldown");
}

/// Hijackers replace what is there; an index only ever grows. Used to be passed on with a warning in the log.
#[tokio::test]
async fn content_that_comes_back_changed_is_refused_until_a_rule_names_it() {
    let upstream = upstream().await;
    let store = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::of(&upstream)
        .store(store.path())
        .always_asks()
        .start()
        .await;
    mirror.get("/index/1/a").await;
    let other = Package::new("a", "1.1.0").pubtime(&ago(10 * DAY));
    let other = other.file("src/lib.rs", "fn changed() {}");
    let changed = sha256(&other.crate_file());
    upstream.publish(other);
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0", "1.2.0"]);
    let reply = mirror.get(&download("1.1.0")).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(reply.text().contains("has other content in crates-io now"));
    let alarm = "crate_mirror_index_suspicious_changes_total{change=\"checksum\"";
    assert_eq!(mirror.metric(alarm).await, 1.0);
    // It is remembered when the mirror starts again.
    let mirror = mirror.restart().await;
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0", "1.2.0"]);
    mirror.stop().await;
    let rule =
        format!("[[policy.rules]]\ncrates = [\"a\"]\naction = \"allow\"\nsha256 = \"{changed}\"");
    let mirror = Mirror::of(&upstream).store(store.path()).settings(&rule);
    let mirror = mirror.always_asks().start().await;
    assert_eq!(shown(&mirror, "/index/1/a").await.len(), 3);
    assert_eq!(mirror.get(&download("1.1.0")).await.status, 200);
}

/// A line that is gone for a while is no way around that.
#[tokio::test]
async fn content_is_held_to_what_it_was_before_it_vanished() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    mirror.get("/index/1/a").await;
    upstream.delete_version("a", "1.1.0");
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0", "1.2.0"]);
    let mirror = mirror.restart().await;
    let again = Package::new("a", "1.1.0").pubtime(&ago(0));
    upstream.publish(again.file("src/lib.rs", "fn changed() {}"));
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0", "1.2.0"]);
    assert_eq!(mirror.get(&download("1.1.0")).await.status, 403);
}

#[tokio::test]
async fn a_crate_that_was_deleted_whole_and_published_anew_is_a_new_crate() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    mirror.get("/index/1/a").await;
    upstream.delete("a");
    assert_eq!(mirror.get("/index/1/a").await.status, 404);
    let again = Package::new("a", "1.1.0").pubtime(&ago(0));
    upstream.publish(again.file("src/lib.rs", "fn changed() {}"));
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.1.0"]);
    assert_eq!(mirror.get(&download("1.1.0")).await.status, 200);
    let alarm = "crate_mirror_index_suspicious_changes_total{change=\"replaced\"";
    assert_eq!(mirror.metric(alarm).await, 1.0);
}

/// What a registry doesn't date is as old as it was first seen here, also after a restart.
#[tokio::test]
async fn what_has_no_date_waits_from_when_it_was_first_seen() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .start()
        .await;
    let store = tempfile::tempdir().expect("a folder");
    let cooldown = |more: &str| format!("[policy]\ncooldown = \"1d\"\n{more}");
    let mirror = Mirror::of(&upstream)
        .store(store.path())
        .settings(&cooldown(""));
    let mirror = mirror.start().await;
    assert_eq!(shown(&mirror, "/index/1/a").await, [""; 0]);
    let reply = mirror.get(&download("1.0.0")).await;
    assert!(
        reply.text().contains("was first seen here on"),
        "{}",
        reply.text()
    );
    mirror.stop().await;
    let record = fs::read(store.path().join("crates-io/index/1/a")).expect("a record");
    assert!(String::from_utf8_lossy(&record).contains("first_seen"));
    for (undated, versions) in [("allow", 1), ("deny", 0)] {
        let settings = cooldown(&format!("undated = \"{undated}\""));
        let mirror = Mirror::of(&upstream)
            .store(store.path())
            .settings(&settings);
        let shown = shown(&mirror.start().await, "/index/1/a").await;
        assert_eq!(shown.len(), versions, "{undated}");
    }
}

#[tokio::test]
async fn a_view_and_a_day_are_registries_of_their_own() {
    let upstream = upstream().await;
    let ten_days_ago = &ago(10 * DAY)[..10];
    let a_month_ago = &ago(30 * DAY)[..10];
    let views = format!(
        "[policy]\ncooldown = \"2h\"\n[views.lts]\ncooldown = \"30d\"\n[views.then]\nas_of = \"{ten_days_ago}\"\n[views.own]\nrules = [{{ crates = [\"a\"], versions = \"1.2\", action = \"allow\" }}]"
    );
    let mirror = Mirror::of(&upstream).settings(&views).start().await;
    for (place, versions) in [
        (String::new(), &["1.0.0", "1.1.0"][..]),
        ("/views/lts".to_owned(), &["1.0.0"]),
        ("/views/then".to_owned(), &["1.0.0", "1.1.0"]),
        ("/views/own".to_owned(), &["1.0.0", "1.1.0", "1.2.0"]),
        (format!("/at/{a_month_ago}"), &["1.0.0"]),
        (
            format!("/registries/crates-io/at/{ten_days_ago}"),
            &["1.0.0", "1.1.0"],
        ),
        ("/at/2020-01-01".to_owned(), &[]),
    ] {
        assert_eq!(
            shown(&mirror, &format!("{place}/index/1/a")).await,
            versions,
            "{place}"
        );
        // Once more, from memory.
        assert_eq!(
            shown(&mirror, &format!("{place}/index/1/a")).await,
            versions,
            "{place}"
        );
        let config = mirror.get(&format!("{place}/index/config.json")).await;
        let dl = format!("{}{place}/api/v1/crates\"", mirror.url());
        assert!(config.text().contains(&dl), "{}", config.text());
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            let asked = format!("{place}{}", download(version));
            let status = mirror.get(&asked).await.status;
            let expected = if versions.contains(&version) {
                200
            } else {
                403
            };
            assert_eq!(status, expected, "{asked}");
        }
    }
    assert_eq!(mirror.get("/views/nothing/index/1/a").await.status, 403);
    assert_eq!(mirror.get("/at/2026-02-30/index/1/a").await.status, 400);
    // One index file from upstream for all of them.
    let of_index = |path: &str| path == upstream.index_path("a");
    assert_eq!(
        upstream
            .requests()
            .iter()
            .filter(|s| of_index(&s.path))
            .count(),
        1
    );
    let cargo = Cargo::new(&format!("{}/at/{a_month_ago}/index/", mirror.url()));
    let cargo = cargo.project(&[("a", "1")]);
    cargo.run(&["fetch"]).await.success();
    assert!(locked(&cargo, "1.0.0"), "{}", cargo.lockfile());
    let cargo = Cargo::new(&format!("{}/views/own/index/", mirror.url()));
    let cargo = cargo.project(&[("a", "1")]);
    cargo.run(&["fetch"]).await.success();
    assert!(locked(&cargo, "1.2.0"), "{}", cargo.lockfile());
}

/// Offline, what is shown is what is stored and allowed.
#[tokio::test]
async fn offline_and_rules_compose() {
    let (upstream, store) = (upstream().await, tempfile::tempdir().expect("a folder"));
    let mirror = Mirror::of(&upstream).store(store.path()).start().await;
    for version in ["1.1.0", "1.2.0"] {
        mirror.get("/index/1/a").await;
        assert_eq!(mirror.get(&download(version)).await.status, 200);
    }
    mirror.stop().await;
    let settings =
        "[offline]\nenabled = true\n[policy]\ncooldown = \"3d\"\n[views.all]\ncooldown = \"0s\"";
    let mirror = Mirror::of(&upstream).store(store.path()).settings(settings);
    let mirror = mirror.start().await;
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.1.0"]);
    assert_eq!(
        shown(&mirror, "/views/all/index/1/a").await,
        ["1.1.0", "1.2.0"]
    );
    assert_eq!(mirror.get(&download("1.1.0")).await.status, 200);
    assert_eq!(mirror.get(&download("1.2.0")).await.status, 403);
    assert_eq!(mirror.get(&download("1.0.0")).await.status, 404);
}

/// What vanished was taken for as old as its vanishing, so that it had to wait anew although it had been served for years.
#[tokio::test]
async fn what_is_withdrawn_is_as_old_as_it_was() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream)
        .always_asks()
        .settings("[policy]\ncooldown = \"3d\"")
        .start()
        .await;
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(mirror.get(&download(version)).await.status, 200);
    }
    upstream.delete_version("a", "1.1.0");
    assert_eq!(shown(&mirror, "/index/1/a").await, ["1.0.0"]);
    let reply = mirror.get(&download("1.1.0")).await;
    assert_eq!((reply.status, reply.header("x-cache")), (200, Some("hit")));
}

/// What is in memory already obeys the rules of now.
#[tokio::test]
async fn a_withdrawn_version_and_a_part_of_a_file_pass_the_same_door() {
    let (upstream, store) = (upstream().await, tempfile::tempdir().expect("a folder"));
    let mirror = Mirror::of(&upstream)
        .store(store.path())
        .always_asks()
        .start()
        .await;
    for version in ["1.1.0", "1.2.0"] {
        mirror.get("/index/1/a").await;
        assert_eq!(mirror.get(&download(version)).await.status, 200);
    }
    mirror.stop().await;
    upstream.delete_version("a", "1.2.0");
    let rule = "[[policy.rules]]\ncrates = [\"a\"]\nversions = \">=1.1\"\naction = \"deny\"";
    let mirror = Mirror::of(&upstream).store(store.path()).settings(rule);
    let mirror = mirror.always_asks().start().await;
    for version in ["1.1.0", "1.2.0"] {
        let range = [("range", "bytes=0-9")];
        let part = mirror.get_with(&download(version), &range).await;
        assert_eq!(part.status, 403, "{version}");
        assert_eq!(
            mirror.get(&download(version)).await.status,
            403,
            "{version}"
        );
    }
}

/// An advisory in RustSec's format, patched in `patched`.
fn advisory(id: &str, name: &str, patched: &str, more: &str) -> String {
    format!(
        "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{name}\"\ndate = \"2026-01-01\"\n{more}\n[versions]\npatched = [{patched}]\n```\n# Something is wrong\n"
    )
}

fn put(database: &Path, id: &str, name: &str, text: &str) {
    let folder = database.join("crates").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{id}.md")), text).expect("a file");
}

#[tokio::test]
async fn what_is_known_to_do_harm_is_never_picked_and_other_faults_are_written_down() {
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (database, audit) = (folder.path().join("db"), folder.path().join("audit.jsonl"));
    let harm = "categories = [\"malicious\"]";
    let text = advisory("RUSTSEC-2026-0001", "a", "\"<1.2\"", harm);
    put(&database, "RUSTSEC-2026-0001", "a", &text);
    let text = advisory("RUSTSEC-2026-0002", "b", "", "");
    put(&database, "RUSTSEC-2026-0002", "b", &text);
    put(&database, "RUSTSEC-2026-0003", "b", "broken");
    let settings = format!("[policy.advisories]\npath = {database:?}\n[audit]\npath = {audit:?}");
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("a", "1"), ("b", "1")]);
    cargo.run(&["fetch"]).await.success();
    assert!(locked(&cargo, "1.1.0"), "{}", cargo.lockfile());
    cargo
        .run(&["update", "a", "--precise", "1.2.0"])
        .await
        .success();
    let ran = cargo.run(&["fetch", "--locked"]).await;
    ran.failure().stderr_contains(
        "because of RUSTSEC-2026-0001 (malicious, vulnerability): Something is wrong",
    );
    assert_eq!(mirror.metric("crate_mirror_policy_warned_total").await, 1.0);
    // One more is published: in force within fifteen seconds, for what is in memory too.
    let text = advisory("RUSTSEC-2026-0004", "a", "", harm);
    put(&database, "RUSTSEC-2026-0004", "a", &text);
    let path = download("1.1.0");
    let started = Instant::now();
    while mirror.get(&path).await.status == 200 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it isn't in force"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(shown(&mirror, "/index/1/a").await, [""; 0]);
    mirror.stop().await;
    let written = fs::read_to_string(&audit).expect("an audit log");
    assert!(
        written.contains("\"verdict\":\"allowed\",\"rule\":\"RUSTSEC-2026-0002\""),
        "{written}"
    );
}

/// What is in memory obeys at once; a policy that can't be understood leaves the old one in force, and says so.
#[tokio::test]
async fn rules_are_read_again_on_sighup_and_hold_for_what_is_in_memory() {
    let upstream = upstream().await;
    let program = Program::serving(&upstream, "[policy]\ncooldown = \"1h\"\n");
    let mut running = program.start().await;
    let toml = running.folder().join("mirror.toml");
    let before = fs::read_to_string(&toml).expect("settings");
    let get = async |path: &str| client::get(running.addr(), path, &[]).await;
    for _ in 0..2 {
        assert_eq!(get(&download("1.1.0")).await.status, 200);
        assert_eq!(get("/index/1/a").await.status, 200);
    }
    let etag = get("/index/1/a")
        .await
        .header("etag")
        .expect("a tag")
        .to_owned();
    fs::write(&toml, before.replace("\"1h\"", "\"20d\"")).expect("settings");
    running.signal("HUP").await;
    running
        .logged(|line| line.contains("the rules of the settings are in force"))
        .await;
    let get = async |path: &str| client::get(running.addr(), path, &[]).await;
    assert_eq!(get(&download("1.1.0")).await.status, 403);
    assert_eq!(get(&download("1.0.0")).await.status, 200);
    assert_ne!(get("/index/1/a").await.header("etag"), Some(&*etag));
    fs::write(&toml, before.replace("\"1h\"", "\"soon\"")).expect("settings");
    running.signal("HUP").await;
    running
        .logged(|line| line.contains("stay as they were") && line.contains("policy.cooldown"))
        .await;
    let status = client::get(running.addr(), &download("1.1.0"), &[])
        .await
        .status;
    assert_eq!(status, 403, "the rules before hold");
}

/// Who asks for a thousand dates pushes out other dates, and nothing that is asked for every day; with files of any size, and however many are asked for at once.
#[tokio::test]
async fn a_scan_of_dates_pushes_out_nothing_that_is_hot() {
    let versions = (0..800_u64).map(|n| {
        let published = ago((900 - n) * DAY);
        Package::new("large", &format!("1.0.{n}")).pubtime(&published)
    });
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0").pubtime(&ago(100 * DAY)))
        .publish_all(versions)
        .start()
        .await;
    let mirror = Mirror::of(&upstream)
        .settings("[memory]\nbudget = \"4MiB\"\n[freshness]\nfresh_for = \"1h\"")
        .start()
        .await;
    let hot = ["/index/1/a", "/index/la/rg/large", &download("1.0.0")];
    for path in hot.repeat(2) {
        assert_eq!(mirror.get(path).await.status, 200, "{path}");
    }
    let entries = mirror.metric("crate_mirror_memory_entries").await;
    for year in 2000..2026 {
        for month in 1..=12 {
            for day in [1, 11, 21] {
                let path = format!("/at/{year}-{month:02}-{day:02}/index/1/a");
                assert_eq!(mirror.get(&path).await.status, 200, "{path}");
            }
        }
    }
    let mut scan = tokio::task::JoinSet::new();
    for n in 0..160 {
        let path = format!("/at/{}/index/la/rg/large", &ago(n * 5 * DAY)[..10]);
        let addr = mirror.addr();
        scan.spawn(async move { client::get(addr, &path, &[]).await });
    }
    let mut shown = HashSet::new();
    while let Some(reply) = scan.join_next().await {
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        shown.insert(reply.header("etag").map(str::to_owned));
    }
    assert!(shown.len() > 130, "nearly each day is another file");
    assert_eq!(mirror.metric("crate_mirror_memory_entries").await, entries);
    for path in hot {
        let reply = mirror.get(path).await;
        assert_eq!(reply.header("x-cache"), Some("hit"), "{path}");
    }
    assert_eq!(upstream.index_requests().len(), 2);
    assert_eq!(upstream.crate_requests().len(), 1);
}
