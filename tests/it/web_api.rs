//! The web API, read-only: searches by upstream's or by what is known here, and crates in crates.io's shape.

use serde_json::{Value, json};

use crate::support::{Cargo, Mirror, Package, Reply, Upstream};

fn json_of(reply: &Reply) -> Value {
    assert_eq!(
        reply.header("content-type"),
        Some("application/json"),
        "{}",
        reply.text()
    );
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// An upstream with two crates, whose web API lists a third one as well.
async fn upstream() -> Upstream {
    let upstream = Upstream::new()
        .publish(
            Package::new("Tool", "1.0.0")
                .pubtime("2024-01-02T00:00:00Z")
                .feature("std", &[])
                .dep("helper", "^1")
                .rust_version("1.60"),
        )
        .publish(Package::new("Tool", "1.1.0").yanked(true))
        .publish(Package::new("helper", "1.0.0"))
        .start()
        .await;
    let listed = |name: &str, description: &str| json!({ "name": name, "max_version": "9.9.9", "description": description, "downloads": 7 });
    let answer = json!({
        "crates": [listed("Tool", "by upstream"), listed("toolbox", "another one"), listed("evil-tool", "denied")],
        "meta": { "total": 3 },
    });
    upstream.page("/api/v1/crates", "application/json", &answer.to_string());
    upstream
}

fn searches(upstream: &Upstream) -> Vec<String> {
    let asked = upstream.requests().into_iter();
    asked
        .map(|seen| seen.path)
        .filter(|path| path.starts_with("/api/v1/crates?"))
        .collect()
}

#[tokio::test]
async fn cargo_search_finds_what_upstream_has() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let cargo = Cargo::unconfigured().registry("mirror", &mirror.index_url());
    let ran = cargo
        .run(&["search", "tool", "--registry", "mirror", "--limit", "3"])
        .await;
    ran.success()
        .stdout_contains("toolbox = \"9.9.9\"")
        .stdout_contains("# another one");
    assert_eq!(
        searches(&upstream),
        ["/api/v1/crates?q=tool&per_page=3&page=1"]
    );
    let asked = upstream.requests();
    let asked = asked
        .iter()
        .find(|seen| seen.path.starts_with("/api/v1/crates?"))
        .expect("a search");
    let agent = asked.header("user-agent").unwrap_or_default();
    assert!(agent.starts_with("crate-mirror/"), "{agent}");
    // Ten minutes it is good for all who ask the same.
    let ran = cargo
        .run(&["search", "tool", "--registry", "mirror", "--limit", "3"])
        .await;
    ran.success().stdout_contains("toolbox");
    assert_eq!(searches(&upstream).len(), 1);
}

#[tokio::test]
async fn what_the_rules_refuse_is_not_listed_and_versions_are_those_that_may_be_picked() {
    let upstream = upstream().await;
    let rule = "[[policy.rules]]\ncrates = [\"evil-*\"]\naction = \"deny\"";
    let mirror = Mirror::of(&upstream).settings(rule).start().await;
    mirror.get("/index/to/ol/tool").await;
    let found = json_of(&mirror.get("/api/v1/crates?q=tool").await);
    let listed: Vec<_> = found["crates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| (c["name"].as_str(), c["max_version"].as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            (Some("Tool"), Some("1.0.0")),
            // Whether 9.9.9 may be picked nobody here knows: cargo prints this, which picks what may.
            (Some("toolbox"), Some("*"))
        ]
    );
    assert_eq!(found["meta"]["total"], 2);
    let refused = mirror.get("/api/v1/crates/evil-tool").await;
    assert_eq!(
        (refused.status, refused.header("x-cache")),
        (403, Some("denied"))
    );
    let detail = json_of(&refused)["errors"][0]["detail"].to_string();
    assert!(detail.contains("denied by rule"), "{detail}");
}

/// Upstream's newest was told of a crate of which the mirror's own index said that it can't be picked.
#[tokio::test]
async fn a_search_tells_no_version_that_may_not_be_picked() {
    let upstream = upstream().await;
    for (rules, tool) in [
        (
            "[[policy.rules]]\ncrates = [\"tool\"]\nversions = \"*\"\naction = \"deny\"",
            None,
        ),
        (
            "[[policy.rules]]\ncrates = [\"tool\"]\nversions = \"1.1.0\"\naction = \"deny\"",
            Some("1.0.0"),
        ),
        (
            "[policy]\nmode = \"report\"\n[[policy.rules]]\ncrates = [\"tool\"]\nversions = \"*\"\naction = \"deny\"",
            Some("1.0.0"),
        ),
    ] {
        let mirror = Mirror::of(&upstream).settings(rules).start().await;
        mirror.get("/index/to/ol/tool").await;
        // What is in the store is known as well as what is in memory.
        let mirror = mirror.restart().await;
        {
            let found = json_of(&mirror.get("/api/v1/crates?q=tool").await);
            let listed = found["crates"].as_array().expect("a list").iter();
            let listed: Vec<_> = listed
                .map(|c| (c["name"].as_str(), c["max_version"].as_str()))
                .collect();
            let told = listed.iter().find(|(name, _)| *name == Some("Tool"));
            assert_eq!(
                told.map(|(_, version)| *version),
                tool.map(Some),
                "{rules}: {found}"
            );
            assert!(
                !listed.iter().any(|(_, version)| *version == Some("9.9.9")),
                "{found}"
            );
        }
    }
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/index/to/ol/tool").await;
    let found = json_of(&mirror.get("/at/2020-01-01/api/v1/crates?q=tool").await);
    assert!(
        !found.to_string().contains("9.9.9") && !found.to_string().contains("1.0.0"),
        "{found}"
    );
}

