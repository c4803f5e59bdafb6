//! Toolchains: what rustup asks for is served as crates are: checked, once, from here when upstream is gone; and nothing else is there.

use std::{collections::BTreeSet, time::Duration};

use crate::in_line::{ask, until_connections};
use crate::support::{
    Dist, Gate, Mirror, Upstream, assert_serves, client, dist::HOST, sha256, until,
};

const DAY: &str = "2026-01-22";
const LATER: &str = "2026-03-05";

/// Asks for a manifest and its checksum, which belong together.
async fn pair(mirror: &Mirror, channel: &str) -> (String, String) {
    let path = format!("/toolchains/dist/channel-rust-{channel}.toml");
    let sum = mirror.get(&format!("{path}.sha256")).await;
    let manifest = mirror.get(&path).await;
    assert_eq!(
        (sum.status, manifest.status),
        (200, 200),
        "{}",
        manifest.text()
    );
    (manifest.text(), sum.text())
}

#[tokio::test]
async fn a_manifest_goes_on_byte_for_byte_with_its_checksum_and_is_asked_for_once() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let mirror = dist.mirror("").start().await;
    let path = format!("/toolchains{}", release.manifest());
    let sum = mirror.get(&format!("{path}.sha256")).await;
    let at = format!("{}.sha256", release.manifest());
    assert_serves(&sum, "miss", dist.object_at(&at), "the checksum");
    let manifest = mirror.get(&path).await;
    let body = dist.object_at(&release.manifest());
    assert_serves(&manifest, "hit", &body, "the manifest");
    assert_eq!(
        dist.count("channel-rust-stable"),
        2,
        "{:?}",
        dist.requests()
    );
    let etag = manifest.header("etag").expect("a tag").to_owned();
    let current = mirror.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!((current.status, current.body.len()), (304, 0));
    let part = mirror.get_with(&path, &[("range", "bytes=2-9")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &body[2..10]));
    let head = client::head(mirror.addr(), &path, &[]).await;
    let length = body.len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
    assert!(head.body.is_empty());
    let dated = mirror
        .get(&format!("/toolchains/dist/{DAY}/channel-rust-stable.toml"))
        .await;
    assert_serves(&dated, "hit", &body, "the same under its day");
    assert_eq!(dist.count("channel-rust-stable"), 2);
}

#[tokio::test]
async fn a_component_is_fetched_once_and_kept_under_its_day() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let mirror = dist.mirror("").start().await;
    pair(&mirror, "stable").await;
    let path = release.component("rustc");
    let (url, body) = (format!("/toolchains{path}"), dist.object_at(&path));
    assert_serves(&mirror.get(&url).await, "miss", &body, "the first");
    let again = mirror.get(&url).await;
    assert_serves(&again, "hit", &body, "the second");
    let immutable = again
        .header("cache-control")
        .is_some_and(|c| c.contains("immutable"));
    assert!(immutable, "{:?}", again.headers);
    let part = mirror.get_with(&url, &[("range", "bytes=5-24")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &body[5..25]));
    assert_eq!(dist.count(&path), 1);
    let name = path
        .rsplit('/')
        .next()
        .expect("a name")
        .replace(".tar.xz", "");
    let kept = format!("toolchains/dist/{DAY}/{name}.{}.tar.xz", sha256(&body));
    until("stored", || mirror.stored().contains(&kept)).await;
    let mirror = mirror.restart().await;
    assert_serves(&mirror.get(&url).await, "hit", &body, "after a restart");
    assert_eq!(dist.count(&path), 1);
}

/// Rustup may ask for a component whose manifest this mirror has never seen: it had it before the mirror was there.
#[tokio::test]
async fn a_component_alone_has_its_manifest_looked_up() {
    let dist = Dist::start().await;
    let release = dist.release("nightly", "1.97.0-nightly", DAY);
    let mirror = dist.mirror("").start().await;
    let path = release.component("cargo");
    let reply = mirror.get(&format!("/toolchains{path}")).await;
    assert_serves(&reply, "miss", dist.object_at(&path), "it");
    let asked: Vec<_> = dist.requests().into_iter().map(|seen| seen.path).collect();
    let manifest = format!("/dist/{DAY}/channel-rust-nightly.toml");
    assert_eq!(
        asked,
        [manifest.clone(), format!("{manifest}.sha256"), path]
    );
}

