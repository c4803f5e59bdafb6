//! Conditional refresh: upstream is asked the way it wants to be asked, and no more often than needed.

use std::time::Duration;

use crate::support::{
    Mirror, Package, Seen, Upstream, UpstreamBuilder, client, sha256, stored::Record,
};

const SERDE: &str = "/index/se/rd/serde";

fn serde(version: &str) -> Package {
    Package::new("serde", version)
}

async fn with_serde(upstream: UpstreamBuilder) -> Upstream {
    upstream.publish(serde("1.0.0")).start().await
}

/// The only index request since the log was cleared, which is cleared again.
#[track_caller]
fn only_request(upstream: &Upstream) -> Seen {
    let requests = upstream.index_requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    upstream.clear_log();
    requests[0].clone()
}

/// The requests by which the mirror checks an index file that it has: one by the mirror that fetched it, one by a mirror that found it in its store.
async fn asked_again(upstream: &Upstream) -> [Seen; 2] {
    let mirror = Mirror::of(upstream).always_asks().start().await;
    let first = mirror.get(SERDE).await;
    assert_eq!((first.status, first.header("x-cache")), (200, Some("miss")));
    let plain = only_request(upstream);
    assert_eq!(plain.header("if-none-match"), None);
    assert_eq!(plain.header("if-modified-since"), None);

    let again = async |mirror: &Mirror| {
        let reply = mirror.get(SERDE).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-cache"), Some("revalidated"));
        assert_eq!(reply.header("etag"), first.header("etag"));
        assert_eq!(reply.text(), upstream.index_file("serde"));
        only_request(upstream)
    };
    let by_the_first = again(&mirror).await;
    let mirror = mirror.restart().await;
    [by_the_first, again(&mirror).await]
}

#[tokio::test]
async fn upstreams_etag_goes_back_verbatim() {
    for kind in [
        Upstream::new(),
        Upstream::new().weak_etag(),
        Upstream::new().strong_etag(),
    ] {
        let upstream = with_serde(kind).await;
        let own = client::get(upstream.addr(), SERDE, &[]).await;
        upstream.clear_log();
        for seen in asked_again(&upstream).await {
            assert_eq!(seen.header("if-none-match"), own.header("etag"));
            assert_eq!(seen.header("if-modified-since"), None, "it is noise");
            assert_eq!(seen.status, Some(304));
        }
    }
}

#[tokio::test]
async fn without_an_etag_the_last_modified_goes_back() {
    let upstream = with_serde(Upstream::new().last_modified()).await;
    let own = client::get(upstream.addr(), SERDE, &[]).await;
    upstream.clear_log();
    for seen in asked_again(&upstream).await {
        assert_eq!(
            seen.header("if-modified-since"),
            own.header("last-modified")
        );
        assert_eq!(seen.header("if-none-match"), None);
        assert_eq!(seen.status, Some(304));
    }
}

/// Some corporate repository managers send no validators. Clients still get 304 for what they have.
#[tokio::test]
async fn without_validators_an_identical_body_counts_as_not_modified() {
    let upstream = with_serde(Upstream::new().no_validators()).await;
    for seen in asked_again(&upstream).await {
        assert_eq!(seen.header("if-none-match"), None);
        assert_eq!(seen.header("if-modified-since"), None);
        assert_eq!(seen.status, Some(200));
    }
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let first = mirror.get(SERDE).await;
    let etag = first.header("etag").expect("an etag of our own");
    let again = mirror.get_with(SERDE, &[("if-none-match", etag)]).await;
    assert_eq!(again.status, 304);
    assert_eq!(again.header("x-cache"), Some("revalidated"));
}

/// An ETag that isn't ASCII panics cargo 1.96, one that can't be sent back would make every refresh fail, and `*` would be answered 304 for ever.
#[tokio::test]
async fn an_etag_that_is_unfit_to_be_sent_back_is_not_kept() {
    let upstream = with_serde(Upstream::new().no_validators()).await;
    for unfit in ["", "\"größe\"", "*", "W/*", "no-quotes"] {
        let mirror = Mirror::of(&upstream).always_asks().start().await;
        let own = [("etag", unfit)];
        let body = upstream.index_file("serde");
        upstream
            .on_index_files()
            .times(1)
            .fail_with(200, &own, body);
        let first = mirror.get(SERDE).await;
        assert_eq!(first.status, 200);
        assert!(first.header("etag").is_some_and(str::is_ascii));
        upstream.clear_log();
        assert_eq!(mirror.get(SERDE).await.status, 200);
        assert_eq!(only_request(&upstream).header("if-none-match"), None);
    }
}

/// RFC 9110, section 15.4.5: a 304 may carry a new validator for the same body.
#[tokio::test]
async fn an_etag_that_comes_with_a_304_is_the_one_sent_next() {
    let upstream = with_serde(Upstream::new()).await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    mirror.get(SERDE).await;
    let mirror = mirror.restart().await;
    let own = [("etag", "W/\"a new one\"")];
    upstream.on_index_files().fail_with(304, &own, "");
    assert_eq!(mirror.get(SERDE).await.status, 200);
    upstream.clear_log();
    let mirror = mirror.restart().await;
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.text(), upstream.index_file("serde"));
    let seen = only_request(&upstream);
    assert_eq!(seen.header("if-none-match"), Some("W/\"a new one\""));
}

