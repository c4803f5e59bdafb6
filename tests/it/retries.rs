//! Retries: a failure that passes is upstream's and the mirror's business, not the client's.

use std::time::Duration;

use crate::support::{Connection, Mirror, MirrorBuilder, Package, Rule, Upstream, When};

const LARGE: &str = "/api/v1/crates/large/1.0.0/download";
const INDEX: &str = "/index/la/rg/large";

/// Something that happens once.
type Mishap = (&'static str, fn(When<'_>) -> Rule);

const MISHAPS: &[Mishap] = &[
    ("500", |on| on.fail(500)),
    ("503", |on| on.fail(503)),
    ("408", |on| on.fail(408)),
    ("425", |on| on.fail(425)),
    ("429", |on| on.fail(429)),
    ("429 with a short Retry-After", |on| {
        on.fail_with(429, &[("retry-after", "0")], "")
    }),
    ("a reset before the head", |on| on.reset()),
    ("a reset in the body", |on| on.reset_after(10)),
    ("a connection that closes in the body", |on| on.truncate(10)),
    ("no HTTP", |on| on.garbage()),
    ("silence before the head", |on| on.hang()),
    ("silence in the body", |on| on.hang_after(10)),
];

async fn upstream() -> Upstream {
    let large = Package::new("large", "1.0.0").payload(1_000_000);
    Upstream::new().publish(large).start().await
}

fn mirror_of(upstream: &Upstream) -> MirrorBuilder {
    let impatient = "[upstream]\nfirst_byte_timeout = \"500ms\"\nstall_timeout = \"500ms\"";
    Mirror::of(upstream).settings(impatient)
}

#[tokio::test]
async fn one_failure_is_invisible_to_the_client() {
    let upstream = upstream().await;
    let index = upstream.index_file("large");
    let file = upstream.crate_file("large", "1.0.0");
    for (mishap, happens) in MISHAPS {
        for (asked_for, path, body) in [
            ("/index/la/rg/large", INDEX, index.as_bytes()),
            ("/index/config.json", LARGE, &file),
            ("/dl/large", LARGE, &file),
        ] {
            let mirror = mirror_of(&upstream).start().await;
            upstream.clear_log();
            let rule = happens(upstream.on(asked_for).times(1));
            let reply = mirror.get(path).await;
            let what = format!("{mishap} when asked for {asked_for}");
            let seen = (reply.status, reply.header("x-cache"), reply.complete);
            assert_eq!(seen, (200, Some("miss"), true), "{what}");
            assert!(reply.body == body, "{what}: other bytes");
            let requests = (rule.hits(), upstream.count(asked_for));
            assert_eq!(requests, (1, 2), "{what}");
        }
    }
}

#[tokio::test]
async fn what_keeps_failing_is_tried_as_often_as_configured_and_no_more() {
    let upstream = upstream().await;
    for (retries, attempts) in [(0, 1), (1, 2), (3, 4)] {
        let settings = format!("[upstream]\nretries = {retries}");
        let mirror = Mirror::of(&upstream).settings(&settings).start().await;
        let rule = upstream.on_index_files().fail(503);
        mirror.get(INDEX).await.assert_unavailable("503");
        assert_eq!(rule.hits(), attempts);
        rule.lift();
        let rule = upstream.on_crate_files().fail(503);
        mirror.get(LARGE).await.assert_unavailable("503");
        assert_eq!(rule.hits(), attempts);
        rule.lift();
    }
}

/// These would be answered in the same way again.
#[tokio::test]
async fn an_answer_is_not_asked_for_again_even_if_it_is_wrong() {
    let upstream = upstream().await;
    let answers: [(u16, &str); 4] = [(404, ""), (200, "<html>"), (403, ""), (206, "")];
    for (status, body) in answers {
        for path in [INDEX, LARGE] {
            let mirror = mirror_of(&upstream).start().await;
            let rule = upstream
                .on_everything()
                .after(usize::from(path == LARGE) * 2)
                .fail_with(status, &[], body);
            assert!(mirror.get(path).await.status >= 400);
            assert_eq!(rule.hits(), 1, "{status} {body} for {path}");
            rule.lift();
        }
    }
}

/// One row for a download held in memory, one for a download held in a file.
const PLACES: [&str; 2] = ["", "[memory]\nbudget = \"1MiB\""];

#[tokio::test]
async fn a_broken_off_download_goes_on_and_its_client_notices_nothing() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    for place in PLACES {
        let mirror = mirror_of(&upstream).settings(place).start().await;
        upstream.clear_log();
        upstream.on_crate_files().times(1).hang_after(500_000);
        upstream.on_crate_files().times(1).truncate(800_000);
        let mut client = Connection::open(mirror.addr()).await;
        client.ask("GET", LARGE, &[]).await.expect("a request sent");
        assert!(!client.body_so_far(1).await.is_empty());
        assert_eq!(upstream.crate_requests().len(), 1, "not reading yet");
        let reply = client.reply().await;
        assert!(reply.complete && reply.body == file, "{place}");
        assert_eq!(upstream.crate_requests().len(), 3);

        let mirror = mirror.restart().await;
        let again = mirror.get(LARGE).await;
        assert_eq!(again.header("x-cache"), Some("hit"));
        assert!(again.complete && again.body == file, "stored otherwise");
    }
}

/// Half of one file and half of another one is no file.
#[tokio::test]
async fn a_download_that_goes_on_with_other_bytes_is_cut_off() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    for place in PLACES {
        for (what, then) in [
            ("flipped", (|on| on.corrupt()) as fn(When<'_>) -> Rule),
            ("another", |on| on.body_of("/index/la/rg/large")),
            ("gone", |on| on.fail(404)),
            ("html", |on| on.fail_with(200, &[], "<html>")),
        ] {
            let mirror = mirror_of(&upstream).settings(place).start().await;
            upstream.on_crate_files().times(1).hang_after(400_000);
            let goes_on = then(upstream.on_crate_files());
            let mut client = Connection::open(mirror.addr()).await;
            client.ask("GET", LARGE, &[]).await.expect("a request sent");
            let reply = client.reply().await;
            assert!(!reply.complete, "{what}");
            assert!(reply.body.len() < file.len(), "{what}");
            assert!(goes_on.hits() > 0, "{what}: it didn't go on at all");
            upstream.heal();
            let mirror = mirror.restart().await;
            assert!(!mirror.stored().iter().any(|f| f.ends_with(".crate")));
            let reply = mirror.get(LARGE).await;
            assert!(reply.complete && reply.body == file, "{what}");
        }
    }
}

/// A download that stalls must give its permit back.
#[tokio::test]
async fn a_failed_request_gives_its_place_to_the_next() {
    let upstream = upstream().await;
    let settings = "[upstream]\nmax_concurrent = 1\nretries = 0\nfirst_byte_timeout = \"300ms\"\nstall_timeout = \"300ms\"";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    // Once more, and the circuit would open.
    for _ in 0..2 {
        upstream.on_everything().times(1).hang();
        mirror.get(INDEX).await.assert_unavailable("silence");
        upstream.on_everything().times(1).hang_after(10);
        mirror.get(INDEX).await.assert_unavailable("silence");
    }
    let reply = tokio::time::timeout(Duration::from_secs(10), mirror.get(LARGE)).await;
    assert_eq!(reply.expect("an answer").status, 200);
}
