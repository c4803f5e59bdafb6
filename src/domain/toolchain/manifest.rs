//! [`ToolchainManifest`]: what a channel manifest says: which files a release has, with their checksums, and which of them belong together.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;

use super::{
    lines::{TomlEvent, TomlLines},
    path::{ComponentFile, ComponentName},
};
use crate::domain::{Day, Sha256, one_line};

/// The forms in which a component may come, as the keys of their URLs and checksums, the one that rustup takes first.
const FORMS: [(&str, &str); 3] = [
    ("xz_url", "xz_hash"),
    ("url", "hash"),
    ("zst_url", "zst_hash"),
];

/// A manifest has so many packages, new names and profiles at most, together; nightly's has some sixty. A name may have one byte, and what is known of it has a hundred.
const MOST_NAMES: usize = 2_000;
/// So many files for so many targets, all packages together; nightly's has some three thousand.
const MOST_TARGETS: usize = 20_000;
/// So many parts of toolchains and profiles, those of all hosts together; nightly's has some fifteen thousand.
const MOST_PARTS: usize = 100_000;
/// So many bytes of what a manifest says stand in an error.
const SAID: usize = 200;

/// The checksums of all files that a manifest names. A file takes 44 bytes; a manifest of a megabyte names some two thousand.
#[derive(Debug)]
pub struct ManifestHashes {
    day: Day,
    body: Bytes,
    /// In the order of their names.
    files: Box<[NamedFile]>,
}

/// A file that a manifest names.
#[derive(Clone, Copy, Debug)]
struct NamedFile {
    /// Where in the body its name is.
    start: u32,
    length: u8,
    day: Day,
    sha256: Sha256,
}

/// A channel manifest, read whole, for who chooses from it.
#[derive(Debug)]
pub struct ToolchainManifest<'a> {
    /// The day of the release.
    pub day: Day,
    packages: BTreeMap<Cow<'a, str>, ToolchainPackage<'a>>,
    renames: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    profiles: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
    /// How many targets its packages have, and how many parts these.
    targets: usize,
    parts: usize,
}

#[derive(Debug, Default)]
struct ToolchainPackage<'a> {
    version: Option<Cow<'a, str>>,
    targets: BTreeMap<Cow<'a, str>, PackageTarget<'a>>,
}

#[derive(Debug, Default)]
struct PackageTarget<'a> {
    /// In the first of [`FORMS`] that it comes in.
    file: Option<Box<TargetFile>>,
    /// What may be installed with it: package and target.
    parts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Debug)]
struct TargetFile {
    /// Its place in [`FORMS`].
    form: usize,
    file: ComponentFile,
    sha256: Sha256,
}

/// What is wanted of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolchainTarget {
    /// The machine that the tools run on, as a triple.
    pub host: String,
    /// The profile; rustup's own is `default`.
    pub profile: String,
    /// More components than it has.
    pub components: Vec<String>,
    /// Targets whose standard library is wanted.
    pub targets: Vec<String>,
}

/// The file at the end of a URL: `…/dist/DATE/NAME`, with where in the URL the name begins.
fn file_in(url: &str) -> Option<(ComponentFile, usize)> {
    let (folder, name) = url.rsplit_once('/')?;
    let start = folder.len() + 1;
    let day = Day::parse(folder.rsplit_once('/')?.1)?;
    let name = ComponentName::parse(name)?;
    Some((ComponentFile { day, name }, start))
}

/// The day that a manifest says it is of, and whether it is one of the version that is known.
#[derive(Default)]
struct ManifestHead {
    day: Option<Day>,
    version: bool,
}

