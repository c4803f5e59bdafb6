//! Cargo can't tell the index from crates.io's: its paths, its config.json, its validators, and the HTTP around them.

use crate::support::{Connection, Mirror, Package, Reply, Upstream, client, frames};
use frames::Frames;
use serde_json::{Value, json};

/// One crate for each length of index path, the last with capitals in its name.
async fn four_crates() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .publish(Package::new("ab", "1.0.0"))
        .publish(Package::new("abc", "1.0.0"))
        .publish(Package::new("Some_Crate", "1.0.0"))
        .start()
        .await
}

fn json_of(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

const CONFIG: &str = "/index/config.json";
const INDEX: &str = "/index/so/me/some_crate";
const CRATE: &str = "/api/v1/crates/Some_Crate/1.0.0/download";

#[tokio::test]
async fn config_json_points_at_the_host_that_was_asked() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let host = mirror.addr().to_string();
    for host in [host.as_str(), "mirror.example:8443", "mirror", "[::1]:80"] {
        let reply = mirror.get_with(CONFIG, &[("host", host)]).await;
        let base = format!("http://{host}");
        let expected = json!({ "dl": format!("{base}/api/v1/crates"), "api": base });
        assert_eq!(json_of(&reply), expected);
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    let path = "/registries/crates-io/index/config.json";
    let reply = mirror.get_with(path, &[("host", "mirror")]).await;
    let base = "http://mirror/registries/crates-io";
    let expected = json!({ "dl": format!("{base}/api/v1/crates"), "api": base });
    assert_eq!(json_of(&reply), expected);
}

/// What was made for one client must not be given to another who calls the mirror by another name, or asks for another registry.
#[tokio::test]
async fn config_json_is_each_askers_own_however_they_take_turns() {
    let upstream = four_crates().await;
    let other = format!("[registries.other]\nindex = \"{}\"", upstream.index_url());
    let mirror = Mirror::of(&upstream).settings(&other).start().await;
    for host in ["one", "two", "one", "one:80", "one", "ONE"] {
        for (root, at) in [
            ("", ""),
            ("/registries/other", "/registries/other"),
            ("", ""),
        ] {
            let path = format!("{root}{CONFIG}");
            let reply = mirror.get_with(&path, &[("host", host)]).await;
            let expected = json!({ "dl": format!("http://{host}{at}/api/v1/crates"), "api": format!("http://{host}{at}") });
            assert_eq!(json_of(&reply), expected);
            let length = reply.body.len().to_string();
            assert_eq!(reply.header("content-length"), Some(&*length));
        }
        let refused = mirror.get_with(CONFIG, &[("host", "user@evil")]).await;
        assert_eq!(refused.status, 400);
    }
}

/// Every cargo asks for it over the upgrade, where the `Host` becomes the `:authority`.
#[tokio::test]
async fn config_json_is_the_same_after_an_upgrade() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let mut frames = Frames::upgrade(mirror.addr(), CONFIG).await;
    let response = frames.response(1).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body, mirror.get(CONFIG).await.body);
    frames.ask(3, "GET", "other.example:99", CONFIG).await;
    let other = frames.response(3).await;
    let text = String::from_utf8(other.body).expect("text");
    let dl = "\"dl\":\"http://other.example:99/api/v1/crates\"";
    assert!(text.contains(dl), "{text}");
}

#[tokio::test]
async fn config_json_points_at_the_public_url_whatever_the_host_says() {
    let public_url = "public_url = \"https://crates.example.com/sub/\"";
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).server(public_url).start().await;
    let expected = json!({ "dl": "https://crates.example.com/sub/api/v1/crates", "api": "https://crates.example.com/sub" });
    for host in ["127.0.0.1", "evil.example", "a b", ""] {
        let reply = mirror.get_with(CONFIG, &[("host", host)]).await;
        assert_eq!(json_of(&reply), expected, "{host:?}");
    }
    let without = client::raw(mirror.addr(), b"GET /index/config.json HTTP/1.0\r\n\r\n").await;
    assert!(without.starts_with(b"HTTP/1.0 200 "), "no Host");
}

/// The hosts that weren't answered with 400, or that are in the answer, each with its answer.
async fn echoed(mirror: &Mirror, hosts: &[&'static str]) -> Vec<(&'static str, String)> {
    let mut echoed = Vec::new();
    for &host in hosts {
        for path in [CONFIG, "/", "/registries/crates-io/index/config.json"] {
            let reply = mirror.get_with(path, &[("host", host)]).await;
            if reply.status != 400 || reply.text().contains("evil") {
                echoed.push((host, format!("{path}: {} {}", reply.status, reply.text())));
            }
        }
    }
    echoed
}

/// An echo would let whoever can send a header choose where another client downloads from, and
/// cargo keeps a `dl` on disk.
#[tokio::test]
async fn a_host_that_cannot_stand_in_a_url_is_refused_and_not_echoed() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let hosts = [
        "",
        " ",
        "a b",
        "user@evil",
        "user:password@evil",
        "@",
        ":80",
        "evil/path",
        "evil?query",
        "evil#fragment",
        "evil\\path",
        "http://evil",
        "evil\"",
        "evil<script>",
        "evil:80:90",
        "[::1",
        "::1",
        "evil%00",
        "{crate}",
        "évil",
    ];
    assert_eq!(echoed(&mirror, &hosts).await, []);
    for head in [
        "GET /index/config.json HTTP/1.1\r\n\r\n",
        "GET /index/config.json HTTP/1.0\r\n\r\n",
    ] {
        let reply = client::raw(mirror.addr(), head.as_bytes()).await;
        let reply = String::from_utf8(reply).expect("text");
        assert!(reply.contains(" 400 "), "no Host: {reply}");
    }
}

