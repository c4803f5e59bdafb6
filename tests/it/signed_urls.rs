//! `store.redirect`: a crate that neither memory nor folder has goes to its client straight from the bucket, by a signed URL, if this mirror knows that it is
//! good and the rules let it out.

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    offline::{download, index},
    support::{
        Bucket, Cargo, Connection, Package, Relay, Reply, TokenFile, Upstream, Zone, ZoneBuilder,
        client,
    },
};

/// More than this memory keeps of one crate.
const LARGE: usize = 1_500_000;
/// So little that nothing large is kept, and no folder either.
const NOTHING_NEAR: &str = "[memory]\nbudget = \"1MiB\"";

struct Scene {
    upstream: Upstream,
    bucket: Bucket,
    /// Where clients reach the bucket.
    public: Relay,
}

impl Scene {
    async fn new() -> Scene {
        let upstream = Upstream::new()
            .publish(Package::new("app", "1.0.0").dep("large", "1"))
            .publish(Package::new("large", "1.0.0").payload(LARGE))
            .publish(Package::new("other", "1.0.0").payload(LARGE))
            .start()
            .await;
        let bucket = Bucket::new().await;
        Scene {
            upstream,
            public: bucket.relay().await,
            bucket,
        }
    }

    fn zone(&self) -> ZoneBuilder {
        Zone::of(&self.upstream, &self.bucket)
            .store("max_size = \"0\"\nredirect = true\nsigned_for = \"60s\"")
            .store(&format!("public_endpoint = \"{}\"", self.public.url()))
            .settings(NOTHING_NEAR)
    }

    /// A mirror that has fetched and written them.
    async fn warm(&self, zone: ZoneBuilder) -> Zone {
        let zone = zone.start().await;
        for name in ["large", "other"] {
            self.has_written(&zone, name).await;
        }
        zone
    }

    async fn has_written(&self, zone: &Zone, name: &str) {
        let reply = zone.get(&download(name, "1.0.0")).await;
        assert_eq!(reply.body, self.upstream.crate_file(name, "1.0.0"));
        let part = format!("/{name}/1.0.0.");
        self.bucket.until_stored(&[&part]).await;
        // The mirror learns a moment later than the bucket that it is there.
        zone.get_until(&download(name, "1.0.0"), PATIENCE, |reply| {
            reply.status == 302
        })
        .await;
    }

