//! [`Route`]: what a request's path asks for. Paths are parsed here, once; everything behind works with typed names and versions.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{
    domain::{CrateId, CrateName, IndexPath, RegistryName},
    error::{Error, Kind, Result},
    metrics::RouteLabel,
};

/// What a path asks for. `registry` is `None` for the default registry, whose name isn't in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A registry's config.json.
    ConfigJson {
        /// Of which registry.
        registry: Option<RegistryName>,
    },
    /// A crate's index file.
    Index {
        /// Of which registry.
        registry: Option<RegistryName>,
        /// The crate's name, in lower case as paths have it.
        name: CrateName,
    },
    /// A .crate file.
    Download {
        /// Of which registry.
        registry: Option<RegistryName>,
        /// Which crate and version.
        id: CrateId,
    },
    /// A path of the web API other than a download. There is nothing under it, and cargo wants to be told so in JSON.
    WebApi {
        /// Of which registry.
        registry: Option<RegistryName>,
    },
    /// `/healthz`: is the process alive?
    Health,
    /// `/readyz`: can it serve?
    Ready,
    /// `/metrics`: Prometheus text.
    Metrics,
    /// `/`: what this is and how to use it.
    Status,
}

/// The methods that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET: the answer.
    Get,
    /// HEAD: the answer without its body.
    Head,
}

impl Verb {
    /// Reads a method.
    ///
    /// # Errors
    /// [`Kind::MethodNotAllowed`] for every other method: nothing can be changed here.
    pub fn parse(method: &Method) -> Result<Self> {
        match *method {
            Method::GET => Ok(Self::Get),
            Method::HEAD => Ok(Self::Head),
            _ => Err(Error::new(
                Kind::MethodNotAllowed,
                format!(
                    "this is a read-only mirror and knows no {method}; publish, yank and own crates at the registry itself"
                ),
            )),
        }
    }
}

impl Route {
    /// Parses a path, which is still percent-encoded.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a path under which there is nothing, [`Kind::BadRequest`] for a name or version that no crate can have.
    pub fn parse(path: &str) -> Result<Self> {
        match path {
            "/" => return Ok(Self::Status),
            "/healthz" => return Ok(Self::Health),
            "/readyz" => return Ok(Self::Ready),
            "/metrics" => return Ok(Self::Metrics),
            _ => {}
        }
        let unknown = || {
            Error::not_found(
                "there is nothing under this path; the index is under /index/, downloads under /api/v1/crates/",
            )
        };
        let file = |name: &str, version: &str| CrateId::parse(&decode(name)?, &decode(version)?);
        let (registry, rest) = match path.strip_prefix("/registries/") {
            Some(rest) => {
                let (name, rest) = rest.split_once('/').ok_or_else(unknown)?;
                (Some(RegistryName::parse(name)?), rest)
            }
            None => (None, path.strip_prefix('/').ok_or_else(unknown)?),
        };
        if let Some(path) = rest.strip_prefix("index/") {
            return match path {
                "config.json" => Ok(Self::ConfigJson { registry }),
                path => IndexPath::parse(path).map(|path| Self::Index {
                    registry,
                    name: path.name(),
                }),
            };
        }
        if let Some(path) = rest.strip_prefix("crates/") {
            let (name, version) = download(path)
                .or_else(|| file_name(path))
                .ok_or_else(unknown)?;
            let id = file(name, version)?;
            return Ok(Self::Download { registry, id });
        }
        let api = rest.strip_prefix("api/v1/").ok_or_else(unknown)?;
        match api.strip_prefix("crates/").and_then(download) {
            Some((name, version)) => Ok(Self::Download {
                registry,
                id: file(name, version)?,
            }),
            None => Ok(Self::WebApi { registry }),
        }
    }

    /// What requests for it are counted as in the metrics.
    pub fn label(&self) -> RouteLabel {
        match self {
            Self::ConfigJson { .. } => RouteLabel::ConfigJson,
            Self::Index { .. } => RouteLabel::Index,
            Self::Download { .. } => RouteLabel::Download,
            Self::WebApi { .. } => RouteLabel::Unknown,
            Self::Health | Self::Ready | Self::Metrics | Self::Status => RouteLabel::Page,
        }
    }
}

/// The crate and version in `{crate}/{version}/download`, the form of crates.io's API and of its CDN.
fn download(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = path.split_once('/')?;
    let version = rest.strip_suffix("/download")?;
    (!version.contains('/')).then_some((name, version))
}

/// The crate and version in `{crate}/{crate}-{version}.crate`, the other form of crates.io's CDN.
fn file_name(path: &str) -> Option<(&str, &str)> {
    let (name, file) = path.split_once('/')?;
    let version = file.strip_suffix(".crate")?.strip_prefix(name)?;
    let version = version.strip_prefix('-')?;
    (!version.contains('/')).then_some((name, version))
}

