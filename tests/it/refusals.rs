//! An upstream that refuses one crate isn't down: cargo is told so at once and doesn't repeat what would be refused again, and what is here is served all the
//! same.

use crate::support::{Cargo, Mirror, Package, Upstream};

const INDEX: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";
/// The statuses other than 403 by which an upstream can refuse a request.
const REFUSALS: [u16; 8] = [400, 401, 405, 406, 407, 409, 418, 422];

async fn upstream() -> Upstream {
    let serde = Package::new("serde", "1.0.0");
    let tokio = Package::new("tokio", "1.0.0");
    Upstream::new().publish(serde).publish(tokio).start().await
}

/// The answer used to be a 502. Cargo repeats those three times, for eleven seconds, before it says anything.
#[tokio::test]
async fn an_index_file_that_upstream_refuses_is_a_403_that_says_so() {
    let upstream = upstream().await;
    for status in REFUSALS.into_iter().chain([403]) {
        let mirror = Mirror::of(&upstream).start().await;
        let rule = upstream.on_index_files().fail(status);
        let reply = mirror.get(INDEX).await;
        reply.assert_refused(&format!("answered {status}"));
        let wants_credentials = matches!(status, 401 | 407);
        let text = reply.text();
        assert_eq!(text.contains("credentials"), wants_credentials, "{text}");
        assert_eq!(rule.hits(), 1, "{status} is asked for again");
        rule.lift();
        assert_eq!(
            mirror.get(INDEX).await.status,
            200,
            "{status} is remembered"
        );
    }
}

#[tokio::test]
async fn a_crate_that_upstream_refuses_is_a_403_and_one_it_forbids_a_404() {
    let upstream = upstream().await;
    for status in REFUSALS {
        let mirror = Mirror::of(&upstream).start().await;
        let rule = upstream.on_crate_files().fail(status);
        let reply = mirror.get(DOWNLOAD).await;
        reply.assert_refused(&format!("answered {status}"));
        assert_eq!(rule.hits(), 1, "{status} is asked for again");
        rule.lift();
        assert_eq!(mirror.get(DOWNLOAD).await.status, 200, "{status}");
    }
    // crates.io says 403 for files that it doesn't have.
    upstream.on_crate_files().fail(403);
    let mirror = Mirror::of(&upstream).start().await;
    let reply = mirror.get(DOWNLOAD).await;
    let seen = (reply.status, reply.header("x-cache"));
    assert_eq!(seen, (404, Some("absent")), "{}", reply.text());
    assert!(reply.text().contains("403"), "{}", reply.text());
}

#[tokio::test]
async fn what_was_served_once_is_served_again_although_upstream_refuses_it() {
    let upstream = upstream().await;
    let file = upstream.crate_file("serde", "1.0.0");
    for status in REFUSALS.into_iter().chain([403]) {
        let mirror = Mirror::of(&upstream).always_asks().start().await;
        assert_eq!(mirror.get(INDEX).await.status, 200);
        assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
        let mirror = mirror.restart().await;
        upstream.on_everything().fail(status);
        let reply = mirror.get(INDEX).await;
        let seen = (reply.status, reply.header("x-cache"));
        assert_eq!(seen, (200, Some("stale")), "{status}");
        assert_eq!(reply.text(), upstream.index_file("serde"), "{status}");
        assert!(mirror.get(DOWNLOAD).await.body == file, "{status}");
        upstream.heal();
    }
}

/// Some repository managers say in this way that there is no such crate. Cargo then asks for the name with `_` in place of `-`, and was told of an outage.
#[tokio::test]
async fn an_empty_index_file_is_one_that_is_not_there_but_never_in_place_of_a_copy() {
    let upstream = upstream().await;
    for status in [200, 204] {
        let mirror = Mirror::of(&upstream).start().await;
        let rule = upstream.on(INDEX).fail_with(status, &[], "");
        for _ in 0..2 {
            let reply = mirror.get(INDEX).await;
            let seen = (reply.status, reply.header("x-cache"));
            assert_eq!(seen, (404, Some("absent")), "{status}");
        }
        assert_eq!(rule.hits(), 1, "{status}: it is remembered like a 404");
        rule.lift();

        let mirror = Mirror::of(&upstream).always_asks().start().await;
        assert_eq!(mirror.get(INDEX).await.status, 200);
        let mirror = mirror.restart().await;
        let rule = upstream.on(INDEX).fail_with(status, &[], "");
        let reply = mirror.get(INDEX).await;
        let seen = (reply.status, reply.header("x-cache"));
        assert_eq!(seen, (200, Some("stale")), "{status}");
        assert_eq!(reply.text(), upstream.index_file("serde"), "{status}");
        rule.lift();
    }
}

#[tokio::test]
async fn cargo_shows_it_and_does_not_ask_again() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).start().await;
    let rule = upstream.on_index_files().fail(403);
    let cargo = Cargo::new(&mirror.index_url()).project(&[("serde", "1")]);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_contains("answered 403 Forbidden");
    assert_eq!(rule.hits(), 1);
    upstream.heal();
    upstream.on_crate_files().fail(400);
    let ran = cargo.run(&["fetch"]).await;
    ran.failure().stderr_contains("answered 400 Bad Request");
    assert_eq!(upstream.crate_requests().len(), 1);
}
