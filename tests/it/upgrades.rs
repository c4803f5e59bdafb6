//! Who is let go on in HTTP/2 on a plain connection: clients that are known to take it, without anybody in between whose rules it would go around.

use crate::support::{Cargo, Connection, Frames, Mirror, Package, Upstream, frames::cargos_offer};

const INDEX: &str = "/index/se/rd/serde";

async fn mirror(server: &str) -> (Upstream, Mirror) {
    let serde = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().publish(serde).start().await;
    let mirror = Mirror::of(&upstream).server(server).start().await;
    (upstream, mirror)
}

/// The status of an answer to cargo's offer with these headers added, which is 101, or that of HTTP/1.1.
async fn offered(mirror: &Mirror, more: &[(&str, &str)]) -> u16 {
    let mut headers = cargos_offer().to_vec();
    headers.extend(more);
    let reply = mirror.get_with(INDEX, &headers).await;
    if reply.status != 101 {
        assert_eq!(reply.header("upgrade"), None, "{headers:?}");
        assert!(reply.complete, "{headers:?}");
    }
    reply.status
}

/// Their libcurl lets other transfers onto a connection that is still being upgraded: cargo 1.68 to 1.71 failed in 22 of 24 runs.
#[tokio::test]
async fn no_cargo_before_1_74_is_ever_upgraded() {
    let (_upstream, mirror) = mirror("").await;
    for agent in [
        "cargo 1.68.2 (6feb7c9cf 2023-03-26)",
        "cargo 1.70.0 (ec8a8a0ca 2023-04-25)",
        "cargo 1.72.1 (103a7ff2e 2023-08-15)",
        "cargo 1.73.0-nightly (45782b6b8 2023-07-05)",
        "cargo/1.70.0",
        "cargo",
        "cargo unknown",
    ] {
        let status = offered(&mirror, &[("user-agent", agent)]).await;
        assert_eq!(status, 200, "{agent}");
    }
    for agent in [
        "cargo 1.74.1 (ecb9851af 2023-10-18)",
        "cargo/1.80.1 (376290515 2024-07-16)",
        "cargo 1.75.0-nightly (6fa6fdc76 2023-10-10)",
        "curl/7.88.1",
        "cargo-fetcher/0.1.0",
    ] {
        let status = offered(&mirror, &[("user-agent", agent)]).await;
        assert_eq!(status, 101, "{agent}");
    }
    assert_eq!(offered(&mirror, &[]).await, 101, "no name at all");
}

/// As Debian 12's cargo 1.96 asks, whose libcurl is 7.88: its version is new, and it failed all the same.
#[tokio::test]
async fn a_cargo_with_an_old_libcurl_is_not_upgraded() {
    let (_upstream, mirror) = mirror("").await;
    let debians = (
        "user-agent",
        "cargo/1.96.0 (30a34c682 2026-05-25) (built from a source tarball)",
    );
    let [connection, upgrade, (name, of_new)] = cargos_offer();
    for (settings, expected) in [("AAMAAABkAAQCAAAAAAIAAAAA", 200), (of_new, 101)] {
        let headers = [connection, upgrade, (name, settings), debians];
        let reply = mirror.get_with(INDEX, &headers).await;
        assert_eq!(reply.status, expected, "{settings}");
    }
}

/// One request with a token opened a tunnel through the proxy, in which everything else was asked for without one.
#[tokio::test]
async fn nobody_is_upgraded_through_a_proxy() {
    let agent = ("user-agent", "cargo/1.80.1 (376290515 2024-07-16)");
    let (_upstream, mirror) = mirror("").await;
    for header in [
        ("via", "1.1 proxy"),
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-host", "crates.example.com"),
        ("x-forwarded-server", "proxy"),
        ("x-real-ip", "192.0.2.1"),
        ("via", ""),
    ] {
        assert_eq!(offered(&mirror, &[agent, header]).await, 200, "{header:?}");
    }
    assert_eq!(offered(&mirror, &[agent]).await, 101);
}

