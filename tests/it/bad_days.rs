//! Bad days: whatever happens to upstream, a client gets the copy that is here, else one clear sentence in time.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use crate::support::{Mirror, MirrorBuilder, Package, Rule, Upstream, When, assert_serves};

const SERDE: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";

/// What happens to every request of a kind.
type Day = (&'static str, fn(When<'_>) -> Rule);

const DAYS: &[Day] = &[
    ("500", |on| on.fail(500)),
    ("502", |on| on.fail(502)),
    ("503", |on| on.fail(503)),
    ("504", |on| on.fail(504)),
    ("429", |on| on.fail(429)),
    ("a reset before the head", |on| on.reset()),
    ("a reset after the head", |on| on.reset_after(10)),
    ("a connection that closes in the body", |on| on.truncate(10)),
    ("silence before the head", |on| on.hang()),
    ("silence after the head", |on| on.hang_after(0)),
    ("silence in the body", |on| on.hang_after(10)),
];

async fn upstream() -> Upstream {
    let serde = Package::new("serde", "1.0.0");
    Upstream::new().publish(serde).start().await
}

/// A mirror that asks for every index file, and doesn't wait long.
fn mirror_of(upstream: &Upstream) -> MirrorBuilder {
    let impatient =
        "[upstream]\nfirst_byte_timeout = \"500ms\"\nstall_timeout = \"500ms\"\nretries = 0";
    Mirror::of(upstream).always_asks().settings(impatient)
}

#[tokio::test]
async fn an_index_file_that_is_here_is_served_on_every_bad_day() {
    let upstream = upstream().await;
    let mirror = mirror_of(&upstream).start().await;
    assert_eq!(mirror.get(SERDE).await.status, 200);
    for (day, happens) in DAYS {
        // A 304 has no body for anything to happen to.
        let old = upstream.index_file("serde");
        upstream.publish(Package::new("serde", "1.0.1"));
        let rule = happens(upstream.on_everything());
        assert_serves(&mirror.get(SERDE).await, "stale", &old, day);
        assert_eq!(rule.hits(), 1, "{day}");
        rule.lift();
        upstream.delete_version("serde", "1.0.1");
        assert_serves(&mirror.get(SERDE).await, "revalidated", &old, day);
    }
}

#[tokio::test]
async fn a_crate_that_is_here_is_served_on_every_bad_day() {
    let upstream = upstream().await;
    let mirror = mirror_of(&upstream).start().await;
    assert_eq!(mirror.get(DOWNLOAD).await.status, 200);
    let mirror = mirror.restart().await;
    let file = upstream.crate_file("serde", "1.0.0");
    for (day, happens) in DAYS {
        let rule = happens(upstream.on_everything());
        assert_serves(&mirror.get(DOWNLOAD).await, "hit", &file, day);
        assert_eq!(rule.hits(), 0, "{day}");
        rule.lift();
    }
}