#[tokio::test]
async fn what_no_manifest_names_is_not_served() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let stray = format!("/dist/{DAY}/rustc-1.93.0-sparc-unknown-none.tar.gz");
    dist.object(&stray, "nobody vouches for it");
    let init = format!("/rustup/archive/1.28.2/{HOST}/rustup-init");
    dist.object(&init, "nor for this");
    let mirror = dist.mirror("").start().await;
    for path in [&stray, &init] {
        let reply = mirror.get(&format!("/toolchains{path}")).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert_eq!(
            dist.requests()
                .iter()
                .filter(|seen| seen.path == *path)
                .count(),
            0
        );
    }
}

#[tokio::test]
async fn other_paths_are_404_and_nobody_is_asked() {
    let dist = Dist::start().await;
    dist.release("stable", "1.93.0", DAY);
    let mirror = dist.mirror("").start().await;
    let long = format!("/toolchains/dist/{DAY}/{}.tar.gz", "a".repeat(300));
    for path in [
        "/toolchains/",
        "/toolchains//dist/channel-rust-stable.toml",
        "/toolchains/dist/channel-rust-stable",
        "/toolchains/dist/channel-rust-stable.toml.asc",
        "/toolchains/dist/channel-rust-../../x.toml",
        "/toolchains/dist/channel-rust-%73table.toml",
        "/toolchains/dist/2026-01-22/../2026-01-22/channel-rust-stable.toml",
        "/toolchains/dist/2026-01-22/%2e%2e/channel-rust-stable.toml",
        "/toolchains/dist/2026-01-22/..%2f..%2fsecret.tar.gz",
        "/toolchains/dist/2026-01-22/.hidden.tar.gz",
        "/toolchains/dist/2026-01-32/rustc-1.93.0-x.tar.gz",
        "/toolchains/dist/2026-01-22/rustc.zip",
        "/toolchains/dist/2026-01-22/a%00b.tar.gz",
        "/toolchains/dist/index.html",
        "/toolchains/rustup/rustup-init.sh",
        "/toolchains/rustup/dist/rustup-init",
        "/toolchains/rustup/dist/../../etc/rustup-init",
        "/toolchains/rustup/archive/1.28.2/x86_64-unknown-linux-gnu/rustup-init.exe",
        "/toolchains/rustup/release-nightly.toml",
        &long,
    ] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
    }
    assert_eq!(dist.requests().len(), 0, "{:?}", dist.requests());
}

#[tokio::test]
async fn a_corrupt_component_is_never_complete_and_is_not_kept() {
    let dist = Dist::start().await;
    let release = dist.large_release("stable", "1.93.0", DAY, 300_000);
    let mirror = dist.mirror("").start().await;
    pair(&mirror, "stable").await;
    let path = release.component("rustc");
    let url = format!("/toolchains{path}");
    dist.on(&path).corrupt();
    for _ in 0..2 {
        let reply = mirror.get(&url).await;
        let whole = reply.complete && reply.status == 200;
        assert!(!whole, "{} {}", reply.status, reply.body.len());
    }
    let kept = mirror.stored();
    assert!(!kept.iter().any(|path| path.contains("rustc")), "{kept:?}");
    dist.heal();
    let body = dist.object_at(&path);
    let healed = mirror
        .get_until(&url, |reply| reply.complete && reply.status == 200)
        .await;
    assert_eq!(healed.body, body);
}

#[tokio::test]
async fn fifty_clients_for_one_cold_component_are_one_upstream_request() {
    let dist = Dist::start().await;
    let release = dist.large_release("stable", "1.93.0", DAY, 2_000_000);
    let mirror = dist.mirror("").start().await;
    let path = release.component("rustc");
    let gate: Gate = dist.gate_after(&path, 300_000);
    let url = format!("/toolchains{path}");
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (addr, url) = (mirror.addr(), url.clone());
        asking.spawn(async move { client::get(addr, &url, &[]).await });
    }
    gate.await_waiting(1).await;
    gate.open();
    let body = dist.object_at(&path);
    while let Some(reply) = asking.join_next().await {
        let reply = reply.expect("a reply");
        assert!(reply.complete && reply.body == body, "{}", reply.status);
    }
    assert_eq!(dist.count(&path), 1);
    assert_eq!(dist.count("channel-rust-"), 2, "{:?}", dist.requests());
}

