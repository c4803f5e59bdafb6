//! A .crate file is the one that was published, from wherever it comes, and what can't be had is refused in words that help.

use crate::support::{Connection, Mirror, Package, Reply, Upstream, client};

const FILE: &str = "/api/v1/crates/serde_json/1.0.0/download";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde_json", "1.0.0"))
        .publish(Package::new("Inflector", "0.11.4"))
        .publish(Package::new("openssl-src", "110.0.0"))
        .publish(Package::new("openssl-src", "110.0.0+1.1.0f"))
        .publish(Package::new("big", "1.0.0").payload(1_000_000))
        .start()
        .await
}

fn cache(reply: &Reply) -> &str {
    reply.header("x-cache").expect("an x-cache")
}

#[tokio::test]
async fn a_file_comes_from_upstream_then_from_memory_and_after_a_restart_from_the_store() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (name, version) in [("serde_json", "1.0.0"), ("big", "1.0.0")] {
        let path = format!("/api/v1/crates/{name}/{version}/download");
        let file = upstream.crate_file(name, version);
        let whole = |reply: Reply, outcome: &str| {
            assert_eq!((reply.status, reply.complete), (200, true), "{path}");
            assert_eq!(cache(&reply), outcome, "{path}");
            assert!(reply.body == file, "other bytes for {path}");
            let length = file.len().to_string();
            assert_eq!(reply.header("content-length"), Some(&*length));
            assert_eq!(reply.header("content-type"), Some("application/gzip"));
        };
        whole(mirror.get(&path).await, "miss");
        whole(mirror.get(&path).await, "hit");
        let named = format!("/registries/crates-io{path}");
        whole(mirror.get(&named).await, "hit");
    }
    assert_eq!(upstream.crate_requests().len(), 2);

    let mirror = mirror.restart().await;
    upstream.stop().await;
    for (name, version) in [("serde_json", "1.0.0"), ("big", "1.0.0")] {
        let path = format!("/api/v1/crates/{name}/{version}/download");
        let reply = mirror.get(&path).await;
        assert_eq!(cache(&reply), "hit", "{name}");
        assert!(reply.body == upstream.crate_file(name, version));
    }
}

/// Cargo sends a literal `+`, crates.io's own links have `%2B`, and a form would read `+` as a space.
#[tokio::test]
async fn a_plus_in_a_version_is_the_same_encoded_or_not() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let file = upstream.crate_file("openssl-src", "110.0.0+1.1.0f");
    for (spelling, outcome) in [
        ("110.0.0+1.1.0f", "miss"),
        ("110.0.0%2B1.1.0f", "hit"),
        ("110.0.0%2b1.1.0f", "hit"),
        ("110%2E0.0+1.1.0f", "hit"),
    ] {
        let path = format!("/api/v1/crates/openssl-src/{spelling}/download");
        let reply = mirror.get(&path).await;
        assert_eq!((reply.status, cache(&reply)), (200, outcome), "{spelling}");
        assert!(reply.body == file, "other bytes for {spelling}");
    }
}

#[tokio::test]
async fn versions_that_differ_in_build_metadata_are_different_files() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let one = mirror.get("/api/v1/crates/openssl-src/110.0.0/download");
    let other = mirror.get("/api/v1/crates/openssl-src/110.0.0+1.1.0f/download");
    let (one, other) = (one.await, other.await);
    assert!(one.body == upstream.crate_file("openssl-src", "110.0.0"));
    assert!(other.body == upstream.crate_file("openssl-src", "110.0.0+1.1.0f"));
    assert!(one.body != other.body);
    let unknown = mirror.get("/api/v1/crates/openssl-src/110.0.0+1.1.0g/download");
    assert_eq!(unknown.await.status, 404);
}

#[tokio::test]
async fn what_does_not_exist_is_a_404_that_says_what_is_missing() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (path, says) in [
        ("no_such/1.0.0", "no crate no_such"),
        ("serde_json/9.9.9", "no version 9.9.9 of serde_json"),
        (
            "serde_json/1.0.0-rc.1",
            "no version 1.0.0-rc.1 of serde_json",
        ),
    ] {
        let path = format!("/api/v1/crates/{path}/download");
        let reply = mirror.get(&path).await;
        assert_eq!((reply.status, cache(&reply)), (404, "absent"), "{path}");
        assert!(reply.text().contains(says), "{}", reply.text());
        let kind = reply.header("content-type").expect("a type");
        assert!(kind.starts_with("text/plain"), "cargo prints it: {kind}");
    }
    assert_eq!(upstream.crate_requests().len(), 0);
}