#[tokio::test]
async fn what_is_not_here_is_one_clear_sentence_until_upstream_is_well() {
    let upstream = upstream().await;
    let index = upstream.index_file("serde");
    let file = upstream.crate_file("serde", "1.0.0");
    for (day, happens) in DAYS {
        let mirror = mirror_of(&upstream).start().await;
        let rule = happens(upstream.on_everything());
        mirror.get(SERDE).await.assert_unavailable(day);
        mirror.get(DOWNLOAD).await.assert_unavailable(day);
        rule.lift();
        assert_serves(&mirror.get(SERDE).await, "miss", &index, day);

        let rule = happens(upstream.on_crate_files());
        mirror.get(DOWNLOAD).await.assert_unavailable(day);
        rule.lift();
        assert_serves(&mirror.get(DOWNLOAD).await, "miss", &file, day);
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_a_bad_day_like_others() {
    let upstream = upstream().await;
    let index = upstream.index_file("serde");
    let file = upstream.crate_file("serde", "1.0.0");
    let mirror = mirror_of(&upstream).start().await;
    upstream.stop().await;
    for path in [SERDE, DOWNLOAD] {
        let reply = mirror.get(path).await;
        reply.assert_unavailable("refused");
        assert_eq!(reply.status, 503);
    }
    upstream.restart().await;
    assert_serves(&mirror.get(SERDE).await, "miss", &index, "well");
    assert_serves(&mirror.get(DOWNLOAD).await, "miss", &file, "well");
    upstream.stop().await;
    assert_serves(&mirror.get(SERDE).await, "stale", &index, "refused");
    assert_serves(&mirror.get(DOWNLOAD).await, "hit", &file, "refused");
}

/// Asking crates.io again at once is how to get blocked; cargo waits as long as Retry-After says.
#[tokio::test]
async fn a_retry_after_is_passed_on() {
    let upstream = upstream().await;
    let in_a_minute = SystemTime::now() + Duration::from_secs(60);
    let in_a_minute = httpdate::fmt_http_date(in_a_minute);
    for (after, allowed) in [("60", 60..=60), (&in_a_minute, 50..=60)] {
        for status in [429, 503] {
            for path in [SERDE, DOWNLOAD] {
                // With the default number of retries: none of them may come before that.
                let mirror = Mirror::of(&upstream).start().await;
                let header = [("retry-after", after)];
                let rule = upstream.on_everything().fail_with(status, &header, "");
                let reply = mirror.get(path).await;
                reply.assert_unavailable(path);
                assert_eq!(reply.status, 503);
                let told = reply.header("retry-after").expect("a Retry-After");
                let told: u64 = told.parse().expect("seconds");
                assert!(allowed.contains(&told), "{told} for {after}");
                let again = mirror.get(path).await;
                assert_eq!(again.status, 503);
                assert_eq!(rule.hits(), 1, "asked again before that");
                rule.lift();
            }
        }
    }
}

#[tokio::test]
async fn a_trickle_arrives_whole() {
    let upstream = upstream().await;
    let (step, pause) = (20, Duration::from_millis(5));
    for with_a_copy in [false, true] {
        let mirror = mirror_of(&upstream).start().await;
        let index = upstream.index_file("serde");
        if with_a_copy {
            mirror.get(SERDE).await;
            upstream.publish(Package::new("serde", "1.0.1"));
        }
        let rule = upstream.on_everything().trickle(step, pause);
        let index = match with_a_copy {
            true => upstream.index_file("serde"),
            false => index,
        };
        assert_serves(&mirror.get(SERDE).await, "miss", &index, "a trickle");
        let file = upstream.crate_file("serde", "1.0.0");
        assert_serves(&mirror.get(DOWNLOAD).await, "miss", &file, "a trickle");
        rule.lift();
    }
}

/// Cargo gives up after 30 seconds. This test takes as long as an answer may, with the settings of every day; all waits run at once.
#[tokio::test]
async fn an_answer_comes_within_25_seconds() {
    let upstream = Upstream::new();
    let names = [
        "hangs",
        "trickles",
        "stops",
        "no_file",
        "half_a_file",
        "slow",
    ];
    let packages = names.map(|name| Package::new(name, "1.0.0"));
    let upstream = upstream.publish_all(packages).start().await;
    let silent = self::upstream().await;
    silent.on("config.json").hang();

    upstream.on("/ha/ng/hangs").hang();
    upstream
        .on("/tr/ic/trickles")
        .trickle(1, Duration::from_secs(1));
    upstream.on("/st/op/stops").hang_after(10);
    upstream.on(&upstream.crate_path("no_file", "1.0.0")).hang();
    let half = upstream.crate_path("half_a_file", "1.0.0");
    upstream.on(&half).hang_after(10);
    let slow = Duration::from_secs(8);
    upstream.on("/sl/ow/slow").slow(slow);
    upstream.on(&upstream.crate_path("slow", "1.0.0")).hang();
    // The index has no crate of this name, so the mirror also looks for the other spelling.
    upstream.on("/a_/b_/a_b_c").hang();

    let mirror = Mirror::of(&upstream).start().await;
    let mirror_of_silent = Mirror::of(&silent).start().await;
    let ask = async |mirror: &Mirror, path: &str| {
        // 24 seconds, and what a busy machine takes; cargo gives up after 30.
        let reply = tokio::time::timeout(Duration::from_secs(28), mirror.get(path)).await;
        match reply {
            Ok(reply) if path.contains("a-b-c") => assert_eq!(reply.status, 404, "{path}"),
            Ok(reply) => reply.assert_unavailable(path),
            Err(_) => return Some(path.to_owned()),
        }
        None
    };
    let late = join_all([
        ask(&mirror, "/index/ha/ng/hangs"),
        ask(&mirror, "/index/tr/ic/trickles"),
        ask(&mirror, "/index/st/op/stops"),
        ask(&mirror, "/api/v1/crates/hangs/1.0.0/download"),
        ask(&mirror, "/api/v1/crates/trickles/1.0.0/download"),
        ask(&mirror, "/api/v1/crates/no_file/1.0.0/download"),
        ask(&mirror, "/api/v1/crates/half_a_file/1.0.0/download"),
        ask(&mirror, "/api/v1/crates/slow/1.0.0/download"),
        ask(&mirror, "/api/v1/crates/a-b-c/1.0.0/download"),
        ask(&mirror_of_silent, DOWNLOAD),
    ])
    .await;
    let late: Vec<_> = late.into_iter().flatten().collect();
    assert!(late.is_empty(), "no answer in time: {late:#?}");
}
