//! [`Route`]: what a request's path asks for. Paths are parsed here, once; everything behind works with typed names and versions.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{
    domain::{
        CrateId, CrateName, Day, IndexPath, RegistryName, View, ViewName, toolchain::ToolchainPath,
    },
    error::{Error, Kind, Result},
    metrics::RouteLabel,
};

/// Which registry is asked, and as what it is seen. One that isn't named is the default one, or that of the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The registry.
    pub registry: Option<RegistryName>,
    /// By which rules, or as of which day.
    pub view: View,
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A registry's config.json.
    ConfigJson {
        /// Of which registry.
        place: Place,
    },
    /// A crate's index file.
    Index {
        /// Of which registry.
        place: Place,
        /// The crate's name, in lower case as paths have it.
        name: CrateName,
    },
    /// A .crate file.
    Download {
        /// Of which registry.
        place: Place,
        /// Which crate and version.
        id: CrateId,
    },
    /// A path of the web API other than a download, which cargo wants answered in JSON.
    WebApi {
        /// Of which registry.
        place: Place,
        /// What of it.
        call: ApiCall,
    },
    /// The index as a git repository.
    Git {
        /// Of which registry.
        place: Place,
        /// What of it.
        call: GitCall,
    },
    /// What rustup asks for, below `/toolchains/`.
    Toolchain(ToolchainPath),
    /// A page for people, other than `/`.
    Page(Page),
    /// What pages are made up with.
    Asset(Asset),
    /// `/healthz`: is the process alive?
    Health,
    /// `/readyz`: can it serve?
    Ready,
    /// `/metrics`: Prometheus text.
    Metrics,
    /// `/`: what this is and how to use it.
    Status,
}

/// What a git client asks for (gitprotocol-http(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitCall {
    /// `info/refs`: which commits there are.
    Refs,
    /// `git-upload-pack`: what is new in them.
    UploadPack,
    /// `git-receive-pack`: to change something.
    ReceivePack,
    /// Everything else: files of a repository, or the repository itself.
    Other,
}

/// What is asked of the web API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiCall {
    /// `crates`: a search.
    Search,
    /// `crates/NAME`.
    Crate(CrateName),
    /// `crates/NAME/versions`.
    Versions(CrateName),
    /// `crates/NAME/VERSION`.
    Version(CrateId),
    /// `crates/NAME/VERSION/dependencies`.
    Dependencies(CrateId),
    /// `crates/NAME/owners` and what else is done at the registry itself.
    Owners,
    /// Everything else: a mirror has none of it.
    Other,
}

/// A page for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Page {
    /// `/crates/NAME`: a crate and its versions.
    Crate {
        /// In which registry.
        place: Place,
        /// Which crate.
        name: CrateName,
    },
    /// `/search`: crates by words in their names and descriptions.
    Search {
        /// In which registry.
        place: Place,
    },
    /// `/policy`: the rules about what may come in, and what they refused lately.
    Policy {
        /// As seen where.
        place: Place,
    },
    /// `/toolchains`: which toolchains are here.
    Toolchains,
    /// `/wanted`: what was asked for offline and isn't here.
    Wanted,
    /// `/status.json`: the figures.
    StatusJson,
}

/// What pages are made up with: nothing of it is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asset {
    /// `/style.css`.
    Style,
    /// `/copy.js`: the copy buttons.
    Script,
    /// `/icon.svg`.
    Icon,
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

