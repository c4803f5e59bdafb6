//! `/crates/NAME`: what is here of a crate, and why a version isn't offered.

use std::fs;

use crate::support::{Mirror, Package, Reply, Upstream};

const BROWSER: [(&str, &str); 1] = [("accept", "text/html")];

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(
            Package::new("tool", "1.0.0")
                .pubtime("2024-01-02T00:00:00Z")
                .rust_version("1.60")
                .feature("std", &[])
                .dep("helper", "^1"),
        )
        .publish(
            Package::new("tool", "1.1.0")
                .pubtime("2024-02-02T00:00:00Z")
                .yanked(true),
        )
        .publish(Package::new("tool", "1.2.0").pubtime("2024-03-02T00:00:00Z"))
        .publish(Package::new("tool", "2.0.0").pubtime("2998-01-01T00:00:00Z"))
        .publish(Package::new("helper", "1.0.0"))
        .start()
        .await
}

#[tokio::test]
async fn each_version_says_whether_it_is_here_and_why_it_is_not_offered() {
    let upstream = upstream().await;
    let advisories = tempfile::tempdir().expect("a folder");
    let folder = advisories.path().join("crates/tool");
    fs::create_dir_all(&folder).expect("a folder");
    let text = "```toml\n[advisory]\nid = \"RUSTSEC-2024-0001\"\npackage = \"tool\"\ndate = \"2024-02-01\"\n[versions]\npatched = [\">=1.2.0\"]\n```\n\n# It is bad\n";
    fs::write(folder.join("RUSTSEC-2024-0001.md"), text).expect("written");
    let settings = format!(
        "[policy]\ncooldown = \"7d\"\n[policy.advisories]\npath = {:?}\n[[policy.rules]]\ncrates = [\"tool\"]\nversions = \"=1.0.0\"\naction = \"deny\"\nreason = \"old\"",
        advisories.path()
    );
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    mirror.get("/api/v1/crates/tool/1.2.0/download").await;
    let is_here = |reply: &Reply| reply.text().contains("1.2.0 2024-03-02, here\n");
    let text = mirror.get_until("/crates/tool", is_here).await.text();
    for line in [
        "2.0.0 2998-01-01: tool 2.0.0 was published on 2998-01-01",
        "1.1.0 2024-02-02, yanked, RUSTSEC-2024-0001\n",
        "1.0.0 2024-01-02, RUSTSEC-2024-0001: tool 1.0.0 is denied by rule \"1\" of this mirror's policy: old",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let html = mirror.get_with("/crates/tool", &BROWSER).await.text();
    for words in [
        "waits until 2998-01-08",
        "denied",
        "yanked",
        "here",
        "Rust 1.60 or newer",
        "cargo add tool@1.2.0",
        "1 feature",
        "/crates/helper",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(!html.contains("cargo add tool@1.0.0"), "it is refused");
}

#[tokio::test]
async fn who_depends_on_a_crate_is_said_of_what_is_stored() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let none = mirror.get_with("/crates/helper", &BROWSER).await.text();
    assert!(
        none.contains("None of the crates that are stored here"),
        "{none}"
    );
    mirror.get("/api/v1/crates/tool/1.0.0/download").await;
    let mut page = String::new();
    for _ in 0..200 {
        page = mirror.get_with("/crates/helper", &BROWSER).await.text();
        if page.contains("href=\"/crates/tool\"") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("tool isn't named: {page}");
}

#[tokio::test]
async fn a_view_and_a_day_have_pages_of_their_own() {
    let upstream = upstream().await;
    let views = "[views.strict]\ndefault = \"deny\"";
    let mirror = Mirror::of(&upstream).settings(views).start().await;
    let usual = mirror.get("/crates/tool").await.text();
    assert!(!usual.contains("not offered"), "{usual}");
    let strict = mirror.get("/views/strict/crates/tool").await.text();
    assert!(strict.contains("not offered"), "{strict}");
    let day = mirror.get("/at/2024-02-10/crates/tool").await.text();
    assert!(
        day.contains("1.2.0 2024-03-02: tool 1.2.0 was published after 2024-02-10"),
        "{day}"
    );
    assert_eq!(mirror.get("/views/nosuch/crates/tool").await.status, 403);
    let own = mirror
        .get_with("/registries/crates-io/crates/tool", &BROWSER)
        .await
        .text();
    assert!(
        own.contains("/registries/crates-io/crates/helper"),
        "links stay within the registry"
    );
}

#[tokio::test]
async fn a_crate_that_is_nowhere_has_no_page_and_one_that_upstream_does_not_give_has_its_copy() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let absent = mirror.get("/crates/nosuch").await;
    assert_eq!(absent.status, 404, "{}", absent.text());
    assert_eq!(mirror.get("/crates/tool").await.status, 200);
    upstream.on_everything().fail(500);
    let stale = |reply: &Reply| reply.text().contains("stale");
    for _ in 0..50 {
        let page = mirror.get_with("/crates/tool", &BROWSER).await;
        assert_eq!(page.status, 200);
        if stale(&page) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it never says that its copy is stale");
}

/// The rules for everybody refused the page of a crate that a view lets in, and counted it.
#[tokio::test]
async fn a_view_that_lets_in_more_than_usual_has_its_pages_and_looking_is_no_refusal() {
    let upstream = upstream().await;
    let rules = "[policy]\ndefault = \"deny\"\n[views.open]\ndefault = \"allow\"";
    let mirror = Mirror::of(&upstream).settings(rules).start().await;
    for path in ["/views/open/crates/tool", "/views/open/api/v1/crates/tool"] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    let usual = mirror.get("/crates/tool").await.text();
    assert!(usual.contains("not offered"), "{usual}");
    let policy = mirror.get("/policy").await.text();
    assert!(policy.contains("nothing since the start"), "{policy}");
    let tried = "[policy]\nmode = \"report\"\ndefault = \"deny\"";
    let mirror = Mirror::of(&upstream).settings(tried).start().await;
    let page = mirror.get_with("/crates/tool", &BROWSER).await.text();
    assert!(
        page.contains("cargo add tool@2.0.0") && !page.contains("No version of it can be picked"),
        "nothing is refused: {page}"
    );
    let policy = mirror.get("/policy").await.text();
    assert!(policy.contains("nothing since the start"), "{policy}");
}

/// A licence that keeps a download out was shown as one like any other.
#[tokio::test]
async fn a_version_that_its_licence_keeps_out_is_said_to_be_refused() {
    let manifest = "[package]\nname = \"copyleft\"\nversion = \"1.0.0\"\nedition = \"2018\"\nlicense = \"GPL-3.0-only\"\n";
    let upstream = Upstream::new()
        .publish(Package::new("copyleft", "1.0.0").file("Cargo.toml", manifest))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/api/v1/crates/copyleft/1.0.0/download").await;
    let store = mirror.store().to_owned();
    let rules = "[policy.licenses]\nallow = [\"MIT\"]";
    let mirror = Mirror::of(&upstream)
        .settings(rules)
        .store(&store)
        .start()
        .await;
    let denied = mirror.get("/api/v1/crates/copyleft/1.0.0/download").await;
    assert_eq!(denied.status, 403);
    let is_said = |reply: &Reply| {
        reply
            .text()
            .contains("because of its licence, \"GPL-3.0-only\"")
    };
    mirror.get_until("/crates/copyleft", is_said).await;
    let page = mirror.get_with("/crates/copyleft", &BROWSER).await.text();
    assert!(
        page.contains("No version of it can be picked") && !page.contains("cargo add copyleft@"),
        "{page}"
    );
    let api = mirror.get("/api/v1/crates/copyleft").await.text();
    assert!(
        api.contains("\"yanked\":true") && api.contains("\"max_stable_version\":null"),
        "{api}"
    );
}

/// One line of an index made the crate's page and all that the web API says of it a 500, and its download too.
#[tokio::test]
async fn a_version_from_the_last_days_that_can_be_written_waits_and_nothing_else_breaks() {
    let upstream = Upstream::new()
        .publish(Package::new("tool", "1.0.0").pubtime("2024-01-02T00:00:00Z"))
        .publish(Package::new("tool", "2.0.0").pubtime("9999-12-30T00:00:00Z"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream)
        .settings("[policy]\ncooldown = \"30d\"")
        .start()
        .await;
    for accept in ["text/html", "text/plain"] {
        let page = mirror.get_with("/crates/tool", &[("accept", accept)]).await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(page.text().contains("9999-12-31"), "{}", page.text());
    }
    assert_eq!(mirror.get("/api/v1/crates/tool").await.status, 200);
    let download = mirror.get("/api/v1/crates/tool/2.0.0/download").await;
    assert_eq!(download.status, 403, "{}", download.text());
}

/// Only of the newest stored version was the file read for it: older ones, whose licence keeps them out, were offered on the page and refused as downloads.
#[tokio::test]
async fn each_stored_version_is_said_to_be_refused_for_its_licence_as_policy_why_says_it() {
    let package = |version: &str, license: &str| {
        let manifest = format!(
            "[package]\nname = \"mixed\"\nversion = {version:?}\nedition = \"2018\"\nlicense = {license:?}\n"
        );
        Package::new("mixed", version).file("Cargo.toml", &manifest)
    };
    let upstream = Upstream::new()
        .publish(package("1.0.0", "GPL-3.0-only"))
        .publish(package("1.1.0", "MIT"))
        .publish(package("1.2.0", "MIT"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    for version in ["1.0.0", "1.1.0"] {
        let path = format!("/api/v1/crates/mixed/{version}/download");
        assert_eq!(mirror.get(&path).await.status, 200);
    }
    let filled = mirror.restart().await;
    let store = filled.store().to_owned();
    // As an import leaves it: with nothing beside the files.
    for path in filled.stored_beside() {
        fs::remove_file(store.join(path)).expect("removed");
    }
    let mirror = Mirror::of(&upstream)
        .settings("[policy.licenses]\nallow = [\"MIT\"]")
        .store(&store)
        .start()
        .await;
    let page = mirror.get_with("/crates/mixed", &BROWSER).await.text();
    for words in [
        "because of its licence, &quot;GPL-3.0-only&quot;",
        "cargo add mixed@1.1.0",
        "licence not known here",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("cargo add mixed@1.0.0"), "{page}");
    let text = mirror.get("/crates/mixed").await.text();
    assert!(
        text.contains("because of its licence, \"GPL-3.0-only\""),
        "{text}"
    );
}

/// What a view lets in that is kept out otherwise is told there, and nowhere else.
#[tokio::test]
async fn a_view_that_is_looser_tells_the_versions_that_it_lets_in_and_no_other_place_does() {
    let upstream = upstream().await;
    let rules = "[policy]\ncooldown = \"7d\"\n[[policy.rules]]\ncrates = [\"tool\"]\nversions = \">=1.2.0\"\naction = \"deny\"\n\
                 [views.open]\n[[views.open.rules]]\ncrates = [\"tool\"]\nversions = \"=1.2.0\"\naction = \"allow\"\n";
    let mirror = Mirror::of(&upstream).settings(rules).start().await;
    for path in ["/index/to/ol/tool", "/views/open/index/to/ol/tool"] {
        assert_eq!(mirror.get(path).await.status, 200, "{path}");
    }
    let seen = |reply: &Reply| reply.text().contains("One crate");
    mirror.get_until("/search?q=tool", seen).await;
    for (place, newest) in [("", "1.0.0"), ("/views/open", "1.2.0")] {
        let page = mirror
            .get_with(&format!("{place}/crates/tool"), &BROWSER)
            .await
            .text();
        assert!(
            page.contains("in a shell\"") && page.contains(&format!("cargo add tool@{newest}\n")),
            "{place}: {page}"
        );
        let found = mirror.get(&format!("{place}/search?q=tool")).await.text();
        assert!(
            found.starts_with(&format!("tool {newest}\n")),
            "{place}: {found}"
        );
        for path in ["/api/v1/crates?q=tool", "/api/v1/crates/tool"] {
            let told = mirror.get(&format!("{place}{path}")).await.text();
            assert!(
                told.contains(&format!("\"max_version\":\"{newest}\"")),
                "{place}: {told}"
            );
        }
    }
}