#[tokio::test]
async fn a_fresh_file_is_served_without_asking_upstream() {
    let upstream = with_serde(Upstream::new()).await;
    let mirror = Mirror::of(&upstream).start().await;
    mirror.get(SERDE).await;
    only_request(&upstream);
    assert_eq!(mirror.get(SERDE).await.header("x-cache"), Some("hit"));
    let mirror = mirror.restart().await;
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.header("x-cache"), Some("hit"));
    assert_eq!(reply.text(), upstream.index_file("serde"));
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[tokio::test]
async fn a_file_that_upstream_confirmed_is_fresh_again() {
    let upstream = with_serde(Upstream::new()).await;
    let settings = "[freshness]\npatience = \"20s\"";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    mirror.get(SERDE).await;
    let mirror = mirror.restart().await;
    mirror.age("serde", Duration::from_secs(61));
    let replies = [mirror.get(SERDE).await, mirror.get(SERDE).await];
    let outcomes = replies
        .each_ref()
        .map(|reply| reply.header("x-cache").expect("x-cache"));
    assert_eq!(outcomes, ["revalidated", "hit"]);
}

#[tokio::test]
async fn a_new_version_is_visible_when_fresh_for_has_passed() {
    let upstream = with_serde(Upstream::new()).await;
    let settings = "[freshness]\nfresh_for = \"1h\"\npatience = \"20s\"";
    let mirror = Mirror::of(&upstream).settings(settings).start().await;
    let old = mirror.get(SERDE).await;
    upstream.publish(serde("1.0.1"));
    let mirror = mirror.restart().await;
    mirror.age("serde", Duration::from_secs(3000));
    assert_eq!(mirror.get(SERDE).await.text(), old.text());
    let mirror = mirror.restart().await;
    mirror.age("serde", Duration::from_secs(700));
    let new = mirror.get(SERDE).await;
    assert_eq!(new.header("x-cache"), Some("miss"));
    assert!(new.text().contains("1.0.1"));
    assert_eq!(new.text(), upstream.index_file("serde"));
}

#[tokio::test]
async fn a_changed_body_changes_our_etag() {
    for kind in [Upstream::new(), Upstream::new().no_validators()] {
        let upstream = with_serde(kind).await;
        let mirror = Mirror::of(&upstream).always_asks().start().await;
        let old = mirror.get(SERDE).await;
        let etag = old.header("etag").expect("an etag of our own");
        upstream.yank("serde", "1.0.0");
        let new = mirror.get_with(SERDE, &[("if-none-match", etag)]).await;
        assert_eq!(new.status, 200);
        assert_ne!(new.header("etag"), Some(etag));
        assert_eq!(new.text(), upstream.index_file("serde"));
        upstream.unyank("serde", "1.0.0");
        let back = mirror.get_with(SERDE, &[("if-none-match", etag)]).await;
        assert_eq!(back.status, 304, "the same body has the same etag");
    }
}

/// Cargo probes a missing crate under three names, and 410 and 451 are hard errors for cargo from 1.96 on.
#[tokio::test]
async fn what_upstream_does_not_have_is_404_and_is_remembered() {
    let upstream = with_serde(Upstream::new()).await;
    for status in [404, 410, 451] {
        let mirror = Mirror::of(&upstream).start().await;
        upstream.on_index_files().fail(status);
        for _ in 0..2 {
            let reply = mirror.get(SERDE).await;
            assert_eq!(
                (reply.status, reply.header("x-cache")),
                (404, Some("absent"))
            );
            assert!(reply.text().contains("serde"), "{:?}", reply.text());
        }
        assert_eq!(only_request(&upstream).status, Some(status));
        assert!(mirror.restart().await.stored().is_empty());
        upstream.heal();
    }
}

#[tokio::test]
async fn an_absence_is_asked_about_again_when_absent_for_has_passed() {
    let upstream = with_serde(Upstream::new()).await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let path = "/index/to/ki/tokio";
    for _ in 0..2 {
        assert_eq!(mirror.get(path).await.status, 404);
        only_request(&upstream);
    }
    upstream.publish(Package::new("tokio", "1.0.0"));
    assert_eq!(mirror.get(path).await.text(), upstream.index_file("tokio"));
    upstream.delete("tokio");
    assert_eq!(mirror.get(path).await.status, 404);
    upstream.publish(Package::new("tokio", "2.0.0"));
    assert_eq!(mirror.get(path).await.text(), upstream.index_file("tokio"));
}

#[tokio::test]
async fn a_gzipped_body_is_stored_decoded() {
    let upstream = with_serde(Upstream::new().gzip()).await;
    let own = client::get(upstream.addr(), SERDE, &[("accept-encoding", "gzip")]).await;
    assert_eq!(own.header("content-encoding"), Some("gzip"));
    let mirror = Mirror::of(&upstream).start().await;
    assert_eq!(mirror.get(SERDE).await.text(), upstream.index_file("serde"));
    let mirror = mirror.restart().await;
    let record = Record::read(&mirror.index_record("serde"));
    assert_eq!(record.body, upstream.index_file("serde").as_bytes());
    assert_eq!(record.header["sha256"], sha256(&record.body));
    assert_eq!(record.header["length"], record.body.len());
    assert_eq!(record.header["etag"], own.header("etag").expect("an etag"));
}

#[tokio::test]
async fn config_json_never_contacts_upstream() {
    let upstream = with_serde(Upstream::new()).await;
    let mirror = Mirror::of(&upstream).start().await;
    for _ in 0..2 {
        let reply = mirror.get("/index/config.json").await;
        assert_eq!(reply.status, 200);
        let dl = format!("{}/api/v1/crates", mirror.url());
        assert!(reply.text().contains(&dl), "{}", reply.text());
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
    upstream.stop().await;
    assert_eq!(mirror.get("/index/config.json").await.status, 200);
}
