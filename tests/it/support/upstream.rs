//! The upstream: a fake crates.io in this process, real in its protocol and broken on demand.
//!
//! It speaks HTTP/1.1 by hand, because a server library would refuse to send half of what a test
//! wants sent. Without faults it behaves like crates.io: weak ETags and Last-Modified, real
//! conditional requests, 404 for what isn't there, the crate file under the `dl` of its config.json.
//!
//! What breaks and what is noted is the [`Server`]'s, and the same for a [`Relay`], which stands in front of a server that is real.

mod answer;
mod builder;
mod faults;
mod forward;
mod gate;
mod log;
mod relay;
mod rules;
mod server;
mod sink;
mod site;
mod wire;

use std::{
    ops::Deref,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use tokio::net::TcpListener;

use super::package::{Package, index_path};
use rules::Scope;
use server::Origin;
use site::Site;

pub use builder::UpstreamBuilder;
pub use faults::When;
pub use gate::Gate;
pub use log::Seen;
pub use relay::Relay;
pub use rules::Rule;
pub use server::Server;

/// How long a test waits for something that must happen before it is called a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running upstream. Dropping it stops it.
pub struct Upstream {
    server: Server,
    site: Arc<std::sync::Mutex<Site>>,
}

/// What was asked, and what is to go wrong.
impl Deref for Upstream {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Upstream {
    #[expect(
        clippy::new_ret_no_self,
        reason = "tests read better with one name: Upstream::new()…start()"
    )]
    pub fn new() -> UpstreamBuilder {
        UpstreamBuilder::default()
    }

    /// One that has version 1.0.0 of the crate `a`, and nothing else, for tests that don't care what they ask for.
    pub async fn with_one_crate() -> Upstream {
        Upstream::new()
            .publish(Package::new("a", "1.0.0"))
            .start()
            .await
    }

    /// One that has version 1.0.0 of the crates `name-0` and so on, so many and each of that size; and their names.
    pub async fn with_many(count: usize, size: usize) -> (Upstream, Vec<String>) {
        let names: Vec<_> = (0..count).map(|n| format!("name-{n}")).collect();
        let packages = names.iter().map(|n| Package::new(n, "1.0.0").payload(size));
        let upstream = Upstream::new().publish_all(packages).start().await;
        (upstream, names)
    }

    /// `http://127.0.0.1:PORT/index/`
    pub fn index_url(&self) -> String {
        format!("http://{}/index/", self.addr())
    }

    /// The path of an index file here: `/index/se/rd/serde`.
    pub fn index_path(&self, name: &str) -> String {
        format!("/index/{}", index_path(name))
    }

    /// The path of a published crate file here, as the `dl` makes it.
    pub fn crate_path(&self, name: &str, version: &str) -> String {
        self.site().version(name, version).path.clone()
    }

    /// The crate file as it was published.
    pub fn crate_file(&self, name: &str, version: &str) -> bytes::Bytes {
        self.site().version(name, version).file.clone()
    }

    /// The index file as it would be served without Content-Encoding.
    pub fn index_file(&self, name: &str) -> String {
        self.site().index_file(name)
    }

    /// Adds a version, or puts it in the place of the one with its name and number.
    pub fn publish(&self, package: Package) {
        self.site().publish(package);
    }

    /// The crate was deleted: its index file and its crate files are gone.
    pub fn delete(&self, name: &str) {
        self.site().delete(name);
    }

    /// One version was deleted: its line and its crate file are gone.
    pub fn delete_version(&self, name: &str, version: &str) {
        self.site().delete_version(name, version);
    }

    pub fn yank(&self, name: &str, version: &str) {
        self.site().set_yanked(name, version, true);
    }

    pub fn unyank(&self, name: &str, version: &str) {
        self.site().set_yanked(name, version, false);
    }

    /// One more page, for instance of the web API. A path without a query answers for every query.
    pub fn page(&self, path: &str, content_type: &str, body: &str) {
        self.site().page(path, content_type, body);
    }

    /// Requests for index files, config.json not among them.
    pub fn index_requests(&self) -> Vec<Seen> {
        self.server
            .shared
            .log
            .select(|seen| Scope::Index.covers(seen))
    }

    /// Requests for anything below the `dl`.
    pub fn crate_requests(&self) -> Vec<Seen> {
        self.server
            .shared
            .log
            .select(|seen| Scope::Crates.covers(seen))
    }

    /// One more object, as an object store has it: with an ETag, a Last-Modified, and ranges.
    pub fn object(&self, path: &str, body: impl Into<bytes::Bytes>) {
        self.site().object(path, body.into());
    }

    /// It was deleted.
    pub fn remove_object(&self, path: &str) {
        self.site().remove_object(path);
    }

    /// As it is there.
    pub fn object_at(&self, path: &str) -> bytes::Bytes {
        self.site().object_at(path)
    }

    /// Requests for index files, config.json not among them.
    pub fn on_index_files(&self) -> When<'_> {
        When::new(&self.server.shared.rules, Scope::Index)
    }

    /// Requests for anything below the `dl`.
    pub fn on_crate_files(&self) -> When<'_> {
        When::new(&self.server.shared.rules, Scope::Crates)
    }

    fn over(site: Site, listener: TcpListener) -> Upstream {
        let site = Arc::new(std::sync::Mutex::new(site));
        let server = Server::over(Origin::Site(site.clone()), listener);
        Upstream { server, site }
    }

    fn site(&self) -> MutexGuard<'_, Site> {
        self.site.lock().expect("the site's lock")
    }
}
