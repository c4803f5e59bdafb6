//! `/` and the pages behind it: who may see what, in which form, and what browsers are told to keep to.

use serde_json::Value;

use crate::support::{Dist, Mirror, Package, Reply, TokenFile, Upstream, client};

const BROWSER: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
const CRATE: &str = "/api/v1/crates/a/1.0.0/download";

#[tokio::test]
async fn a_browser_gets_html_and_a_terminal_gets_text() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get("/index/1/a").await;
    for path in ["/", "/search?q=a", "/crates/a", "/policy", "/wanted"] {
        let text = mirror.get(path).await;
        assert_eq!(
            (text.status, text.header("content-type")),
            (200, Some("text/plain; charset=utf-8")),
            "{path}"
        );
        assert!(!text.text().contains('<'), "{path}: {}", text.text());
        let html = mirror.get_with(path, &BROWSER).await;
        assert_eq!(
            (html.status, html.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        assert!(html.text().starts_with("<!DOCTYPE html>"), "{path}");
        assert_eq!(html.header("vary"), Some("accept"), "{path}");
        assert!(
            html.body.len() < 48 << 10,
            "{path}: {} bytes",
            html.body.len()
        );
    }
}

#[tokio::test]
async fn browsers_are_told_to_load_nothing_from_elsewhere() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in [
        "/",
        "/search",
        "/crates/a",
        "/policy",
        "/wanted",
        "/status.json",
        "/style.css",
        "/copy.js",
        "/icon.svg",
    ] {
        let reply = mirror.get_with(path, &BROWSER).await;
        assert_eq!(reply.status, 200, "{path}");
        let policy = reply.header("content-security-policy").expect(path);
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            reply.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        assert!(
            !reply.text().contains(" style=\"") && !reply.text().contains("<style"),
            "{path}"
        );
    }
}

/// What it says of itself and of crates is for who may ask for them.
#[tokio::test]
async fn who_has_no_token_sees_how_to_use_it_alone() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let elsewhere = tokens.grant("elsewhere", None, &["internal"]);
    let mirror = Mirror::of(&upstream)
        .settings(&tokens.settings(""))
        .start()
        .await;
    let hidden = "What it does now";
    for headers in [vec![], vec![("authorization", "cm_wrong")]] {
        let html = [&BROWSER[..], &headers].concat();
        let page = mirror.get_with("/", &html).await.text();
        assert!(
            page.contains("replace-with") && page.contains("With a token"),
            "{page}"
        );
        assert!(
            !page.contains(hidden) && !page.contains("status.json"),
            "{page}"
        );
        let text = mirror.get_with("/", &headers).await.text();
        assert!(
            text.contains("replace-with") && !text.contains("Now:"),
            "{text}"
        );
        for path in [
            "/search?q=a",
            "/crates/a",
            "/policy",
            "/wanted",
            "/status.json",
            "/api/v1/crates?q=a",
            "/api/v1/crates/a",
        ] {
            assert_eq!(mirror.get_with(path, &headers).await.status, 401, "{path}");
        }
    }
    let ours = [BROWSER[0], ("authorization", &token)];
    let page = mirror.get_with("/", &ours).await.text();
    assert!(page.contains(hidden), "{page}");
    for path in [
        "/search?q=a",
        "/crates/a",
        "/policy",
        "/wanted",
        "/status.json",
        "/api/v1/crates/a",
    ] {
        assert_eq!(mirror.get_with(path, &ours).await.status, 200, "{path}");
    }
    // A token for another registry isn't one for the crates of this one.
    for path in ["/search?q=a", "/crates/a", "/policy"] {
        let reply = mirror
            .get_with(path, &[("authorization", &elsewhere)])
            .await;
        assert_eq!(reply.status, 401, "{path}");
    }
}

