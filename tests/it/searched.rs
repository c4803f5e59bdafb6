//! Searching: names that were seen and descriptions of what is stored, from memory, and never by a look through the store.

use crate::support::{Mirror, Package, Upstream};

fn tool(version: &str, description: &str) -> Package {
    let manifest = format!(
        "[package]\nname = \"Url_Tool\"\nversion = {version:?}\nedition = \"2018\"\ndescription = {description:?}\n"
    );
    Package::new("Url_Tool", version).file("Cargo.toml", &manifest)
}

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(tool("1.0.0", "Parses URLs <quickly>"))
        .publish(Package::new("url-other", "1.0.0"))
        .start()
        .await
}

#[tokio::test]
async fn names_are_found_once_they_are_seen_and_descriptions_once_they_are_stored() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let none = mirror.get("/search?q=url").await.text();
    assert!(
        none.starts_with("Nothing known here in crates-io\n0 names of crates-io are known here"),
        "{none}"
    );
    mirror.get("/index/ur/l-/url-other").await;
    mirror.get("/index/ur/l_/url_tool").await;
    let seen = |reply: &crate::support::Reply| reply.text().contains("2 crates");
    let text = mirror.get_until("/search?q=URL", seen).await.text();
    assert!(
        text.contains("url-other 1.0.0\n") && text.contains("Url_Tool 1.0.0\n"),
        "{text}"
    );
    mirror.get("/api/v1/crates/Url_Tool/1.0.0/download").await;
    let described =
        |reply: &crate::support::Reply| reply.text().contains("# Parses URLs <quickly>");
    mirror.get_until("/search?q=url-tool", described).await;
    for words in ["quickly", "parses%20urls", "url+tool", "QUICKLY"] {
        let text = mirror.get(&format!("/search?q={words}")).await.text();
        assert!(text.contains("One crate"), "{words}: {text}");
    }
    let none = mirror.get("/search?q=quickly+slowly").await.text();
    assert!(none.contains("Nothing"), "{none}");
    upstream.clear_log();
    mirror.get("/search?q=url").await;
    assert!(upstream.requests().is_empty(), "a search asks nobody");
}

#[tokio::test]
async fn what_is_stored_is_found_after_a_restart_and_what_an_import_brought_too() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/api/v1/crates/Url_Tool/1.0.0/download").await;
    mirror.get("/index/ur/l-/url-other").await;
    let mirror = mirror.restart().await;
    // As an older version leaves it, or an import: with nothing beside the file.
    let beside = mirror.stored_beside();
    for path in beside {
        std::fs::remove_file(mirror.store().join(path)).expect("removed");
    }
    let found = |reply: &crate::support::Reply| {
        reply.text().contains("# Parses URLs") && reply.text().contains("2 crates")
    };
    mirror.get_until("/search?q=url", found).await;
}

#[tokio::test]
async fn denied_crates_are_found_with_the_reason() {
    let upstream = upstream().await;
    let rule = "[[policy.rules]]\ncrates = [\"url-other\"]\naction = \"deny\"";
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/index/ur/l-/url-other").await;
    let store = mirror.store().to_owned();
    let denying = Mirror::of(&upstream)
        .settings(rule)
        .store(&store)
        .start()
        .await;
    let why =
        |reply: &crate::support::Reply| reply.text().contains("url-other is denied by rule \"1\"");
    denying.get_until("/search?q=url", why).await;
}
