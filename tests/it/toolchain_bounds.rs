//! What toolchains cost whoever runs the mirror: however much is asked for in vain, the store is gone through once, and memory is kept for what is wanted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate_mirror::store::{Fault, Touch};

use crate::support::{Bucket, Connection, Dist, Mirror, Zone, client, dist::HOST, sha256, until};

const DAY: &str = "2026-01-22";
const LATER: &str = "2026-03-05";
const NOTHING: &str = "http://127.0.0.1:1/index/";
/// How soon a page is there that takes a bucket's listings.
const SOON: Duration = Duration::from_secs(20);

/// How often a store was asked, and whether it fails when it is to list something.
#[derive(Clone, Default)]
struct Counted {
    loads: Arc<AtomicUsize>,
    lists: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
}

impl Counted {
    fn fault(&self) -> Fault {
        let this = self.clone();
        Arc::new(move |touch| match touch {
            Touch::Load => {
                this.loads.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            Touch::List => {
                this.lists.fetch_add(1, Ordering::SeqCst);
                match this.fails.load(Ordering::SeqCst) {
                    true => Err(std::io::Error::from_raw_os_error(5)),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }
}

/// Publishes a text with the checksum beside it.
fn put(dist: &Dist, path: &str, body: impl Into<bytes::Bytes>) {
    let body = body.into();
    let name = path.rsplit('/').next().unwrap_or_default();
    dist.object(
        &format!("{path}.sha256"),
        format!("{}  {name}\n", sha256(&body)),
    );
    dist.object(path, body);
}

/// A mirror of it whose store is counted, over what `folder` has.
async fn counted(dist: &Dist, folder: &std::path::Path, settings: &str) -> (Mirror, Counted) {
    let counted = Counted::default();
    let mirror = dist.mirror(settings).store(folder).fault(counted.fault());
    (mirror.start().await, counted)
}

async fn status(mirror: &Mirror, path: &str) -> u16 {
    mirror.get(&format!("/toolchains{path}")).await.status
}

#[tokio::test]
async fn a_store_that_cannot_be_looked_through_is_looked_at_once_for_all_who_ask_for_the_page() {
    let dist = Dist::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (mirror, counted) = counted(&dist, folder.path(), "").await;
    counted.fails.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let reply = mirror.get("/toolchains").await;
        assert_ne!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(counted.lists(), 1);
}

/// One look used to be one request for each file, and those who went away left theirs behind.
#[tokio::test]
async fn a_bucket_is_listed_once_for_all_who_look_also_when_they_go_away() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let bucket = Bucket::new().await;
    let tables = dist.tables("");
    let zone = Zone::of(&dist, &bucket).settings(&tables).start().await;
    for name in ["rustc", "cargo", "clippy"] {
        let path = format!("/toolchains{}", release.component(name));
        assert_eq!(zone.get(&path).await.status, 200, "{name}");
    }
    bucket
        .until_stored(&[
            "rustc-1.93.0",
            "cargo-1.93.0",
            "clippy-1.93.0",
            "channel-rust-stable",
        ])
        .await;
    zone.stop().await;
    let relay = bucket.relay().await;
    let zone = Zone::of(&dist, &bucket).over(&relay).settings(&tables);
    let zone = zone.start().await;
    let gate = relay.on_reads("toolchains%2Fdist").gate();
    for _ in 0..3 {
        let addr = zone.addr();
        let asking = tokio::spawn(async move { client::get(addr, "/toolchains", &[]).await });
        gate.await_waiting(1).await;
        asking.abort();
        // It is gone when its connection is.
        let _ = asking.await;
    }
    gate.open();
    let page = zone
        .get_until("/toolchains", SOON, |reply| {
            reply.text().contains("rustc-1.93.0")
        })
        .await;
    assert!(page.text().contains("clippy-1.93.0"), "{}", page.text());
    let requests = relay.requests();
    let listings: Vec<_> = requests
        .iter()
        .filter(|seen| seen.path.contains("toolchains%2F"))
        .map(|seen| seen.path.clone())
        .collect();
    let of_day = listings.iter().filter(|path| path.contains(DAY)).count();
    assert_eq!(of_day, 1, "{listings:#?}");
    let of_files = requests.iter().filter(|seen| seen.path.contains(".tar.xz"));
    assert_eq!(of_files.count(), 0, "no file is asked about by itself");
}

#[tokio::test]
async fn a_name_that_no_manifest_has_is_looked_for_once() {
    let dist = Dist::start().await;
    dist.release("nightly", "1.96.0-nightly", DAY);
    let folder = tempfile::tempdir().expect("a folder");
    let (mirror, counted) = counted(&dist, folder.path(), "fresh_for = \"0s\"").await;
    let unknown = format!("/dist/{LATER}/rustc-nightly-{HOST}.tar.xz");
    assert_eq!(status(&mirror, &unknown).await, 404);
    let before = (counted.lists(), counted.loads());
    for _ in 0..5 {
        assert_eq!(status(&mirror, &unknown).await, 404);
    }
    assert_eq!((counted.lists(), counted.loads()), before);
    // Until a manifest comes that has it.
    let release = dist.release("nightly", "1.97.0-nightly", LATER);
    assert_eq!(release.component("rustc"), unknown);
    let manifest = format!("/toolchains{}", release.manifest());
    let manifest = mirror.get(&manifest).await;
    assert_eq!(manifest.body, dist.object_at(&release.manifest()));
    assert_eq!(status(&mirror, &unknown).await, 200);
}

#[tokio::test]
async fn manifests_of_other_days_are_read_once_for_names_that_nobody_knows() {
    let dist = Dist::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = dist.mirror("").store(folder.path()).start().await;
    for n in 0..8 {
        let release = dist.release("stable", &format!("1.8{n}.0"), &format!("2025-01-1{n}"));
        let numbered = format!("/dist/channel-rust-{}.toml", release.version);
        assert_eq!(status(&mirror, &numbered).await, 200);
    }
    until("stored", || mirror.stored().len() >= 16).await;
    mirror.stop().await;
    let (mirror, counted) = counted(&dist, folder.path(), "").await;
    let unknown = |n: usize| format!("/dist/{DAY}/nothing-{n}.tar.xz");
    assert_eq!(status(&mirror, &unknown(0)).await, 404);
    assert!(counted.loads() >= 8, "{}", counted.loads());
    let in_memory = mirror.metric("crate_mirror_memory_entries").await;
    assert!(
        in_memory <= 4.0,
        "what nobody wants is in memory: {in_memory}"
    );
    // What was used is marked once, which makes it look like another one.
    status(&mirror, &unknown(1)).await;
    let before = counted.loads();
    for n in 2..6 {
        assert_eq!(status(&mirror, &unknown(n)).await, 404);
    }
    assert_eq!(counted.loads(), before);
}

/// On a reverse proxy's connection come the requests of many.
#[tokio::test]
async fn behind_a_proxy_pairs_are_those_of_each_client() {
    let dist = Dist::start().await;
    let first = dist.release("nightly", "1.96.0-nightly", DAY);
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .settings("[freshness]\npatience = \"20s\"")
        .start()
        .await;
    let mut proxy = Connection::open(mirror.addr()).await;
    let path = format!("/toolchains{}", first.manifest());
    let sum = format!("{path}.sha256");
    let ask = async |proxy: &mut Connection, path: &str, client: &str| {
        let headers = [("x-forwarded-for", client)];
        proxy.ask("GET", path, &headers).await.expect("asked");
        proxy.reply().await
    };
    let (alice, bob) = ("192.0.2.1", "192.0.2.2");
    let old = ask(&mut proxy, &sum, alice).await.text();
    dist.release("nightly", "1.97.0-nightly", LATER);
    let new = ask(&mut proxy, &sum, bob).await.text();
    assert_ne!(old, new);
    for (client, sum) in [(alice, old), (bob, new)] {
        let manifest = ask(&mut proxy, &path, client).await;
        assert_eq!(sum[..64], sha256(&manifest.body), "{client}");
    }
}

#[tokio::test]
async fn what_an_allowed_manifest_names_may_be_had_whatever_its_name() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let path = "/dist/channel-rust-1.93.toml";
    put(&dist, path, dist.object_at(&release.manifest()));
    let other = dist.release("nightly", "1.97.0-nightly", DAY);
    let mirror = dist.mirror("channels = [\"1.93\"]").start().await;
    let rustc = release.component("rustc");
    assert_eq!(status(&mirror, &rustc).await, 403, "nothing names it yet");
    assert_eq!(status(&mirror, path).await, 200);
    assert_eq!(status(&mirror, &rustc).await, 200);
    assert_eq!(status(&mirror, &other.component("rustc")).await, 403);
    assert_eq!(status(&mirror, "/dist/channel-rust-stable.toml").await, 403);
}

/// Of a large file it turns out at its end, when its client has most of it, that there is a newer one.
#[tokio::test]
async fn a_newer_rustup_is_asked_for_after_the_first_that_its_checksum_did_not_fit() {
    let dist = Dist::start().await;
    dist.rustup("1.28.1");
    let path = format!("/rustup/dist/{HOST}/rustup-init");
    put(&dist, &path, vec![1; 700_000]);
    let mirror = dist
        .mirror("")
        .settings("[upstream]\nretries = 0")
        .start()
        .await;
    let url = format!("/toolchains{path}");
    let sum = mirror.get(&format!("{url}.sha256")).await;
    assert_eq!(sum.status, 200);
    put(&dist, &path, vec![2; 700_000]);
    let cut = mirror.get(&url).await;
    assert!(!(cut.status == 200 && cut.complete), "{}", cut.status);
    let whole = mirror.get(&url).await;
    assert!(
        whole.complete && whole.body == vec![2; 700_000],
        "{}",
        whole.status
    );
}

#[tokio::test]
async fn a_day_that_is_published_twice_is_what_it_was_made_last() {
    let dist = Dist::start().await;
    let first = dist.release("nightly", "1.96.0-nightly", DAY);
    let mirror = dist
        .mirror("fresh_for = \"0s\"")
        .settings("[freshness]\npatience = \"20s\"")
        .start()
        .await;
    let dated = format!("/toolchains/dist/{DAY}/channel-rust-nightly.toml");
    let component = format!("/toolchains{}", first.component("rustc"));
    for path in [&dated, &component] {
        assert_eq!(mirror.get(path).await.status, 200, "{path}");
    }
    let second = dist.release("nightly", "1.97.0-nightly", DAY);
    let manifest = mirror
        .get(&format!("/toolchains{}", second.manifest()))
        .await;
    assert_eq!(manifest.body, dist.object_at(&second.manifest()));
    assert_eq!(mirror.get(&dated).await.body, manifest.body);
    let rustc = mirror.get(&component).await;
    assert_eq!(rustc.body, dist.object_at(&second.component("rustc")));
}

#[tokio::test]
async fn offline_what_is_not_here_is_looked_for_once() {
    let dist = Dist::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = dist.mirror("").store(folder.path()).start().await;
    for n in 0..6 {
        dist.release("nightly", "1.97.0-nightly", &format!("2026-02-1{n}"));
        let dated = format!("/dist/2026-02-1{n}/channel-rust-nightly.toml");
        assert_eq!(status(&mirror, &dated).await, 200);
    }
    until("stored", || mirror.stored().len() >= 6).await;
    mirror.stop().await;
    let counted = Counted::default();
    let offline = Mirror::of_index(NOTHING)
        .settings("[offline]\nenabled = true\n[toolchains]\nenabled = true")
        .store(folder.path())
        .fault(counted.fault())
        .start()
        .await;
    let beta = "/dist/channel-rust-beta.toml";
    assert_eq!(status(&offline, beta).await, 404);
    assert!(counted.loads() >= 6, "each day is looked at once");
    let before = (counted.loads(), counted.lists());
    for _ in 0..5 {
        assert_eq!(status(&offline, beta).await, 404);
    }
    assert_eq!((counted.loads(), counted.lists()), before);
    assert_eq!(
        status(&offline, "/dist/channel-rust-nightly.toml").await,
        200
    );
}

#[tokio::test]
async fn offline_a_channel_of_the_folder_is_served_when_the_bucket_is_gone() {
    let dist = Dist::start().await;
    let release = dist.release("stable", "1.93.0", DAY);
    let bucket = Bucket::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("cache");
    let tables = dist.tables("");
    let zone = Zone::of(&dist, &bucket).folder(&folder).settings(&tables);
    let zone = zone.start().await;
    let path = format!("/toolchains{}", release.manifest());
    assert_eq!(zone.get(&path).await.status, 200);
    // A day that only the folder knows of is the newest.
    let newer = dist.release("stable", "1.94.0", LATER);
    let dated = format!("/toolchains/dist/{LATER}/channel-rust-stable.toml");
    assert_eq!(zone.get(&dated).await.status, 200);
    bucket
        .until_stored(&["dist/channel-rust-stable.toml", LATER])
        .await;
    zone.stop().await;
    let relay = bucket.relay().await;
    let offline = Zone::of(&dist, &bucket)
        .over(&relay)
        .folder(&folder)
        .offline()
        .settings("[toolchains]\nenabled = true")
        .start()
        .await;
    relay.stop().await;
    let manifest = offline.get(&path).await;
    assert_eq!(manifest.status, 200, "{}", manifest.text());
    assert_eq!(manifest.body, dist.object_at(&newer.manifest()));
}
