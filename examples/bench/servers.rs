//! [`Servers`]: all that is measured, running side by side in front of one origin.

use std::{net::SocketAddr, path::Path};

use serde::Serialize;
use tempfile::TempDir;

use crate::{
    Result,
    certificate::Certificate,
    child::Child,
    nginx::Nginx,
    origin::{COUNTS, DELAY},
    tools::Bench,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) enum Server {
    /// This product.
    Mirror,
    /// nginx `proxy_cache` with `gzip on`.
    ProxyCache,
    /// nginx `proxy_cache` that keeps the gzip which upstream sends.
    ProxyCacheKeeping,
    /// nginx, files.
    Static,
    /// Bare hyper.
    Floor,
}

impl Server {
    /// In the order of their turns.
    pub(crate) const ALL: [Self; 5] = [
        Self::Mirror,
        Self::ProxyCache,
        Self::ProxyCacheKeeping,
        Self::Static,
        Self::Floor,
    ];

    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::ProxyCache => "nginx proxy_cache",
            Self::ProxyCacheKeeping => "nginx proxy_cache, upstream's gzip kept",
            Self::Static => "nginx static",
            Self::Floor => "bare hyper",
        }
    }
}

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Protocol {
    /// HTTP/1.1, connections kept.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// HTTP/1.1 within TLS 1.3.
    Http1Tls,
    /// HTTP/2 within TLS 1.3.
    Http2Tls,
}

impl Protocol {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Http1Tls, Self::Http2Tls];

    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http1Tls => "HTTP/1.1, TLS",
            Self::Http2Tls => "HTTP/2, TLS",
        }
    }

    /// Whether it is HTTP/2.
    pub(crate) fn is_http2(self) -> bool {
        match self {
            Self::Http1 | Self::Http1Tls => false,
            Self::Http2 | Self::Http2Tls => true,
        }
    }

    /// Whether it is within TLS.
    pub(crate) fn is_tls(self) -> bool {
        match self {
            Self::Http1 | Self::Http2 => false,
            Self::Http1Tls | Self::Http2Tls => true,
        }
    }

    /// What its URLs begin with.
    pub(crate) fn scheme(self) -> &'static str {
        match self.is_tls() {
            true => "https",
            false => "http",
        }
    }
}

/// The upstream.
pub(crate) struct Origin(Child);

impl Origin {
    /// Starts one for the files below `www`.
    pub(crate) async fn start(bench: &Bench, www: &Path) -> Result<Self> {
        Ok(Self(role(bench, "origin", www).await?))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// From now on it answers this much later.
    pub(crate) async fn delay(&self, ms: u64) -> Result<()> {
        self.ask(&format!("{DELAY}{ms}")).await.map(drop)
    }

    /// How often each path was asked for since the last time.
    pub(crate) async fn counts(&self) -> Result<Vec<(String, u64)>> {
        let json = self.ask(COUNTS).await?;
        let counts: serde_json::Map<_, _> =
            serde_json::from_str(&json).map_err(|e| format!("the origin's counts: {e}"))?;
        let count = |(path, n): (String, serde_json::Value)| (path, n.as_u64().unwrap_or(0));
        Ok(counts.into_iter().map(count).collect())
    }

    async fn ask(&self, path: &str) -> Result<String> {
        let answer = reqwest::get(format!("http://{}{path}", self.address())).await;
        let text = answer.map_err(|e| format!("the origin: {e}"))?.text().await;
        text.map_err(|e| format!("the origin: {e}"))
    }
}

/// A mirror with an empty store.
pub(crate) struct Mirror {
    child: Child,
    /// Where it speaks TLS.
    tls: Option<SocketAddr>,
    _folder: TempDir,
}

impl Mirror {
    /// Starts one in front of `origin`. It asks again after an hour, as nginx does here, and logs no requests.
    pub(crate) async fn start(bench: &Bench, origin: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
        let index = format!("sparse+http://{origin}/index/");
        let child = mirror(
            bench,
            folder.path(),
            &folder.path().join("store"),
            &index,
            "",
        )
        .await?;
        Ok(Self {
            child,
            tls: None,
            _folder: folder,
        })
    }

