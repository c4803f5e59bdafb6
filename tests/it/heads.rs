//! Heads: how large a request's may be, whatever it is sent over; who is over that is told so in a sentence.

use crate::support::{Frames, Mirror, Package, Reply, Upstream, client, requests};

const SERDE: &str = "/index/se/rd/serde";
/// A window that is never full here.
const WIDE: u32 = 1 << 20;

async fn mirror() -> (Upstream, Mirror) {
    let serde = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().publish(serde).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    (upstream, mirror)
}

#[track_caller]
fn assert_sentence(reply: &Reply, status: u16, about: &str) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    let sentence = text.ends_with(".\n") && text.lines().count() == 1;
    assert!(sentence && text.contains(about), "{text:?}");
}

/// What is kept of a request while it waits used to be as large as its head: 456 MB for ten thousand with long queries.
#[tokio::test]
async fn a_url_of_more_than_8_kb_or_headers_of_more_than_16_are_refused() {
    let (upstream, mirror) = mirror().await;
    let long = format!("{SERDE}?{}", "q".repeat(8 << 10));
    let filler = "v".repeat(8 << 10);
    let large = [("x-a", &*filler), ("x-b", &*filler)];
    for _ in 0..2 {
        let reply = mirror.get(&long).await;
        assert_sentence(&reply, 414, "URL");
        let reply = mirror.get_with(SERDE, &large).await;
        assert_sentence(&reply, 431, "headers");
        let reply = client::head(mirror.addr(), &long, &[]).await;
        assert_eq!(reply.status, 414);
        let mut http2 = Frames::open(mirror.addr(), WIDE).await;
        http2.send_bytes(&requests::get(1, &long, &[])).await;
        http2.send_bytes(&requests::get(3, SERDE, &large)).await;
        for (stream, about) in [(1, "URL"), (3, "headers")] {
            let body = http2.response(stream).await.body;
            let text = String::from_utf8(body).expect("text");
            assert!(text.contains(about), "{text}");
        }
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

/// Proxies add headers, and clients put into queries what they like.
#[tokio::test]
async fn a_head_that_is_large_and_within_bounds_is_read() {
    let (upstream, mirror) = mirror().await;
    let long = format!("{SERDE}?{}", "q".repeat(8000));
    let filler = "v".repeat(8000);
    let large = [("x-a", &*filler), ("x-b", &*filler)];
    let reply = mirror.get_with(&long, &large).await;
    assert_eq!(reply.text(), upstream.index_file("serde"));
    let mut http2 = Frames::open(mirror.addr(), WIDE).await;
    http2.send_bytes(&requests::get(1, &long, &large)).await;
    let body = http2.response(1).await.body;
    assert_eq!(body, upstream.index_file("serde").into_bytes());
}

/// config.json repeats the host twice, so that a host of 16 KB would become an answer of 32 KB.
#[tokio::test]
async fn a_host_that_is_longer_than_any_name_is_a_bad_request() {
    let (_upstream, mirror) = mirror().await;
    let longest = "h".repeat(255);
    let path = "/index/config.json";
    let reply = mirror.get_with(path, &[("host", &longest)]).await;
    assert!(reply.text().contains(&longest), "{}", reply.text());
    let longer = "h".repeat(300);
    let reply = mirror.get_with(path, &[("host", &longer)]).await;
    assert_sentence(&reply, 400, "Host");
}
