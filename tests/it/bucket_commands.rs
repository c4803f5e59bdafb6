//! The commands over a bucket: they do there what they do in a folder, `check` says what is wrong with it, and no key is in anything that is printed.

use std::time::Duration;

use tempfile::TempDir;

use crate::{
    offline::{download, index, shown, upstream},
    support::{
        Bucket, Certificate, Ended, Mirror, Relay, Seen, Tls, Upstream, Zone, ZoneBuilder,
        bucket::{Keys, READER},
    },
};

/// An import is seen within so long of its end. It is looked for every 5 s, so that a busy machine has twice as long besides.
const SEEN_WITHIN: Duration = Duration::from_secs(15);

#[track_caller]
fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

/// A bucket in which both index files are, and these crates.
async fn filled(upstream: &Upstream, crates: &[(&str, &str)]) -> Bucket {
    let bucket = Bucket::new().await;
    let zone = Zone::of(upstream, &bucket).start().await;
    let mut parts = vec!["/index/3/a/app".to_owned(), "/index/3/l/lib".to_owned()];
    for name in ["app", "lib"] {
        assert_eq!(zone.get(&index(name)).await.status, 200);
    }
    for (name, version) in crates {
        assert_eq!(zone.get(&download(name, version)).await.status, 200);
        parts.push(format!("/{name}/{version}."));
    }
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    bucket.until_stored(&parts).await;
    zone.stop().await;
    bucket
}

const ALL: [(&str, &str); 2] = [("app", "1.0.0"), ("lib", "1.0.0")];