    /// The same that also speaks TLS, on a port of its own.
    async fn with_tls(bench: &Bench, origin: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
        let index = format!("sparse+http://{origin}/index/");
        let Certificate {
            certificate, key, ..
        } = &bench.certificate;
        let tls = format!(
            "[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nlisten = \"127.0.0.1:0\"\n\
             [toolchains]\nenabled = true\nupstream = \"http://{origin}/toolchains\"\n[memory]\nbudget = \"2GiB\"\n"
        );
        let store = folder.path().join("store");
        let mut child = mirror(bench, folder.path(), &store, &index, &tls).await?;
        let tls = child.address_after("It speaks TLS on https://").await?;
        Ok(Self {
            child,
            tls: Some(tls),
            _folder: folder,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.child.address()
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// A mirror of `index` on that store, with its settings in `folder`, and `more` of them.
pub(crate) async fn mirror(
    bench: &Bench,
    folder: &Path,
    store: &Path,
    index: &str,
    more: &str,
) -> Result<Child> {
    mirror_in(bench, folder, store, index, more, &[]).await
}

/// The same in an environment with these variables.
pub(crate) async fn mirror_in(
    bench: &Bench,
    folder: &Path,
    store: &Path,
    index: &str,
    more: &str,
    env: &[(&str, String)],
) -> Result<Child> {
    let file = folder.join("mirror.toml");
    let settings = format!(
        "[freshness]\nfresh_for = \"1h\"\n[registries.crates-io]\nindex = {index:?}\n{more}"
    );
    std::fs::write(&file, settings).map_err(|e| format!("mirror.toml can't be written: {e}"))?;
    let mut command = bench.server(&bench.mirror);
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log",
            "warn",
            "--config",
        ])
        .arg(&file)
        .arg("--store")
        .arg(store);
    if index.contains("//127.0.0.1:") {
        // The machine may have a proxy.
        command.env_clear();
    }
    command.envs(env.iter().map(|(name, value)| (*name, value)));
    Child::that_says_where(command).await
}

/// This program in another role.
pub(crate) async fn role(bench: &Bench, role: &str, www: &Path) -> Result<Child> {
    // The origin stands with the servers: it hardly has anything to do.
    let mut command = bench.server(&bench.me);
    command.arg(role).arg(www);
    Child::that_says_where(command).await
}

/// A wire to `to`, there and back in twice `delay_ms`.
pub(crate) async fn wire(bench: &Bench, to: SocketAddr, delay_ms: u64) -> Result<Child> {
    let mut command = bench.server(&bench.me);
    command.args(["wire", &to.to_string(), &delay_ms.to_string()]);
    Child::that_says_where(command).await
}

/// Everything side by side.
pub(crate) struct Servers {
    _origin: Origin,
    pub(crate) mirror: Mirror,
    pub(crate) nginx: Option<Nginx>,
    pub(crate) floor: Child,
}

impl Servers {
    /// Starts them all for the files below `www`.
    pub(crate) async fn start(bench: &Bench, www: &Path) -> Result<Self> {
        let origin = Origin::start(bench, www).await?;
        Ok(Self {
            mirror: Mirror::with_tls(bench, origin.address()).await?,
            nginx: Nginx::start(bench, origin.address(), www).await?,
            floor: role(bench, "floor", www).await?,
            _origin: origin,
        })
    }

    /// Where a server listens for a protocol, and its number; nothing for one that isn't installed.
    pub(crate) fn find(&self, server: Server, protocol: Protocol) -> Option<(SocketAddr, u32)> {
        let ports = match server {
            Server::Mirror => {
                let address = match protocol.is_tls() {
                    true => self.mirror.tls?,
                    false => self.mirror.address(),
                };
                return Some((address, self.mirror.pid()));
            }
            Server::Floor if protocol.is_tls() => return None,
            Server::Floor => return Some((self.floor.address(), self.floor.pid())),
            Server::ProxyCache => self.nginx.as_ref()?.compressing,
            Server::ProxyCacheKeeping => self.nginx.as_ref()?.keeping,
            Server::Static => self.nginx.as_ref()?.files,
        };
        let address = match protocol {
            Protocol::Http1 => ports.http1,
            Protocol::Http2 => ports.http2,
            Protocol::Http1Tls | Protocol::Http2Tls => ports.tls,
        };
        Some((address, self.nginx.as_ref()?.pid()))
    }
}
