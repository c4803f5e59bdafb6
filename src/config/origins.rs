//! [`Origins`]: which registry of ours a Cargo.lock means.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use url::Url;

use super::{registries::RegistrySettings, sections::ServerSettings, units::BaseUrl};
use crate::domain::{RegistryName, lockfile::PackageSource};

/// Every URL by which a Cargo.lock may name one of the registries: the one it is fetched from, and those under which this mirror serves it, which is
/// what the Cargo.lock of somebody has who uses the mirror as a registry and not in place of one.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<(RegistryName, Url)>);

impl Origins {
    /// Those of `registries`, served as `server` says.
    pub(super) fn of(
        server: &ServerSettings,
        registries: &BTreeMap<RegistryName, RegistrySettings>,
    ) -> Self {
        let mut all: Vec<_> = registries
            .iter()
            .map(|(name, registry)| (*name, registry.index.as_url().clone()))
            .collect();
        for base in own_urls(server) {
            let served = registries.iter().flat_map(|(name, registry)| {
                let named = Some(format!("{base}/registries/{name}/index/"));
                let default = registry.default.then(|| format!("{base}/index/"));
                [named, default]
                    .into_iter()
                    .flatten()
                    .map(|url| (*name, url))
            });
            all.extend(served.filter_map(|(name, url)| Some((name, Url::parse(&url).ok()?))));
        }
        Self(all)
    }

    /// The registry that `source` means, if it is one of ours.
    pub fn registry(&self, source: &PackageSource) -> Option<RegistryName> {
        source.among(self.0.iter().map(|(name, url)| (*name, url)))
    }
}

/// The URLs by which this mirror may be called, without a final slash: the public one, the address, and the names of this machine if it listens there.
fn own_urls(server: &ServerSettings) -> Vec<String> {
    let address = server.listen.0;
    let (ip, port) = (address.ip(), address.port());
    let loopbacks: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut ips = vec![ip];
    if ip.is_unspecified() {
        ips.extend(loopbacks);
    }
    let public = server.public_url.as_ref().map(BaseUrl::without_slash);
    let mut urls: Vec<_> = public.map(str::to_owned).into_iter().collect();
    urls.extend(
        ips.into_iter()
            .map(|ip| format!("http://{}", SocketAddr::new(ip, port))),
    );
    if ip.is_unspecified() || ip.is_loopback() {
        urls.push(format!("http://localhost:{port}"));
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(settings: &str, url: &str) -> Option<String> {
        let inner = "[registries.inner]\nindex = \"https://user:secret@inner.example/index\"";
        let config = crate::config::parse(&format!("[server]\n{settings}\n{inner}"));
        let config = config.expect("valid settings");
        let source = PackageSource::at(Url::parse(url).expect("a URL"));
        let found = config.origins().registry(&source);
        found.map(|name| name.to_string())
    }

    #[test]
    fn a_registry_is_meant_by_its_own_url_and_by_ours() {
        let settings = "listen = \"127.0.0.1:8080\"\npublic_url = \"https://crates.example/\"";
        for (url, name) in [
            // Cargo.lock files have no password, or another user's.
            ("https://inner.example/index/", Some("inner")),
            ("https://me:mine@inner.example/index", Some("inner")),
            (
                "https://crates.example/registries/inner/index/",
                Some("inner"),
            ),
            (
                "http://127.0.0.1:8080/registries/inner/index/",
                Some("inner"),
            ),
            ("http://localhost:8080/index/", Some("crates-io")),
            ("https://crates.example/index/", Some("crates-io")),
            (
                "https://crates.example/registries/crates-io/index/",
                Some("crates-io"),
            ),
            ("https://index.crates.io/", Some("crates-io")),
            ("https://other.example/index/", None),
            ("http://127.0.0.1:8081/index/", None),
            ("https://crates.example/registries/other/index/", None),
        ] {
            assert_eq!(meant(settings, url).as_deref(), name, "{url}");
        }
    }

    /// Such a mirror prints a loopback address, and that was "no registry of this mirror".
    #[test]
    fn a_mirror_that_listens_everywhere_is_known_by_its_loopback_addresses_too() {
        for listen in ["0.0.0.0", "[::]"] {
            let settings = format!("listen = \"{listen}:8080\"");
            for host in [listen, "127.0.0.1", "[::1]", "localhost", "LocalHost"] {
                let url = format!("http://{host}:8080/registries/inner/index/");
                let found = meant(&settings, &url);
                assert_eq!(found.as_deref(), Some("inner"), "{url} for {listen}");
            }
        }
        let elsewhere = meant("listen = \"192.0.2.1:80\"", "http://localhost:80/index/");
        assert_eq!(elsewhere, None, "it isn't reached there");
        let there = meant("listen = \"192.0.2.1:80\"", "http://192.0.2.1/index/");
        assert_eq!(there.as_deref(), Some("crates-io"));
    }

    /// `prefetch` listens on a port of its own for `--deps`, and then knew the mirror's URL no longer.
    #[test]
    fn what_was_written_counts_whatever_becomes_of_the_settings_later() {
        let parsed = crate::config::parse("[server]\nlisten = \"127.0.0.1:8080\"");
        let mut config = parsed.expect("valid settings");
        config.server.listen.0 = ([127, 0, 0, 1], 0).into();
        let url = Url::parse("http://127.0.0.1:8080/index/").expect("a URL");
        let found = config.origins().registry(&PackageSource::at(url));
        assert_eq!(found, Some(RegistryName::crates_io()));
    }
}
