//! [`Bucket`]: an empty bucket of a real S3 server, and what lies in it.
//!
//! The server is one in this process, or the one that `CRATE_MIRROR_TEST_S3=http://HOST:PORT` names, with `AWS_ACCESS_KEY_ID` and
//! `AWS_SECRET_ACCESS_KEY` as its keys. Protocol and signatures are a library's (`s3s`), so that it understands S3 and not what the mirror takes for it.

mod azure;
mod google;
mod objects;
mod other;
mod server;
mod service;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Method;
use object_store::{
    ObjectStore, ObjectStoreExt,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::Signer,
};

use super::{Relay, client, mirror::files_below};
pub use other::OtherBucket;
use server::Server;

/// The region of the server in this process, and of whichever doesn't say otherwise.
pub const REGION: &str = "us-east-1";
/// Who may read a bucket of the server in this process, and not write it.
pub const READER: Keys<'static> = Keys {
    id: "reader",
    secret: "may-only-look-0123456789",
};
/// Who may do both.
const WRITER: Keys<'static> = Keys {
    id: "writer",
    secret: "may-do-everything-0123456789",
};

/// What requests are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    pub id: &'a str,
    pub secret: &'a str,
}

/// A bucket of its own for each of them. Dropping it stops the server that is in this process.
pub struct Bucket {
    name: String,
    addr: SocketAddr,
    id: String,
    secret: String,
    store: AmazonS3,
    server: Option<Server>,
}

impl Bucket {
    /// An empty one.
    pub async fn new() -> Bucket {
        match std::env::var("CRATE_MIRROR_TEST_S3") {
            Ok(endpoint) => Bucket::at(&endpoint).await,
            Err(_) => Bucket::in_process().await,
        }
    }

    /// An empty one in this process whatever else is named, for what only that server can be asked to do.
    pub async fn in_process() -> Bucket {
        let server = Server::start(&[WRITER, READER]).await;
        Bucket::made(server.addr(), WRITER, Some(server)).await
    }

