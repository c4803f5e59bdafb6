//! What stands in front: proxies whose word counts, and a port of its own for whoever runs the mirror.

use crate::support::{Mirror, Program, TokenFile, Upstream, client};

const INDEX: &str = "/index/1/a";

const SAID: [(&str, &str); 3] = [
    ("x-forwarded-for", "1.1.1.1, 203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "crates.example"),
];

#[tokio::test]
async fn a_trusted_proxy_says_who_asks_and_by_which_url() {
    let upstream = Upstream::with_one_crate().await;
    for (trusted, dl, client) in [
        (
            "[\"127.0.0.0/8\"]",
            "https://crates.example/",
            "203.0.113.7",
        ),
        (
            "[\"127.0.0.1\", \"::1\"]",
            "https://crates.example/",
            "203.0.113.7",
        ),
        ("[\"127.0.0.2\"]", "http://127.0.0.1:", "127.0.0.1"),
        ("[]", "http://127.0.0.1:", "127.0.0.1"),
    ] {
        let settings = format!("trusted_proxies = {trusted}\n");
        let mirror = Program::serving(&upstream, &settings).start().await;
        let config = client::get(mirror.addr(), "/index/config.json", &SAID).await;
        let expected = format!("{{\"dl\":\"{dl}");
        assert!(
            config.text().starts_with(&expected),
            "{trusted}: {}",
            config.text()
        );
        // A client without a proxy gets its own host, not the one that was forwarded for another.
        let direct = client::get(mirror.addr(), "/index/config.json", &[]).await;
        assert!(
            direct.text().starts_with("{\"dl\":\"http://127.0.0.1:"),
            "{}",
            direct.text()
        );
        mirror.signal("TERM").await;
        let log = mirror.ended().await.stderr;
        assert!(
            log.contains(&format!("client={client}")),
            "{trusted}: {log}"
        );
    }
}

#[tokio::test]
async fn what_is_no_network_is_refused_with_what_is() {
    let ended =
        Program::new(&["check"]).settings("[server]\ntrusted_proxies = [\"proxy.example\"]");
    ended
        .run()
        .await
        .refused(&["trusted_proxies", "10.0.0.0/8"]);
}

/// Clients behind one proxy are counted apart: one that guesses tokens doesn't lock out the others.
#[tokio::test]
async fn wrong_tokens_count_for_the_client_behind_the_proxy() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let settings = tokens.settings("");
    let mirror = Mirror::of(&upstream).server("trusted_proxies = [\"127.0.0.1\"]");
    let mirror = mirror.settings(&settings).start().await;
    let wrong = async |client: &str| {
        let headers = [("authorization", "cm_wrong"), ("x-forwarded-for", client)];
        mirror.get_with(INDEX, &headers).await.status
    };
    for _ in 0..30 {
        assert_eq!(wrong("203.0.113.7").await, 401);
    }
    assert_eq!(wrong("203.0.113.7").await, 429);
    assert_eq!(wrong("203.0.113.8").await, 401);
}

#[tokio::test]
async fn pages_have_a_port_of_their_own_where_no_token_is_needed() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = Mirror::of(&upstream).server("admin_listen = \"127.0.0.1:0\"");
    let mirror = mirror.settings(&tokens.settings("")).start().await;
    let admin = mirror.admin_addr().expect("a port of its own");
    for (path, expected) in [
        ("/metrics", 200),
        ("/readyz", 200),
        ("/healthz", 200),
        ("/", 200),
        (INDEX, 404),
        ("/index/config.json", 404),
        ("/api/v1/crates/a/1.0.0/download", 404),
    ] {
        let reply = client::get(admin, path, &[]).await;
        assert_eq!(reply.status, expected, "{path}: {}", reply.text());
    }
    for (path, with, without) in [
        ("/metrics", 404, 401),
        ("/readyz", 404, 401),
        ("/healthz", 200, 200),
        ("/", 200, 200),
        (INDEX, 200, 401),
    ] {
        let reply = mirror.get_with(path, &[("authorization", &token)]).await;
        assert_eq!(reply.status, with, "{path}: {}", reply.text());
        assert_eq!(mirror.get(path).await.status, without, "{path}");
    }
}