/// Where below a place its git repository is.
pub(super) const GIT_INDEX: &str = "git/index";

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
            "/wanted" => return Ok(Self::Page(Page::Wanted)),
            "/toolchains" => return Ok(Self::Page(Page::Toolchains)),
            "/status.json" => return Ok(Self::Page(Page::StatusJson)),
            "/style.css" => return Ok(Self::Asset(Asset::Style)),
            "/copy.js" => return Ok(Self::Asset(Asset::Script)),
            "/icon.svg" => return Ok(Self::Asset(Asset::Icon)),
            _ => {}
        }
        if let Some(path) = path.strip_prefix("/toolchains/") {
            let path = ToolchainPath::parse(path).ok_or_else(|| {
                Error::not_found(
                    "there is nothing under this path; below /toolchains/ is what rustup asks for, and nothing else",
                )
            })?;
            return Ok(Self::Toolchain(path));
        }
        let unknown = || {
            Error::not_found(
                "there is nothing under this path; the index is under /index/, downloads under /api/v1/crates/",
            )
        };
        let (place, rest) = Place::of(path)?.ok_or_else(unknown)?;
        if let Some(path) = rest.strip_prefix("index/") {
            return match path {
                "config.json" => Ok(Self::ConfigJson { place }),
                path => IndexPath::parse(path).map(|path| Self::Index {
                    place,
                    name: path.name(),
                }),
            };
        }
        if let Some(path) = rest.strip_prefix(GIT_INDEX) {
            let call = match path {
                "/info/refs" => GitCall::Refs,
                "/git-upload-pack" => GitCall::UploadPack,
                "/git-receive-pack" => GitCall::ReceivePack,
                path if path.is_empty() || path.starts_with('/') => GitCall::Other,
                _ => return Err(unknown()),
            };
            return Ok(Self::Git { place, call });
        }
        match rest {
            "search" => return Ok(Self::Page(Page::Search { place })),
            "policy" => return Ok(Self::Page(Page::Policy { place })),
            _ => {}
        }
        if let Some(path) = rest.strip_prefix("crates/") {
            if !path.contains('/') && !path.is_empty() {
                let name = CrateName::parse(&decode(path)?)?;
                return Ok(Self::Page(Page::Crate { place, name }));
            }
            let (name, version) = download(path)
                .or_else(|| file_name(path))
                .ok_or_else(unknown)?;
            let id = file(name, version)?;
            return Ok(Self::Download { place, id });
        }
        let api = rest.strip_prefix("api/v1/").ok_or_else(unknown)?;
        match api.strip_prefix("crates/").and_then(download) {
            Some((name, version)) => Ok(Self::Download {
                place,
                id: file(name, version)?,
            }),
            None => Ok(Self::WebApi {
                place,
                call: ApiCall::parse(api)?,
            }),
        }
    }

    /// What requests for it are counted as in the metrics.
    pub fn label(&self) -> RouteLabel {
        match self {
            Self::ConfigJson { .. } => RouteLabel::ConfigJson,
            Self::Index { .. } => RouteLabel::Index,
            Self::Download { .. } => RouteLabel::Download,
            Self::WebApi { .. } => RouteLabel::WebApi,
            Self::Git { .. } => RouteLabel::Git,
            Self::Toolchain(_) => RouteLabel::Toolchain,
            Self::Page(_)
            | Self::Asset(_)
            | Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::Status => RouteLabel::Page,
        }
    }
}

impl ApiCall {
    /// What a path below `api/v1/` asks for.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a name or version that no crate can have.
    fn parse(path: &str) -> Result<Self> {
        let Some(path) = path.strip_prefix("crates") else {
            return Ok(Self::Other);
        };
        let Some(path) = path.strip_prefix('/') else {
            return Ok(match path {
                "" => Self::Search,
                _ => Self::Other,
            });
        };
        let name = |text: &str| CrateName::parse(&decode(text)?);
        let segments: Vec<&str> = path.splitn(4, '/').collect();
        Ok(match segments[..] {
            [""] => Self::Search,
            [of] => Self::Crate(name(of)?),
            [of, "versions"] => Self::Versions(name(of)?),
            [_, "owners" | "owner_user" | "owner_team"] | [_, _, "yank" | "unyank"] => Self::Owners,
            [of, version] if is_version(version) => Self::Version(file(of, version)?),
            [of, version, "dependencies"] if is_version(version) => {
                Self::Dependencies(file(of, version)?)
            }
            _ => Self::Other,
        })
    }
}

/// Whether a segment is to be taken for a version, and not for one of the words that crates.io has in its place, such as `owners`.
fn is_version(segment: &str) -> bool {
    segment.starts_with(|c: char| c.is_ascii_digit())
}

/// A crate and a version as paths have them.
fn file(name: &str, version: &str) -> Result<CrateId> {
    CrateId::parse(&decode(name)?, &decode(version)?)
}

impl Place {
    /// The place that a path begins with, and the rest of the path; `None` for what begins with none.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for names that no registry and no view can have, and for dates that are none.
    fn of(path: &str) -> Result<Option<(Self, &str)>> {
        let Some(rest) = path.strip_prefix('/') else {
            return Ok(None);
        };
        if let Some(rest) = rest.strip_prefix("views/") {
            let Some((name, rest)) = rest.split_once('/') else {
                return Ok(None);
            };
            let view = View::Named(ViewName::parse(name)?);
            let registry = None;
            return Ok(Some((Self { registry, view }, rest)));
        }
        let (registry, rest) = match rest.strip_prefix("registries/") {
            Some(rest) => match rest.split_once('/') {
                Some((name, rest)) => (Some(RegistryName::parse(name)?), rest),
                None => return Ok(None),
            },
            None => (None, rest),
        };
        let (view, rest) = match rest.strip_prefix("at/").map(|rest| rest.split_once('/')) {
            Some(Some((date, rest))) => (View::AsOf(day(date)?), rest),
            Some(None) => return Ok(None),
            None => (View::Usual, rest),
        };
        Ok(Some((Self { registry, view }, rest)))
    }
}

/// A date as paths write it.
fn day(text: &str) -> Result<Day> {
    Day::parse(text).ok_or_else(|| {
        Error::bad_request("after /at/ comes a day such as 2026-11-01, and then index/")
    })
}