/// A path segment, percent-decoded. A `+` stays a `+`: it means a space in forms only.
fn decode(segment: &str) -> Result<std::borrow::Cow<'_, str>> {
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Error::bad_request("the path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str) -> Kind {
        Route::parse(path).expect_err(path).kind()
    }

    fn index(path: &str) -> String {
        match Route::parse(path) {
            Ok(Route::Index {
                registry: None,
                name,
            }) => name.to_string(),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn index_files_are_found_at_all_four_path_lengths() {
        assert_eq!(index("/index/1/a"), "a");
        assert_eq!(index("/index/2/ab"), "ab");
        assert_eq!(index("/index/3/a/abc"), "abc");
        assert_eq!(index("/index/ab/cd/abcd"), "abcd");
        assert_eq!(index("/index/se/rd/serde_json"), "serde_json");
    }

    #[test]
    fn a_path_that_is_not_canonical_is_not_found() {
        for path in [
            "/index/Se/rd/Serde",
            "/index/se/rd/Serde",
            "/index/SE/RD/serde",
            "/index/se/rd/tokio",
            "/index/3/b/abc",
            "/index/3/abc",
            "/index/1/ab",
            "/index/se/rd//serde",
            "/index/se/rd/serde/",
            "/index/se%2Frd/serde",
            "/index/",
            "/index",
            "/index/../../etc/passwd",
            "/index/se/rd/se%72de",
            "/index/../index/se/rd/serde",
            "//index/se/rd/serde",
            "",
            "*",
        ] {
            assert_eq!(kind(path), Kind::NotFound, "{path:?}");
        }
    }

    #[test]
    fn a_plus_is_the_same_encoded_or_not() {
        let plain = Route::parse("/api/v1/crates/openssl-src/110.0.0+1.1.0f/download");
        let encoded = Route::parse("/api/v1/crates/openssl-src/110.0.0%2B1.1.0f/download");
        assert_eq!(plain.expect("a route"), encoded.expect("a route"));
    }

    /// Scripts that have the CDN's paths in them used to be told that nothing is there.
    #[test]
    fn the_paths_of_the_cdn_lead_to_the_same_file() {
        for (prefix, version, encoded) in [
            ("", "1.0.0", "1.0.0"),
            ("", "110.0.0+1.1.0f", "110.0.0%2B1.1.0f"),
            ("/registries/internal", "1.0.0-rc.1", "1.0.0-rc.1"),
        ] {
            let asked = format!("{prefix}/api/v1/crates/some-crate/{version}/download");
            let expected = Route::parse(&asked).expect("a route");
            for path in [
                format!("{prefix}/crates/some-crate/some-crate-{version}.crate"),
                format!("{prefix}/crates/some-crate/some-crate-{encoded}.crate"),
                format!("{prefix}/crates/some-crate/{encoded}/download"),
            ] {
                assert_eq!(Route::parse(&path).expect(&path), expected);
            }
        }
        for path in [
            "/crates",
            "/crates/",
            "/crates/a",
            "/crates/a/",
            "/crates/a/b-1.0.0.crate",
            "/crates/a/a-1.0.0",
            "/crates/a/a1.0.0.crate",
            "/crates/a/a-1.0.0.crate/",
            "/crates/a/a-1/0.crate",
            "/crates/a/1.0.0",
        ] {
            assert_eq!(kind(path), Kind::NotFound, "{path}");
        }
    }

    #[test]
    fn names_and_versions_that_cannot_exist_are_bad_requests() {
        let long = format!("/api/v1/crates/{}/1.0.0/download", "a".repeat(65));
        for path in [
            "/api/v1/crates/../1.0.0/download",
            "/api/v1/crates/a/../download",
            "/api/v1/crates/a%2Fb/1.0.0/download",
            "/api/v1/crates/a/1.0.0%2F../download",
            "/api/v1/crates/a%00/1.0.0/download",
            "/api/v1/crates/a%FF/1.0.0/download",
            "/api/v1/crates//1.0.0/download",
            "/api/v1/crates/a//download",
            "/api/v1/crates/1a/1.0.0/download",
            "/api/v1/crates/a/1.0/download",
            "/api/v1/crates/a/v1.0.0/download",
            "/crates/a/a-1.0.crate",
            "/crates/../..-1.0.0.crate",
            "/crates/a%2Fb/a%2Fb-1.0.0.crate",
            "/registries/../index/config.json",
            &long,
        ] {
            assert_eq!(kind(path), Kind::BadRequest, "{path:?}");
        }
    }

    #[test]
    fn every_registry_has_the_same_paths() {
        let registry = Some(RegistryName::parse("internal").expect("valid"));
        let route = Route::parse("/registries/internal/index/config.json");
        assert_eq!(route.expect("a route"), Route::ConfigJson { registry });
        let route = Route::parse("/registries/internal/api/v1/crates/a/1.0.0/download");
        let id = CrateId::parse("a", "1.0.0").expect("valid");
        assert_eq!(route.expect("a route"), Route::Download { registry, id });
    }
}