/// crates.io answers these with 404; who wrote them by hand learns how the crate is really called.
#[tokio::test]
async fn a_name_that_is_not_canonical_is_a_404_that_names_the_canonical_one() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (asked, canonical) in [
        ("Serde_Json/1.0.0", "serde_json"),
        ("serde-json/1.0.0", "serde_json"),
        ("Serde-JSON/1.0.0", "serde_json"),
        ("inflector/0.11.4", "Inflector"),
        ("INFLECTOR/0.11.4", "Inflector"),
        ("openssl_src/110.0.0", "openssl-src"),
        ("serde-json/9.9.9", "serde_json"),
    ] {
        // Once when the mirror has to fetch the index file, and once when it is in memory.
        for _ in 0..2 {
            let path = format!("/api/v1/crates/{asked}/download");
            let reply = mirror.get(&path).await;
            assert_eq!((reply.status, cache(&reply)), (404, "absent"), "{asked}");
            let sentence = format!("its name is {canonical}.");
            assert!(reply.text().contains(&sentence), "{}", reply.text());
        }
    }
    assert_eq!(upstream.crate_requests().len(), 0);
    let reply = mirror.get("/api/v1/crates/Inflector/0.11.4/download").await;
    assert!(reply.body == upstream.crate_file("Inflector", "0.11.4"));
}

#[tokio::test]
async fn a_file_that_upstream_lost_is_a_404_however_upstream_says_it() {
    for status in [403, 404, 410, 451] {
        let upstream = upstream().await;
        let mirror = Mirror::of(&upstream).start().await;
        upstream.on_crate_files().fail(status);
        let reply = mirror.get(FILE).await;
        assert_eq!((reply.status, cache(&reply)), (404, "absent"), "{status}");
        let text = reply.text();
        assert!(text.contains("serde_json 1.0.0"), "{text}");
        let again = mirror.get(FILE).await;
        assert_eq!(again.status, 404);
        assert_eq!(upstream.crate_requests().len(), 1, "{status} is remembered");
    }
}

/// Cargo gives up after 30 s without a byte, and a large crate from a slow upstream takes longer.
#[tokio::test]
async fn the_first_bytes_reach_the_client_while_upstream_still_sends() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate_after(&upstream.crate_path("big", "1.0.0"), 600_000);
    let file = upstream.crate_file("big", "1.0.0");
    let path = "/api/v1/crates/big/1.0.0/download";
    let mut first = Connection::open(mirror.addr()).await;
    first.ask("GET", path, &[]).await.expect("sent");
    let begun = first.body_so_far(200_000).await;
    assert!(begun.len() < file.len() && file.starts_with(&begun));

    // Who comes later gets what is here at once, too.
    let mut second = Connection::open(mirror.addr()).await;
    second.ask("GET", path, &[]).await.expect("sent");
    assert!(second.body_so_far(200_000).await.len() >= 200_000);
    assert_eq!(gate.waiting(), 1, "upstream still sends");

    gate.open();
    for connection in [&mut first, &mut second] {
        let reply = connection.reply().await;
        assert_eq!((reply.status, reply.complete), (200, true));
        assert_eq!(cache(&reply), "miss");
        assert!(reply.body == file, "other bytes");
    }
    assert_eq!(upstream.crate_requests().len(), 1);
}

#[tokio::test]
async fn what_is_asked_of_upstream_is_counted_by_kind_and_result() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream)
        .always_asks()
        .settings("[upstream]\nretries = 0")
        .start()
        .await;
    mirror.get("/index/no/_s/no_such").await;
    mirror.get(FILE).await;
    mirror.get("/index/se/rd/serde_json").await;
    upstream.on_crate_files().fail(500);
    mirror.get("/api/v1/crates/Inflector/0.11.4/download").await;
    for (kind, result, count) in [
        ("config", "200", 1.0),
        ("index", "200", 2.0),
        ("index", "304", 1.0),
        ("index", "404", 1.0),
        ("crate", "200", 1.0),
        ("crate", "unavailable", 1.0),
    ] {
        let sample = format!(
            "crate_mirror_upstream_requests_total{{kind=\"{kind}\",registry=\"crates-io\",result=\"{result}\"}}"
        );
        assert_eq!(mirror.metric(&sample).await, count, "{sample}");
    }
    let all = mirror.metric("crate_mirror_upstream_requests_total{").await;
    assert_eq!(all, 7.0, "and nothing else");
}

#[tokio::test]
async fn every_byte_that_is_fetched_or_served_is_counted() {
    let upstream = upstream().await;
    let config = client::get(upstream.addr(), "/index/config.json", &[]).await;
    let index = upstream.index_file("serde_json").len();
    let file = upstream.crate_file("serde_json", "1.0.0").len();
    let mirror = Mirror::of(&upstream).start().await;
    let mut served = 0;
    for path in [FILE, FILE, "/index/se/rd/serde_json", "/nothing"] {
        served += mirror.get(path).await.body.len();
    }
    client::head(mirror.addr(), FILE, &[]).await;
    // An answer is counted when it is out, which may be just after its client has it.
    let counted = async {
        loop {
            let page = mirror.get("/metrics").await;
            let expected = format!("crate_mirror_served_bytes_total {served}\n");
            if page.text().contains(&expected) {
                break;
            }
            served += page.body.len();
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(10);
    let counted = tokio::time::timeout(limit, counted).await;
    assert!(counted.is_ok(), "the served bytes never add up");
    let fetched = mirror.metric("crate_mirror_fetched_bytes_total ").await;
    assert_eq!(fetched as usize, config.body.len() + index + file);
}