    /// The path of a redirect's URL, which leads to where clients reach the bucket.
    #[track_caller]
    fn location(&self, reply: &Reply) -> String {
        let location = reply.header("location").expect("a URL");
        let path = location.strip_prefix(&self.public.url());
        path.unwrap_or_else(|| panic!("it leads to {location}"))
            .to_owned()
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_neither_in_memory_nor_in_the_folder_is_to_be_had_at_a_signed_url() {
    let scene = Scene::new().await;
    let zone = scene.warm(scene.zone()).await;
    let reply = zone.get(&download("large", "1.0.0")).await;
    assert_eq!(
        (reply.status, reply.header("x-cache")),
        (302, Some("redirect"))
    );
    assert_eq!(reply.header("etag"), None, "cargo 1.96 doesn't expect one");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.body.is_empty() && reply.complete);
    let path = scene.location(&reply);
    let there = client::get(scene.public.addr(), &path, &[]).await;
    assert_eq!(there.body, scene.upstream.crate_file("large", "1.0.0"));
    // An index file never goes this way, also not what only the bucket has of it.
    let again = scene.zone().start().await;
    for name in ["large", "other"] {
        let reply = again.get(&index(name)).await;
        assert_eq!(reply.text(), scene.upstream.index_file(name));
    }
    assert!(
        zone.metric("crate_mirror_requests_total{outcome=\"redirect\"")
            .await
            >= 1.0
    );
}

#[tokio::test]
async fn real_cargo_follows_it() {
    let scene = Scene::new().await;
    let zone = scene.warm(scene.zone()).await;
    let cargo = Cargo::new(&zone.index_url()).project(&[("app", "1"), ("other", "1")]);
    cargo.run(&["build"]).await.success();
    assert_eq!(scene.public.count("/large/1.0.0."), 1, "it came from there");
    assert_eq!(scene.public.count("/other/1.0.0."), 1);
    assert_eq!(scene.public.count("/index/"), 0, "index files never do");
}

/// Cargo drops it when host or port change; the bucket would otherwise see every token.
#[tokio::test]
async fn the_token_of_who_asks_does_not_go_to_the_bucket() {
    let scene = Scene::new().await;
    let tokens = TokenFile::new();
    let token = tokens.add("ci");
    let warm = scene.warm(scene.zone()).await;
    warm.stop().await;
    // It has read nothing itself yet.
    let zone = scene.zone().settings(&tokens.settings("")).start().await;
    let authorized = [("authorization", &*token)];
    let path = download("large", "1.0.0");
    let first = zone.get_with(&path, &authorized).await;
    assert_eq!(
        first.status, 200,
        "what it hasn't verified it doesn't vouch for"
    );
    let started = Instant::now();
    while zone.get_with(&path, &authorized).await.status != 302 {
        assert!(started.elapsed() < PATIENCE, "it never redirects");
    }
    assert_eq!(zone.get(&path).await.status, 401);
    let cargo = Cargo::unconfigured()
        .registry("mirror", &zone.index_url())
        .config("[source.crates-io]\nreplace-with = \"mirror\"\n[registry]\nglobal-credential-providers = [\"cargo:token\"]\n")
        .env("CARGO_REGISTRIES_MIRROR_TOKEN", &token)
        .project(&[("large", "1")]);
    cargo.run(&["build"]).await.success();
    let seen = scene.public.requests();
    assert!(
        seen.iter().any(|seen| seen.path.contains("/large/")),
        "{seen:#?}"
    );
    for request in seen {
        assert_eq!(request.header("authorization"), None);
        assert!(!request.path.contains(&*token));
    }
}

#[tokio::test]
async fn head_and_ranges_follow_the_same_way() {
    let scene = Scene::new().await;
    let zone = scene.warm(scene.zone()).await;
    let path = download("large", "1.0.0");
    let head = client::head(zone.addr(), &path, &[]).await;
    assert_eq!(head.status, 302);
    // S3's signatures are for one method.
    let there = scene.location(&head);
    let there = client::head(scene.public.addr(), &there, &[]).await;
    assert_eq!(there.status, 200, "{}", there.text());
    let file = scene.upstream.crate_file("large", "1.0.0");
    assert_eq!(
        there.header("content-length"),
        Some(&*file.len().to_string())
    );
    let part = zone.get_with(&path, &[("range", "bytes=100-199")]).await;
    assert_eq!(part.status, 302);
    let there = scene.location(&part);
    let range = [("range", "bytes=100-199")];
    let there = client::get(scene.public.addr(), &there, &range).await;
    assert_eq!((there.status, &there.body[..]), (206, &file[100..200]));
}

#[tokio::test]
async fn who_has_the_file_already_is_sent_nowhere() {
    let scene = Scene::new().await;
    let zone = scene.zone().start().await;
    let path = download("large", "1.0.0");
    let etag = zone
        .get(&path)
        .await
        .header("etag")
        .expect("a tag")
        .to_owned();
    zone.get_until(&path, PATIENCE, |reply| reply.status == 302)
        .await;
    let reply = zone.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!((reply.status, reply.header("location")), (304, None));
}

#[tokio::test]
async fn what_memory_or_the_folder_has_comes_from_there() {
    let scene = Scene::new().await;
    let folder = Zone::of(&scene.upstream, &scene.bucket).store("redirect = true");
    for (zone, name) in [
        (folder.clone().settings(NOTHING_NEAR), "large"),
        (folder.store("max_size = \"0\""), "other"),
    ] {
        let zone = zone.start().await;
        let path = download(name, "1.0.0");
        assert_eq!(zone.get(&path).await.status, 200);
        let part = format!("/{name}/1.0.0.");
        scene.bucket.until_stored(&[&part]).await;
        for _ in 0..10 {
            assert_eq!(zone.get(&path).await.status, 200, "{name}");
        }
    }
}

/// Another one's object may be wrong, and no client of cargo's tells whom to blame.
#[tokio::test]
async fn a_mirror_sends_nobody_to_what_it_has_not_verified_or_written() {
    let scene = Scene::new().await;
    scene.warm(scene.zone()).await.stop().await;
    let other = scene.zone().start().await;
    let reply = other.get(&download("large", "1.0.0")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, scene.upstream.crate_file("large", "1.0.0"));
    other
        .get_until(&download("large", "1.0.0"), PATIENCE, |reply| {
            reply.status == 302
        })
        .await;
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_nowhere_to_send_anybody() {
    let scene = Scene::new().await;
    let way = scene.bucket.relay().await;
    let zone = scene.warm(scene.zone().over(&way)).await;
    way.stop().await;
    let started = Instant::now();
    // It takes some requests to know.
    loop {
        let reply = zone.get(&download("large", "1.0.0")).await;
        if reply.status == 200 {
            assert_eq!(reply.body, scene.upstream.crate_file("large", "1.0.0"));
            return;
        }
        // Whatever else is asked of the bucket tells.
        zone.get(&download("app", "1.0.0")).await;
        zone.get(&download("none", "1.0.0")).await;
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{}",
            reply.status
        );
    }
}

#[tokio::test]
async fn what_the_rules_forbid_is_refused_and_never_redirected() {
    let scene = Scene::new().await;
    scene.warm(scene.zone()).await.stop().await;
    let folder = TempDir::new().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let allowed = format!("[audit]\npath = {audit:?}\n");
    let denied = format!(
        "{allowed}[[policy.rules]]\ncrates = [\"large\"]\nversions = \"*\"\naction = \"deny\"\nreason = \"too large\"\n"
    );
    let zone = scene.zone().settings(&denied).start().await;
    for _ in 0..3 {
        let reply = zone.get(&download("large", "1.0.0")).await;
        assert_eq!((reply.status, reply.header("location")), (403, None));
        assert!(reply.text().contains("too large"), "{}", reply.text());
    }
    // The same mirror redirects what may go out.
    zone.get_until(&download("other", "1.0.0"), PATIENCE, |reply| {
        reply.status == 302
    })
    .await;
    zone.stop().await;
    let lines = lines(&audit);
    let of = |name: &str| {
        lines
            .iter()
            .filter(|l| l["name"] == name)
            .collect::<Vec<_>>()
    };
    assert!(
        of("large").iter().all(|l| l["verdict"] == "denied"),
        "{lines:#?}"
    );
    assert!(
        of("other").iter().any(|l| l["outcome"] == "redirect"),
        "{lines:#?}"
    );
}

/// A licence is in the file, which never comes by here; it has to be known from before.
#[tokio::test]
async fn a_file_whose_licence_is_asked_for_is_redirected_only_when_that_is_known_and_allowed() {
    let scene = Scene::new().await;
    scene.warm(scene.zone()).await.stop().await;
    for (rules, last) in [
        (
            "[policy.licenses]\nallow = [\"MIT\"]\nunknown = \"allow\"\n",
            302,
        ),
        (
            "[policy.licenses]\nallow = [\"MIT\"]\nunknown = \"deny\"\n",
            403,
        ),
    ] {
        let zone = scene.zone().settings(rules).start().await;
        let first = zone.get(&download("large", "1.0.0")).await;
        assert_ne!(first.status, 302, "it hasn't been looked at");
        let last = |reply: &Reply| reply.status == last;
        zone.get_until(&download("large", "1.0.0"), PATIENCE, last)
            .await;
    }
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parsed = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    parsed.collect()
}

#[tokio::test]
async fn a_redirect_is_written_down_before_it_is_given_and_not_given_when_that_fails() {
    let scene = Scene::new().await;
    let folder = TempDir::new().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let zone = scene
        .zone()
        .settings(&format!("[audit]\npath = {audit:?}\nrequired = true\n"));
    let zone = scene.warm(zone).await;
    let path = download("large", "1.0.0");
    assert_eq!(zone.get(&path).await.status, 302);
    let known: Value = crate::support::sha256(&scene.upstream.crate_file("large", "1.0.0")).into();
    let is_written = || {
        let lines = lines(&audit).into_iter();
        let mut redirects = lines.filter(|line| line["outcome"] == "redirect");
        redirects.any(|line| line["name"] == "large" && line["sha256"] == known)
    };
    crate::support::until("written down", is_written).await;
    // A folder stands where the file is to be.
    std::fs::remove_file(&audit).expect("removed");
    std::fs::create_dir(&audit).expect("a folder");
    let started = Instant::now();
    while zone.get(&path).await.status != 503 {
        assert!(started.elapsed() < PATIENCE, "it still redirects");
    }
}

/// Whoever reads it in a log has the crate.
#[tokio::test]
async fn no_signed_url_is_logged() {
    let scene = Scene::new().await;
    let folder = TempDir::new().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let program = scene
        .zone()
        .settings(&format!(
            "[audit]\npath = {audit:?}\n[server]\nlisten = \"127.0.0.1:0\""
        ))
        .program(&["serve"]);
    let mut running = program.arg("--log").arg("trace").start().await;
    let path = download("large", "1.0.0");
    let started = Instant::now();
    let location = loop {
        let reply = client::get(running.addr(), &path, &[]).await;
        if reply.status == 302 {
            break scene.location(&reply);
        }
        assert!(started.elapsed() < PATIENCE, "it never redirects");
    };
    // Another request on the way, so that all before it is logged.
    let mut connection = Connection::open(running.addr()).await;
    connection.ask("GET", "/nothing", &[]).await.expect("asked");
    connection.reply().await;
    running.logged(|line| line.contains("/nothing")).await;
    running.signal("TERM").await;
    let ended = running.ended().await;
    let (_, signature) = location
        .split_once("X-Amz-Signature=")
        .expect("a signature");
    let signature = signature.split('&').next().expect("its text");
    let written = std::fs::read_to_string(&audit).expect("the audit log");
    assert!(!ended.stderr.contains(signature), "in the log");
    assert!(!written.contains(signature), "in the audit log");
}

#[tokio::test]
async fn a_url_is_good_for_as_long_as_the_settings_say() {
    let scene = Scene::new().await;
    let zone = scene.warm(scene.zone().store("")).await;
    let reply = zone.get(&download("large", "1.0.0")).await;
    let location = scene.location(&reply);
    assert!(location.contains("X-Amz-Expires=60"), "{location}");
}
