//! A bucket that is slow, throttles, refuses, lies or is gone is like a broken disk: clients get what memory, the folder and upstream have, none of them
//! waits for it, and what couldn't be written is written when it can be.

use std::time::{Duration, Instant};

use crate::{
    offline::{download, index},
    support::{Bucket, Package, Relay, Reply, Upstream, Zone, ZoneBuilder, bucket::READER},
};

/// No answer takes longer that still is one.
const LATEST: Duration = Duration::from_secs(26);
/// What was put off is tried again within this.
const RESUMES_WITHIN: Duration = Duration::from_secs(60);
/// So many crates are asked for while something is wrong.
const CRATES: usize = 12;

fn name(n: usize) -> String {
    format!("name-{n:02}")
}

/// Crates, a bucket, and a relay on the way to it.
struct Scene {
    upstream: Upstream,
    bucket: Bucket,
    relay: Relay,
}

impl Scene {
    async fn new() -> Scene {
        let packages = (0..CRATES).map(|n| Package::new(&name(n), "1.0.0").payload(50_000));
        let bucket = Bucket::new().await;
        Scene {
            upstream: Upstream::new().publish_all(packages).start().await,
            relay: bucket.relay().await,
            bucket,
        }
    }

    /// A mirror that reaches the bucket through the relay.
    fn zone(&self) -> ZoneBuilder {
        Zone::of(&self.upstream, &self.bucket).over(&self.relay)
    }

    /// The bucket has all crates, put there by a mirror whose way to it is well.
    async fn fill(&self) {
        let zone = Zone::of(&self.upstream, &self.bucket).start().await;
        for n in 0..CRATES {
            self.ask(&zone, n).await;
        }
        self.until_stored(0..CRATES).await;
        zone.stop().await;
        self.upstream.clear_log();
    }

    /// Asks for a crate and its index file, which must come right and in time.
    async fn ask(&self, zone: &Zone, n: usize) {
        let name = name(n);
        let reply = in_time(zone, &index(&name)).await;
        assert_eq!(reply.text(), self.upstream.index_file(&name));
        let reply = in_time(zone, &download(&name, "1.0.0")).await;
        let right = reply.complete && reply.body == self.upstream.crate_file(&name, "1.0.0");
        assert!(right, "{name}: {} {:.200}", reply.status, reply.text());
    }

    async fn until_stored(&self, which: std::ops::Range<usize>) {
        let parts: Vec<_> = which
            .flat_map(|n| {
                let name = name(n);
                [format!("/{name}/1.0.0."), format!("/index/na/me/{name}")]
            })
            .collect();
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let until = self.bucket.until_stored_within(RESUMES_WITHIN, &parts);
        until.await;
    }
}

async fn in_time(zone: &Zone, path: &str) -> Reply {
    let reply = tokio::time::timeout(LATEST, zone.get(path)).await;
    reply.unwrap_or_else(|_| panic!("{path} hangs"))
}

/// With the bucket in trouble from the beginning, and then well.
async fn what_was_put_off_arrives(wrong: impl AsyncFn(&Scene), well: impl AsyncFn(&Scene)) {
    let scene = Scene::new().await;
    wrong(&scene).await;
    let zone = scene.zone().start().await;
    for n in 0..CRATES / 2 {
        scene.ask(&zone, n).await;
    }
    assert!(scene.bucket.stored_with(".crate").await.is_empty());
    well(&scene).await;
    // What comes now is written, and so is what came before.
    for n in CRATES / 2..CRATES {
        scene.ask(&zone, n).await;
    }
    scene.until_stored(0..CRATES).await;
    let log = zone.log();
    assert!(!log.contains("panic"), "{log}");
}

#[tokio::test]
async fn what_came_while_the_bucket_was_gone_arrives_later() {
    what_was_put_off_arrives(
        async |scene| scene.relay.stop().await,
        async |scene| scene.relay.restart().await,
    )
    .await;
}

#[tokio::test]
async fn what_came_while_the_bucket_throttled_arrives_later() {
    what_was_put_off_arrives(
        async |scene| {
            let said = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
            let xml = [("content-type", "application/xml"), ("retry-after", "1")];
            scene.relay.on_writes("").fail_with(503, &xml, said);
        },
        async |scene| scene.relay.heal(),
    )
    .await;
}

