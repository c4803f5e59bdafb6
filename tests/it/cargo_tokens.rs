//! Real cargo with tokens: it asks, is told to show one, shows it, and builds; or it says what is wrong.

use std::time::Duration;

use crate::support::{Cargo, Mirror, MirrorBuilder, Package, TokenFile, Upstream};

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").dep("b", "1"))
        .publish(Package::new("b", "1.0.0"))
        .start()
        .await
}

fn guarded(upstream: &Upstream, tokens: &TokenFile, more: &str) -> MirrorBuilder {
    Mirror::of(upstream).settings(&tokens.settings(more))
}

const PROVIDER: &str = "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n";

/// A cargo whose crates.io is replaced by this index, with a project that needs `a`.
fn cargo(index: &str) -> Cargo {
    let cargo = Cargo::new(index).config(PROVIDER);
    cargo.project(&[("a", "1")]).env("CARGO_NET_RETRY", "0")
}

fn with_token(mirror: &Mirror, token: &str) -> Cargo {
    cargo(&mirror.index_url()).env("CARGO_REGISTRIES_MIRROR_TOKEN", token)
}

#[tokio::test]
async fn cargo_builds_with_a_token_and_with_none_or_a_wrong_one_says_so() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let token = tokens.add("ci");
    let short = tokens.grant("short", Some(Duration::from_secs(1)), &[]);
    let mirror = guarded(&upstream, &tokens, "").start().await;
    with_token(&mirror, &token).run(&["build"]).await.success();
    let none = cargo(&mirror.index_url()).run(&["build"]).await;
    none.failure().stderr_contains("no token found for");
    let wrong = with_token(&mirror, "cm_wrong").run(&["build"]).await;
    wrong.failure().stderr_contains("token rejected for");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let expired = with_token(&mirror, &short).run(&["build"]).await;
    expired.failure().stderr_contains("token rejected for");
}

#[tokio::test]
async fn a_token_that_is_revoked_builds_no_more() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "").start().await;
    let cargo = with_token(&mirror, &token);
    cargo.run(&["build"]).await.success();
    tokens.revoke("ci");
    tokio::time::sleep(Duration::from_secs(5)).await;
    cargo.fresh_home();
    let ended = cargo.run(&["fetch"]).await;
    ended.failure().stderr_contains("token rejected for");
}

#[tokio::test]
async fn cargo_builds_from_a_view_with_a_token_for_it_and_not_with_its_registry_s() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let view = tokens.grant("view", None, &["lts"]);
    let registry = tokens.grant("registry", None, &["crates-io"]);
    let mirror = guarded(&upstream, &tokens, "").settings("[views.lts]\ncooldown = \"0s\"");
    let mirror = mirror.start().await;
    let index = format!("{}/views/lts/index/", mirror.url());
    for (index, good, bad) in [
        (&index, &view, &registry),
        (&mirror.index_url(), &registry, &view),
    ] {
        let with = |token: &str| cargo(index).env("CARGO_REGISTRIES_MIRROR_TOKEN", token);
        with(good).run(&["build"]).await.success();
        let refused = with(bad).run(&["build"]).await;
        refused.failure().stderr_contains("token rejected for");
    }
}

/// What the page says to paste is enough for cargo, together with a token.
#[tokio::test]
async fn what_the_page_says_to_paste_works_with_a_token() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "").start().await;
    let page = mirror.get("/").await.text();
    let pasted = page
        .lines()
        .filter(|line| line.starts_with('[') || line.contains(" = "));
    let pasted = pasted.fold(String::new(), |text, line| text + line + "\n");
    assert!(
        pasted.contains("[source.crates-io]\nreplace-with"),
        "{page}"
    );
    let cargo = Cargo::unconfigured().config(&pasted).project(&[("a", "1")]);
    let cargo = cargo.env("CARGO_REGISTRIES_MIRROR_TOKEN", &token);
    cargo.run(&["build"]).await.success();
}

/// A token in the path is for clients that can't send headers, and for a cargo without credentials.
#[tokio::test]
async fn cargo_builds_with_a_token_in_the_path() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "token_in_path = true")
        .start()
        .await;
    let index = format!("{}/t/{token}/index/", mirror.url());
    let cargo = Cargo::new(&index).project(&[("a", "1")]);
    cargo.run(&["build"]).await.success();
    let wrong = format!("{}/t/cm_wrong/index/", mirror.url());
    let cargo = Cargo::new(&wrong)
        .project(&[("a", "1")])
        .env("CARGO_NET_RETRY", "0");
    cargo.run(&["build"]).await.failure();
}

#[tokio::test]
async fn cargo_needs_no_token_for_what_is_anonymous() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let mirror = guarded(&upstream, &tokens, "anonymous = [\"crates-io\"]")
        .start()
        .await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("a", "1")]);
    cargo.run(&["build"]).await.success();
}

/// A source that is no registry of its own has no name for a token: it does where none is needed, and with one in the path.
#[tokio::test]
async fn cargo_builds_with_the_other_form_of_a_source_where_it_shows_no_token() {
    let (upstream, tokens) = (upstream().await, TokenFile::new());
    let token = tokens.add("ci");
    let open = Mirror::of(&upstream).start().await;
    let guarded = guarded(&upstream, &tokens, "token_in_path = true");
    let guarded = guarded.start().await;
    let source = |index: &str| {
        let cargo = Cargo::unconfigured().config(&format!(
            "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{index}\"\n{PROVIDER}"
        ));
        cargo.project(&[("a", "1")]).env("CARGO_NET_RETRY", "0")
    };
    let in_path = format!("{}/t/{token}/index/", guarded.url());
    for index in [open.index_url(), in_path] {
        source(&index).run(&["build"]).await.success();
    }
    let shown = source(&guarded.index_url()).env("CARGO_REGISTRIES_MIRROR_TOKEN", &token);
    shown.run(&["fetch"]).await.failure();
}