impl ManifestHead {
    fn see(&mut self, event: &TomlEvent<'_>) -> Result<(), String> {
        match event {
            TomlEvent::Text(key, text) if *key == "date" => {
                let day = Day::parse(text).ok_or("its date is none")?;
                self.day.get_or_insert(day);
            }
            TomlEvent::Text(key, text) if *key == "manifest-version" => {
                if *text != "2" {
                    return Err("it is a manifest of a version that isn't known".into());
                }
                self.version = true;
            }
            TomlEvent::Text(..)
            | TomlEvent::Table(_)
            | TomlEvent::Truth(..)
            | TomlEvent::Texts(..)
            | TomlEvent::Other => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Day, String> {
        match (self.version, self.day) {
            (true, Some(day)) => Ok(day),
            (false, _) => Err("it doesn't say that it is a manifest".into()),
            (true, None) => Err("it has no date".into()),
        }
    }
}

impl ManifestHashes {
    /// How many bytes a manifest may have. Nightly's, the largest, has some three million.
    pub const MAX_BODY: usize = 32 << 20;
    /// So many files are taken of one.
    const MOST: usize = 100_000;

    /// Reads a manifest. It is gone through once, and its text isn't copied.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it.
    pub fn of(body: Bytes) -> Result<Self, String> {
        if body.len() > Self::MAX_BODY {
            return Err(format!("it has more than {} bytes", Self::MAX_BODY));
        }
        let text = std::str::from_utf8(&body).map_err(|_| "it is no text".to_owned())?;
        let (mut head, mut is_head) = (ManifestHead::default(), true);
        let mut files = Vec::new();
        let mut urls: [Option<(ComponentFile, u32)>; 3] = [None; 3];
        let mut lines = TomlLines::of(text);
        while let Some(event) = lines.next_event()? {
            if is_head {
                head.see(&event)?;
            }
            match event {
                TomlEvent::Table(_) => (is_head, urls) = (false, [None; 3]),
                TomlEvent::Text(key, Cow::Borrowed(value)) => {
                    for (form, (url, hash)) in FORMS.iter().enumerate() {
                        if key == *url {
                            urls[form] = file_in(value).and_then(|(file, start)| {
                                let at = value.as_ptr() as usize - text.as_ptr() as usize;
                                Some((file, u32::try_from(at + start).ok()?))
                            });
                        } else if key == *hash
                            && let Some((file, start)) = urls[form].take()
                            && let Ok(sha256) = Sha256::parse(value)
                            && files.len() < Self::MOST
                        {
                            files.push(NamedFile {
                                start,
                                length: u8::try_from(file.name.as_str().len()).unwrap_or(0),
                                day: file.day,
                                sha256,
                            });
                        }
                    }
                }
                TomlEvent::Text(_, Cow::Owned(_))
                | TomlEvent::Truth(..)
                | TomlEvent::Texts(..)
                | TomlEvent::Other => {}
            }
        }
        let day = head.finish()?;
        let key = |file: &NamedFile| (name_in(&body, file), file.day);
        files.sort_by(|a, b| key(a).cmp(&key(b)));
        // Of a file that is named twice with different checksums nobody knows which one it has.
        let is_same = |a: &NamedFile, b: &NamedFile| key(a) == key(b);
        let groups = files.chunk_by(is_same);
        let sure = groups.filter(|group| group.iter().all(|file| file.sha256 == group[0].sha256));
        let files = sure.map(|group| group[0]).collect();
        Ok(Self { day, files, body })
    }

    /// The day of the release.
    pub fn day(&self) -> Day {
        self.day
    }

    /// What that file must hash to, if this manifest names it.
    pub fn sha256_of(&self, file: &ComponentFile) -> Option<Sha256> {
        let wanted = (file.name.as_str().as_bytes(), file.day);
        let at = self
            .files
            .binary_search_by(|it| (name_in(&self.body, it), it.day).cmp(&wanted));
        at.ok().map(|at| self.files[at].sha256)
    }

    /// All files that it names, with their checksums.
    pub fn files(&self) -> impl Iterator<Item = (ComponentFile, Sha256)> {
        self.files.iter().filter_map(|file| {
            let name = std::str::from_utf8(name_in(&self.body, file)).ok()?;
            let name = ComponentName::parse(name)?;
            let day = file.day;
            Some((ComponentFile { day, name }, file.sha256))
        })
    }

    /// The days of the files that it names, in their order: hardly ever more than one.
    pub fn days(&self) -> Vec<Day> {
        let days: BTreeSet<Day> = self.files.iter().map(|file| file.day).collect();
        days.into_iter().collect()
    }

    /// About how many bytes of memory this takes beside the manifest itself.
    pub fn size(&self) -> usize {
        size_of_val(&*self.files) + size_of::<Self>()
    }
}

fn name_in<'a>(body: &'a [u8], file: &NamedFile) -> &'a [u8] {
    let start = file.start as usize;
    body.get(start..start + usize::from(file.length))
        .unwrap_or_default()
}

