//! The builder: what an upstream will be before it listens.

use tokio::net::TcpListener;

use super::Upstream;
use super::site::Site;
use crate::support::package::Package;

/// What an upstream will be; `start` makes it one.
#[derive(Default)]
#[must_use = "start it"]
pub struct UpstreamBuilder {
    options: Options,
    packages: Vec<Package>,
}

impl UpstreamBuilder {
    pub fn publish(mut self, package: Package) -> Self {
        self.packages.push(package);
        self
    }

    pub fn publish_all(mut self, packages: impl IntoIterator<Item = Package>) -> Self {
        self.packages.extend(packages);
        self
    }

    /// Index files carry a weak ETag and no Last-Modified. (By default they carry both.)
    pub fn weak_etag(self) -> Self {
        self.validators(Etag::Weak, false)
    }

    /// Index files carry a strong ETag and no Last-Modified.
    pub fn strong_etag(self) -> Self {
        self.validators(Etag::Strong, false)
    }

    /// Index files carry a Last-Modified and no ETag.
    pub fn last_modified(self) -> Self {
        self.validators(Etag::None, true)
    }

    /// Nothing carries a validator, crate files neither, and every request gets its 200.
    pub fn no_validators(self) -> Self {
        self.validators(Etag::None, false)
    }

    fn validators(mut self, etag: Etag, last_modified: bool) -> Self {
        self.options.etag = etag;
        self.options.last_modified = last_modified;
        self
    }

    /// Index files go out with `Content-Encoding: gzip` to a client that accepts it.
    pub fn gzip(mut self) -> Self {
        self.options.gzip = true;
        self
    }

    /// Bodies go out in chunks, without a Content-Length.
    pub fn chunked(mut self) -> Self {
        self.options.chunked = true;
        self
    }

    /// Crate files answer `Range: bytes=N-` with 206. (By default they ignore it.)
    pub fn ranges(mut self) -> Self {
        self.options.ranges = true;
        self
    }

    /// The `dl` of config.json, with cargo's markers; `{base}` is this server's own URL.
    pub fn dl(mut self, template: &str) -> Self {
        template.clone_into(&mut self.options.dl);
        self
    }

    /// Every request needs this `Authorization`, and config.json says `auth-required`.
    pub fn token(self, token: &str) -> Self {
        self.wants("authorization", token)
    }

    /// Every request needs this header, and config.json says `auth-required`.
    pub fn wants(mut self, header: &str, value: &str) -> Self {
        self.options.wanted = Some((header.to_owned(), value.to_owned()));
        self
    }

    /// Listens on a free port of 127.0.0.1.
    pub async fn start(self) -> Upstream {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("bind the upstream");
        let addr = listener.local_addr().expect("the upstream's address");
        let mut site = Site::new(format!("http://{addr}"), self.options);
        for package in self.packages {
            site.publish(package);
        }
        Upstream::over(site, listener)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Etag {
    None,
    Weak,
    Strong,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) etag: Etag,
    pub(super) last_modified: bool,
    pub(super) gzip: bool,
    pub(super) chunked: bool,
    pub(super) ranges: bool,
    pub(super) dl: String,
    pub(super) wanted: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            etag: Etag::Weak,
            last_modified: true,
            gzip: false,
            chunked: false,
            ranges: false,
            dl: "{base}/dl".to_owned(),
            wanted: None,
        }
    }
}