    async fn at(endpoint: &str) -> Bucket {
        let addr = endpoint.strip_prefix("http://").map(str::parse);
        let Some(Ok(addr)) = addr else {
            panic!("CRATE_MIRROR_TEST_S3 is http://ADDRESS:PORT, not {endpoint}");
        };
        let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} isn't set"));
        let (id, secret) = (
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
        );
        let keys = Keys {
            id: &id,
            secret: &secret,
        };
        Bucket::made(addr, keys, None).await
    }

    async fn made(addr: SocketAddr, keys: Keys<'_>, server: Option<Server>) -> Bucket {
        let name = format!("test-{:016x}", fastrand::u64(..));
        let store = store(addr, &name, keys);
        let bucket = Bucket {
            name,
            addr,
            id: keys.id.to_owned(),
            secret: keys.secret.to_owned(),
            store,
            server,
        };
        let made = bucket.signed(Method::PUT, "").await;
        let made = client::request(addr, "PUT", &made, &[("content-length", "0")]).await;
        assert_eq!(made.status, 200, "no bucket: {}", made.text());
        bucket
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the server is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The keys of who may do everything.
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            id: &self.id,
            secret: &self.secret,
        }
    }

    /// The environment of a program that is to use it.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        env(self.keys())
    }

    /// Lines of `[store]` for a mirror that keeps its objects in it, below `prefix` if that isn't empty.
    pub fn settings(&self, prefix: &str) -> String {
        self.settings_by(&self.endpoint(), prefix)
    }

    /// The same for a mirror that reaches it by a relay.
    pub fn settings_over(&self, relay: &Relay, prefix: &str) -> String {
        self.settings_by(&relay.url(), prefix)
    }

    fn settings_by(&self, endpoint: &str, prefix: &str) -> String {
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!(
            "bucket = \"s3://{}{slash}{prefix}\"\nendpoint = \"{endpoint}\"\n",
            self.name
        )
    }

    /// Stands in front of the server; for its whole API, whichever bucket is meant.
    pub async fn relay(&self) -> Relay {
        Relay::to(self.addr).await
    }

    /// The keys of all objects, sorted; without what is kept of manifests beside crates.
    pub async fn stored(&self) -> Vec<String> {
        let mut stored = self.all_stored().await;
        stored.retain(|key| !key.ends_with(".license"));
        stored
    }

    /// The same with that.
    pub async fn all_stored(&self) -> Vec<String> {
        let all = self
            .store
            .list(None)
            .map_ok(|object| object.location.to_string());
        let all = all.try_collect::<Vec<_>>().await;
        let mut all = all.expect("a list of what is in the bucket");
        all.sort();
        all
    }

    /// The objects whose keys have this in them.
    pub async fn stored_with(&self, part: &str) -> Vec<String> {
        let mut stored = self.stored().await;
        stored.retain(|key| key.contains(part));
        stored
    }

    /// Looks again and again until objects are there, however many, whose keys have these in them; panics after 20 seconds.
    pub async fn until_stored(&self, parts: &[&str]) {
        self.until_stored_within(Duration::from_secs(20), parts)
            .await;
    }

    /// The same with another limit.
    pub async fn until_stored_within(&self, limit: Duration, parts: &[&str]) {
        let started = std::time::Instant::now();
        loop {
            let stored = self.stored().await;
            let missing = parts
                .iter()
                .find(|part| !stored.iter().any(|key| key.contains(**part)));
            let Some(missing) = missing else {
                return;
            };
            assert!(
                started.elapsed() < limit,
                "never stored {missing}, only {stored:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether there is such an object, and it holds just this.
    pub async fn holds(&self, key: &str, bytes: &[u8]) -> bool {
        match self.store.get(&Path::from(key)).await {
            Ok(found) => found.bytes().await.is_ok_and(|found| found == bytes),
            Err(object_store::Error::NotFound { .. }) => false,
            Err(e) => panic!("{key}: {e}"),
        }
    }

    pub async fn get(&self, key: &str) -> Bytes {
        let found = self.store.get(&Path::from(key)).await;
        let found = found.unwrap_or_else(|e| panic!("{key}: {e}"));
        found.bytes().await.expect("all of it")
    }

    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        let put = self.store.put(&Path::from(key), bytes.into().into()).await;
        put.unwrap_or_else(|e| panic!("{key}: {e}"));
    }

    pub async fn remove(&self, key: &str) {
        let removed = self.store.delete(&Path::from(key)).await;
        removed.unwrap_or_else(|e| panic!("{key}: {e}"));
    }

    /// Copies every object below `prefix` into a folder, as any tool for buckets does.
    pub async fn copy_to(&self, folder: &std::path::Path, prefix: &str) {
        for key in self.all_stored().await {
            let Some(relative) = key.strip_prefix(prefix) else {
                continue;
            };
            let path = folder.join(relative.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, self.get(&key).await).expect("a file");
        }
    }

    /// Copies every file in a folder that isn't hidden into this bucket, below `prefix`.
    pub async fn copy_from(&self, folder: &std::path::Path, prefix: &str) {
        for relative in files_below(folder) {
            let bytes = std::fs::read(folder.join(&relative)).expect("a file");
            let key = format!("{prefix}/{relative}");
            self.put(key.trim_start_matches('/'), bytes).await;
        }
    }

    /// The path and query of a request for `key` that needs no other credentials.
    pub async fn signed(&self, method: Method, key: &str) -> String {
        let expires = Duration::from_secs(60);
        let path = Path::from(key);
        let signed = self.store.signed_url(method, &path, expires).await;
        let url = signed.expect("a signed URL");
        let query = url.query().unwrap_or_default();
        format!("{}?{query}", url.path())
    }

    /// A client of it, for what this kit has no word for.
    pub fn client(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.store.clone())
    }
}

/// The environment of a program with these keys.
pub fn env(keys: Keys<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", keys.id.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
    ]
}

/// Has this process do its cryptography with ring, as clients of buckets need to be told.
fn with_ring() {
    // It fails when the process has a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn store(addr: SocketAddr, bucket: &str, keys: Keys<'_>) -> AmazonS3 {
    with_ring();
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{addr}"))
        .with_allow_http(true)
        .with_region(REGION)
        .with_bucket_name(bucket)
        .with_access_key_id(keys.id)
        .with_secret_access_key(keys.secret)
        .build()
        .expect("a client of the bucket")
}