/// The index shows as yanked what isn't stored; pages and the web API recommended it all the same.
#[tokio::test]
async fn offline_only_what_is_stored_is_said_to_be_there() {
    let upstream = Upstream::new()
        .publish(Package::new("tool", "1.0.0"))
        .publish(Package::new("tool", "2.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/api/v1/crates/tool/1.0.0/download").await;
    let store = mirror.store().to_owned();
    let offline = Mirror::of(&upstream)
        .settings("[offline]\nenabled = true")
        .store(&store)
        .start()
        .await;
    let krate = json_of(&offline.get("/api/v1/crates/tool").await);
    assert_eq!(krate["crate"]["max_version"], "1.0.0", "{krate}");
    let yanked = krate["versions"].as_array().expect("a list").iter();
    let yanked: Vec<_> = yanked
        .map(|v| (v["num"].as_str(), v["yanked"].as_bool()))
        .collect();
    assert_eq!(
        yanked,
        [(Some("2.0.0"), Some(true)), (Some("1.0.0"), Some(false))]
    );
    let found = |reply: &Reply| reply.text().contains("\"tool\"");
    let found = json_of(&offline.get_until("/api/v1/crates?q=tool", found).await);
    assert_eq!(found["crates"][0]["max_version"], "1.0.0", "{found}");
    let page = offline
        .get_with("/crates/tool", &[("accept", "text/html")])
        .await
        .text();
    assert!(
        page.contains("cargo add tool@1.0.0") && !page.contains("cargo add tool@2.0.0"),
        "{page}"
    );
    assert!(
        page.contains("It isn't stored here and this mirror is offline"),
        "{page}"
    );
    assert!(
        offline
            .get("/crates/tool")
            .await
            .text()
            .contains("2.0.0 no date, not here")
    );
}

/// crates.io wants no more than one request a second.
#[tokio::test]
async fn upstream_is_asked_once_for_all_and_for_others_in_turn() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let started = std::time::Instant::now();
    let asked = (0..30).map(|number| {
        let (mirror, words) = (&mirror, number % 3);
        async move {
            mirror
                .get(&format!("/api/v1/crates?q=tool{words}"))
                .await
                .status
        }
    });
    let statuses = futures_util::future::join_all(asked).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let mut asked = searches(&upstream);
    asked.sort();
    asked.dedup();
    assert_eq!((asked.len(), searches(&upstream).len()), (3, 3));
    assert!(
        started.elapsed().as_secs() >= 2,
        "three requests take two seconds at least"
    );
}

#[tokio::test]
async fn when_upstream_fails_the_answer_from_before_is_given_or_what_is_known_here() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/api/v1/crates/Tool/1.0.0/download").await;
    let seen = |reply: &Reply| reply.text().contains("One crate");
    mirror.get_until("/search?q=tool", seen).await;
    let rule = upstream.on("/api/v1/crates?").fail(503);
    let found = json_of(&mirror.get("/api/v1/crates?q=tool").await);
    assert_eq!(found["crates"][0]["name"], "Tool", "{found}");
    assert_eq!(found["crates"][0]["max_version"], "1.0.0");
    assert_eq!(found["meta"]["total"], 1);
    rule.lift();
}