/// A token for one registry told the names of another's crates, by what was asked for in vain, what was refused, what is stale, and the rules themselves.
#[tokio::test]
async fn a_token_for_one_registry_or_view_tells_nothing_of_the_others() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .publish(Package::new("secret-stale", "1.0.0"))
        .start()
        .await;
    let tokens = TokenFile::new();
    let all = tokens.add("all");
    let ours = tokens.grant("ours", None, &["crates-io"]);
    let lts = tokens.grant("lts", None, &["lts"]);
    let settings = format!(
        "{}[registries.internal]\nindex = \"sparse+{}\"\n\
         [[policy.rules]]\nname = \"secret-rule\"\ncrates = [\"secret-denied\"]\nregistries = [\"internal\"]\naction = \"deny\"\n\
         [[policy.rules]]\ncrates = [\"open-denied\"]\naction = \"deny\"\n\
         [[views.lts.rules]]\ncrates = [\"lts-denied\"]\naction = \"deny\"\n",
        tokens.settings(""),
        upstream.index_url()
    );
    let mirror = Mirror::of(&upstream)
        .always_asks()
        .settings(&settings)
        .start()
        .await;
    let get = async |path: &str, token: &str| {
        let reply = mirror.get_with(path, &[("authorization", token)]).await;
        (reply.status, reply.text())
    };
    let stale = "/registries/internal/index/se/cr/secret-stale";
    assert_eq!(get(stale, &all).await.0, 200);
    for path in [
        "/registries/internal/index/se/cr/secret-denied",
        "/index/op/en/open-denied",
        "/views/lts/index/lt/s-/lts-denied",
    ] {
        assert_eq!(get(path, &all).await.0, 403, "{path}");
    }
    upstream.on_everything().fail(503);
    assert_eq!(get(stale, &all).await.0, 200, "the copy");
    let said = async |path: &str, token: &str| get(path, token).await.1;
    assert!(said("/status.json", &all).await.contains("secret-stale"));
    assert!(
        said("/registries/internal/policy", &all)
            .await
            .contains("secret-rule")
    );
    assert!(
        said("/policy", &all).await.contains("lts-denied"),
        "all may see all"
    );
    for token in [&ours, &lts] {
        for path in ["/", "/status.json", "/wanted"] {
            let (status, text) = get(path, token).await;
            assert_eq!(status, 200, "{path}");
            assert!(!text.contains("secret"), "{path}: {text}");
        }
    }
    let figures: Value = serde_json::from_str(&said("/status.json", &ours).await).expect("JSON");
    let names = figures["registries"].as_array().expect("a list").iter();
    let names: Vec<_> = names.map(|of| of["name"].as_str()).collect();
    assert_eq!(names, [Some("crates-io")]);
    let policy = said("/policy", &ours).await;
    assert!(
        policy.contains("open-denied") && !policy.contains("secret"),
        "{policy}"
    );
    assert!(!policy.contains("lts-denied"), "{policy}");
    let policy = said("/views/lts/policy", &lts).await;
    assert!(policy.contains("times: lts-denied is denied"), "{policy}");
    assert!(
        !policy.contains("times: open-denied") && !policy.contains("secret"),
        "{policy}"
    );
}

/// What is wanted of a registry is for who may read it.
#[tokio::test]
async fn what_is_wanted_is_told_to_who_may_read_that_registry() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (all, ours) = (
        tokens.add("all"),
        tokens.grant("ours", None, &["crates-io"]),
    );
    let settings = format!(
        "{}[registries.internal]\nindex = \"sparse+{}\"\n[offline]\nenabled = true\n",
        tokens.settings(""),
        upstream.index_url()
    );
    let mirror = Mirror::of(&upstream).settings(&settings).start().await;
    for path in [
        "/index/op/en/open",
        "/registries/internal/index/se/cr/secret",
    ] {
        mirror.get_with(path, &[("authorization", &all)]).await;
    }
    let both = |reply: &crate::support::Reply| reply.text() == "internal:secret\nopen\n";
    let wanted = |token| [("authorization", token)];
    for _ in 0..100 {
        if both(&mirror.get_with("/wanted", &wanted(&*all)).await) {
            let limited = mirror.get_with("/wanted", &wanted(&*ours)).await;
            assert_eq!(limited.text(), "open\n");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("both are never wanted");
}

#[tokio::test]
async fn with_a_port_of_their_own_pages_are_answered_there() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream)
        .server("admin_listen = \"127.0.0.1:0\"")
        .start()
        .await;
    let admin = mirror.admin_addr().expect("a port of its own");
    let page = client::get(admin, "/", &BROWSER).await.text();
    assert!(page.contains("What it does now"), "{page}");
    let index = format!("sparse+{}/index/", mirror.url());
    assert!(page.contains(&index), "what clients paste: {page}");
    for path in ["/search", "/crates/a", "/policy", "/wanted", "/status.json"] {
        assert_eq!(client::get(admin, path, &[]).await.status, 200, "{path}");
        assert_eq!(mirror.get(path).await.status, 404, "{path}");
    }
    let page = mirror.get_with("/", &BROWSER).await.text();
    assert!(
        page.contains("replace-with") && !page.contains("What it does now"),
        "{page}"
    );
    // Cargo asks the web API where it asks for crates.
    assert_eq!(mirror.get("/api/v1/crates/a").await.status, 200);
}