fn path(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    path.to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn what_is_exported_from_a_bucket_is_imported_into_another() {
    let upstream = upstream().await;
    let bucket = filled(&upstream, &ALL).await;
    let folder = TempDir::new().expect("a folder");
    let bundle = path(&folder, "all.tar.zst");
    done(
        Zone::of(&upstream, &bucket)
            .run(&["export", "--output", &bundle])
            .await,
    );
    let other = Bucket::new().await;
    let zone = Zone::of(&upstream, &other).offline();
    done(zone.run(&["import", &bundle]).await);
    let objects = |mut keys: Vec<String>| {
        keys.retain(|key| key.starts_with("mirror/crates-io/"));
        keys
    };
    assert_eq!(
        objects(other.stored().await),
        objects(bucket.stored().await)
    );
    done(zone.run(&["verify"]).await);
    let zone = zone.start().await;
    for (name, version) in ALL {
        let reply = zone.get(&download(name, version)).await;
        assert_eq!(reply.body, upstream.crate_file(name, version));
    }
}

#[tokio::test]
async fn mirrors_that_run_see_an_import_within_seconds() {
    let upstream = upstream().await;
    let from = filled(&upstream, &ALL).await;
    let folder = TempDir::new().expect("a folder");
    let bundle = path(&folder, "all.tar.zst");
    done(
        Zone::of(&upstream, &from)
            .run(&["export", "--output", &bundle])
            .await,
    );
    let bucket = Bucket::new().await;
    let zone = Zone::of(&upstream, &bucket).offline();
    let (one, other) = (zone.clone().start().await, zone.clone().start().await);
    for mirror in [&one, &other] {
        assert_eq!(mirror.get(&index("app")).await.status, 404);
        assert_eq!(mirror.get(&download("lib", "1.0.0")).await.status, 404);
    }
    done(zone.run(&["import", &bundle]).await);
    let paths = [index("app"), download("lib", "1.0.0")];
    let there = |reply: &crate::support::Reply| reply.status == 200;
    let mut looks = Vec::new();
    for mirror in [&one, &other] {
        let looks_for = |path| mirror.get_until(path, SEEN_WITHIN, there);
        looks.extend(paths.iter().map(String::as_str).map(looks_for));
    }
    futures_util::future::join_all(looks).await;
}

/// What is in memory has to be made anew: the mark of change in the bucket is looked at for that.
#[tokio::test]
async fn mirrors_that_run_show_what_an_import_adds_to_a_crate_that_they_know() {
    let upstream = upstream().await;
    let from = filled(&upstream, &[("app", "1.1.0")]).await;
    let folder = TempDir::new().expect("a folder");
    let bundle = path(&folder, "all.tar.zst");
    let export = ["export", "--output", &bundle];
    done(Zone::of(&upstream, &from).run(&export).await);
    let bucket = filled(&upstream, &[("app", "1.0.0")]).await;
    let zone = Zone::of(&upstream, &bucket).offline();
    let mirror = zone.clone().start().await;
    let pickable = |reply: &crate::support::Reply| {
        let shown = shown(&reply.text()).into_iter();
        let shown = shown.filter_map(|(version, yanked)| (!yanked).then_some(version));
        shown.collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(pickable(&mirror.get(&index("app")).await), ["1.0.0"]);
    }
    done(zone.run(&["import", &bundle]).await);
    let both = |reply: &crate::support::Reply| pickable(reply) == ["1.0.0", "1.1.0"];
    mirror.get_until(&index("app"), SEEN_WITHIN, both).await;
}

#[tokio::test]
async fn verify_finds_what_is_wrong_in_a_bucket_and_drops_it_when_told_to() {
    let upstream = upstream().await;
    let bucket = filled(&upstream, &ALL).await;
    let zone = Zone::of(&upstream, &bucket);
    done(zone.run(&["verify"]).await);
    let key = bucket.stored_with("/lib/1.0.0.").await.remove(0);
    bucket.put(&key, "not it").await;
    let ended = zone.run(&["verify"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("lib/1.0.0"), "{ended:?}");
    assert_eq!(bucket.get(&key).await, "not it", "it only looks");
    zone.run(&["verify", "--repair"]).await;
    assert!(bucket.stored_with(&key).await.is_empty());
    done(zone.run(&["verify"]).await);
}

#[tokio::test]
async fn what_is_missed_is_wanted_of_a_bucket_whichever_mirror_missed_it() {
    let upstream = upstream().await;
    let bucket = filled(&upstream, &ALL).await;
    let zone = Zone::of(&upstream, &bucket).offline();
    let (one, other) = (zone.clone().start().await, zone.clone().start().await);
    one.get(&download("lib", "1.1.0")).await;
    other.get(&download("app", "1.1.0")).await;
    one.stop().await;
    other.stop().await;
    let ended = done(zone.run(&["wanted"]).await);
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["app@1.1.0", "lib@1.1.0"]);
}

#[tokio::test]
async fn evict_makes_a_bucket_smaller_what_was_changed_last_stays() {
    let names: Vec<_> = (0..6).map(|n| format!("name-{n}")).collect();
    let packages = names
        .iter()
        .map(|n| crate::support::Package::new(n, "1.0.0").payload(500_000));
    let upstream = Upstream::new().publish_all(packages).start().await;
    let bucket = Bucket::new().await;
    let zone = Zone::of(&upstream, &bucket);
    let mirror = zone.clone().start().await;
    for name in &names {
        mirror.get(&download(name, "1.0.0")).await;
        bucket.until_stored(&[&format!("/{name}/1.0.0.")]).await;
        // S3 says when to the second.
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    mirror.stop().await;
    done(zone.run(&["evict", "--to", "2MiB"]).await);
    let left = bucket.stored_with(".crate").await;
    assert!((2..=4).contains(&left.len()), "{left:?}");
    assert!(left.iter().any(|key| key.contains("/name-5/")), "{left:?}");
    assert!(!left.iter().any(|key| key.contains("/name-0/")), "{left:?}");
}

#[tokio::test]
async fn what_is_prefetched_is_in_the_bucket() {
    let upstream = upstream().await;
    let bucket = Bucket::new().await;
    let zone = Zone::of(&upstream, &bucket);
    done(zone.run(&["prefetch", "lib@1.0.0"]).await);
    assert_eq!(bucket.stored_with("/lib/1.0.0.").await.len(), 1);
    assert_eq!(bucket.stored_with("/index/3/l/lib").await.len(), 1);
}

/// What `check` says of the store, and its exit code.
async fn checked(zone: &crate::support::ZoneBuilder) -> (Option<i32>, String) {
    let ended = zone.run(&["check"]).await;
    (ended.code, format!("{}{}", ended.stdout, ended.stderr))
}

#[tokio::test]
async fn check_tries_a_bucket_and_leaves_nothing_behind() {
    let upstream = upstream().await;
    let bucket = filled(&upstream, &ALL).await;
    let before = bucket.stored().await;
    let (code, said) = checked(&Zone::of(&upstream, &bucket)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("s3://"), "{said}");
    assert_eq!(bucket.stored().await, before);
}

#[tokio::test]
async fn check_says_that_there_is_no_such_bucket() {
    let (upstream, bucket) = (upstream().await, Bucket::new().await);
    let (code, said) = checked(&Zone::of(&upstream, &bucket).bucket("no-such-bucket")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no bucket") || said.contains("no such bucket"),
        "{said}"
    );
}

#[tokio::test]
async fn check_says_that_the_keys_are_wrong_and_not_which_they_are() {
    let (upstream, bucket) = (upstream().await, Bucket::new().await);
    let zone = Zone::of(&upstream, &bucket);
    let known = bucket.keys().id;
    for keys in [
        Keys {
            id: known,
            secret: "hunter2-hunter2-hunter2",
        },
        Keys {
            id: "nobody-has-this",
            secret: "hunter2-hunter2-hunter2",
        },
    ] {
        let (code, said) = checked(&zone.clone().keys(keys)).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("key"), "what is wrong: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// The keys of a role, as the services of machines and of containers tell them.
fn role(bucket: &Bucket) -> String {
    let Keys { id, secret } = bucket.keys();
    format!(
        "{{\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"{secret}\",\"Token\":\"a-session\",\"Expiration\":\"2099-01-01T00:00:00Z\"}}"
    )
}

/// With a role's keys, `check` finds nothing wrong, and a mirror reads and writes.
async fn works_in_a_role(
    scene: (Upstream, Bucket, Relay),
    role_of: impl Fn(ZoneBuilder) -> ZoneBuilder,
) {
    let (upstream, bucket, way) = scene;
    let zone = Zone::of(&upstream, &bucket).over(&way).without_keys();
    let (code, said) = checked(&zone).await;
    assert_eq!(code, Some(1), "there is nothing to sign with: {said}");
    let zone = role_of(zone);
    let (code, said) = checked(&zone).await;
    assert_eq!(code, Some(0), "{said}");
    let running = zone.start().await;
    assert_eq!(running.get(&download("lib", "1.0.0")).await.status, 200);
    bucket.until_stored(&["/lib/1.0.0."]).await;
    let signed = way.requests();
    let session = |seen: &Seen| seen.header("x-amz-security-token") == Some("a-session");
    assert!(signed.iter().any(session), "it belongs to the keys");
}

#[tokio::test]
async fn the_role_of_a_machine_is_as_good_as_keys() {
    let (upstream, bucket) = (upstream().await, Bucket::in_process().await);
    let (way, metadata) = (bucket.relay().await, Relay::to(upstream.addr()).await);
    metadata
        .on_writes("/latest/api/token")
        .fail_with(200, &[], "for-a-while");
    let roles = "/latest/meta-data/iam/security-credentials/";
    let json = [("content-type", "application/json")];
    metadata
        .on_reads(&format!("{roles}builder"))
        .fail_with(200, &json, role(&bucket));
    metadata.on_reads(roles).fail_with(200, &[], "builder");
    let url = metadata.url();
    works_in_a_role((upstream, bucket, way), |zone| {
        zone.env("AWS_METADATA_ENDPOINT", &url)
    })
    .await;
    let asked = metadata.requests();
    let reads = asked.iter().filter(|seen| seen.method == "GET");
    for seen in reads {
        let token = seen.header("x-aws-ec2-metadata-token");
        assert_eq!(token, Some("for-a-while"), "{seen:?}");
    }
}

#[tokio::test]
async fn the_role_of_a_pod_is_as_good_as_keys() {
    let (upstream, bucket) = (upstream().await, Bucket::in_process().await);
    let (way, agent) = (bucket.relay().await, Relay::to(upstream.addr()).await);
    let json = [("content-type", "application/json")];
    agent
        .on_reads("/v1/credentials")
        .fail_with(200, &json, role(&bucket));
    let folder = TempDir::new().expect("a folder");
    let token = path(&folder, "token");
    std::fs::write(&token, "of-this-pod").expect("a file");
    let url = format!("{}/v1/credentials", agent.url());
    works_in_a_role((upstream, bucket, way), |zone| {
        zone.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
    })
    .await;
    let asked = agent.requests();
    let allowed = |seen: &Seen| seen.header("authorization") == Some("of-this-pod");
    assert!(!asked.is_empty() && asked.iter().all(allowed), "{asked:?}");
}

/// As a service account of Kubernetes is one at Amazon: Security Token Service gives keys for a token that lies in a file, over TLS only.
#[tokio::test]
async fn the_role_of_a_web_identity_is_as_good_as_keys() {
    let (upstream, bucket) = (upstream().await, Bucket::in_process().await);
    let (way, sts) = (bucket.relay().await, Relay::to(upstream.addr()).await);
    let Keys { id, secret } = bucket.keys();
    let answer = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>a-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    let xml = [("content-type", "text/xml")];
    sts.on_writes("WebIdentityToken=of-this-pod")
        .fail_with(200, &xml, answer);
    let tls = Tls::before_addr(sts.addr(), Certificate::Good).await;
    let folder = TempDir::new().expect("a folder");
    let [token, authority] = ["token", "ca.pem"].map(|name| path(&folder, name));
    std::fs::write(&token, "of-this-pod").expect("a file");
    std::fs::write(&authority, &tls.pem).expect("a file");
    works_in_a_role((upstream, bucket, way), |zone| {
        zone.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
            .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/mirror")
            .env("AWS_ENDPOINT_URL_STS", &tls.url())
            .env("NO_PROXY", "localhost,127.0.0.1")
            .settings(&format!("[upstream]\nca_certificates = {authority:?}"))
    })
    .await;
    let asked = sts.requests();
    let role = |seen: &Seen| seen.path.contains("role%2Fmirror");
    assert!(!asked.is_empty() && asked.iter().all(role), "{asked:?}");
}

#[tokio::test]
async fn check_says_that_a_bucket_may_only_be_read() {
    let (upstream, bucket) = (upstream().await, Bucket::in_process().await);
    let (code, said) = checked(&Zone::of(&upstream, &bucket).keys(READER)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("may not") || said.contains("permission"),
        "{said}"
    );
    assert!(said.contains("writ"), "{said}");
}

#[tokio::test]
async fn check_says_that_the_region_is_wrong_and_which_is_right() {
    let (upstream, bucket) = (upstream().await, Bucket::in_process().await);
    let zone = Zone::of(&upstream, &bucket).env("AWS_REGION", "eu-north-1");
    let (code, said) = checked(&zone).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("region") && said.contains("us-east-1"),
        "{said}"
    );
}

#[tokio::test]
async fn check_says_that_the_clock_is_wrong() {
    let (upstream, bucket) = (upstream().await, Bucket::new().await);
    let relay = bucket.relay().await;
    let said = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current time is too large.</Message></Error>";
    let xml = [("content-type", "application/xml")];
    relay.on_everything().fail_with(403, &xml, said);
    let (code, said) = checked(&Zone::of(&upstream, &bucket).over(&relay)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("clock"), "{said}");
}

#[tokio::test]
async fn check_says_that_nobody_answers() {
    let (upstream, bucket) = (upstream().await, Bucket::new().await);
    let relay = bucket.relay().await;
    relay.stop().await;
    let (code, said) = checked(&Zone::of(&upstream, &bucket).over(&relay)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("can't be reached"), "{said}");
    assert!(said.contains("store.endpoint"), "what to look at: {said}");
}

/// A later version may keep objects in another way; writing among them would do harm.
#[tokio::test]
async fn a_bucket_of_a_later_layout_is_left_alone() {
    let upstream = upstream().await;
    let bucket = filled(&upstream, &ALL).await;
    let marks = bucket.stored().await;
    let marks = marks
        .iter()
        .filter(|key| !key.starts_with("mirror/crates-io/"));
    let mut found = false;
    for key in marks {
        let text = bucket.get(key).await;
        let text = String::from_utf8_lossy(&text).into_owned();
        if text.contains('1') && key.contains("layout") {
            bucket.put(key, text.replacen('1', "999", 1)).await;
            found = true;
        }
    }
    assert!(
        found,
        "nothing says which layout it is: {:?}",
        bucket.stored().await
    );
    let ended = Zone::of(&upstream, &bucket).run(&["check"]).await;
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("999"), "{said}");
    let ended = Zone::of(&upstream, &bucket).run(&["verify"]).await;
    assert_ne!(ended.code, Some(0), "{ended:?}");
}

/// Everything is logged, and everything that a command says is read.
#[tokio::test]
async fn no_key_is_in_anything_that_is_printed() {
    let (upstream, bucket) = (upstream().await, Bucket::new().await);
    let relay = bucket.relay().await;
    let secret = "hunter2-hunter2-hunter2";
    let zone = Zone::of(&upstream, &bucket)
        .over(&relay)
        .store("redirect = true")
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_SESSION_TOKEN", "token-hunter2");
    let mut said = String::new();
    for args in [
        &["check"][..],
        &["verify"],
        &["wanted"],
        &["prefetch", "lib@1.0.0"],
        &["evict"],
    ] {
        let ended = zone.program(args).arg("--log").arg("trace").run().await;
        said += &format!("{}{}", ended.stdout, ended.stderr);
    }
    let ended = zone
        .program(&["check"])
        .env("AWS_ACCESS_KEY_ID", "")
        .arg("--log")
        .arg("trace")
        .run()
        .await;
    said += &format!("{}{}", ended.stdout, ended.stderr);
    let running = zone.start().await;
    running.get(&download("lib", "1.0.0")).await;
    for page in ["/metrics", "/readyz", "/"] {
        said += &running.get(page).await.text();
    }
    said += &running.stop().await;
    assert!(said.len() > 1_000, "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let wrong = |seen: &crate::support::Seen| seen.path.contains(secret);
    assert!(!relay.requests().iter().any(wrong));
}

/// A folder that is in front of a bucket isn't the store: what is only there isn't in the bucket.
#[tokio::test]
async fn a_folder_that_was_a_store_is_a_cache_in_front_of_a_bucket() {
    let upstream = upstream().await;
    let folder = TempDir::new().expect("a folder");
    let alone = Mirror::of(&upstream).store(folder.path()).start().await;
    assert_eq!(alone.get(&download("lib", "1.0.0")).await.status, 200);
    alone.stop().await;
    upstream.clear_log();
    let bucket = Bucket::new().await;
    let zone = Zone::of(&upstream, &bucket).folder(folder.path());
    let zone = zone.start().await;
    let reply = zone.get(&download("lib", "1.0.0")).await;
    assert_eq!(reply.body, upstream.crate_file("lib", "1.0.0"));
    assert!(upstream.crate_requests().is_empty(), "the folder had it");
}
