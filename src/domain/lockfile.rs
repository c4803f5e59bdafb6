//! [`Lockfile`]: a Cargo.lock, as far as a mirror needs to know it: which files of which registries a build takes, and what they must hash to.
//!
//! Read here and not by the cargo-lock crate, which panics on a checksum of 64 bytes that aren't ASCII, takes quadratic time to resolve
//! dependencies that nobody asks for here, and gives a package the checksum of its namesake in another registry (version 1).

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use url::{Host, Url};

use super::{checksum::Sha256, name::shorten, registry::RegistryName, version::CrateId};
use crate::error::{Error, Result};

/// The newest format cargo writes, as of 1.99.
const NEWEST: u32 = 4;

/// A Cargo.lock of any version (1 to 4): its packages in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lockfile {
    /// What comes from registries.
    pub packages: Vec<Locked>,
    /// What comes from elsewhere.
    pub skipped: Vec<Skipped>,
}

/// One package of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Locked {
    /// Which registry.
    pub source: PackageSource,
    /// Which crate and version.
    pub id: CrateId,
    /// What its .crate file must hash to; files made without network access to a registry's checksums may lack it.
    pub sha256: Option<Sha256>,
}

/// A registry as a Cargo.lock names it: by where its index is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PackageSource {
    /// crates.io, by its git index (which is how cargo writes it even when it asks the sparse one) or by its sparse index.
    CratesIo,
    /// Another one, by the URL of its index, git or sparse.
    Index(Url),
}

/// A package that no registry has, or that no mirror can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from instead.
    pub why: Foreign,
}

/// Why a package isn't a registry's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It is a part of the project itself or lies beside it.
    Path,
    /// It comes from a git repository, at this URL.
    Git(String),
    /// `[replace]` puts another package into its place.
    Replaced,
    /// This program doesn't know what that is.
    Unknown(String),
}

/// The file's own words; cargo's are in `cargo/src/cargo/core/resolver/encode.rs`.
#[derive(Deserialize)]
struct LockfileToml {
    version: Option<u32>,
    #[serde(default)]
    package: Vec<Package>,
    /// In version 1 the checksums are here, under `checksum NAME VERSION (SOURCE)`.
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    replace: Option<String>,
}

impl Lockfile {
    /// Parses a Cargo.lock.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong and where, in one sentence that lacks the file's name.
    pub fn parse(text: &str) -> Result<Self> {
        let text = without_mark(text);
        let written: LockfileToml = toml::from_str(text).map_err(|e| not_one(text, &e))?;
        if let Some(version) = written.version.filter(|v| !(1..=NEWEST).contains(v)) {
            return Err(Error::bad_request(format!(
                "it is a Cargo.lock of version {version}, and this program reads versions 1 to {NEWEST}"
            )));
        }
        let mut file = Self::default();
        for package in &written.package {
            match package.place() {
                Err(why) => file.skipped.push(Skipped {
                    name: package.name.clone(),
                    version: package.version.clone(),
                    why,
                }),
                Ok((source, id)) => file.packages.push(Locked {
                    source,
                    id,
                    sha256: package.sha256(&written.metadata)?,
                }),
            }
        }
        Ok(file)
    }
}

impl Package {
    /// Which registry it is of, and what it is called there.
    fn place(&self) -> Result<(PackageSource, CrateId), Foreign> {
        let Some(source) = &self.source else {
            return Err(Foreign::Path);
        };
        if self.replace.is_some() {
            return Err(Foreign::Replaced);
        }
        let source = PackageSource::parse(source)?;
        match CrateId::parse(&self.name, &self.version) {
            Ok(id) => Ok((source, id)),
            Err(e) => Err(Foreign::Unknown(e.message().to_owned())),
        }
    }

    fn sha256(&self, metadata: &BTreeMap<String, toml::Value>) -> Result<Option<Sha256>> {
        let Self { name, version, .. } = self;
        let in_metadata = || {
            let source = self.source.as_deref().unwrap_or_default();
            let key = format!("checksum {name} {version} ({source})");
            metadata.get(&key)?.as_str()
        };
        match self.checksum.as_deref().or_else(in_metadata) {
            // What version 1 writes where a source has no checksums.
            None | Some("<none>") => Ok(None),
            Some(text) => Sha256::parse(text).map(Some).map_err(|_| {
                Error::bad_request(format!(
                    "the checksum of {} {} is {:?}, which is no SHA-256 checksum",
                    shorten(name),
                    shorten(version),
                    shorten(text)
                ))
            }),
        }
    }
}

impl PackageSource {
    const GIT_INDEX: &str = "https://github.com/rust-lang/crates.io-index";
    const SPARSE_INDEX: &str = "https://index.crates.io";