#[tokio::test]
async fn the_figures_are_those_of_what_was_asked() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    for _ in 0..4 {
        mirror.get("/index/1/a").await;
        mirror.get(CRATE).await;
    }
    let counted = |reply: &crate::support::Reply| {
        let figures: Value = serde_json::from_slice(&reply.body).expect("JSON");
        figures["requests"]["answered"] == 8 && !figures["store"]["census"].is_null()
    };
    let reply = mirror.get_until("/status.json", counted).await;
    let figures: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(figures["requests"]["hits"], 6);
    assert_eq!(figures["requests"]["hit_rate"], 0.75);
    assert_eq!(figures["troubles"], Value::Array(vec![]));
    let hosts = figures["registries"][0]["hosts"].as_array().expect("hosts");
    assert!(
        hosts.iter().all(|host| host["circuit_open"] == false),
        "{figures}"
    );
    let stored = &figures["store"]["census"]["registries"][0];
    let size = upstream.crate_file("a", "1.0.0").len();
    assert_eq!(
        (&stored["crates"], &stored["crate_bytes"]),
        (&1.into(), &size.into()),
        "{figures}"
    );
    assert_eq!(figures["last_hour"].as_array().map(Vec::len), Some(60));
}

/// Somebody who looks at the page must see that something is wrong, and what.
#[tokio::test]
async fn an_outage_is_seen_on_the_page() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    mirror.get("/index/1/a").await;
    upstream.on_everything().fail(503);
    mirror.get("/index/1/a").await;
    let is_said = |reply: &crate::support::Reply| {
        reply
            .text()
            .contains("Stale copies are served; the oldest, of a in crates-io")
    };
    mirror.get_until("/", is_said).await;
    let page = mirror.get_with("/", &BROWSER).await.text();
    assert!(page.contains("Something is wrong"), "{page}");
}

#[tokio::test]
async fn the_policy_page_says_the_rules_and_what_they_refused() {
    let upstream = Upstream::new()
        .publish(Package::new("left-pad", "1.0.0"))
        .start()
        .await;
    let rules = "[policy]\ncontact = \"sec@example.com\"\n[[policy.rules]]\nname = \"no pads\"\ncrates = [\"left-*\"]\naction = \"deny\"\nreason = \"<b>no</b>\"";
    let mirror = Mirror::of(&upstream).settings(rules).start().await;
    for _ in 0..2 {
        assert_eq!(mirror.get("/index/le/ft/left-pad").await.status, 403);
    }
    let text = mirror.get("/policy").await.text();
    for words in [
        "Rule no pads: denies left-*: <b>no</b>.",
        "2 times: left-pad is denied by rule \"no pads\"",
        "Ask sec@example.com",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let html = mirror.get_with("/policy", &BROWSER).await.text();
    assert!(
        html.contains("&lt;b&gt;no&lt;/b&gt;") && !html.contains("<b>"),
        "{html}"
    );
    let page = mirror.get("/crates/left-pad").await.text();
    assert!(
        page.contains("not offered: left-pad is denied by rule \"no pads\""),
        "{page}"
    );
}

/// A stranger may ask for as many different pages as he likes.
#[tokio::test]
async fn pages_and_questions_are_bounded() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    let long = format!("/search?q={}", "x".repeat(101));
    for path in [
        &*long,
        "/search?per_page=101",
        "/search?page=0",
        "/api/v1/crates?per_page=1000",
        "/crates/1a",
    ] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
    for number in 0..200 {
        let reply = mirror.get(&format!("/search?q={number}")).await;
        assert_eq!(reply.status, 200, "{number}: {}", reply.text());
    }
}

