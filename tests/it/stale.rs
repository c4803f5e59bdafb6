//! Stale copies: what was fetched once is served while upstream can't confirm it, at once and saying so.

use std::time::Duration;

use crate::support::{Mirror, Package, Reply, Upstream, client, stored::Record};

const SERDE: &str = "/index/se/rd/serde";

/// An upstream with one crate, and a mirror that has its index file but has to ask for it again.
async fn with_a_stale_copy(settings: &str) -> (Upstream, Mirror) {
    let upstream = Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    assert_eq!(mirror.get(SERDE).await.status, 200);
    let mirror = mirror.restart().await;
    mirror.age("serde", Duration::from_secs(2 * 3600));
    upstream.clear_log();
    (upstream, mirror)
}

#[track_caller]
fn assert_stale(reply: &Reply, upstream: &Upstream) {
    assert_eq!(
        (reply.status, reply.header("x-cache")),
        (200, Some("stale"))
    );
    assert!(reply.complete);
    assert_eq!(reply.text(), upstream.index_file("serde"));
}

#[tokio::test]
async fn a_stale_answer_says_that_it_is_stale() {
    let (upstream, mirror) = with_a_stale_copy("[upstream]\nretries = 0").await;
    upstream.stop().await;
    let reply = mirror.get(SERDE).await;
    assert_stale(&reply, &upstream);
    let etag = reply.header("etag").expect("an etag of our own");
    let known = mirror.get_with(SERDE, &[("if-none-match", etag)]).await;
    assert_eq!(
        (known.status, known.header("x-cache")),
        (304, Some("stale"))
    );
}

/// Cargo waits 30 seconds; a client that can be given something must not wait for an upstream that gives nothing.
#[tokio::test]
async fn a_client_gets_the_stale_copy_while_upstream_hangs() {
    let settings = "[freshness]\npatience = \"1s\"\n[upstream]\nfirst_byte_timeout = \"20s\"";
    let (upstream, mirror) = with_a_stale_copy(settings).await;
    let gate = upstream.gate(SERDE);
    for _ in 0..3 {
        assert_stale(&mirror.get(SERDE).await, &upstream);
    }
    // Upstream never answered.
    gate.await_waiting(1).await;
    assert_eq!(upstream.index_requests().len(), 1, "they share one refresh");

    // When upstream answers after all, the next client gets the new file.
    let old = upstream.index_file("serde");
    upstream.publish(Package::new("serde", "1.0.1"));
    gate.open();
    gate.await_empty().await;
    let new = mirror.get_until(SERDE, |reply| reply.text() != old).await;
    assert_eq!(new.text(), upstream.index_file("serde"));
    assert_eq!(upstream.index_requests().len(), 1);
}

#[tokio::test]
async fn a_client_gets_the_stale_copy_while_upstreams_body_hangs() {
    let settings = "[freshness]\npatience = \"1s\"\n[upstream]\nstall_timeout = \"60s\"";
    let (upstream, mirror) = with_a_stale_copy(settings).await;
    let old = upstream.index_file("serde");
    upstream.publish(Package::new("serde", "1.0.1"));
    let gate = upstream.gate_after(SERDE, 10);
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.header("x-cache"), Some("stale"));
    assert_eq!(reply.text(), old);
    gate.await_waiting(1).await;
}

/// Another mirror adds a second to every warm hit while upstream is down.
#[tokio::test]
async fn an_outage_does_not_make_every_request_wait() {
    let (upstream, mirror) = with_a_stale_copy("[upstream]\nretries = 0").await;
    upstream.on_index_files().fail(503);
    for _ in 0..5 {
        assert_stale(&mirror.get(SERDE).await, &upstream);
    }
    assert_eq!(upstream.index_requests().len(), 1);
}

#[tokio::test]
async fn upstream_is_asked_again_when_the_pause_after_a_failure_is_over() {
    let settings = "[freshness]\nfresh_for = \"20ms\"\npatience = \"20s\"\n[upstream]\nretries = 0";
    let (upstream, mirror) = with_a_stale_copy(settings).await;
    upstream.on_index_files().times(1).fail(503);
    assert_stale(&mirror.get(SERDE).await, &upstream);
    upstream.publish(Package::new("serde", "1.0.1"));
    let asked = |reply: &Reply| reply.header("x-cache") != Some("stale");
    let reply = mirror.get_until(SERDE, asked).await;
    assert_eq!(reply.text(), upstream.index_file("serde"));
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_copy_older_than_max_stale_is_not_served_but_kept() {
    let (upstream, mirror) = with_a_stale_copy("[upstream]\nretries = 0").await;
    upstream.stop().await;
    let mirror = mirror.restart().await;
    mirror.age("serde", 29 * DAY);
    assert_stale(&mirror.get(SERDE).await, &upstream);
    let mirror = mirror.restart().await;
    mirror.age("serde", 2 * DAY);
    let reply = mirror.get(SERDE).await;
    reply.assert_unavailable("past max_stale");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("max_stale"), "{}", reply.text());

    // Upstream says that it is current after all.
    upstream.restart().await;
    upstream.clear_log();
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.text(), upstream.index_file("serde"));
    assert_eq!(upstream.index_requests()[0].status, Some(304));
}

/// A .crate file doesn't go stale: its content is what its checksum says.
#[tokio::test]
async fn a_crate_is_served_however_old_its_index_file_is() {
    let (upstream, mirror) = with_a_stale_copy("[upstream]\nretries = 0").await;
    let path = "/api/v1/crates/serde/1.0.0/download";
    assert_eq!(mirror.get(path).await.status, 200);
    upstream.stop().await;
    let mirror = mirror.restart().await;
    mirror.age("serde", 365 * DAY);
    let reply = mirror.get(path).await;
    assert_eq!((reply.status, reply.header("x-cache")), (200, Some("hit")));
    assert!(reply.complete && reply.body == upstream.crate_file("serde", "1.0.0"));
}

/// Copies are written to the store beside the answers. An old one that takes longer must not replace a newer one.
#[tokio::test]
async fn the_stored_copy_is_the_newest_one() {
    let lines = "many lines ".repeat(2_000_000);
    let large = Package::new("serde", "1.0.0").field("lines", lines.into());
    let small = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().publish(large).start().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let first = client::head(mirror.addr(), SERDE, &[]).await;
    assert_eq!(first.status, 200);
    upstream.publish(small);
    let newest = mirror.get(SERDE).await.text();
    assert_eq!(newest, upstream.index_file("serde"));
    upstream.stop().await;
    let mirror = mirror.restart().await;
    let stored = Record::read(&mirror.index_record("serde"));
    assert_eq!(stored.body.len(), newest.len(), "an older copy");
    assert_eq!(mirror.get(SERDE).await.text(), newest);
}