#[tokio::test]
async fn offline_a_search_is_answered_by_what_is_known_here() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/api/v1/crates/Tool/1.0.0/download").await;
    let store = mirror.store().to_owned();
    upstream.clear_log();
    let offline = Mirror::of(&upstream)
        .settings("[offline]\nenabled = true")
        .store(&store)
        .start()
        .await;
    let found = |reply: &Reply| reply.text().contains("\"Tool\"");
    let found = json_of(&offline.get_until("/api/v1/crates?q=tool", found).await);
    assert_eq!(found["meta"]["total"], 1, "{found}");
    let cargo = Cargo::unconfigured().registry("mirror", &offline.index_url());
    let ran = cargo.run(&["search", "tool", "--registry", "mirror"]).await;
    ran.success().stdout_contains("Tool = \"1.0.0\"");
    let ran = cargo.run(&["info", "Tool", "--registry", "mirror"]).await;
    ran.success().stdout_contains("version: 1.0.0");
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test]
async fn a_crate_is_told_in_the_shape_of_crates_io_with_null_for_what_nobody_here_knows() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/api/v1/crates/Tool/1.0.0/download").await;
    let found = json_of(&mirror.get("/api/v1/crates/tool").await);
    let krate = &found["crate"];
    assert_eq!(krate["name"], "Tool");
    assert_eq!(krate["max_version"], "1.0.0", "1.1.0 is yanked");
    assert_eq!(krate["downloads"], Value::Null);
    assert_eq!(krate["created_at"], "2024-01-02T00:00:00Z");
    let versions = found["versions"].as_array().expect("versions");
    assert_eq!(versions.len(), 2);
    assert_eq!(
        (&versions[0]["num"], &versions[0]["yanked"]),
        (&"1.1.0".into(), &true.into())
    );
    let version = json_of(&mirror.get("/api/v1/crates/Tool/1.0.0").await);
    let version = &version["version"];
    let size = upstream.crate_file("Tool", "1.0.0").len();
    assert_eq!(version["crate_size"], size);
    assert_eq!(version["rust_version"], "1.60");
    assert_eq!(version["features"], json!({ "std": [] }));
    assert_eq!(version["dl_path"], "/api/v1/crates/Tool/1.0.0/download");
    let dependencies = json_of(&mirror.get("/api/v1/crates/Tool/1.0.0/dependencies").await);
    let dependency = &dependencies["dependencies"][0];
    assert_eq!(
        (
            &dependency["crate_id"],
            &dependency["req"],
            &dependency["kind"]
        ),
        (&"helper".into(), &"^1".into(), &"normal".into())
    );
    let list = json_of(&mirror.get("/api/v1/crates/Tool/versions").await);
    assert_eq!(list["meta"]["total"], 2);
    for (path, status) in [
        ("/api/v1/crates/nosuch", 404),
        ("/api/v1/crates/Tool/7.7.7", 404),
        ("/api/v1/crates/Tool/owners", 403),
        ("/api/v1/me", 404),
    ] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(
            reply.text().starts_with("{\"errors\":[{\"detail\":\""),
            "{path}: {}",
            reply.text()
        );
    }
}

/// Searches that failed opened the circuit that index and downloads are asked through.
#[tokio::test]
async fn searches_that_fail_keep_nobody_from_index_and_crates() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    upstream.on("/api/v1/crates?").fail(503);
    let mut figures = Value::Null;
    let is_open = |figures: &Value| {
        let hosts = figures["registries"][0]["hosts"].as_array().cloned();
        let hosts = hosts.unwrap_or_default().into_iter();
        let mut open = hosts.filter(|host| host["circuit_open"] == true);
        open.any(|host| {
            host["host"]
                .as_str()
                .is_some_and(|host| host.ends_with("(web API)"))
        })
    };
    for number in 0..12 {
        let path = format!("/api/v1/crates?q=tool{number}");
        assert_eq!(mirror.get(&path).await.status, 200, "by what is known here");
        figures = json_of(&mirror.get("/status.json").await);
        if is_open(&figures) {
            break;
        }
    }
    assert!(is_open(&figures), "{figures}");
    for path in ["/index/to/ol/tool", "/api/v1/crates/helper/1.0.0/download"] {
        assert_eq!(mirror.get(path).await.status, 200, "{path}");
    }
}

/// As on crates.io: the highest, the highest release, and the one that came last.
#[tokio::test]
async fn the_newest_versions_are_those_that_crates_io_would_name() {
    let upstream = Upstream::new()
        .publish(Package::new("tool", "1.0.0").pubtime("2024-03-01T00:00:00Z"))
        .publish(Package::new("tool", "1.5.0").pubtime("2024-01-01T00:00:00Z"))
        .publish(Package::new("tool", "2.0.0-rc.1").pubtime("2024-02-01T00:00:00Z"))
        .publish(Package::new("gone", "1.0.0").yanked(true))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    for (name, expected) in [
        (
            "tool",
            ["2.0.0-rc.1", "1.5.0", "1.0.0", "1.5.0"].map(Value::from),
        ),
        (
            "gone",
            ["0.0.0".into(), Value::Null, "0.0.0".into(), Value::Null],
        ),
    ] {
        let krate = json_of(&mirror.get(&format!("/api/v1/crates/{name}")).await);
        let krate = &krate["crate"];
        let told = [
            "max_version",
            "max_stable_version",
            "newest_version",
            "default_version",
        ];
        assert_eq!(told.map(|field| krate[field].clone()), expected, "{name}");
    }
}

#[tokio::test]
async fn what_is_too_much_is_refused_in_the_shape_of_crates_io() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for query in [
        "per_page=101",
        "per_page=0",
        "page=0",
        "per_page=100&page=101",
    ] {
        let reply = mirror.get(&format!("/api/v1/crates?q=a&{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        let detail = json_of(&reply)["errors"][0]["detail"].to_string();
        assert!(detail.len() > 20, "{query}: {detail}");
    }
    let cargo = Cargo::unconfigured().registry("mirror", &mirror.index_url());
    // Cargo itself asks for no more than a hundred.
    let ran = cargo
        .run(&["search", "tool", "--registry", "mirror", "--limit", "1000"])
        .await;
    ran.success().stdout_contains("toolbox");
}