/// A cache between could give to one what was made for another, and a browser guess a type from what strangers wrote.
#[tokio::test]
async fn where_tokens_are_wanted_what_is_answered_is_for_who_asked_and_everywhere_what_it_says() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = Mirror::of(&upstream)
        .settings(&tokens.settings(""))
        .start()
        .await;
    let with = [BROWSER[0], ("authorization", &*token)];
    for path in [
        "/",
        "/search?q=a",
        "/crates/a",
        "/policy",
        "/wanted",
        "/status.json",
        "/api/v1/crates/a",
    ] {
        let reply = mirror.get_with(path, &with).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(
            reply.header("cache-control"),
            Some("private, no-cache"),
            "{path}"
        );
        assert_eq!(
            reply.header("vary"),
            Some("accept, authorization"),
            "{path}"
        );
    }
    let without = mirror.get_with("/", &BROWSER).await;
    assert_eq!(without.header("cache-control"), Some("private, no-cache"));
    assert_eq!(without.header("vary"), Some("accept, authorization"));
    let index = mirror.get_with("/index/1/a", &with).await;
    assert_eq!(index.header("cache-control"), Some("private, no-cache"));
    for path in [
        "/",
        "/nothing",
        "/healthz",
        "/readyz",
        "/metrics",
        "/style.css",
        "/index/config.json",
        "/index/1/a",
        "/index/1/b",
        CRATE,
        "/crates/a",
        "/status.json",
        "/api/v1/crates/nosuch",
        "/api/v1/crates?per_page=0",
    ] {
        for headers in [&with[..], &[]] {
            let reply = mirror.get_with(path, headers).await;
            assert_eq!(
                reply.header("x-content-type-options"),
                Some("nosniff"),
                "{path}: {}",
                reply.status
            );
        }
    }
}

