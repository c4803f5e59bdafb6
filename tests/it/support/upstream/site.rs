//! The site: what the fake crates.io has published, and which of it a path names.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::json;

use super::answer::{Answer, Class, Framing, Request, Resource};
use super::builder::{Etag, Options};
use crate::support::package::{Package, index_path, prefix, sha256};

pub(super) struct Site {
    base: String,
    options: Options,
    /// By lower-case name.
    crates: BTreeMap<String, Crate>,
    pages: BTreeMap<String, (String, Bytes)>,
    /// What an object store has: with a strong ETag, a Last-Modified, and ranges.
    objects: BTreeMap<String, (Bytes, SystemTime)>,
    changes: u64,
}

struct Crate {
    versions: Vec<Version>,
    modified: SystemTime,
}

pub(super) struct Version {
    package: Package,
    line: String,
    published: SystemTime,
    pub(super) file: Bytes,
    /// Where the `dl` puts it.
    pub(super) path: String,
}

impl Site {
    pub(super) fn new(base: String, options: Options) -> Site {
        Site {
            base,
            options,
            crates: BTreeMap::new(),
            pages: BTreeMap::new(),
            objects: BTreeMap::new(),
            changes: 0,
        }
    }

    pub(super) fn publish(&mut self, package: Package) {
        let now = self.tick();
        let file = Bytes::from(package.crate_file());
        let version = Version {
            line: package.line_for(&file),
            path: self.download_path(&package, &file),
            package,
            published: now,
            file,
        };
        let key = version.package.name().to_ascii_lowercase();
        let entry = self.crates.entry(key).or_insert_with(|| Crate {
            versions: Vec::new(),
            modified: now,
        });
        entry.modified = now;
        let number = version.package.version();
        match entry
            .versions
            .iter_mut()
            .find(|old| old.package.version() == number)
        {
            Some(old) => *old = version,
            None => entry.versions.push(version),
        }
    }

    pub(super) fn delete(&mut self, name: &str) {
        let removed = self.crates.remove(&name.to_ascii_lowercase());
        assert!(removed.is_some(), "{name} isn't published");
    }

    pub(super) fn delete_version(&mut self, name: &str, version: &str) {
        let now = self.tick();
        let entry = self.entry_mut(name);
        let before = entry.versions.len();
        entry
            .versions
            .retain(|held| held.package.version() != version);
        assert!(
            entry.versions.len() < before,
            "{name} {version} isn't published"
        );
        entry.modified = now;
    }

    pub(super) fn set_yanked(&mut self, name: &str, version: &str, yanked: bool) {
        let now = self.tick();
        let entry = self.entry_mut(name);
        entry.modified = now;
        let held = entry
            .versions
            .iter_mut()
            .find(|held| held.package.version() == version);
        let held = held.unwrap_or_else(|| panic!("{name} {version} isn't published"));
        held.package = held.package.clone().yanked(yanked);
        held.line = held.package.line_for(&held.file);
    }

    pub(super) fn page(&mut self, path: &str, content_type: &str, body: &str) {
        let page = (content_type.to_owned(), Bytes::from(body.to_owned()));
        self.pages.insert(path.to_owned(), page);
    }

    pub(super) fn object(&mut self, path: &str, body: Bytes) {
        let now = self.tick();
        self.objects.insert(path.to_owned(), (body, now));
    }

    pub(super) fn remove_object(&mut self, path: &str) {
        let removed = self.objects.remove(path);
        assert!(removed.is_some(), "{path} isn't there");
    }

    pub(super) fn object_at(&self, path: &str) -> Bytes {
        let (body, _) = &self.objects[path];
        body.clone()
    }

    pub(super) fn version(&self, name: &str, version: &str) -> &Version {
        self.crates
            .get(&name.to_ascii_lowercase())
            .and_then(|entry| {
                entry
                    .versions
                    .iter()
                    .find(|held| held.package.version() == version)
            })
            .unwrap_or_else(|| panic!("{name} {version} isn't published"))
    }

    pub(super) fn index_file(&self, name: &str) -> String {
        let entry = self.crates.get(&name.to_ascii_lowercase());
        entry
            .unwrap_or_else(|| panic!("{name} isn't published"))
            .lines()
    }

    fn entry_mut(&mut self, name: &str) -> &mut Crate {
        let entry = self.crates.get_mut(&name.to_ascii_lowercase());
        entry.unwrap_or_else(|| panic!("{name} isn't published"))
    }

    /// The site's own clock: a second later with every change, because HTTP dates have no
    /// fractions and a test publishes twice within one.
    fn tick(&mut self) -> SystemTime {
        self.changes += 1;
        founded() + Duration::from_secs(self.changes)
    }

