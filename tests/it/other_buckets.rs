//! A bucket of a service that doesn't speak S3 is as good a store: Azure Blob Storage, as Microsoft's own emulator speaks it, and Google Cloud Storage: the
//! operations that its XML API shares with S3, by a server in this process, with the identity of a machine there.

use tempfile::TempDir;

use crate::{
    offline::download,
    support::{
        Cargo, Ended, Package, Reply, Upstream, Zone, ZoneBuilder, bucket::OtherBucket, client,
    },
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

/// A bucket and what is kept in it.
struct Scene<'a> {
    upstream: Upstream,
    bucket: &'a OtherBucket,
    zone: ZoneBuilder,
}

impl<'a> Scene<'a> {
    async fn new(bucket: &'a OtherBucket) -> Self {
        let upstream = upstream().await;
        let zone = Zone::of_other(&upstream, bucket).settings("[memory]\nbudget = \"4MiB\"");
        Scene {
            upstream,
            bucket,
            zone,
        }
    }

    /// One of its mirrors, which has nothing to ask but the bucket.
    fn offline(&self) -> ZoneBuilder {
        self.zone.clone().offline()
    }

    /// One mirror fetches what real cargo needs, and something large.
    async fn fill(&self) {
        let mirror = self.zone.clone().start().await;
        let cargo = Cargo::new(&mirror.index_url()).project(&[("app", "1")]);
        cargo.run(&["build"]).await.success();
        let large = mirror.get(&download("large", "1.0.0")).await;
        assert_crate(&large, &self.upstream, "large");
        for part in ["/3/a/app", "/3/l/lib", "/la/rg/large"] {
            self.bucket.until_stored(&format!("/index{part}")).await;
            self.bucket
                .until_stored(&format!("/crates{part}/1.0.0."))
                .await;
        }
        mirror.stop().await;
    }

    /// Another one, with an empty folder, has it without upstream.
    async fn another_mirror_has_it(&self) {
        self.upstream.clear_log();
        let mirror = self.offline().start().await;
        let cargo = Cargo::new(&mirror.index_url()).project(&[("app", "1"), ("large", "1")]);
        cargo.run(&["build"]).await.success();
        assert!(self.upstream.requests().is_empty(), "the bucket has it");
    }

    /// `verify` finds what is wrong, and it is replaced when somebody asks for it.
    async fn what_is_wrong_is_found_and_replaced(&self) {
        done(self.offline().run(&["verify"]).await);
        let lib = self.bucket.until_stored("/lib/1.0.0.").await;
        self.bucket.put(&lib, "not it").await;
        assert_eq!(self.offline().run(&["verify"]).await.code, Some(1));
        let mirror = self.zone.clone().start().await;
        let reply = mirror.get(&download("lib", "1.0.0")).await;
        assert_crate(&reply, &self.upstream, "lib");
        let file = self.upstream.crate_file("lib", "1.0.0");
        self.bucket.until_holds(&lib, &file).await;
        mirror.stop().await;
        done(self.offline().run(&["verify"]).await);
    }

    /// What is exported can be imported below another prefix.
    async fn is_exported_and_imported(&self) {
        let folder = TempDir::new().expect("a folder");
        let bundle = folder.path().join("all.tar.zst");
        let bundle = bundle.to_str().expect("UTF-8");
        done(self.offline().run(&["export", "--output", bundle]).await);
        let beside = self.offline().prefix("beside");
        done(beside.run(&["import", bundle]).await);
        let mirror = beside.start().await;
        for name in ["app", "large"] {
            let reply = mirror.get(&download(name, "1.0.0")).await;
            assert_crate(&reply, &self.upstream, name);
        }
    }

    async fn is_made_smaller(&self) {
        done(self.offline().run(&["evict", "--to", "1MiB"]).await);
        let mirror = self.offline().start().await;
        let reply = mirror.get(&download("large", "1.0.0")).await;
        assert_eq!(reply.status, 404);
    }
}

/// What one mirror has fetched into it another one has; `check`, `verify`, `export`, `import` and `evict` do there what they do in any other.
async fn is_a_store(bucket: &OtherBucket) {
    let scene = Scene::new(bucket).await;
    done(scene.zone.run(&["check"]).await);
    scene.fill().await;
    scene.another_mirror_has_it().await;
    scene.what_is_wrong_is_found_and_replaced().await;
    scene.is_exported_and_imported().await;
    scene.is_made_smaller().await;
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
