//! Who has a token is answered, and everybody else is told how to get one, whatever path is asked for.

use std::{net::IpAddr, time::Duration};

use crate::support::{
    Connection, Frames, Mirror, MirrorBuilder, Program, Reply, TokenFile, Upstream, client,
};

const INDEX: &str = "/index/1/a";
const CRATE: &str = "/api/v1/crates/a/1.0.0/download";

/// A mirror that wants tokens of this file, with these lines more in `[access]`.
fn guarded(upstream: &Upstream, tokens: &TokenFile, more: &str) -> MirrorBuilder {
    Mirror::of(upstream).settings(&tokens.settings(more))
}

async fn get(mirror: &Mirror, path: &str, token: &str) -> Reply {
    mirror.get_with(path, &[("authorization", token)]).await
}

/// 401 with the one challenge that cargo understands, and one sentence that has `why` in it.
#[track_caller]
fn assert_challenged(reply: &Reply, mirror: &Mirror, why: &str) {
    let text = reply.text();
    assert_eq!(reply.status, 401, "{text}");
    let challenge = format!("Cargo login_url=\"{}/\"", mirror.url());
    assert_eq!(reply.header("www-authenticate"), Some(&*challenge));
    assert!(text.contains(why), "no {why:?} in {text}");
    let is_sentence = text.ends_with(".\n") && text.lines().count() == 1;
    assert!(is_sentence && !text.contains(".."), "{text}");
    assert!(reply.header("x-cache").is_some());
}

#[tokio::test]
async fn without_a_token_nothing_is_answered_but_how_to_get_one() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(
        &upstream,
        &tokens,
        "help = \"See https://wiki.example/crates.\"",
    );
    let mirror = mirror.start().await;
    for path in [
        "/index/config.json",
        INDEX,
        CRATE,
        "/crates/a/a-1.0.0.crate",
        "/api/v1/crates?q=a",
        "/registries/crates-io/index/1/a",
        "/registries/nothing/index/1/a",
        "/metrics",
        "/at/2026-11-01/index/1/a",
        "/nothing",
        "/index/not/canonical/a",
        "/t/anything/index/1/a",
    ] {
        let reply = mirror.get(path).await;
        let detail = reply.text().replace("{\"errors\":[{\"detail\":\"", "");
        match path.starts_with("/api/v1/crates?") {
            true => assert!(reply.status == 401 && detail.starts_with("this mirror wants a token")),
            false => assert_challenged(&reply, &mirror, "; See https://wiki.example/crates.\n"),
        }
        assert!(upstream.requests().is_empty(), "{path} came through");
    }
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(mirror.get(path).await.status, 200, "{path}");
    }
    let page = mirror.get("/").await.text();
    assert!(page.contains("https://wiki.example/crates"), "{page}");
    assert!(
        page.contains("credential-provider = [\"cargo:token\"]"),
        "{page}"
    );
    for path in ["/index/config.json", INDEX, CRATE, "/metrics"] {
        assert_eq!(get(&mirror, path, &token).await.status, 200, "{path}");
    }
    assert_eq!(get(&mirror, "/nothing", &token).await.status, 404);
}

#[tokio::test]
async fn a_token_comes_as_it_is_as_bearer_and_as_a_password() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "").start().await;
    use base64::{Engine, engine::general_purpose::STANDARD};
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{token}")));
    for value in [
        token.clone(),
        format!("Bearer {token}"),
        basic("ci"),
        basic(""),
    ] {
        let reply = get(&mirror, INDEX, &value).await;
        assert_eq!(reply.status, 200, "{value}: {}", reply.text());
        assert!(reply.header("www-authenticate").is_none());
    }
    let cut = &token[..token.len() - 1];
    let long = "x".repeat(10 << 10);
    for (value, why) in [
        (cut, "doesn't know the token"),
        ("cm_wrong", "doesn't know the token"),
        ("a.b.c", "doesn't know the token"),
        (&format!("Digest {token}"), "neither a token"),
        ("Bearer", "neither a token"),
        ("Basic !", "neither a token"),
        (&format!("t\u{f6}ken{token}"), "has characters in it"),
        (&long, "longer than any token"),
    ] {
        assert_challenged(&get(&mirror, INDEX, value).await, &mirror, why);
    }
    let twice = [("authorization", &*token), ("authorization", &*token)];
    let reply = mirror.get_with(INDEX, &twice).await;
    assert_challenged(&reply, &mirror, "more than once");
    let part = [("authorization", &*token), ("range", "bytes=0-3")];
    assert_eq!(mirror.get_with(CRATE, &part).await.status, 206);
}