/// Cargo can't parse such a URL, and keeps it on disk all the same.
#[tokio::test]
async fn a_host_with_a_port_that_cannot_be_is_refused_and_not_echoed() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    let hosts = ["evil:port", "evil:99999", "evil:-1", "evil:8080x"];
    assert_eq!(echoed(&mirror, &hosts).await, []);
}

#[tokio::test]
async fn an_index_file_arrives_byte_for_byte_at_all_four_path_lengths() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (path, name) in [
        ("1/a", "a"),
        ("2/ab", "ab"),
        ("3/a/abc", "abc"),
        ("so/me/some_crate", "Some_Crate"),
    ] {
        for root in ["/index", "/registries/crates-io/index"] {
            let reply = mirror.get(&format!("{root}/{path}")).await;
            assert_eq!((reply.status, reply.complete), (200, true), "{path}");
            assert_eq!(reply.text(), upstream.index_file(name));
            let kind = reply.header("content-type").expect("a type");
            assert!(kind.starts_with("text/plain"), "{kind}");
        }
    }
}

/// A second path for the same file would be a second copy, and one that no cargo asks for.
#[tokio::test]
async fn a_path_that_is_not_canonical_is_not_found_and_not_asked_for() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in [
        "/index/So/me/Some_Crate",
        "/index/so/me/Some_Crate",
        "/index/SO/ME/some_crate",
        "/index/so/xx/some_crate",
        "/index/ab/cd/some_crate",
        "/index/1/ab",
        "/index/3/b/abc",
        "/index/3/abc",
        "/index/a",
        "/index/a/a",
        "//index/so/me/some_crate",
        "/index//so/me/some_crate",
        "/index/so//me/some_crate",
        "/index/so/me//some_crate",
        "/index/so/me/some_crate/",
        "/index/so%2Fme/some_crate",
        "/index/so/me/some%5Fcrate",
        "/index/so/me/%73ome_crate",
        "/%69ndex/so/me/some_crate",
        "/index/./so/me/some_crate",
        "/index/x/../so/me/some_crate",
        "/index/",
        "/index",
        "/Index/so/me/some_crate",
        "/index/Config.json",
        "/index/config.json/",
    ] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("x-cache"), Some("absent"), "{path}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

/// Cargo takes 410 and 451 for hard errors from 1.96 on, where a 404 lets it go on.
#[tokio::test]
async fn a_crate_that_upstream_lacks_is_a_404_however_upstream_says_it() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let unknown = mirror.get("/index/no/_s/no_such_crate").await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.text().contains("no crate no_such_crate"),
        "{unknown:?}"
    );
    for status in [404, 410, 451] {
        let rule = upstream.on_index_files().fail(status);
        let reply = mirror.get(INDEX).await;
        assert_eq!((reply.status, reply.complete), (404, true), "{status}");
        assert_eq!(reply.header("x-cache"), Some("absent"), "{status}");
        assert_eq!(reply.header("etag"), None, "{status}");
        rule.lift();
    }
    assert_eq!(mirror.get(INDEX).await.status, 200, "it is back");
}

#[tokio::test]
async fn every_answer_says_where_it_came_from() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream)
        .settings("[freshness]\nfresh_for = \"0s\"\npatience = \"20s\"")
        .settings("[upstream]\nretries = 0")
        .start()
        .await;
    let word = |method, path| {
        let addr = mirror.addr();
        async move {
            let reply = client::request(addr, method, path, &[]).await;
            let word = reply.header("x-cache").expect(path).to_owned();
            (reply.status, word)
        }
    };
    let expect = |status, word: &str| (status, word.to_owned());
    assert_eq!(word("GET", INDEX).await, expect(200, "miss"));
    assert_eq!(word("GET", INDEX).await, expect(200, "revalidated"));
    assert_eq!(word("GET", CRATE).await, expect(200, "miss"));
    assert_eq!(word("HEAD", CRATE).await, expect(200, "hit"));
    let rule = upstream.on_index_files().fail(500);
    assert_eq!(word("GET", INDEX).await, expect(200, "stale"));
    assert_eq!(word("GET", "/index/1/a").await, expect(503, "miss"));
    rule.lift();
    for path in [CONFIG, "/", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(word("GET", path).await, expect(200, "hit"), "{path}");
    }
    for (status, method, path) in [
        (404, "GET", "/nothing"),
        (404, "GET", "/index/2/zz"),
        (404, "GET", "/api/v1/crates/a/9.9.9/download"),
        (404, "GET", "/api/v1/me"),
        (403, "GET", "/registries/other/index/1/a"),
        (400, "GET", "/api/v1/crates/a/x/download"),
        (405, "PUT", INDEX),
    ] {
        assert_eq!(word(method, path).await, expect(status, "absent"), "{path}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let upstream = four_crates().await;
    let mirror = Mirror::of(&upstream).start().await;
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
        for path in [INDEX, CRATE, CONFIG, "/", "/metrics", "/search"] {
            let reply = client::request(mirror.addr(), method, path, &[]).await;
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{method} {path}");
            assert!(reply.text().contains("read-only"), "{}", reply.text());
        }
    }
    let mut connection = Connection::open(mirror.addr()).await;
    let length = [("content-length", "9")];
    let asked = connection.ask("PUT", "/api/v1/crates/new", &length).await;
    asked.expect("a request sent");
    connection.send(b"a package").await;
    let published: Value = {
        let reply = connection.reply().await;
        assert_eq!(reply.status, 403, "cargo prints no other refusal");
        serde_json::from_slice(&reply.body).expect("cargo reads errors as JSON")
    };
    let detail = published["errors"][0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("publish"), "{detail}");
    assert_eq!(upstream.requests().len(), 0);
}
