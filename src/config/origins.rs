//! [`Origins`]: which registry of ours a Cargo.lock means.

use url::Url;

use super::{BaseUrl, Config};
use crate::domain::{RegistryName, lockfile::Source};

/// Every URL by which a Cargo.lock may name one of the registries: the one it is fetched from, and those under which this mirror serves it, which is
/// what the Cargo.lock of somebody has who uses the mirror as a registry and not in place of one.
#[derive(Clone, Debug)]
pub struct Origins(Vec<(RegistryName, Url)>);

impl Config {
    /// Where the registries are.
    pub fn origins(&self) -> Origins {
        let mut all: Vec<_> = self
            .registries
            .iter()
            .map(|(name, registry)| (*name, registry.index.as_url().clone()))
            .collect();
        let listen = format!("http://{}", self.server.listen.0);
        let public = self.server.public_url.as_ref().map(BaseUrl::without_slash);
        for base in [Some(&*listen), public].into_iter().flatten() {
            let served = self.registries.iter().flat_map(|(name, registry)| {
                let named = Some(format!("{base}/registries/{name}/index/"));
                let default = registry.default.then(|| format!("{base}/index/"));
                [named, default]
                    .into_iter()
                    .flatten()
                    .map(|url| (*name, url))
            });
            all.extend(served.filter_map(|(name, url)| Some((name, Url::parse(&url).ok()?))));
        }
        Origins(all)
    }
}

impl Origins {
    /// The registry that `source` means, if it is one of ours.
    pub fn registry(&self, source: &Source) -> Option<RegistryName> {
        source.among(self.0.iter().map(|(name, url)| (*name, url)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_meant_by_its_own_url_and_by_ours() {
        let config = crate::config::parse(
            "[server]\nlisten = \"127.0.0.1:8080\"\npublic_url = \"https://crates.example/\"\n[registries.inner]\nindex = \"https://inner.example/index\"",
        );
        let origins = config.expect("valid settings").origins();
        for (url, name) in [
            ("https://inner.example/index/", Some("inner")),
            (
                "https://crates.example/registries/inner/index/",
                Some("inner"),
            ),
            (
                "http://127.0.0.1:8080/registries/inner/index/",
                Some("inner"),
            ),
            ("https://crates.example/index/", Some("crates-io")),
            ("https://index.crates.io/", Some("crates-io")),
            ("https://other.example/index/", None),
        ] {
            let source = Source::at(Url::parse(url).expect("a URL"));
            let found = origins.registry(&source);
            assert_eq!(found.map(|n| n.to_string()).as_deref(), name, "{url}");
        }
    }
}