/// A browser can't send a token otherwise.
#[tokio::test]
async fn who_prefers_html_is_offered_a_password_too() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let mirror = guarded(&upstream, &tokens, "").start().await;
    let accept = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    let reply = mirror.get_with("/metrics", &[accept]).await;
    assert_eq!(reply.status, 401);
    let offered: Vec<_> = reply.headers.all("www-authenticate").collect();
    assert_eq!(offered.len(), 2, "{offered:?}");
    assert!(offered[0].starts_with("Cargo login_url="), "{offered:?}");
    assert!(offered[1].starts_with("Basic realm="), "{offered:?}");
}

#[tokio::test]
async fn each_request_on_a_connection_is_looked_at() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "").start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    for (header, status) in [(Some(&token), 200), (None, 401), (Some(&token), 200)] {
        let headers: Vec<_> = header.iter().map(|t| ("authorization", &***t)).collect();
        connection.ask("GET", INDEX, &headers).await.expect("sent");
        assert_eq!(connection.reply().await.status, status);
    }
    // The upgrade itself needs none.
    let mut frames = Frames::upgrade(mirror.addr(), INDEX).await;
    let refused = frames.response(1).await.body;
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.contains("wants a token"), "{refused}");
}

/// Asks for `path` on a connection that is kept.
async fn ask(connection: &mut Connection, path: &str, headers: &[(&str, &str)]) -> Reply {
    connection.ask("GET", path, headers).await.expect("sent");
    connection.reply().await
}

/// A connection remembers who was admitted on it last. That ends with the token, and not with the connection.
#[tokio::test]
async fn a_token_that_is_revoked_is_refused_on_connections_that_are_open() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (first, second) = (tokens.add("first"), tokens.add("second"));
    let settings = tokens.settings("");
    let mut mirror = Program::serving(&upstream, &settings).start().await;
    let (first, second) = ([("authorization", &*first)], [("authorization", &*second)]);
    let mut connections = [
        Connection::open(mirror.addr()).await,
        Connection::open(mirror.addr()).await,
    ];
    for connection in &mut connections {
        for _ in 0..3 {
            assert_eq!(ask(connection, INDEX, &first).await.status, 200);
        }
    }
    tokens.revoke("first");
    mirror
        .logged(|line| line.contains("1 tokens are in force"))
        .await;
    for connection in &mut connections {
        assert_eq!(ask(connection, INDEX, &first).await.status, 401);
        assert_eq!(ask(connection, INDEX, &second).await.status, 200);
        assert_eq!(ask(connection, INDEX, &first).await.status, 401);
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_refused_on_connections_that_are_open() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let short = tokens.grant("short", Some(Duration::from_secs(5)), &[]);
    let mirror = guarded(&upstream, &tokens, "").start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    let headers = [("authorization", &*short)];
    assert_eq!(ask(&mut connection, INDEX, &headers).await.status, 200);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    let reply = ask(&mut connection, INDEX, &headers).await;
    assert_challenged(&reply, &mirror, "has expired");
}

/// A proxy sends the requests of many clients over the same connections.
#[tokio::test]
async fn many_who_share_a_connection_are_each_admitted_as_who_they_are() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (inner, all) = (tokens.grant("inner", None, &["inner"]), tokens.add("all"));
    let index = upstream.index_url();
    let table = format!("[registries.inner]\nindex = \"{index}\"\n");
    let proxies = "trusted_proxies = [\"127.0.0.1/32\"]";
    let mirror = guarded(&upstream, &tokens, "").settings(&table);
    let mirror = mirror.server(proxies).start().await;
    let mut connection = Connection::open(mirror.addr()).await;
    let of_inner = "/registries/inner/index/1/a";
    let started = std::time::Instant::now();
    for n in 0..40 {
        for (client, token, path, status) in [
            ("203.0.113.1", &*all, INDEX, 200),
            ("203.0.113.2", &*inner, of_inner, 200),
            ("203.0.113.2", &*inner, INDEX, 401),
            ("203.0.113.1", &*all, of_inner, 200),
            ("203.0.113.1", &*all, INDEX, 200),
            (
                "203.0.113.3",
                "wrong",
                INDEX,
                if n < 30 { 401 } else { 429 },
            ),
            ("203.0.113.2", &*inner, of_inner, 200),
        ] {
            let headers = [("authorization", token), ("x-forwarded-for", client)];
            let reply = ask(&mut connection, path, &headers).await;
            // One more is let through every two seconds, which a busy machine may take over all these.
            let one_more = status == 429 && reply.status == 401 && started.elapsed().as_secs() >= 2;
            assert!(
                reply.status == status || one_more,
                "{n}: {client} {path}: {} {}",
                reply.status,
                reply.text()
            );
        }
        let nobody = [("x-forwarded-for", "203.0.113.2")];
        assert_eq!(ask(&mut connection, of_inner, &nobody).await.status, 401);
    }
}