/// Crate and version of `{crate}/{version}/download`, which is crates.io's form.
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
        .map_err(|e| Error::bad_request("the path is not UTF-8").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str) -> Kind {
        Route::parse(path).expect_err(path).kind()
    }

    fn index(path: &str) -> String {
        match Route::parse(path) {
            Ok(Route::Index { place, name }) if place == Place::default() => name.to_string(),
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
    fn pages_and_calls_of_the_web_api_are_told_apart() {
        let place = Place::default();
        let name = CrateName::parse("serde").expect("a name");
        let id = CrateId::parse("serde", "1.0.0").expect("valid");
        let api = |call| Route::WebApi { place, call };
        for (path, route) in [
            ("/crates/serde", Route::Page(Page::Crate { place, name })),
            ("/search", Route::Page(Page::Search { place })),
            ("/policy", Route::Page(Page::Policy { place })),
            ("/wanted", Route::Page(Page::Wanted)),
            ("/status.json", Route::Page(Page::StatusJson)),
            ("/style.css", Route::Asset(Asset::Style)),
            ("/api/v1/crates", api(ApiCall::Search)),
            ("/api/v1/crates/", api(ApiCall::Search)),
            ("/api/v1/crates/serde", api(ApiCall::Crate(name))),
            (
                "/api/v1/crates/serde/versions",
                api(ApiCall::Versions(name)),
            ),
            ("/api/v1/crates/serde/1.0.0", api(ApiCall::Version(id))),
            (
                "/api/v1/crates/serde/1.0.0/dependencies",
                api(ApiCall::Dependencies(id)),
            ),
            ("/api/v1/crates/serde/owners", api(ApiCall::Owners)),
            ("/api/v1/crates/serde/1.0.0/yank", api(ApiCall::Owners)),
            (
                "/api/v1/crates/serde/reverse_dependencies",
                api(ApiCall::Other),
            ),
            (
                "/api/v1/crates/new",
                api(ApiCall::Crate(CrateName::parse("new").expect("a name"))),
            ),
            ("/api/v1/me", api(ApiCall::Other)),
            ("/api/v1/cratesx", api(ApiCall::Other)),
        ] {
            assert_eq!(Route::parse(path).expect(path), route, "{path}");
        }
        let own = |path| matches!(Route::parse(path), Ok(Route::Page(Page::Crate { place, .. })) if place.registry.is_some());
        assert!(own("/registries/internal/crates/thing"));
        for path in [
            "/crates/1a",
            "/crates/a%2Fb",
            "/api/v1/crates/1a",
            "/api/v1/crates/a/1.x",
        ] {
            assert_eq!(kind(path), Kind::BadRequest, "{path}");
        }
    }

    #[test]
    fn every_registry_has_the_same_paths() {
        let place = Place {
            registry: Some(RegistryName::parse("internal").expect("valid")),
            view: View::Usual,
        };
        let route = Route::parse("/registries/internal/index/config.json");
        assert_eq!(route.expect("a route"), Route::ConfigJson { place });
        let route = Route::parse("/registries/internal/api/v1/crates/a/1.0.0/download");
        let id = CrateId::parse("a", "1.0.0").expect("valid");
        assert_eq!(route.expect("a route"), Route::Download { place, id });
    }

    #[test]
    fn views_and_days_are_places_of_their_own() {
        let place = |path: &str| match Route::parse(path) {
            Ok(Route::Index { place, .. } | Route::ConfigJson { place }) => place,
            Ok(Route::Download { place, .. }) => place,
            other => panic!("{path}: {other:?}"),
        };
        let named = View::Named(ViewName::parse("stable").expect("valid"));
        let day = View::AsOf(Day::parse("2026-11-01").expect("a day"));
        for (path, registry, view) in [
            ("/views/stable/index/config.json", None, named),
            ("/views/stable/index/se/rd/serde", None, named),
            ("/views/stable/api/v1/crates/a/1.0.0/download", None, named),
            ("/at/2026-11-01/index/se/rd/serde", None, day),
            ("/at/2026-11-01/api/v1/crates/a/1.0.0/download", None, day),
            ("/registries/own/at/2026-11-01/index/1/a", Some("own"), day),
        ] {
            let registry = registry.map(|name| RegistryName::parse(name).expect("valid"));
            assert_eq!(place(path), Place { registry, view }, "{path}");
        }
        for path in [
            "/views/A/index/1/a",
            "/at/2026-02-30/index/1/a",
            "/at/x/index/1/a",
        ] {
            assert_eq!(kind(path), Kind::BadRequest, "{path}");
        }
        for path in [
            "/views/a",
            "/views/",
            "/at/2026-11-01",
            "/at/",
            "/views/a/at/2026-11-01/index/1/a",
            "/registries/a/views/b/index/1/a",
        ] {
            assert_eq!(kind(path), Kind::NotFound, "{path}");
        }
    }
}