impl PackageTarget<'_> {
    /// A form in which it comes, which is the one to take unless there is a better one.
    fn offer(&mut self, file: TargetFile) {
        if self.file.as_ref().is_none_or(|best| file.form <= best.form) {
            self.file = Some(Box::new(file));
        }
    }
}

/// Which table of a manifest is read.
enum Place<'a> {
    Root,
    Package(Cow<'a, str>),
    Target(Cow<'a, str>, Cow<'a, str>),
    Parts(Cow<'a, str>, Cow<'a, str>),
    Rename(Cow<'a, str>),
    Profiles,
    Other,
}

impl<'a> Place<'a> {
    fn of(path: Vec<Cow<'a, str>>) -> Self {
        let mut path = path.into_iter();
        let first = path.next().unwrap_or_default();
        let [second, third, fourth, fifth, sixth] = std::array::from_fn(|_| path.next());
        match (&*first, second, third.as_deref(), fourth, fifth.as_deref()) {
            ("pkg", Some(package), None, None, None) => Self::Package(package),
            ("pkg", Some(package), Some("target"), Some(target), None) => {
                Self::Target(package, target)
            }
            (
                "pkg",
                Some(package),
                Some("target"),
                Some(target),
                Some("components" | "extensions"),
            ) if sixth.is_none() => Self::Parts(package, target),
            ("renames", Some(name), None, None, None) => Self::Rename(name),
            ("profiles", None, None, None, None) => Self::Profiles,
            _ => Self::Other,
        }
    }
}

impl<'a> ToolchainManifest<'a> {
    /// Reads a manifest. It takes about as much memory as its text has bytes, and never more than some 20 MB beside that: one with more names, targets or parts than any has
    /// is refused, because its writer says how much memory they take.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let mut head = ManifestHead::default();
        let mut read = Self {
            day: Day::of(std::time::SystemTime::UNIX_EPOCH),
            packages: BTreeMap::new(),
            renames: BTreeMap::new(),
            profiles: BTreeMap::new(),
            targets: 0,
            parts: 0,
        };
        let mut place = Place::Root;
        let mut urls: [Option<ComponentFile>; 3] = [None; 3];
        let mut part = None;
        let mut lines = TomlLines::of(text);
        while let Some(event) = lines.next_event()? {
            if matches!(place, Place::Root) {
                head.see(&event)?;
            }
            match (event, &place) {
                (TomlEvent::Table(path), _) => {
                    (urls, part) = ([None; 3], None);
                    place = Place::of(path);
                    if let Place::Target(package, target) = &place {
                        read.target(package, target);
                    }
                }
                (TomlEvent::Text(key, text), Place::Package(package)) if key == "version" => {
                    let package = read.packages.entry(package.clone()).or_default();
                    package.version = Some(text);
                }
                (TomlEvent::Text(key, text), Place::Target(package, target)) => {
                    for (form, (url, hash)) in FORMS.iter().enumerate() {
                        if key == *url {
                            urls[form] = file_in(&text).map(|(file, _)| file);
                        } else if key == *hash
                            && let (Some(file), Ok(sha256)) = (urls[form], Sha256::parse(&text))
                        {
                            let target = read.target(package, target);
                            target.offer(TargetFile { form, file, sha256 });
                        }
                    }
                }
                (TomlEvent::Text(key, text), Place::Parts(..)) if key == "pkg" => part = Some(text),
                (TomlEvent::Text(key, text), Place::Parts(package, target)) if key == "target" => {
                    if let Some(part) = part.take() {
                        read.parts += 1;
                        read.target(package, target).parts.push((part, text));
                    }
                }
                (TomlEvent::Text(key, text), Place::Rename(name)) if key == "to" => {
                    read.renames.insert(name.clone(), text);
                }
                (TomlEvent::Texts(key, texts), Place::Profiles) => {
                    read.parts += texts.len();
                    read.profiles.insert(key, texts);
                }
                (
                    TomlEvent::Text(..)
                    | TomlEvent::Truth(..)
                    | TomlEvent::Texts(..)
                    | TomlEvent::Other,
                    _,
                ) => {}
            }
            read.is_within_bounds()?;
        }
        read.day = head.finish()?;
        Ok(read)
    }

    /// What is known of a package for a target, from now on.
    fn target(&mut self, package: &Cow<'a, str>, target: &Cow<'a, str>) -> &mut PackageTarget<'a> {
        let package = self.packages.entry(package.clone()).or_default();
        let count = &mut self.targets;
        package.targets.entry(target.clone()).or_insert_with(|| {
            *count += 1;
            PackageTarget::default()
        })
    }

    fn is_within_bounds(&self) -> Result<(), String> {
        let names = self.packages.len() + self.renames.len() + self.profiles.len();
        match names <= MOST_NAMES && self.targets <= MOST_TARGETS && self.parts <= MOST_PARTS {
            true => Ok(()),
            false => Err("it has more in it than a manifest has".into()),
        }
    }

    /// The version of rustc in it, as its package says it: `1.95.0 (59807616e 2026-04-14)`.
    pub fn rustc(&self) -> Option<&str> {
        let package = self.packages.get("rustc").or(self.packages.get("rust"))?;
        package.version.as_deref()
    }

    /// The files that rustup would install for what is wanted, each once.
    ///
    /// # Errors
    /// A sentence that says what this release doesn't have.
    pub fn files_of(
        &self,
        wanted: &ToolchainTarget,
    ) -> Result<Vec<(ComponentFile, Sha256)>, String> {
        let host = wanted.host.as_str();
        let rust = self.packages.get("rust");
        let rust = rust.and_then(|rust| rust.targets.get(host));
        let rust = rust.ok_or_else(|| format!("it has no toolchain that runs on {host}"))?;
        let profile = self.profiles.get(wanted.profile.as_str()).ok_or_else(|| {
            let known: Vec<_> = self.profiles.keys().map(|name| &**name).collect();
            let known = one_line(&known.join(", "), SAID);
            format!("it has no profile {}; it has {known}", wanted.profile)
        })?;
        let mut parts: BTreeSet<(&str, &str)> = BTreeSet::new();
        for name in profile {
            // What there isn't for this host is left out, as rustup does: `rust-mingw` is for Windows.
            let part = rust
                .parts
                .iter()
                .find(|(package, target)| package == name && (target == host || target == "*"));
            parts.extend(part.map(|(package, target)| (&**package, &**target)));
        }
        for name in &wanted.components {
            parts.insert(self.component(rust, host, name)?);
        }
        for target in &wanted.targets {
            let part = rust
                .parts
                .iter()
                .find(|(p, t)| p == "rust-std" && t == target);
            let (package, target) =
                part.ok_or_else(|| format!("it has no rust-std for {target}"))?;
            parts.insert((package, target));
        }
        let file = |(package, target): (&str, &str)| {
            let found = self.packages.get(package);
            let found = found.and_then(|package| {
                package
                    .targets
                    .get(target)
                    .or_else(|| package.targets.get("*"))
            });
            let found = found.and_then(|target| target.file.as_deref());
            let found = found.map(|found| (found.file, found.sha256));
            found.ok_or_else(|| {
                let (package, target) = (one_line(package, SAID), one_line(target, SAID));
                format!("it has no file of {package} for {target}")
            })
        };
        let mut files = parts.into_iter().map(file).collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(|(file, _)| (file.day, file.name));
        files.dedup();
        Ok(files)
    }

    /// The component that people call so: `clippy`, `rust-src`, `rust-std-wasm32-wasip1`.
    fn component<'b>(
        &'b self,
        rust: &'b PackageTarget<'a>,
        host: &str,
        name: &str,
    ) -> Result<(&'b str, &'b str), String> {
        let renamed = |name: &str| self.renames.get(name).map(|to| to.to_string());
        let called = |package: &str, target: &str| {
            let own = name == package || renamed(name).is_some_and(|to| to == package);
            let with_target = name
                .strip_suffix(target)
                .and_then(|rest| rest.strip_suffix('-'))
                .is_some_and(|rest| {
                    rest == package || renamed(rest).is_some_and(|to| to == package)
                });
            (own && (target == host || target == "*")) || with_target
        };
        let part = rust
            .parts
            .iter()
            .find(|(package, target)| called(package, target));
        part.map(|(package, target)| (&**package, &**target))
            .ok_or_else(|| format!("it has no component {name} for {host}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(text: &str) -> Sha256 {
        Sha256::of(text.as_bytes())
    }

    fn target(package: &str, target: &str, file: &str) -> String {
        let (gz, xz) = (
            hash(&format!("{file}.tar.gz")),
            hash(&format!("{file}.tar.xz")),
        );
        format!(
            "[pkg.{package}.target.{target}]\navailable = true\nurl = \"https://static.rust-lang.org/dist/2026-11-01/{file}.tar.gz\"\nhash = \"{gz}\"\n\
             xz_url = \"https://static.rust-lang.org/dist/2026-11-01/{file}.tar.xz\"\nxz_hash = \"{xz}\"\n\n"
        )
    }

    fn manifest() -> String {
        let mut text = "manifest-version = \"2\"\ndate = \"2026-11-01\"\n[pkg.rustc]\nversion = \"1.95.0 (abc 2026-10-30)\"\n".to_owned();
        for (package, on, file) in [
            (
                "rustc",
                "x86_64-unknown-linux-gnu",
                "rustc-1.95.0-x86_64-unknown-linux-gnu",
            ),
            (
                "cargo",
                "x86_64-unknown-linux-gnu",
                "cargo-1.95.0-x86_64-unknown-linux-gnu",
            ),
            (
                "rust-std",
                "x86_64-unknown-linux-gnu",
                "rust-std-1.95.0-x86_64-unknown-linux-gnu",
            ),
            ("rust-std", "wasm32-wasip1", "rust-std-1.95.0-wasm32-wasip1"),
            (
                "clippy-preview",
                "x86_64-unknown-linux-gnu",
                "clippy-1.95.0-x86_64-unknown-linux-gnu",
            ),
            ("rust-src", "\"*\"", "rust-src-1.95.0"),
            (
                "rust",
                "x86_64-unknown-linux-gnu",
                "rust-1.95.0-x86_64-unknown-linux-gnu",
            ),
        ] {
            text += &target(package, on, file);
        }
        for (kind, package, on) in [
            ("components", "rustc", "x86_64-unknown-linux-gnu"),
            ("components", "cargo", "x86_64-unknown-linux-gnu"),
            ("components", "rust-std", "x86_64-unknown-linux-gnu"),
            ("extensions", "rust-std", "wasm32-wasip1"),
            ("extensions", "clippy-preview", "x86_64-unknown-linux-gnu"),
            ("extensions", "rust-src", "*"),
        ] {
            text += &format!(
                "[[pkg.rust.target.x86_64-unknown-linux-gnu.{kind}]]\npkg = \"{package}\"\ntarget = \"{on}\"\n\n"
            );
        }
        text + "[renames.clippy]\nto = \"clippy-preview\"\n[profiles]\nminimal = [\"rustc\", \"cargo\", \"rust-std\", \"rust-mingw\"]\n\
            default = [\n\"rustc\", \"cargo\", \"rust-std\", \"clippy-preview\"]\n"
    }

    fn wanted(profile: &str, components: &[&str], targets: &[&str]) -> ToolchainTarget {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        ToolchainTarget {
            host: "x86_64-unknown-linux-gnu".to_owned(),
            profile: profile.to_owned(),
            components: owned(components),
            targets: owned(targets),
        }
    }

    fn names(files: Vec<(ComponentFile, Sha256)>) -> String {
        let short = |name: &str| name.split("-1.95.0").next().unwrap_or_default().to_owned();
        let names = files.iter().map(|(file, _)| short(file.name.as_str()));
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn it_says_which_files_rustup_would_install() {
        let text = manifest();
        let read = ToolchainManifest::parse(&text).expect("a manifest");
        assert_eq!(read.rustc(), Some("1.95.0 (abc 2026-10-30)"));
        let files = |wanted: &ToolchainTarget| read.files_of(wanted).map(names);
        let minimal = files(&wanted("minimal", &[], &[])).expect("files");
        assert_eq!(minimal, "cargo rust-std rustc");
        let more = files(&wanted(
            "default",
            &["rust-src", "clippy"],
            &["wasm32-wasip1"],
        ));
        assert_eq!(
            more.expect("files"),
            "cargo clippy rust-src rust-std rust-std rustc"
        );
        let same = files(&wanted(
            "minimal",
            &["rust-std-wasm32-wasip1", "clippy-preview"],
            &[],
        ));
        assert_eq!(same.expect("files"), "cargo clippy rust-std rust-std rustc");
        for (wanted, said) in [
            (
                wanted("huge", &[], &[]),
                "it has no profile huge; it has default, minimal",
            ),
            (
                wanted("minimal", &["miri"], &[]),
                "it has no component miri for x86_64-unknown-linux-gnu",
            ),
            (
                wanted("minimal", &[], &["avr"]),
                "it has no rust-std for avr",
            ),
        ] {
            assert_eq!(read.files_of(&wanted), Err(said.to_owned()));
        }
        let all = read.files_of(&wanted("minimal", &[], &[])).expect("files");
        for (file, sha256) in all {
            assert!(file.name.as_str().ends_with(".tar.xz"), "{file}");
            assert_eq!(sha256, hash(file.name.as_str()));
        }
    }

    #[test]
    fn it_tells_the_checksum_of_each_file_in_each_form() {
        let read = ManifestHashes::of(manifest().into()).expect("a manifest");
        assert_eq!(read.files().count(), 14);
        for (file, sha256) in read.files() {
            assert_eq!(sha256, hash(file.name.as_str()));
            assert_eq!(read.sha256_of(&file), Some(sha256), "{file}");
            let day = Day::parse("2026-11-02").expect("a day");
            assert_eq!(read.sha256_of(&ComponentFile { day, ..file }), None);
        }
    }

    #[test]
    fn a_file_with_two_checksums_has_none() {
        let twice = manifest()
            + "[pkg.x]\nurl = \"https://h/dist/2026-11-01/rust-src-1.95.0.tar.gz\"\nhash = \""
            + &hash("x").to_string()
            + "\"\n";
        let read = ManifestHashes::of(twice.into()).expect("a manifest");
        assert_eq!(read.files().count(), 13);
    }

    #[test]
    fn what_is_no_manifest_is_none() {
        for no in [
            "",
            "date = \"2026-11-01\"\n",
            "manifest-version = \"2\"\n",
            "manifest-version = \"3\"\ndate = \"2026-11-01\"\n",
            "<!DOCTYPE html>",
            "manifest-version = \"2\"\ndate = \"2026\"\n",
        ] {
            assert!(ManifestHashes::of(Bytes::from(no)).is_err(), "{no:?}");
            assert!(ToolchainManifest::parse(no).is_err(), "{no:?}");
        }
        assert!(ManifestHashes::of(Bytes::from_static(&[0xff])).is_err());
    }

    /// Whoever writes a manifest says how much memory it takes to read it: a gigabyte for one of 32 MB.
    #[test]
    fn a_manifest_with_more_in_it_than_any_has_is_refused() {
        let head = manifest();
        for (line, times) in [
            ("[pkg.a#.target.b]\n", MOST_TARGETS + 1),
            ("[pkg.a.target.b#]\n", MOST_TARGETS + 1),
            ("[pkg.a#]\nversion = \"\"\n", MOST_NAMES + 1),
            ("[renames.a#]\nto = \"\"\n", MOST_NAMES + 1),
            ("[profiles]\na# = []\n", MOST_NAMES + 1),
            (
                "[[pkg.a.target.b.components]]\npkg = \"\"\ntarget = \"#\"\n",
                MOST_PARTS + 1,
            ),
        ] {
            let many = |times: usize| {
                let lines = (0..times).map(|n| line.replace('#', &n.to_string()));
                head.clone() + &lines.collect::<String>()
            };
            let some = many(10);
            assert!(ToolchainManifest::parse(&some).is_ok(), "{line}");
            let text = many(times);
            let refused = ToolchainManifest::parse(&text).expect_err(line);
            assert_eq!(refused, "it has more in it than a manifest has");
            let read = ManifestHashes::of(text.into());
            assert!(read.expect(line).size() < 4_096, "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(cut in 0_usize..4000, put in "[\\PC\n]{0,12}", out in 0_usize..12) {
            let mut text = manifest();
            let from = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let to = (from + out).min(text.len());
            text.replace_range(from..to, &put);
            if let Ok(read) = ToolchainManifest::parse(&text) {
                let _ = read.files_of(&wanted("default", &["clippy"], &["wasm32-wasip1"]));
            }
            if let Ok(read) = ManifestHashes::of(text.into()) {
                for (file, sha256) in read.files() {
                    prop_assert_eq!(read.sha256_of(&file), Some(sha256));
                }
            }
        }
    }
}