    /// Parses a `source`: the kind, `+` and a URL. Some programs write both kinds of a registry before a URL.
    fn parse(text: &str) -> Result<Self, Foreign> {
        match text.split_once('+') {
            Some(("registry" | "sparse", url)) => {
                let url = url.strip_prefix("sparse+").unwrap_or(url);
                let url = Url::parse(url).map_err(|_| Foreign::Unknown(shorten(text)))?;
                Ok(Self::at(url))
            }
            Some(("git", url)) => Err(Foreign::Git(without_password(url))),
            Some(("path", _)) => Err(Foreign::Path),
            _ => Err(Foreign::Unknown(shorten(text))),
        }
    }

    /// The registry whose index is at `url`, which has no `registry+` or `sparse+` before it.
    pub fn at(url: Url) -> Self {
        match url.as_str().trim_end_matches('/') {
            Self::GIT_INDEX | Self::SPARSE_INDEX => Self::CratesIo,
            _ => Self::Index(url),
        }
    }

    /// Which of the `known` registries this is; an index's URL may or may not end in a slash, and whoever asks for it has a name and a password of
    /// their own. crates.io is the one of that name, wherever it is fetched from.
    pub fn among<'a>(
        &self,
        known: impl IntoIterator<Item = (RegistryName, &'a Url)>,
    ) -> Option<RegistryName> {
        let crates_io = RegistryName::crates_io();
        let same = |(name, index): &(RegistryName, &'a Url)| match self {
            Self::CratesIo => *name == crates_io,
            Self::Index(url) => place(url) == place(index),
        };
        known.into_iter().find(same).map(|(name, _)| name)
    }
}

/// Where a URL leads, whoever goes there.
fn place(url: &Url) -> (&str, Option<Host<&str>>, Option<u16>, &str, Option<&str>) {
    (
        url.scheme(),
        url.host(),
        url.port_or_known_default(),
        url.path().trim_end_matches('/'),
        url.query(),
    )
}

/// A text without the byte order mark that some editors put before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

impl fmt::Display for PackageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CratesIo => f.write_str("crates.io"),
            Self::Index(url) => f.write_str(&without_password(url.as_str())),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("it is a path on the machine that builds it"),
            Self::Git(url) => write!(f, "it comes from the git repository {url}"),
            Self::Replaced => f.write_str("[replace] puts another package into its place"),
            Self::Unknown(what) => write!(f, "it can't be mirrored: {what}"),
        }
    }
}

/// A URL as it may stand on a screen.
fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() || !parsed.username().is_empty() => {
            let _ = (parsed.set_password(None), parsed.set_username(""));
            parsed.into()
        }
        Ok(_) | Err(_) => url.to_owned(),
    }
}

