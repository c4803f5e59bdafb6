//! Sections: the tables of mirror.toml, one small struct each, with the defaults beside the keys.

use std::time::Duration;

use serde::Deserialize;

use super::{
    access::FilePath,
    bucket::{BucketAt, ServiceUrl, StoreSize},
    connection::{Contact, ProxySetting},
    toolchains::WarmToolchain,
    units::{BaseUrl, Count, Folder, Listen, Network, Origin, Size, Span},
};
use crate::error::{Error, Result};

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 3_600 * SECOND;

/// `[server]`: where clients find the mirror.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Where to listen; port 0 lets the system choose.
    pub listen: Listen,
    /// The URL under which clients reach this server, when that isn't what their `Host` header says (behind a proxy that ends TLS, say).
    pub public_url: Option<BaseUrl>,
    /// Who is let go on in HTTP/2 when it asks for it on a plain connection.
    pub h2c: H2c,
    /// How long requests in flight may take to finish after Ctrl-C or SIGTERM.
    pub shutdown_grace: Span<0, { 3_600 * SECOND }>,
    /// How many connections may be open at once; more are told so and closed.
    pub max_connections: Count<1, 1_000_000>,
    /// How long a connection may be open without a byte moving on it, in either direction, and how long a client may take over 64 KiB of an answer.
    pub idle_timeout: Span<{ SECOND }, { DAY }>,
    /// How many requests a second one client address may make; 0 is without limit.
    pub max_requests_per_second: Count<0, 1_000_000>,
    /// The proxies in front, by address or network: what they say of a client counts, and nobody else's word does.
    pub trusted_proxies: Vec<Network>,
    /// Where `/metrics`, `/readyz` and the pages are answered, and only there, without a token. Everywhere when not set.
    pub admin_listen: Option<Listen>,
    /// Where the mirror writes down on which addresses it really listens, for `crate-mirror health`. Nowhere when not set.
    pub address_file: Option<FilePath>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: Listen(([127, 0, 0, 1], 8080).into()),
            public_url: None,
            h2c: H2c::Auto,
            shutdown_grace: Span::millis(10 * SECOND),
            max_connections: Count::new(10_000),
            idle_timeout: Span::millis(120 * SECOND),
            max_requests_per_second: Count::new(0),
            trusted_proxies: Vec::new(),
            admin_listen: None,
            address_file: None,
        }
    }
}

/// Who is let go on in HTTP/2 when it asks for it on a plain connection (`Upgrade: h2c`). Who begins in HTTP/2 doesn't ask, and may always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum H2c {
    /// Cargo from 1.74 on, unless its libcurl is an old one, and clients that aren't cargo; nobody behind a proxy, as far as requests show one, and nobody at all when
    /// `public_url` is set.
    #[default]
    Auto,
    /// Whoever asks. A proxy in front that passes the upgrade on has no say in what is asked for afterwards.
    Always,
    /// Nobody.
    Never,
}

/// `[store]`: what is kept on disk, and in a bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The folder; created when missing.
    pub path: Folder,
    /// How large the folder may grow; what was used least recently goes first. None at all only in front of a bucket: then there is no folder.
    pub max_size: StoreSize,
    /// How long an object is kept without being used; for ever when not set.
    pub max_age: Option<Span<{ 60 * SECOND }, { 100 * 365 * DAY }>>,
    /// Whether a write reaches the disk (fsync of file and folder) before it counts as done.
    pub sync: bool,
    /// How long the disk or the bucket may take over one read or write without getting on; then it is done without, and left alone for a while if that
    /// goes on.
    pub stall_timeout: Span<100, { 10 * SECOND }>,
    /// The bucket in which everything is kept, for any number of mirrors; the folder is a cache in front of it.
    pub bucket: Option<BucketAt>,
    /// Where the bucket's service is, when that isn't the provider's own place.
    pub endpoint: Option<ServiceUrl>,
    /// Whether a .crate file that neither memory nor folder has is answered with a redirect to a signed URL of the bucket.
    pub redirect: bool,
    /// Where clients reach the bucket's service, when that isn't where this mirror does.
    pub public_endpoint: Option<ServiceUrl>,
    /// How long a signed URL is good for.
    pub signed_for: Span<{ 10 * SECOND }, { 7 * DAY }>,
}

impl StoreSettings {
    /// Whether there is a folder: always, but where the store is a bucket alone.
    pub fn has_folder(&self) -> bool {
        self.max_size.get() > 0
    }

    /// Whether it makes sense as a whole.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it doesn't.
    pub(super) fn check(&self) -> Result<()> {
        let lacking = match &self.bucket {
            None if !self.has_folder() => {
                "`store.max_size` is \"0\", and there is no `store.bucket`; allowed is a size of at least 1MiB, or a bucket"
            }
            None if self.endpoint.is_some() || self.public_endpoint.is_some() => {
                "`store.endpoint` or `store.public_endpoint` is set, and there is no `store.bucket`; name it, such as \"s3://crates/mirror\""
            }
            None if self.redirect => {
                "`store.redirect` is true, and there is no `store.bucket` to redirect to; name it, such as \"s3://crates/mirror\""
            }
            Some(_) | None => return Ok(()),
        };
        Err(Error::config(lacking))
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            path: Folder("cache".into()),
            max_size: StoreSize::bytes(50 << 30),
            max_age: None,
            sync: true,
            stall_timeout: Span::millis(5 * SECOND),
            bucket: None,
            endpoint: None,
            redirect: false,
            public_endpoint: None,
            signed_for: Span::millis(600 * SECOND),
        }
    }
}

