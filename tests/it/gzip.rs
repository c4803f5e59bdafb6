//! An index file shrinks to a tenth under gzip: whoever takes it gets it, whoever doesn't gets the same bytes plain.

use crate::support::{Mirror, Package, Reply, Upstream, UpstreamBuilder, client};

const BIG: &str = "/index/3/b/big";
const SMALL: &str = "/index/so/me/some-small-one";
const CRATE: &str = "/api/v1/crates/big/1.0.0/download";
/// What cargo sends.
const CARGO: (&str, &str) = ("accept-encoding", "deflate, gzip");

fn publish(upstream: UpstreamBuilder) -> UpstreamBuilder {
    let versions = (0..20).map(|minor| Package::new("big", &format!("1.{minor}.0")));
    let small = Package::new("some-small-one", "1.0.0");
    versions.fold(upstream.publish(small), |upstream, version| {
        upstream.publish(version.dep("serde", "^1").dep("tokio", "^1"))
    })
}

fn encoding(reply: &Reply) -> Option<&str> {
    reply.header("content-encoding")
}

#[tokio::test]
async fn who_takes_gzip_gets_it_and_it_decodes_to_what_the_others_get() {
    for upstream in [Upstream::new(), Upstream::new().gzip()] {
        let upstream = publish(upstream).start().await;
        let mirror = Mirror::of(&upstream).start().await;
        let first = mirror.get_with(BIG, &[CARGO]).await;
        let plain = mirror.get(BIG).await;
        let mirror = mirror.restart().await;
        let later = mirror.get_with(BIG, &[CARGO]).await;
        assert_eq!(plain.text(), upstream.index_file("big"));
        assert_eq!(encoding(&plain), None);
        for reply in [first, later] {
            assert!(reply.complete);
            assert_eq!(encoding(&reply), Some("gzip"));
            assert!(reply.decoded() == plain.body, "other bytes");
            assert!(reply.body.len() * 3 < plain.body.len(), "hardly smaller");
            let length = reply.body.len().to_string();
            assert_eq!(reply.header("content-length"), Some(&*length));
        }
    }
}

/// Hundreds of clients that waited for a cold file used to get it plain, ten times as large, because its gzip variant hadn't been made yet.
#[tokio::test]
async fn what_upstream_sent_gzipped_goes_out_gzipped_at_once_however_large() {
    let text = |_| fastrand::alphanumeric();
    let fill: String = (0..200_000).map(text).collect();
    let package = Package::new("big", "1.0.0").field("fill", fill.into());
    let upstream = Upstream::new().gzip().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let first = mirror.get_with(BIG, &[CARGO]).await;
    assert_eq!(encoding(&first), Some("gzip"));
    assert_eq!(first.decoded(), upstream.index_file("big").into_bytes());
}

/// A shared cache between us and cargo must not hand gzip to who doesn't take it, nor ask again because of another ETag.
#[tokio::test]
async fn both_renditions_have_the_same_validators_and_vary() {
    let upstream = publish(Upstream::new()).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in [BIG, SMALL] {
        let plain = mirror.get(path).await;
        let gzip = mirror.get_with(path, &[CARGO]).await;
        for name in ["etag", "last-modified", "content-type", "cache-control"] {
            assert!(plain.header(name).is_some(), "{path} {name}");
            assert_eq!(plain.header(name), gzip.header(name), "{path} {name}");
        }
        for reply in [&plain, &gzip] {
            let vary = reply.header("vary").expect("a Vary");
            assert!(vary.eq_ignore_ascii_case("accept-encoding"), "{vary}");
        }
        assert!(plain.header("etag").is_some_and(|e| e.starts_with("W/")));
    }
}