/// A manifest and its checksum are two files, between which a channel may move. Nobody is given a mixture.
#[tokio::test]
async fn a_channel_that_moves_between_two_requests_is_asked_for_again() {
    let dist = Dist::start().await;
    let first = dist.release("stable", "1.93.0", DAY);
    let second = dist.prepare("stable", "1.94.0", LATER);
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .settings("[freshness]\npatience = \"20s\"")
        .start()
        .await;
    let gate = dist.gate("channel-rust-stable.toml.sha256");
    let path = format!("/toolchains{}", first.manifest());
    let (addr, asked) = (mirror.addr(), path.clone());
    let asking = tokio::spawn(async move { client::get(addr, &asked, &[]).await });
    gate.await_waiting(1).await;
    // The old manifest is there, the checksum that comes is the new one's.
    dist.announce(&second);
    gate.open();
    let manifest = asking.await.expect("a reply");
    let sum = mirror.get(&format!("{path}.sha256")).await;
    assert_eq!(manifest.body, dist.object_at(&second.manifest()));
    assert!(
        sum.text().starts_with(&sha256(&manifest.body)),
        "{}",
        sum.text()
    );
}

/// One that stays at odds with its checksum is no manifest, and the pair that was good before is served on.
#[tokio::test]
async fn a_manifest_that_does_not_fit_to_its_checksum_takes_no_good_ones_place() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .settings("[freshness]\npatience = \"20s\"\n[upstream]\nretries = 0")
        .start()
        .await;
    let before = pair(&mirror, "stable").await;
    dist.object(
        &release.manifest(),
        "manifest-version = \"2\"\ndate = \"2026-03-05\"\n",
    );
    let path = format!("/toolchains{}", release.manifest());
    let reply = mirror.get(&path).await;
    assert_serves(&reply, "stale", &before.0, "the old one");
    assert_eq!(pair(&mirror, "stable").await, before);
}

#[tokio::test]
async fn pairs_fit_however_many_ask_while_a_channel_moves() {
    let dist = Dist::start().await;
    let day = |n: usize| format!("2026-02-{:02}", n + 1);
    let releases: Vec<_> = (0..6)
        .map(|n| dist.prepare("nightly", "1.97.0-nightly", &day(n)))
        .collect();
    dist.announce(&releases[0]);
    let mirror = dist.mirror("fresh_for = \"0s\"").start().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let addr = mirror.addr();
        asking.spawn(async move {
            let mut seen = BTreeSet::new();
            for _ in 0..20 {
                let mut connection = crate::support::Connection::open(addr).await;
                let path = "/toolchains/dist/channel-rust-nightly.toml";
                let sum = format!("{path}.sha256");
                connection.ask("GET", &sum, &[]).await.expect("asked");
                let sum = connection.reply().await;
                connection.ask("GET", path, &[]).await.expect("asked");
                let manifest = connection.reply().await;
                assert_eq!((sum.status, manifest.status), (200, 200));
                let said = sum.text()[..64].to_owned();
                assert_eq!(said, sha256(&manifest.body), "a mixture");
                seen.insert(said);
            }
            seen.len()
        });
    }
    for release in &releases[1..] {
        dist.announce(release);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let mut most = 0;
    while let Some(seen) = asking.join_next().await {
        most = most.max(seen.expect("pairs"));
    }
    assert!(most > 1, "the channel moved while they asked");
}

#[tokio::test]
async fn a_channel_name_is_asked_about_when_it_is_due_and_a_number_never() {
    let dist = Dist::start().await;
    let first = dist.release("stable", "1.93.0", DAY);
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .settings("[freshness]\npatience = \"20s\"")
        .start()
        .await;
    let (manifest, _) = pair(&mirror, "stable").await;
    dist.clear_log();
    let again = mirror
        .get(&format!("/toolchains{}", first.manifest()))
        .await;
    assert_serves(&again, "revalidated", &manifest, "the same");
    let asked = dist.requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
    pair(&mirror, "1.93.0").await;
    dist.clear_log();
    assert_eq!(pair(&mirror, "1.93.0").await.0, manifest);
    assert_eq!(dist.requests().len(), 0);
    let second = dist.release("stable", "1.94.0", LATER);
    let (newer, sum) = pair(&mirror, "stable").await;
    assert_eq!(newer.as_bytes(), dist.object_at(&second.manifest()));
    assert!(sum.starts_with(&sha256(newer.as_bytes())));
    // What the channel was before can be had still.
    let path = first.component("rustc");
    let old = mirror.get(&format!("/toolchains{path}")).await;
    assert_serves(&old, "miss", dist.object_at(&path), "the old one");
}

