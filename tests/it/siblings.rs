//! Mirrors that share a bucket tell each other what upstream has said, and know what another one knows when they can't reach upstream themselves.

use std::time::{Duration, Instant};

use crate::{
    offline::index,
    support::{Bucket, Package, Relay, Reply, Upstream, Zone},
};

/// How long an index file isn't due. Whatever is told is told six times in this.
const FRESH_FOR: Duration = Duration::from_secs(12);
const LATEST: Duration = Duration::from_secs(26);

async fn upstream() -> Upstream {
    let packages = [Package::new("a", "1.0.0"), Package::new("b", "1.0.0")];
    Upstream::new().publish_all(packages).start().await
}

/// How often a mirror has asked upstream for an index file.
async fn asked(zone: &Zone) -> f64 {
    zone.metric("crate_mirror_upstream_requests_total{kind=\"index\"")
        .await
}

#[tokio::test]
async fn of_two_mirrors_one_asks_upstream_and_the_other_hears_of_it() {
    let upstream = upstream().await;
    let bucket = Bucket::new().await;
    let settings = format!("[freshness]\nfresh_for = \"{}s\"", FRESH_FOR.as_secs());
    let builder = Zone::of(&upstream, &bucket).settings(&settings);
    let (one, other) = (builder.clone().start().await, builder.start().await);
    let started = Instant::now();
    let ask = async || {
        for zone in [&one, &other] {
            let reply = zone.get(&index("a")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // Until they have heard of each other.
    while started.elapsed() < FRESH_FOR {
        ask().await;
    }
    let before = (asked(&one).await, asked(&other).await);
    while started.elapsed() < FRESH_FOR * 4 {
        ask().await;
    }
    let asked = [asked(&one).await - before.0, asked(&other).await - before.1];
    // Each alone asks three times in this time.
    let [least, most] = match asked[0] < asked[1] {
        true => asked,
        false => [asked[1], asked[0]],
    };
    assert!(least <= 1.0 && most >= 3.0, "{asked:?}");
    // What is new comes to who hears of it from the bucket.
    upstream.publish(Package::new("a", "1.1.0"));
    for zone in [&one, &other] {
        let is_new = |reply: &Reply| reply.text().contains("1.1.0");
        zone.get_until(&index("a"), LATEST, is_new).await;
    }
}

/// What the bucket had wasn't looked at once there was a copy in the folder.
#[tokio::test]
async fn a_mirror_that_cannot_reach_upstream_serves_what_another_one_has_had_since() {
    let upstream = upstream().await;
    let bucket = Bucket::new().await;
    let way = Relay::to(upstream.addr()).await;
    // They have no time to tell each other anything.
    let settings = "[freshness]\nfresh_for = \"1s\"\npatience = \"20s\"";
    let well = Zone::of(&upstream, &bucket)
        .settings(settings)
        .start()
        .await;
    let cut_off = Zone::of(&upstream, &bucket).settings(settings);
    let cut_off = cut_off.index_over(&upstream, &way).start().await;
    for zone in [&well, &cut_off] {
        zone.get(&index("a")).await;
    }
    way.stop().await;
    upstream.publish(Package::new("a", "1.1.0"));
    let is_new = |reply: &Reply| reply.text().contains("1.1.0");
    well.get_until(&index("a"), LATEST, is_new).await;
    let key = "mirror/crates-io/index/1/a";
    let in_bucket = async || {
        let record = bucket.get(key).await;
        String::from_utf8_lossy(&record).contains("1.1.0")
    };
    while !in_bucket().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is looked there every 30 s, and may have been just before.
    let reply = cut_off.get_until(&index("a"), 2 * LATEST, is_new).await;
    assert_eq!(reply.header("x-cache"), Some("stale"));
}