#[tokio::test]
async fn a_token_for_one_registry_is_none_for_another_and_some_need_none() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (inner, all) = (tokens.grant("inner", None, &["inner"]), tokens.add("all"));
    let tables = ["inner", "open"].map(|name| {
        let index = upstream.index_url();
        format!("[registries.{name}]\nindex = \"{index}\"\n")
    });
    let mirror = guarded(&upstream, &tokens, "anonymous = [\"open\"]");
    let mirror = mirror.settings(&tables.concat()).start().await;
    let config = |registry: &str| match registry {
        "" => "/index/config.json".to_owned(),
        name => format!("/registries/{name}/index/config.json"),
    };
    for (registry, token, status) in [
        ("", &all, 200),
        ("inner", &all, 200),
        ("inner", &inner, 200),
        ("", &inner, 401),
        ("crates-io", &inner, 401),
        ("open", &inner, 200),
    ] {
        let reply = get(&mirror, &config(registry), token).await;
        assert_eq!(reply.status, status, "{registry}: {}", reply.text());
        let asks = reply.text().contains("\"auth-required\":true");
        assert_eq!(asks, status == 200 && registry != "open", "{registry}");
    }
    let path = |registry: &str| format!("/registries/{registry}{CRATE}");
    assert_eq!(mirror.get(&path("open")).await.status, 200);
    assert_eq!(mirror.get(&path("inner")).await.status, 401);
    let open = mirror.get(&config("open")).await.text();
    assert!(!open.contains("auth-required"), "{open}");
    assert_eq!(get(&mirror, &path("open"), "cm_wrong").await.status, 200);
}

/// A view may show more than its registry does, or less: leave for one is none for the other.
#[tokio::test]
async fn a_token_for_a_view_is_none_for_its_registry_nor_the_other_way_round() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let view = tokens.grant("view", None, &["lts"]);
    let registry = tokens.grant("registry", None, &["crates-io"]);
    let both = tokens.grant("both", None, &["crates-io", "lts"]);
    let (neither, all) = (tokens.grant("neither", None, &["inner"]), tokens.add("all"));
    let settings = format!(
        "[views.lts]\ncooldown = \"0s\"\n[views.open]\ncooldown = \"0s\"\n[registries.inner]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    let mirror = guarded(&upstream, &tokens, "anonymous = [\"open\"]");
    let mirror = mirror.settings(&settings).start().await;
    let days = "/at/2026-11-01";
    for (place, good) in [
        ("", [&registry, &both, &all]),
        ("/registries/crates-io", [&registry, &both, &all]),
        (days, [&registry, &both, &all]),
        ("/views/lts", [&view, &both, &all]),
    ] {
        // Twice: what is in memory is no exception.
        for path in ["/index/config.json", INDEX, CRATE].repeat(2) {
            let path = format!("{place}{path}");
            for token in [&view, &registry, &both, &neither, &all] {
                let reply = get(&mirror, &path, token).await;
                match good.contains(&token) {
                    // Of a day, this crate may be younger.
                    true if place == days => assert_ne!(reply.status, 401, "{path}"),
                    true => assert_eq!(reply.status, 200, "{path}: {}", reply.text()),
                    false => assert_challenged(&reply, &mirror, "is for other registries"),
                }
            }
            assert_eq!(mirror.get(&path).await.status, 401, "{path}");
        }
    }
    let config = async |view: &str| {
        let path = format!("/views/{view}/index/config.json");
        get(&mirror, &path, &all).await.text()
    };
    assert!(config("lts").await.contains("\"auth-required\":true"));
    assert!(!config("open").await.contains("auth-required"));
    for path in [INDEX, CRATE] {
        assert_eq!(mirror.get(&format!("/views/open{path}")).await.status, 200);
    }
}

/// Whoever has no token gets nothing out of a cache in front either.
#[tokio::test]
async fn what_was_given_for_a_token_is_kept_by_no_shared_cache() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "").start().await;
    for _ in 0..2 {
        let reply = get(&mirror, CRATE, &token).await;
        let policy = reply.header("cache-control").expect("a policy");
        assert!(
            policy.contains("private") && !policy.contains("public"),
            "{policy}"
        );
    }
    let open = Mirror::of(&upstream).start().await.get(CRATE).await;
    assert!(
        open.header("cache-control")
            .is_some_and(|p| p.contains("public"))
    );
}