/// Small files gain less than gzip's own header and the work cost.
#[tokio::test]
async fn what_is_no_larger_than_a_kilobyte_is_sent_as_it_is() {
    for (length, expected) in [(1024, None), (1025, Some("gzip"))] {
        let package = Package::new("big", "1.0.0");
        let rest = length - 1 - package.index_line().len() - ",\"fill\":\"\"".len();
        let package = package.field("fill", "x".repeat(rest).into());
        let upstream = Upstream::new().publish(package).start().await;
        assert_eq!(upstream.index_file("big").len(), length);
        let mirror = Mirror::of(&upstream).start().await;
        let reply = mirror.get_with(BIG, &[CARGO]).await;
        assert_eq!(encoding(&reply), expected, "{length} bytes");
        assert_eq!(reply.decoded(), upstream.index_file("big").into_bytes());
    }
}

#[tokio::test]
async fn a_weight_of_zero_is_a_refusal() {
    let upstream = publish(Upstream::new()).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("GZIP", Some("gzip")),
        ("gzip;q=1.0", Some("gzip")),
        ("gzip ; q=0.001", Some("gzip")),
        ("identity;q=0.5, gzip;q=0.5", Some("gzip")),
        ("br, *", Some("gzip")),
        ("gzip;q=0", None),
        ("gzip; q=0.0", None),
        ("*;q=0", None),
        ("*, gzip;q=0", None),
        ("identity", None),
        ("br, zstd, deflate", None),
        ("", None),
    ] {
        let headers = [("accept-encoding", accepted)];
        let reply = mirror.get_with(BIG, &headers).await;
        assert_eq!(
            (reply.status, encoding(&reply)),
            (200, expected),
            "{accepted}"
        );
        assert!(reply.decoded() == upstream.index_file("big").as_bytes());
    }
}

/// A .crate that is labelled gzip is unpacked on the way and then fails its checksum.
#[tokio::test]
async fn a_crate_file_is_never_encoded() {
    let upstream = publish(Upstream::new()).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    for outcome in ["miss", "hit"] {
        let reply = mirror.get_with(CRATE, &[CARGO]).await;
        assert_eq!(reply.header("x-cache"), Some(outcome));
        assert_eq!(encoding(&reply), None);
        assert!(reply.body == upstream.crate_file("big", "1.0.0"));
    }
    for seen in upstream.crate_requests() {
        let accepted = seen.header("accept-encoding");
        assert_eq!(accepted, Some("identity"), "nor asked for in one");
    }
}

#[tokio::test]
async fn a_repeated_etag_gets_its_304_with_gzip_too() {
    let upstream = publish(Upstream::new()).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gzip = mirror.get_with(BIG, &[CARGO]).await;
    let etag = ("if-none-match", gzip.header("etag").expect("an ETag"));
    for headers in [&[etag][..], &[etag, CARGO]] {
        let reply = mirror.get_with(BIG, headers).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0));
        assert_eq!(encoding(&reply), None);
        assert_eq!(reply.header("vary"), gzip.header("vary"));
    }
}

#[tokio::test]
async fn head_tells_the_length_of_the_rendition_that_get_would_send() {
    let upstream = publish(Upstream::new()).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    for headers in [&[CARGO][..], &[]] {
        let whole = mirror.get_with(BIG, headers).await;
        let head = client::head(mirror.addr(), BIG, headers).await;
        assert_eq!(encoding(&head), encoding(&whole));
        let length = whole.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length));
        assert!(head.body.is_empty());
    }
}

/// If upstream's gzip were thrown away and made anew, the first answers of a stampede would go out plain, and many times as large.
#[tokio::test]
async fn what_upstream_sent_gzipped_goes_out_gzipped_from_the_first_answer_on() {
    let package = |patch: u32| Package::new("serde", &format!("1.0.{patch}"));
    let upstream = (0..300).fold(Upstream::new().gzip(), |u, patch| u.publish(package(patch)));
    let upstream = upstream.start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let reply = mirror
        .get_with("/index/se/rd/serde", &[("accept-encoding", "gzip")])
        .await;
    assert_eq!(reply.header("x-cache"), Some("miss"));
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.decoded(), upstream.index_file("serde").as_bytes());
}