/// Why a text is no Cargo.lock, in one line.
fn not_one(text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().and_then(|span| {
        let before = text.as_bytes().get(..span.start)?;
        Some(before.iter().filter(|&&b| b == b'\n').count() + 1)
    });
    let place = line.map_or_else(String::new, |line| format!(" at line {line}"));
    let why = error.message().lines().collect::<Vec<_>>().join(", ");
    // The library's error isn't kept: it holds the whole text.
    Error::bad_request(format!("it is not a Cargo.lock{place}: {}", shorten(&why)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA: &str = "9a8e94ea7f378bd32cbbd37198a4a91436180c5bb472411e48b5ec2e2124ae9e";
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn refused(text: &str) -> String {
        let message = Lockfile::parse(text).expect_err("refused").to_string();
        assert!(!message.contains('\n'), "one line: {message}");
        message
    }

    fn serde(sha256: Option<&str>) -> Locked {
        Locked {
            source: PackageSource::CratesIo,
            id: CrateId::parse("serde", "1.0.200").expect("valid"),
            sha256: sha256.map(|text| Sha256::parse(text).expect("valid")),
        }
    }

    #[test]
    fn every_version_cargo_has_written_is_read() {
        let package = format!(
            "[[package]]\nname = \"serde\"\nversion = \"1.0.200\"\nsource = \"{CRATES_IO}\"\n"
        );
        let first =
            format!("{package}[metadata]\n\"checksum serde 1.0.200 ({CRATES_IO})\" = \"{SHA}\"\n");
        let later = format!("{package}checksum = \"{SHA}\"\ndependencies = [\"a\", \"b 1.0.0\"]\n");
        let files = [
            first,
            later.clone(),
            format!("version = 3\n\n{later}"),
            format!("# @generated\nversion = 4\n\n{later}"),
            format!("\u{feff}# an editor's\nversion = 4\n\n{later}").replace('\n', "\r\n"),
        ];
        for file in files {
            let read = Lockfile::parse(&file).expect("a Cargo.lock");
            assert_eq!(read.packages, [serde(Some(SHA))], "{file}");
        }
        let read = Lockfile::parse(&package).expect("a Cargo.lock");
        assert_eq!(read.packages, [serde(None)]);
        assert_eq!(Lockfile::parse("").expect("empty"), Lockfile::default());
    }

    #[test]
    fn a_package_gets_the_checksum_of_its_own_registry() {
        let other = "registry+https://example.com/index";
        let package = |source| {
            format!("[[package]]\nname = \"serde\"\nversion = \"1.0.200\"\nsource = \"{source}\"\n")
        };
        let (mine, others) = ("11".repeat(32), "22".repeat(32));
        let file = format!(
            "{}{}[metadata]\n\"checksum serde 1.0.200 ({CRATES_IO})\" = \"{mine}\"\n\"checksum serde 1.0.200 ({other})\" = \"{others}\"\n",
            package(other),
            package(CRATES_IO)
        );
        let read = Lockfile::parse(&file).expect("a Cargo.lock");
        let sums = read.packages.iter().filter_map(|p| p.sha256);
        assert_eq!(
            sums.map(|s| s.to_string()).collect::<Vec<_>>(),
            [others, mine]
        );
    }

    #[test]
    fn what_is_no_registry_s_is_skipped_with_its_reason() {
        let package =
            |source: &str| format!("[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n{source}\n");
        for (source, why) in [
            ("", "a path"),
            (
                "source = \"git+https://user:secret@example.com/a?rev=1#2\"",
                "git repository https://example.com/a",
            ),
            (
                "source = \"git+ssh://git@example.com/a#2\"",
                "ssh://example.com/a",
            ),
            ("source = \"carrier+pigeon\"", "can't be mirrored"),
            ("source = \"registry+no URL\"", "can't be mirrored"),
            (
                &format!("source = \"{CRATES_IO}\"\nreplace = \"a 0.1.0\""),
                "[replace]",
            ),
        ] {
            let read = Lockfile::parse(&package(source)).expect("a Cargo.lock");
            assert!(read.packages.is_empty(), "{source}");
            let shown = read.skipped[0].why.to_string();
            assert!(shown.contains(why) && !shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn a_registry_is_known_by_its_index_whatever_is_around_the_url() {
        let url = |text| Url::parse(text).expect("a URL");
        let name = |text| RegistryName::parse(text).expect("a name");
        let index = url("https://ci:secret@a.example/index/");
        let far = url("https://far.example/");
        let known = [(name("inner"), &index), (name("crates-io"), &far)];
        for (source, found) in [
            ("sparse+https://a.example/index/", Some("inner")),
            ("registry+https://A.example:443/index", Some("inner")),
            ("registry+sparse+https://a.example/index/", Some("inner")),
            ("sparse+https://me:mine@a.example/index/", Some("inner")),
            ("sparse+http://a.example/index/", None),
            ("sparse+https://a.example/index2/", None),
            (CRATES_IO, Some("crates-io")),
            ("sparse+https://index.crates.io/", Some("crates-io")),
            (
                "registry+sparse+https://index.crates.io/",
                Some("crates-io"),
            ),
        ] {
            let source = PackageSource::parse(source).expect("a registry");
            assert_eq!(source.among(known), found.map(name), "{source}");
        }
    }

    #[test]
    fn what_is_no_lockfile_is_refused_in_one_line() {
        assert!(refused("version = 5").contains("version 5"));
        assert!(refused("\n\n<<<<<<< HEAD\n").contains("line 3"));
        assert!(refused("[[package]]\nname = \"a\"\n").contains("version"));
        let wrong = format!(
            "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{CRATES_IO}\"\nchecksum = \"{}\"",
            "ä".repeat(32)
        );
        assert!(refused(&wrong).contains("the checksum of a 1.0.0"));
    }

    proptest! {
        #[test]
        fn no_text_at_all_makes_it_panic(text in ".{0,200}", source in "(registry|sparse|git|path)?\\+?.{0,20}", sum in ".{0,64}") {
            let _ = Lockfile::parse(&text);
            let package = format!(
                "[[package]]\nname = {:?}\nversion = \"1.0.0\"\nsource = {source:?}\nchecksum = {sum:?}\n{text}",
                text
            );
            if let Ok(read) = Lockfile::parse(&package) {
                prop_assert!(read.packages.len() + read.skipped.len() >= 1);
                for skipped in read.skipped {
                    let _ = skipped.why.to_string();
                }
            }
        }
    }
}