#[tokio::test]
async fn with_a_public_url_nobody_is_upgraded_unless_it_says_always() {
    let public_url = "public_url = \"https://crates.example.com\"\n";
    let old = ("user-agent", "cargo 1.70.0 (ec8a8a0ca 2023-04-25)");
    let via = ("via", "1.1 proxy");
    for (server, more, expected) in [
        ("", "", 101),
        ("", public_url, 200),
        ("h2c = \"auto\"\n", "", 101),
        ("h2c = \"auto\"\n", public_url, 200),
        ("h2c = \"never\"\n", "", 200),
        ("h2c = \"always\"\n", "", 101),
        ("h2c = \"always\"\n", public_url, 101),
    ] {
        let (_upstream, mirror) = mirror(&format!("{server}{more}")).await;
        assert_eq!(offered(&mirror, &[]).await, expected, "{server}{more}");
        let always = server.contains("always");
        let expected = if always { 101 } else { 200 };
        for header in [old, via] {
            let status = offered(&mirror, &[header]).await;
            assert_eq!(status, expected, "{server}{more}{header:?}");
        }
    }
}

/// It is about the upgrade. Who begins in HTTP/2 knows what it does, and what is in front of it speaks HTTP/2, too.
#[tokio::test]
async fn never_leaves_http2_to_who_begins_in_it() {
    let (upstream, mirror) = mirror("h2c = \"never\"").await;
    let mut frames = Frames::begin(mirror.addr()).await;
    frames.ask(1, "GET", "h", INDEX).await;
    let response = frames.response(1).await;
    assert_eq!(response.body, upstream.index_file("serde").into_bytes());
}

#[tokio::test]
async fn real_cargo_is_served_whatever_is_set() {
    for (server, http1) in [("h2c = \"never\"", true), ("h2c = \"always\"", false)] {
        let (_upstream, mirror) = mirror(server).await;
        let cargo = Cargo::new(&mirror.index_url()).project(&[("serde", "1")]);
        let ran = cargo.run(&["fetch"]).await;
        ran.success()
            .stderr_lacks("warning")
            .stderr_lacks("spurious");
        let http2 = "crate_mirror_requests_by_protocol_total{protocol=\"HTTP/2\"}";
        assert_eq!(mirror.metric(http2).await == 0.0, http1, "{server}");
    }
}

/// What HTTP/1.1 has an answer for was a reset in HTTP/2, or was answered though it is a bad request.
#[tokio::test]
async fn what_http2_would_reset_is_answered_without_an_upgrade() {
    let (_upstream, mirror) = mirror("").await;
    let offer =
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";
    for (line, hosts, expected) in [
        ("GET /index/config.json", "", 400),
        ("GET /index/config.json", "host: a\r\nhost: b\r\n", 400),
        ("GET /index/config.json", "host: a\r\nhost: a\r\n", 400),
        ("GET /index/config.json", "host: \r\n", 400),
        ("GET /index/config.json", "host: a b\r\n", 400),
        ("GET /index/config.json", "host: a/b\r\n", 400),
        ("GET http://a/index/config.json", "", 400),
        (
            "GET http://a/index/config.json",
            "host: a\r\nhost: b\r\n",
            400,
        ),
        (&format!("GET {INDEX}"), "", 400),
        (&format!("GET {INDEX}"), "host: \r\n", 200),
        (&format!("PUT {INDEX}"), "host: a\r\n", 405),
        ("OPTIONS *", "host: a\r\n", 404),
        ("CONNECT a:80", "host: a\r\n", 404),
        ("GET /index/config.json", "host: a\r\n", 101),
        ("GET http://a/index/config.json", "host: b\r\n", 101),
        ("HEAD /index/config.json", "host: [::1]:80\r\n", 101),
    ] {
        let mut connection = Connection::open(mirror.addr()).await;
        let head = format!("{line} HTTP/1.1\r\n{hosts}{offer}\r\n");
        connection.send(head.as_bytes()).await;
        let reply = connection.reply().await;
        assert_eq!(reply.status, expected, "{head}");
    }
}