    pub(super) fn answer(&self, request: &Request) -> Answer {
        let wanted = self.options.wanted.as_ref();
        if wanted.is_some_and(|(header, value)| request.headers.get(header) != Some(value)) {
            let mut answer = Answer::sentence(401, "a token is needed");
            let login = format!("Cargo login_url=\"{}/me\"", self.base);
            answer.headers.push("www-authenticate", login);
            return answer;
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Answer::sentence(405, "only GET and HEAD");
        }
        let Some(resource) = self.resource(&request.path) else {
            return Answer::sentence(404, "not found");
        };
        let mut answer = resource.answer(request);
        if self.options.chunked {
            answer.framing = Framing::Chunked;
        }
        answer
    }

    pub(super) fn class(&self, path: &str) -> Class {
        if path == "/index/config.json" {
            Class::Config
        } else if path.starts_with("/index/") {
            Class::Index
        } else if path.starts_with(&self.download_root()) {
            Class::Crate
        } else {
            Class::Page
        }
    }

    fn resource(&self, path: &str) -> Option<Resource> {
        let bare = path.split('?').next().unwrap_or_default();
        match self.class(bare) {
            Class::Config => Some(self.config()),
            Class::Index => self
                .crates
                .iter()
                .find(|(name, _)| bare.strip_prefix("/index/") == Some(&index_path(name)))
                .map(|(_, entry)| self.index(entry)),
            Class::Crate => {
                let bare = bare.replace("%2B", "+");
                self.crates
                    .values()
                    .flat_map(|entry| &entry.versions)
                    .find(|held| held.path == bare)
                    .map(|held| self.download(held))
            }
            Class::Page if self.objects.contains_key(bare) => {
                let (body, modified) = &self.objects[bare];
                let validators = self.options.last_modified;
                Some(Resource {
                    etag: validators.then(|| format!("\"{}\"", &sha256(body)[..32])),
                    modified: validators.then_some(*modified),
                    ranges: self.options.ranges,
                    ..text("application/octet-stream", body.clone())
                })
            }
            Class::Page => self
                .pages
                .get(path)
                .or_else(|| self.pages.get(bare))
                .map(|(content_type, body)| text(content_type, body.clone())),
        }
    }

    fn config(&self) -> Resource {
        let mut config = json!({ "dl": self.dl(), "api": self.base });
        if self.options.wanted.is_some() {
            config["auth-required"] = json!(true);
        }
        text("application/json", config.to_string().into())
    }

    fn index(&self, entry: &Crate) -> Resource {
        let body = Bytes::from(entry.lines());
        let tag = &sha256(&body)[..32];
        let etag = match self.options.etag {
            Etag::None => None,
            Etag::Weak => Some(format!("W/\"{tag}\"")),
            Etag::Strong => Some(format!("\"{tag}\"")),
        };
        Resource {
            etag,
            modified: self.options.last_modified.then_some(entry.modified),
            cache_control: "public,max-age=600",
            gzip: self.options.gzip,
            ..text("text/plain", body)
        }
    }

    /// Crate files have a strong ETag and a Last-Modified unless nothing has validators.
    fn download(&self, held: &Version) -> Resource {
        let validators = self.options.last_modified || !matches!(self.options.etag, Etag::None);
        Resource {
            etag: validators.then(|| format!("\"{}\"", &sha256(&held.file)[..32])),
            modified: validators.then_some(held.published),
            cache_control: "public,max-age=31536000,immutable",
            ranges: self.options.ranges,
            ..text("application/gzip", held.file.clone())
        }
    }

    fn dl(&self) -> String {
        self.options.dl.replace("{base}", &self.base)
    }

    /// The path of the `dl` up to its first marker.
    fn download_root(&self) -> String {
        let dl = self.dl();
        let path = path_of(&dl);
        path.split('{').next().unwrap_or_default().to_owned()
    }

    fn download_path(&self, package: &Package, file: &[u8]) -> String {
        let mut dl = self.dl();
        if !dl.contains('{') {
            dl.push_str("/{crate}/{version}/download");
        }
        let name = package.name();
        path_of(&dl)
            .replace("{crate}", name)
            .replace("{version}", package.version())
            .replace("{prefix}", &prefix(name))
            .replace("{lowerprefix}", &prefix(&name.to_ascii_lowercase()))
            .replace("{sha256-checksum}", &package.checksum_of(file))
    }
}

impl Crate {
    fn lines(&self) -> String {
        self.versions
            .iter()
            .map(|held| format!("{}\n", held.line))
            .collect()
    }
}

/// A resource without validators.
fn text(content_type: &str, body: Bytes) -> Resource {
    Resource {
        body,
        content_type: content_type.to_owned(),
        cache_control: "public,max-age=60",
        etag: None,
        modified: None,
        gzip: false,
        ranges: false,
    }
}

/// The path of an absolute URL.
fn path_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    url[host..]
        .find('/')
        .map_or("/", |path| &url[host + path..])
}

/// 2024-01-01: a date in the past, so that no cache takes a fresh object for one from the future.
fn founded() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200)
}