fn figures(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// Whoever runs the mirror had to look into its log for why a host fails; and of the distribution host he wasn't even told that it does.
#[tokio::test]
async fn why_a_host_fails_is_said_beside_it_with_its_time() {
    let dist = Dist::start().await;
    // Nobody listens there: the port of one that has ended may be another test's by now.
    let settings = "[upstream]\nretries = 0\n[registries.dead]\nindex = \"sparse+http://127.0.0.1:1/index/\"\n";
    let mirror = dist.mirror("").settings(settings).start().await;
    let unasked = figures(&mirror.get("/status.json").await);
    assert_eq!(unasked["toolchains"]["online"], true, "{unasked}");
    dist.on_everything().fail(503);
    for n in 0..6 {
        mirror
            .get(&format!("/registries/dead/index/3/a/aa{n}"))
            .await;
        mirror
            .get(&format!(
                "/toolchains/dist/2026-01-1{n}/channel-rust-nightly.toml"
            ))
            .await;
    }
    let open = |reply: &Reply| {
        let of = figures(reply);
        let dead = of["registries"].as_array().expect("a list").iter();
        let mut dead = dead.filter(|of| of["name"] == "dead");
        let dead = dead.next().expect("it")["hosts"][0]["circuit_open"] == true;
        dead && of["toolchains"]["hosts"][0]["circuit_open"] == true
    };
    let of = figures(&mirror.get_until("/status.json", open).await);
    let failure = &of["toolchains"]["hosts"][0]["last_failure"];
    let said = failure["said"].as_str().expect("a sentence");
    assert!(said.contains("answered 503"), "{said}");
    assert!(failure["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert!(failure["age_seconds"].as_u64().is_some_and(|age| age < 60));
    let troubles = of["troubles"].to_string();
    for words in ["of the toolchains keeps failing", "answered 503", "refused"] {
        assert!(troubles.contains(words), "{words}: {troubles}");
    }
    for headers in [&BROWSER[..], &[]] {
        let page = mirror.get_with("/", headers).await.text();
        for words in ["answered 503", "refused (os error", "s ago: "] {
            assert!(page.contains(words), "{words}: {page}");
        }
    }
    // This is told to everybody, and they need not know.
    let ready = mirror.get("/readyz").await.text();
    assert!(
        !ready.contains("answered") && !ready.contains("refused"),
        "{ready}"
    );
}

/// What doesn't open a circuit is known as well: a registry that wants a token keeps answering.
#[tokio::test]
async fn a_registry_that_refuses_this_mirror_is_told_by_its_page() {
    let upstream = Upstream::with_one_crate().await;
    upstream.on_everything().fail(401);
    let mirror = Mirror::of(&upstream).start().await;
    assert_eq!(mirror.get("/index/1/a").await.status, 403);
    let page = mirror.get("/").await.text();
    assert!(page.contains("closed: it is asked\n    failed"), "{page}");
    assert!(page.contains("it wants credentials"), "{page}");
}

/// What was stored after the first look through the store wasn't counted for six hours.
#[tokio::test]
async fn what_is_in_the_store_is_followed() {
    let dist = Dist::start().await;
    dist.publish(Package::new("a", "1.0.0"));
    let release = dist.release("stable", "1.93.0", "2026-01-22");
    let mirror = dist.mirror("").start().await;
    let counted = |reply: &Reply| !figures(reply)["store"]["census"].is_null();
    let empty = figures(&mirror.get_until("/status.json", counted).await);
    assert_eq!(empty["store"]["census"]["bytes"], 0, "{empty}");
    mirror.get(CRATE).await;
    let path = release.component("rustc");
    mirror.get(&format!("/toolchains{path}")).await;
    let (crates, file) = (
        dist.crate_file("a", "1.0.0").len(),
        dist.object_at(&path).len(),
    );
    let is_counted = |reply: &Reply| {
        let census = &figures(reply)["store"]["census"];
        let of_toolchains = &census["toolchains"];
        census["registries"][0]["crate_bytes"] == crates
            && (&of_toolchains["files"], &of_toolchains["file_bytes"]) == (&1.into(), &file.into())
            && of_toolchains["documents"] == 1
    };
    mirror.get_until("/status.json", is_counted).await;
    let page = mirror.get("/").await.text();
    assert!(page.contains("toolchains: 1 file, "), "{page}");
    let metric = "crate_mirror_stored_objects{kind=\"component\",registry=\"toolchains\"} 1";
    let metrics = mirror.get("/metrics").await.text();
    assert!(metrics.contains(metric), "{metrics}");
}

/// The words with digits in them that a browser shows of a page: all but how to use the mirror, and what is drawn.
fn figures_shown(html: &str) -> Vec<String> {
    let main = html.split("<main").nth(1).expect("a main part");
    let main = main.split("</main>").next().unwrap_or_default();
    let without = |text: &str, start: &str, end: &str| {
        let mut parts = text.split(start);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            text + part.split_once(end).map_or("", |(_, rest)| rest)
        })
    };
    let main = without(main, "<section aria-labelledby=\"use\"", "</section>");
    let main = without(&main, "<svg", "</svg>");
    let mut shown = String::new();
    for part in main.split('<') {
        shown.push(' ');
        shown.push_str(part.split_once('>').map_or("", |(_, text)| text));
    }
    let shown = shown.replace("&quot;", "\"").replace("&amp;", "&");
    let words = shown.split([' ', '\n']);
    let words = words.map(|word| word.trim_matches(['.', ',', ';', ':', '(', ')', '"', '“', '”']));
    let figures = words.filter(|word| word.contains(|c: char| c.is_ascii_digit()));
    figures.map(str::to_owned).collect()
}

/// The text for terminals had a few figures of the page, and none of many.
#[tokio::test]
async fn each_figure_of_a_page_is_in_its_text_as_well() {
    let dist = Dist::start().await;
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        let package = Package::new("tool", version).dep("a", "^1.7");
        let package = package.rust_version("1.60").feature("extra", &[]);
        dist.publish(package);
    }
    dist.publish(Package::new("tool-box", "0.3.1"));
    let release = dist.release("stable", "1.93.0", "2026-01-22");
    dist.rustup("1.28.2");
    let settings = "[upstream]\nretries = 0\n[[policy.rules]]\ncrates = [\"tool\"]\nversions = \"=1.0.0\"\naction = \"deny\"\nreason = \"since 2025\"";
    let mirror = dist.mirror("").settings(settings).start().await;
    for path in [
        "/api/v1/crates/tool/1.2.0/download",
        "/api/v1/crates/tool/1.0.0/download",
        "/index/to/ol/tool-box",
        &format!("/toolchains{}", release.component("rustc")),
        &format!("/toolchains{}", release.component("cargo")),
        &format!(
            "/toolchains/rustup/dist/{}/rustup-init",
            crate::support::dist::HOST
        ),
    ] {
        mirror.get(path).await;
    }
    dist.on_everything().fail(502);
    mirror.get("/index/1/z").await;
    let is_here = |reply: &Reply| reply.text().contains("1.2.0 no date, here\n");
    mirror.get_until("/crates/tool", is_here).await;
    for path in [
        "/",
        "/crates/tool",
        "/crates/tool-box",
        "/search?q=tool",
        "/search?q=tool&per_page=1&page=2",
        "/policy",
        "/toolchains",
        "/wanted",
    ] {
        let mut missing = Vec::new();
        // Both are of one second, unless the first was asked for at its end.
        for _ in 0..20 {
            let html = mirror.get_with(path, &BROWSER).await.text();
            let text = mirror.get(path).await.text();
            missing = figures_shown(&html);
            let count = missing.len();
            missing.retain(|figure| !text.contains(figure.as_str()));
            if missing.is_empty() {
                assert!(count > 0 || path == "/wanted", "{path}: {html}");
                break;
            }
        }
        assert!(missing.is_empty(), "{path}: {missing:?}");
    }
}