/// Where upstream sends no validators, the checksum says whether there is something new: a megabyte isn't fetched every ten minutes.
#[tokio::test]
async fn without_validators_the_checksum_says_whether_there_is_something_new() {
    let dist = Dist::without_validators().await;
    dist.release("stable", "1.93.0", DAY);
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .settings("[freshness]\npatience = \"20s\"")
        .start()
        .await;
    let before = pair(&mirror, "stable").await;
    dist.clear_log();
    assert_eq!(pair(&mirror, "stable").await, before);
    let asked: BTreeSet<_> = dist.requests().into_iter().map(|seen| seen.path).collect();
    let sum = "/dist/channel-rust-stable.toml.sha256".to_owned();
    assert_eq!(asked, BTreeSet::from([sum]));
}

#[tokio::test]
async fn in_an_outage_what_was_served_once_is_served_again() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    dist.rustup("1.28.2");
    let mirror = dist.mirror("fresh_for = \"0s\"").start().await;
    let before = pair(&mirror, "stable").await;
    let path = format!("/toolchains{}", release.component("rustc"));
    let init = format!("/toolchains/rustup/dist/{HOST}/rustup-init");
    let newest = "/toolchains/rustup/release-stable.toml";
    let mut bodies = Vec::new();
    for path in [&*path, &*init, newest] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        bodies.push(reply.body);
    }
    until("stored", || mirror.stored().len() >= 6).await;
    dist.on_everything().fail(503);
    let mirror = mirror.restart().await;
    assert_eq!(pair(&mirror, "stable").await, before);
    for (path, body) in [&*path, &*init, newest].into_iter().zip(bodies) {
        let reply = mirror.get(path).await;
        assert_eq!(
            (reply.status, &reply.body),
            (200, &body),
            "{path}: {}",
            reply.text()
        );
    }
    let other = mirror
        .get(&format!("/toolchains{}", release.component("cargo")))
        .await;
    other.assert_unavailable("what isn't here");
}

/// The newest rustup is another one tomorrow, and its checksum here is of yesterday.
#[tokio::test]
async fn a_newer_rustup_is_found_although_its_checksum_is_fresh() {
    let dist = Dist::start().await;
    dist.rustup("1.28.1");
    let mirror = dist.mirror("").start().await;
    let path = format!("/toolchains/rustup/dist/{HOST}/rustup-init");
    let first = mirror.get(&path).await;
    assert_eq!(first.text(), "#!/bin/sh\necho rustup-init 1.28.1\n");
    dist.rustup("1.28.2");
    let held = mirror.get(&path).await;
    assert_eq!(held.text(), first.text(), "fresh for ten minutes");
    let numbered = format!("/toolchains/rustup/archive/1.28.2/{HOST}/rustup-init");
    let numbered = mirror.get(&numbered).await;
    assert_eq!(numbered.text(), "#!/bin/sh\necho rustup-init 1.28.2\n");
}

#[tokio::test]
async fn channels_may_be_forbidden() {
    let dist = Dist::start().await;
    let stable = dist.release("stable", "1.93.0", DAY);
    let nightly = dist.release("nightly", "1.97.0-nightly", DAY);
    let mirror = dist
        .mirror("channels = [\"stable\", \"1.*\"]")
        .start()
        .await;
    pair(&mirror, "stable").await;
    pair(&mirror, "1.93.0").await;
    let allowed = mirror
        .get(&format!("/toolchains{}", stable.component("rustc")))
        .await;
    assert_eq!(allowed.status, 200);
    dist.clear_log();
    for path in [
        nightly.manifest(),
        format!("{}.sha256", nightly.manifest()),
        format!("/dist/{DAY}/channel-rust-nightly.toml"),
        nightly.component("rustc"),
    ] {
        let reply = mirror.get(&format!("/toolchains{path}")).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        let text = reply.text();
        assert!(
            text.contains("stable, 1.*") && text.lines().count() == 1,
            "{text}"
        );
    }
    assert_eq!(dist.requests().len(), 0);
    let denied = mirror
        .metric("crate_mirror_policy_denied_total{kind=\"channel\"")
        .await;
    assert!((denied - 4.0).abs() < 0.5, "each is counted once: {denied}");
}