#[tokio::test]
async fn many_wrong_tokens_are_held_up_and_right_ones_are_not() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let mirror = guarded(&upstream, &tokens, "").start().await;
    let mut held_up = 0;
    for n in 0..100 {
        let wrong = get(&mirror, INDEX, &format!("wrong-{n}")).await;
        // From there on one more is let through every two seconds.
        assert!(wrong.status == 401 || n >= 30, "{n}: {}", wrong.status);
        if wrong.status == 429 {
            held_up += 1;
            assert!(wrong.header("retry-after").is_some());
        }
        assert_eq!(
            mirror.get(INDEX).await.status,
            401,
            "no token is no wrong one"
        );
    }
    assert!(held_up > 0);
    assert_eq!(get(&mirror, INDEX, &token).await.status, 200);
    // Who asks from elsewhere hasn't sent any.
    let elsewhere: IpAddr = [127, 0, 0, 2].into();
    let mut connection = Connection::open_from(elsewhere, mirror.addr()).await;
    let asked = connection.ask("GET", INDEX, &[("authorization", "wrong")]);
    asked.await.expect("sent");
    assert_eq!(connection.reply().await.status, 401);
}

#[tokio::test]
async fn a_running_mirror_follows_the_file_and_what_is_broken_changes_nothing() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let first = tokens.add("first");
    let mut mirror = Program::serving(&upstream, &tokens.settings(""))
        .start()
        .await;
    let addr = mirror.addr();
    let status = async |token: &str| {
        client::get(addr, INDEX, &[("authorization", token)])
            .await
            .status
    };
    assert_eq!(status(&first).await, 200);
    let second = tokens.add("second");
    tokens.revoke("first");
    let started = std::time::Instant::now();
    while status(&second).await != 200 || status(&first).await != 401 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it doesn't follow"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokens.write("broken");
    mirror
        .logged(|line| line.contains("ERROR") && line.contains("stays in force"))
        .await;
    assert_eq!(status(&second).await, 200);
    std::fs::remove_file(tokens.path()).expect("removed");
    mirror
        .logged(|line| line.contains("ERROR") && line.contains("is gone"))
        .await;
    assert_eq!(status(&second).await, 200);
    let third = tokens.add("third");
    mirror
        .logged(|line| line.contains("1 tokens are in force"))
        .await;
    assert_eq!((status(&third).await, status(&second).await), (200, 401));
}

#[tokio::test]
async fn a_token_ends_when_it_expires() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.grant("short", Some(Duration::from_secs(5)), &[]);
    let mirror = guarded(&upstream, &tokens, "").start().await;
    assert_eq!(get(&mirror, INDEX, &token).await.status, 200);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    let reply = get(&mirror, INDEX, &token).await;
    assert_challenged(&reply, &mirror, "has expired");
}

#[tokio::test]
async fn a_token_may_stand_in_the_path_where_that_is_allowed_and_is_never_logged() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let token = tokens.add("ci");
    let settings = tokens.settings("token_in_path = true");
    let mirror = Program::serving(&upstream, &settings).start().await;
    let addr = mirror.addr();
    let reply = client::get(addr, &format!("/t/{token}/index/config.json"), &[]).await;
    let expected = format!(
        "{{\"dl\":\"http://{addr}/t/{token}/api/v1/crates\",\"api\":\"http://{addr}/t/{token}\"}}"
    );
    assert_eq!((reply.status, reply.text()), (200, expected));
    // Not taken for anybody else's.
    let own = client::get(addr, "/index/config.json", &[("authorization", &token)]).await;
    assert!(!own.text().contains("/t/"), "{}", own.text());
    for path in [INDEX, CRATE, "/registries/crates-io/index/1/a", "/"] {
        let reply = client::get(addr, &format!("/t/{token}{path}"), &[]).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    let wrong = client::get(addr, &format!("/t/cm_secret{INDEX}"), &[]).await;
    assert_eq!(wrong.status, 401);
    mirror.signal("TERM").await;
    let ended = mirror.ended().await;
    assert!(ended.stderr.contains("/t/-/index/1/a"), "{}", ended.stderr);
    for secret in [&*token, "cm_secret"] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
    assert!(ended.stderr.contains("who=\"ci\""), "{}", ended.stderr);
}