#[tokio::test]
async fn what_came_while_the_bucket_refused_writes_arrives_later() {
    what_was_put_off_arrives(
        async |scene| {
            let said = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            let xml = [("content-type", "application/xml")];
            scene.relay.on_writes("").fail_with(403, &xml, said);
        },
        async |scene| scene.relay.heal(),
    )
    .await;
}

#[tokio::test]
async fn what_came_while_the_bucket_hung_arrives_later() {
    what_was_put_off_arrives(
        async |scene| {
            scene.relay.on_everything().hang();
        },
        async |scene| scene.relay.heal(),
    )
    .await;
}

/// The client of a write whose answer is lost can't know; it writes again, which changes nothing.
#[tokio::test]
async fn a_write_whose_answer_is_lost_does_no_harm() {
    let scene = Scene::new().await;
    scene.relay.on_writes("").times(6).lose_answer();
    let zone = scene.zone().start().await;
    for n in 0..CRATES {
        scene.ask(&zone, n).await;
    }
    scene.until_stored(0..CRATES).await;
    zone.stop().await;
    for key in scene.bucket.stored_with(".crate").await {
        let checksum = crate::support::sha256(&scene.bucket.get(&key).await);
        assert!(key.contains(&checksum), "{key} is {checksum}");
    }
}

/// With a bucket that has everything and a way to it that fails: upstream is asked, and clients get what is right.
async fn reading_goes_on(wrong: impl AsyncFn(&Scene)) {
    let scene = Scene::new().await;
    scene.fill().await;
    wrong(&scene).await;
    // What hangs is waited for five times, each time so long, before it is left alone.
    let zone = scene.zone().store("stall_timeout = \"1s\"").start().await;
    for n in 0..CRATES {
        scene.ask(&zone, n).await;
    }
    // Memory has them now, whatever the bucket does.
    let started = Instant::now();
    for n in 0..CRATES {
        scene.ask(&zone, n).await;
    }
    assert!(started.elapsed() < LATEST, "memory waits for the bucket");
}

#[tokio::test]
async fn a_bucket_that_is_gone_keeps_nobody_waiting() {
    reading_goes_on(async |scene| scene.relay.stop().await).await;
}