#[tokio::test]
async fn without_the_setting_there_are_none() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = Mirror::of(&upstream).start().await;
    let reply = mirror
        .get("/toolchains/dist/channel-rust-stable.toml")
        .await;
    assert_eq!(reply.status, 404);
    assert!(
        reply.text().contains("toolchains.enabled"),
        "{}",
        reply.text()
    );
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn the_page_says_which_are_here() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let mirror = dist.mirror("").start().await;
    mirror
        .get(&format!("/toolchains{}", release.component("rustc")))
        .await;
    until("stored", || mirror.stored().len() >= 2).await;
    let page = mirror.get("/toolchains").await.text();
    assert!(page.contains(&format!("{DAY} stable")), "{page}");
    assert!(page.contains("rustc-1.93.0-"), "{page}");
    let html = mirror
        .get_with("/toolchains", &[("accept", "text/html")])
        .await;
    assert!(
        html.text().contains("<h1>Toolchains</h1>"),
        "{}",
        html.text()
    );
    let home = mirror.get("/").await.text();
    let variable = format!("RUSTUP_DIST_SERVER={}/toolchains\n", mirror.url());
    assert!(home.contains(&variable), "{home}");
    let requests = mirror
        .metric("crate_mirror_requests_total{outcome=\"miss\",route=\"toolchain\"}")
        .await;
    assert!(requests >= 1.0, "{requests}");
}

/// Everybody who has asked for a document was stood in line for, also when he had gone away: memory without end, and upstream asked for nobody.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_asked_for() {
    let dist = Dist::start().await;
    let settings = "[upstream]\nmax_concurrent = 1";
    let mirror = dist.mirror("").settings(settings).start().await;
    let first = "/dist/2020-01-01/channel-rust-nightly.toml";
    let gate = dist.gate(first);
    let mut waiting = ask(&mirror, &format!("/toolchains{first}")).await;
    gate.await_waiting(1).await;
    let mut clients = Vec::new();
    for day in 1..=9 {
        for name in [
            "channel-rust-nightly.toml",
            "rustc-nightly-x86_64-unknown-linux-gnu.tar.xz",
        ] {
            let path = format!("/toolchains/dist/2020-02-0{day}/{name}");
            clients.push(ask(&mirror, &path).await);
        }
    }
    drop(clients);
    until_connections(&mirror, 1).await;
    gate.open();
    assert_eq!(waiting.reply().await.status, 404);
    let last = mirror
        .get("/toolchains/dist/2020-03-01/channel-rust-nightly.toml")
        .await;
    assert_eq!(last.status, 404);
    assert_eq!(dist.count("2020-02"), 0, "{:?}", dist.requests());
}

/// For half a minute, and for as long as nobody else asked, each who was given a checksum had the whole manifest held for him. A stranger who asked for the checksums
/// of all channels took all the memory there is.
#[tokio::test]
async fn who_asks_for_many_checksums_takes_nobodys_memory() {
    let dist = Dist::start().await;
    let channels: Vec<_> = (10..50).map(|n| format!("1.{n}")).collect();
    for channel in &channels {
        let manifest = format!(
            "manifest-version = \"2\"\ndate = \"{DAY}\"\n# {}\n",
            format!("{channel} ").repeat(100_000)
        );
        let path = format!("/dist/channel-rust-{channel}.toml");
        let sum = format!("{}  x\n", sha256(manifest.as_bytes()));
        dist.object(&format!("{path}.sha256"), sum);
        dist.object(&path, manifest);
    }
    let settings = "[memory]\nbudget = \"8MiB\"";
    let mirror = dist.mirror("").settings(settings).start().await;
    for channel in &channels {
        let sum = mirror
            .get(&format!(
                "/toolchains/dist/channel-rust-{channel}.toml.sha256"
            ))
            .await;
        assert_eq!(sum.status, 200, "{channel}: {}", sum.text());
    }
}