/// `[memory]`: what is kept in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemorySettings {
    /// How many bytes of index files and crates to keep, their overhead counted.
    pub budget: Size<{ 1 << 20 }>,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            budget: Size::bytes(256 << 20),
        }
    }
}

/// `[freshness]`: how long copies are good for.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreshnessSettings {
    /// How long an index file is served without asking upstream.
    pub fresh_for: Span<0, { 365 * DAY }>,
    /// How long "there is no such crate" is believed.
    pub absent_for: Span<0, { 365 * DAY }>,
    /// How old a copy may be while upstream fails.
    pub max_stale: Span<0, { 100 * 365 * DAY }>,
    /// How long a client waits for a refresh when there is a stale copy to give it.
    pub patience: Span<0, { 20 * SECOND }>,
}

impl Default for FreshnessSettings {
    fn default() -> Self {
        Self {
            fresh_for: Span::millis(60 * SECOND),
            absent_for: Span::millis(30 * SECOND),
            max_stale: Span::millis(30 * DAY),
            patience: Span::millis(300),
        }
    }
}

/// `[upstream]`: how to treat the registries that are mirrored.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// How long a connection may take to come about.
    pub connect_timeout: Span<1, { 20 * SECOND }>,
    /// How long upstream may take to begin its answer.
    pub first_byte_timeout: Span<1, { 20 * SECOND }>,
    /// How long upstream may fall silent within its answer.
    pub stall_timeout: Span<1, { 300 * SECOND }>,
    /// How often a failed request is tried again.
    pub retries: Count<0, 10>,
    /// How many requests to one registry are under way at once.
    pub max_concurrent: Count<1, 10_000>,
    /// The largest .crate file that is passed on.
    pub max_crate_size: Size<{ 1 << 20 }>,
    /// The origins that index files may be redirected to. Crates, which are hashed, may be elsewhere.
    pub redirects: Vec<Origin>,
    /// The proxy on the way out, in place of what the environment says.
    pub proxy: Option<ProxySetting>,
    /// The file with the certificates, in PEM, of authorities that are trusted beside the system's.
    pub ca_certificates: Option<FilePath>,
    /// Whom to ask about this mirror's requests, told in its user agent.
    pub contact: Option<Contact>,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Span::millis(5 * SECOND),
            first_byte_timeout: Span::millis(10 * SECOND),
            stall_timeout: Span::millis(15 * SECOND),
            retries: Count::new(2),
            max_concurrent: Count::new(64),
            max_crate_size: Size::bytes(512 << 20),
            redirects: Vec::new(),
            proxy: None,
            ca_certificates: None,
            contact: None,
        }
    }
}

/// `[read_ahead]`: fetching ahead of what cargo will ask for next.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadAheadSettings {
    /// Whether to.
    pub enabled: bool,
    /// How many levels of dependencies to follow.
    pub depth: Count<1, 1_000>,
    /// How many index files to fetch for one request of a client, at most.
    pub max_files: Count<1, 100_000>,
}

impl Default for ReadAheadSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            depth: Count::new(32),
            max_files: Count::new(1_000),
        }
    }
}

/// `[offline]`: serving without any upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfflineSettings {
    /// Whether no upstream is ever contacted.
    pub enabled: bool,
    /// What of the index is shown then.
    pub index: OfflineIndex,
}

/// What of the index is shown when offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OfflineIndex {
    /// A version whose .crate file isn't stored is shown as yanked, so that no resolver picks it.
    #[default]
    Stored,
    /// All versions as upstream had them.
    Full,
}

/// `[prefetch]`: what is kept in the store although nobody asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrefetchSettings {
    /// The Cargo.lock files whose packages are kept.
    pub lockfiles: Vec<Folder>,
    /// The toolchains that are kept, each with rustup's profile `default`.
    pub toolchains: Vec<WarmToolchain>,
    /// How often that is looked after.
    pub every: Span<SECOND, { 365 * DAY }>,
}

impl Default for PrefetchSettings {
    fn default() -> Self {
        Self {
            lockfiles: Vec::new(),
            toolchains: Vec::new(),
            every: Span::millis(3_600 * SECOND),
        }
    }
}

/// `[git_index]`: the index as a git repository, in which is what is stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GitIndexSettings {
    /// The Cargo.lock files and lists whose crates are always in it, and fresh.
    pub crates: Vec<Folder>,
    /// How often upstream is asked for them.
    pub every: Span<{ 10 * SECOND }, { 365 * DAY }>,
}

impl Default for GitIndexSettings {
    fn default() -> Self {
        Self {
            crates: Vec::new(),
            every: Span::millis(600 * SECOND),
        }
    }
}

impl FreshnessSettings {
    /// The part that judges stored copies.
    pub fn lifetimes(&self) -> crate::domain::freshness::Lifetimes {
        crate::domain::freshness::Lifetimes {
            fresh_for: *self.fresh_for,
            max_stale: (*self.max_stale).max(*self.fresh_for),
        }
    }

    /// How long "absent" is believed.
    pub fn absent_for(&self) -> Duration {
        *self.absent_for
    }
}