#[tokio::test]
async fn a_bucket_that_hangs_keeps_nobody_waiting() {
    reading_goes_on(async |scene| {
        scene.relay.on_everything().hang();
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_hangs_in_mid_object_keeps_nobody_waiting() {
    reading_goes_on(async |scene| {
        scene.relay.on_reads(".crate").hang_after(20_000);
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_is_slow_keeps_nobody_waiting() {
    reading_goes_on(async |scene| {
        scene.relay.on_everything().slow(Duration::from_secs(20));
    })
    .await;
}

#[tokio::test]
async fn an_object_that_is_cut_off_on_its_way_goes_to_nobody() {
    reading_goes_on(async |scene| {
        scene.relay.on_reads(".crate").truncate(20_000);
    })
    .await;
}

#[tokio::test]
async fn an_object_that_is_changed_on_its_way_goes_to_nobody() {
    reading_goes_on(async |scene| {
        scene.relay.on_reads("crates-io").corrupt();
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_answers_garbage_is_none() {
    reading_goes_on(async |scene| {
        scene.relay.on_everything().garbage();
    })
    .await;
}

/// A page of a proxy's, with 200.
#[tokio::test]
async fn a_page_in_place_of_an_object_is_none() {
    reading_goes_on(async |scene| {
        let page = "<!DOCTYPE html><html><body>Please log in</body></html>";
        let html = [("content-type", "text/html")];
        scene.relay.on("crates-io").fail_with(200, &html, page);
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_becomes_well_is_read_from_again() {
    let scene = Scene::new().await;
    scene.fill().await;
    scene.relay.stop().await;
    let zone = scene.zone().start().await;
    scene.ask(&zone, 0).await;
    assert_eq!(scene.upstream.crate_requests().len(), 1);
    scene.relay.restart().await;
    let started = Instant::now();
    let mut n = 1;
    loop {
        scene.upstream.clear_log();
        scene.ask(&zone, n).await;
        if scene.upstream.crate_requests().is_empty() {
            return;
        }
        assert!(started.elapsed() < RESUMES_WITHIN, "it is never read again");
        // Only those that neither memory nor folder has tell.
        n += 1;
        assert!(
            n < CRATES,
            "it isn't read while upstream is asked {n} times"
        );
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
}

/// Neither upstream nor bucket: what the folder has is served, and everything else is refused in a sentence and not with silence.
#[tokio::test]
async fn without_bucket_and_upstream_the_folder_is_served() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let zone = scene.zone().folder(folder.path());
    let first = zone.clone().start().await;
    scene.ask(&first, 0).await;
    scene.until_stored(0..1).await;
    first.stop().await;
    scene.relay.stop().await;
    scene.upstream.stop().await;
    let second = zone.start().await;
    scene.ask(&second, 0).await;
    in_time(&second, &download(&name(1), "1.0.0"))
        .await
        .assert_unavailable("neither bucket nor upstream");
}

/// "Not there" said of a bucket that can't be read would have cargo believe that there is no such crate.
#[tokio::test]
async fn offline_a_bucket_that_is_gone_is_no_empty_one() {
    let scene = Scene::new().await;
    scene.fill().await;
    let zone = scene.zone().offline().start().await;
    scene.ask(&zone, 0).await;
    scene.relay.stop().await;
    let reply = in_time(&zone, &index(&name(1))).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    let reply = in_time(&zone, &download(&name(2), "1.0.0")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
}

/// One object that the bucket doesn't take keeps no others waiting: it is given up, which is counted, and offered again by the next process that is asked for it.
#[tokio::test]
async fn what_is_refused_while_others_are_written_is_given_up_counted_and_offered_again() {
    let scene = Scene::new().await;
    let said = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InternalError</Code><Message>no</Message></Error>";
    let xml = [("content-type", "application/xml")];
    let refused = format!("/{}/1.0.0.", name(0));
    scene.relay.on_writes(&refused).fail_with(400, &xml, said);
    let folder = tempfile::tempdir().expect("a folder");
    let zone = scene.zone().folder(folder.path());
    let first = zone.clone().start().await;
    scene.ask(&first, 0).await;
    let started = Instant::now();
    let lost = async || first.metric("crate_mirror_bucket_lost_total").await;
    let mut n = 1;
    while lost().await == 0.0 {
        assert!(started.elapsed() < RESUMES_WITHIN, "it waits for ever");
        if n < CRATES {
            scene.ask(&first, n).await;
            n += 1;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    // What is kept of its manifest lies beside it.
    assert!(lost().await <= 2.0, "{}", lost().await);
    scene.until_stored(1..n).await;
    assert!(scene.bucket.stored_with(&refused).await.is_empty());
    first.stop().await;
    scene.relay.heal();
    let second = zone.start().await;
    scene.ask(&second, 0).await;
    scene.until_stored(0..1).await;
}

/// What can't be written for long is bounded, counted, and no reason to take memory without end.
#[tokio::test]
async fn who_may_only_read_a_bucket_serves_from_it_all_the_same() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .publish(Package::new("b", "1.0.0"))
        .start()
        .await;
    let bucket = Bucket::in_process().await;
    let zone = Zone::of(&upstream, &bucket).start().await;
    zone.get(&download("a", "1.0.0")).await;
    bucket.until_stored(&["/a/1.0.0.", "/index/1/a"]).await;
    zone.stop().await;
    upstream.clear_log();
    let reader = Zone::of(&upstream, &bucket).keys(READER).start().await;
    let reply = in_time(&reader, &download("a", "1.0.0")).await;
    assert_eq!(reply.status, 200);
    assert!(upstream.crate_requests().is_empty(), "it reads");
    let reply = in_time(&reader, &download("b", "1.0.0")).await;
    assert_eq!(reply.status, 200);
    assert!(bucket.stored_with("/b/").await.is_empty());
}

/// A mirror that had everything in memory went on saying that its store can't be read, until somebody asked for something else.
#[tokio::test]
async fn a_mirror_that_nobody_asks_says_when_the_bucket_can_be_read_again() {
    let scene = Scene::new().await;
    let zone = scene.zone().start().await;
    scene.ask(&zone, 0).await;
    scene.until_stored(0..1).await;
    scene.relay.on_everything().fail_with(503, &[], "");
    // There is no such crate, so that nothing is written after it either.
    assert_eq!(in_time(&zone, &index("none")).await.status, 404);
    let unreadable = "crate_mirror_store_unreadable";
    assert_eq!(zone.metric(unreadable).await, 1.0);
    scene.relay.heal();
    let started = Instant::now();
    while zone.metric(unreadable).await != 0.0 {
        assert!(started.elapsed() < RESUMES_WITHIN, "it still says so");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!zone.get("/").await.text().contains("can't be read"));
}
