//! A bucket of a service that doesn't speak S3 is as good a store: Azure Blob Storage, as Microsoft's own emulator speaks it, and Google Cloud Storage, whose
//! XML API is in this process, with the identity of a machine there.

use tempfile::TempDir;

use crate::{
    offline::download,
    support::{Cargo, Ended, Package, Reply, Upstream, Zone, bucket::OtherBucket, client},
};

/// So large that it is uploaded in parts.
const LARGE: usize = 30_000_000;

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("app", "1.0.0").dep("lib", "1"))
        .publish(Package::new("lib", "1.0.0"))
        .publish(Package::new("large", "1.0.0").payload(LARGE))
        .start()
        .await
}

#[track_caller]
fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

#[track_caller]
fn assert_crate(reply: &Reply, upstream: &Upstream, name: &str) {
    let right = reply.status == 200 && reply.body == upstream.crate_file(name, "1.0.0");
    assert!(right, "{name}: {} {:.200}", reply.status, reply.text());
}

/// What one mirror has fetched into it another one has, offline and with an empty folder; `check`, `verify`, `export`, `import` and `evict` do there what they
/// do in any other.
async fn is_a_store(bucket: &OtherBucket) {
    let upstream = upstream().await;
    let zone = Zone::of_other(&upstream, bucket).settings("[memory]\nbudget = \"4MiB\"");
    done(zone.run(&["check"]).await);
    let first = zone.clone().start().await;
    let cargo = Cargo::new(&first.index_url()).project(&[("app", "1")]);
    cargo.run(&["build"]).await.success();
    assert_crate(
        &first.get(&download("large", "1.0.0")).await,
        &upstream,
        "large",
    );
    for part in [
        "/index/3/a/app",
        "/index/3/l/lib",
        "/index/la/rg/large",
        "/app/1.0.0.",
        "/large/1.0.0.",
    ] {
        bucket.until_stored(part).await;
    }
    let lib = bucket.until_stored("/lib/1.0.0.").await;
    first.stop().await;
    upstream.clear_log();
    let offline = zone.clone().offline();
    let second = offline.clone().start().await;
    let cargo = Cargo::new(&second.index_url()).project(&[("app", "1"), ("large", "1")]);
    cargo.run(&["build"]).await.success();
    assert!(upstream.requests().is_empty(), "the bucket has it");
    second.stop().await;

    done(offline.run(&["verify"]).await);
    bucket.put(&lib, "not it").await;
    assert_eq!(offline.run(&["verify"]).await.code, Some(1));
    let third = zone.clone().start().await;
    assert_crate(
        &third.get(&download("lib", "1.0.0")).await,
        &upstream,
        "lib",
    );
    third.stop().await;
    done(offline.run(&["verify"]).await);

    let folder = TempDir::new().expect("a folder");
    let bundle = folder.path().join("all.tar.zst");
    let bundle = bundle.to_str().expect("UTF-8");
    done(offline.run(&["export", "--output", bundle]).await);
    let beside = offline.clone().prefix("beside");
    done(beside.run(&["import", bundle]).await);
    let beside = beside.start().await;
    for name in ["app", "large"] {
        assert_crate(&beside.get(&download(name, "1.0.0")).await, &upstream, name);
    }
    beside.stop().await;
    done(offline.run(&["evict", "--to", "1MiB"]).await);
    let left = offline.start().await;
    assert_eq!(left.get(&download("large", "1.0.0")).await.status, 404);
}

#[tokio::test]
async fn azure_blob_storage_is_a_store() {
    if let Some(bucket) = OtherBucket::of_azure().await {
        is_a_store(&bucket).await;
    }
}

#[tokio::test]
async fn google_cloud_storage_is_a_store() {
    is_a_store(&OtherBucket::of_google().await).await;
}

/// Signed with an account's key, as a shared access signature.
#[tokio::test]
async fn a_crate_is_to_be_had_at_a_signed_url_of_azure() {
    let Some(bucket) = OtherBucket::of_azure().await else {
        return;
    };
    let upstream = upstream().await;
    let zone = Zone::of_other(&upstream, &bucket)
        .store("max_size = \"0\"\nredirect = true")
        .settings("[memory]\nbudget = \"1MiB\"")
        .start()
        .await;
    let path = download("large", "1.0.0");
    assert_crate(&zone.get(&path).await, &upstream, "large");
    bucket.until_stored("/large/1.0.0.").await;
    let limit = std::time::Duration::from_secs(20);
    let reply = zone
        .get_until(&path, limit, |reply| reply.status == 302)
        .await;
    let location = reply.header("location").expect("a URL");
    let base = bucket.endpoint().trim_end_matches("/mirror");
    let path = location.strip_prefix(base);
    let path = path.unwrap_or_else(|| panic!("it leads to {location}"));
    let addr = base.trim_start_matches("http://");
    assert_crate(&client::get(addr, path, &[]).await, &upstream, "large");
}
