//! [`ToolchainPath`]: what a path on a distribution host asks for, and under which keys that is stored.

use std::fmt;

use arrayvec::ArrayString;

use super::channel::Channel;
use crate::domain::{Day, Sha256};

/// What all stored paths of toolchains begin with.
const ROOT: &str = "toolchains/";
/// How a component's name may end.
const ENDS: [&str; 3] = [".tar.xz", ".tar.gz", ".tar.zst"];

/// What a path asks for. There are no other paths: rustup asks for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolchainPath {
    /// `dist/[DATE/]channel-rust-NAME.toml`.
    Manifest(ManifestName),
    /// The same with `.sha256` after it.
    ManifestSum(ManifestName),
    /// `dist/DATE/FILE`.
    Component(ComponentFile),
    /// `rustup/release-stable.toml`.
    RustupRelease,
    /// `rustup/archive/VERSION/TRIPLE/rustup-init` or `rustup/dist/TRIPLE/rustup-init`, with `.exe` on Windows.
    Init(InitFile),
    /// The same with `.sha256` after it.
    InitSum(InitFile),
}

/// Which channel manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ManifestName {
    /// Of which day; without one it is that of today.
    pub day: Option<Day>,
    /// Of which channel.
    pub channel: Channel,
}

/// A component, or another file of a release: it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ComponentFile {
    /// The day that it was published on.
    pub day: Day,
    /// The file's name.
    pub name: ComponentName,
}

/// A component's file name: `rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz`. Lower-case letters, digits, `.`, `_`, `-` and `+`, at most 128 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentName(ArrayString<{ ComponentName::MAX_LEN }>);

/// A target: `x86_64-unknown-linux-gnu`. Lower-case letters, digits, `.`, `_` and `-`, at most 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetTriple(ArrayString<{ TargetTriple::MAX_LEN }>);

/// A version of rustup: three numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RustupVersion(ArrayString<{ RustupVersion::MAX_LEN }>);

/// Which rustup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitRelease {
    /// The newest: another one tomorrow.
    Newest,
    /// That version.
    Version(RustupVersion),
}

/// rustup-init, which is rustup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InitFile {
    /// Which one.
    pub release: InitRelease,
    /// For which machines.
    pub target: TargetTriple,
}

/// A small file that says what others are: kept as a record of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolchainDocument {
    /// A channel manifest with its `.sha256`.
    Manifest(ManifestName),
    /// Which rustup is the newest.
    RustupRelease,
    /// The `.sha256` of a rustup-init.
    InitSum(InitFile),
}

/// A large file, whose checksum a [`ToolchainDocument`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolchainItem {
    /// A component.
    Component(ComponentFile),
    /// rustup-init.
    Init(InitFile),
}

/// The key of a large file of a toolchain. The checksum is part of it, so that the object never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ToolchainKey {
    /// Which file.
    pub item: ToolchainItem,
    /// What its bytes must hash to.
    pub sha256: Sha256,
}

impl ToolchainPath {
    /// Reads what comes after `/toolchains/` in a URL's path, which is still percent-encoded: rustup encodes nothing, and whatever is encoded is nothing of its.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(path) = path.strip_prefix("dist/") {
            let (day, file) = match path.split_once('/') {
                Some((day, file)) => (Some(Day::parse(day)?), file),
                None => (None, path),
            };
            if file.starts_with("channel-rust-") {
                return Some(match file.strip_suffix(".sha256") {
                    Some(file) => Self::ManifestSum(ManifestName::parse(day, file)?),
                    None => Self::Manifest(ManifestName::parse(day, file)?),
                });
            }
            let name = ComponentName::parse(file)?;
            return Some(Self::Component(ComponentFile { day: day?, name }));
        }
        let path = path.strip_prefix("rustup/")?;
        if path == "release-stable.toml" {
            return Some(Self::RustupRelease);
        }
        match path.strip_suffix(".sha256") {
            Some(path) => InitFile::parse(path).map(Self::InitSum),
            None => InitFile::parse(path).map(Self::Init),
        }
    }

    /// The path, as it is below a distribution host's root.
    pub fn path(&self) -> String {
        match self {
            Self::Manifest(name) => name.path(),
            Self::ManifestSum(name) => format!("{}.sha256", name.path()),
            Self::Component(file) => file.path(),
            Self::RustupRelease => "rustup/release-stable.toml".to_owned(),
            Self::Init(file) => file.path(),
            Self::InitSum(file) => format!("{}.sha256", file.path()),
        }
    }

    /// Whether what is there may be another file tomorrow.
    pub fn moves(&self) -> bool {
        match self {
            Self::Manifest(name) | Self::ManifestSum(name) => name.moves(),
            Self::Component(_) => false,
            Self::RustupRelease => true,
            Self::Init(file) | Self::InitSum(file) => file.moves(),
        }
    }
}

impl fmt::Display for ToolchainPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl ManifestName {
    fn parse(day: Option<Day>, file: &str) -> Option<Self> {
        let name = file.strip_prefix("channel-rust-")?.strip_suffix(".toml")?;
        let channel = Channel::parse(name)?;
        Some(Self { day, channel })
    }

    /// The path below a distribution host's root.
    pub fn path(&self) -> String {
        match self.day {
            Some(day) => format!("dist/{day}/channel-rust-{}.toml", self.channel),
            None => format!("dist/channel-rust-{}.toml", self.channel),
        }
    }

    /// Whether it may be another file tomorrow.
    pub fn moves(&self) -> bool {
        self.day.is_none() && self.channel.moves()
    }
}

impl ComponentFile {
    /// The path below a distribution host's root.
    pub fn path(&self) -> String {
        format!("dist/{}/{}", self.day, self.name)
    }
}

impl fmt::Display for ComponentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.day)
    }
}

impl ComponentName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Reads a name; `None` for what no component is called.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-+".contains(&b);
        let stem = ENDS.iter().find_map(|end| text.strip_suffix(end))?;
        let is_name = stem.starts_with(|c: char| c.is_ascii_alphanumeric())
            && stem.bytes().all(allowed)
            && !stem.contains("..");
        let name = ArrayString::from(text).ok()?;
        is_name.then_some(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes before `.tar.xz` and its like, and that with its dot.
    fn parts(&self) -> (&str, &str) {
        let end = ENDS.iter().find(|end| self.0.ends_with(**end));
        let end = end.map_or(0, |end| end.len());
        self.0.split_at(self.0.len() - end)
    }

    /// The channels whose manifests may name a file of this name, the likeliest first.
    pub fn channels(&self) -> Vec<Channel> {
        let (stem, _) = self.parts();
        let mut words = stem.split('-').peekable();
        let mut names = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "nightly" | "beta" => names.extend(Channel::parse(word)),
                number if number.contains('.') => {
                    let beta = words.peek().filter(|next| next.starts_with("beta"));
                    match beta {
                        Some(beta) => {
                            names.extend(Channel::parse("beta"));
                            names.extend(Channel::parse(&format!("{number}-{beta}")));
                        }
                        None => {
                            if let Some(channel) = Channel::parse(number) {
                                names.extend(Channel::parse("stable"));
                                names.push(channel);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        if names.is_empty() {
            names.extend(
                ["stable", "beta", "nightly"]
                    .into_iter()
                    .filter_map(Channel::parse),
            );
        }
        names.truncate(4);
        names
    }
}

impl TargetTriple {
    /// The longest triple, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Reads a triple; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let is_triple = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.contains('-')
            && text.bytes().all(allowed)
            && !text.contains("..");
        let triple = ArrayString::from(text).ok()?;
        is_triple.then_some(Self(triple))
    }

    /// The triple as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RustupVersion {
    /// The longest version, in bytes.
    pub const MAX_LEN: usize = 16;

    /// Reads a version; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let version = ArrayString::from(text).ok()?;
        let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        let is_version = text.split('.').count() == 3 && text.split('.').all(number);
        is_version.then_some(Self(version))
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InitFile {
    /// Reads what comes after `rustup/`.
    fn parse(path: &str) -> Option<Self> {
        let (folder, file) = path.rsplit_once('/')?;
        let (release, triple) = match folder.split_once('/')? {
            ("dist", triple) => (InitRelease::Newest, triple),
            ("archive", rest) => {
                let (version, triple) = rest.split_once('/')?;
                let version = RustupVersion::parse(version)?;
                (InitRelease::Version(version), triple)
            }
            _ => return None,
        };
        let target = TargetTriple::parse(triple)?;
        let this = Self { release, target };
        (file == this.file_name()).then_some(this)
    }

    /// `rustup-init`, on Windows with `.exe`.
    pub fn file_name(&self) -> &'static str {
        match self.target.as_str().contains("-windows") {
            true => "rustup-init.exe",
            false => "rustup-init",
        }
    }

    fn folder(&self) -> String {
        let target = self.target;
        match self.release {
            InitRelease::Newest => format!("rustup/dist/{target}"),
            InitRelease::Version(version) => format!("rustup/archive/{version}/{target}"),
        }
    }

    /// The path below a distribution host's root.
    pub fn path(&self) -> String {
        format!("{}/{}", self.folder(), self.file_name())
    }

    /// Whether it may be another file tomorrow.
    pub fn moves(&self) -> bool {
        match self.release {
            InitRelease::Newest => true,
            InitRelease::Version(_) => false,
        }
    }
}

impl fmt::Display for InitFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.release {
            InitRelease::Newest => write!(f, "rustup-init for {}", self.target),
            InitRelease::Version(version) => {
                write!(f, "rustup-init {version} for {}", self.target)
            }
        }
    }
}

impl ToolchainDocument {
    /// What a path asks for of it.
    pub fn path_of(&self) -> ToolchainPath {
        match *self {
            Self::Manifest(name) => ToolchainPath::Manifest(name),
            Self::RustupRelease => ToolchainPath::RustupRelease,
            Self::InitSum(file) => ToolchainPath::InitSum(file),
        }
    }

    /// Whether it may be another tomorrow.
    pub fn moves(&self) -> bool {
        self.path_of().moves()
    }

    /// The stored path: that of the URL.
    pub fn path(&self) -> String {
        format!("{ROOT}{}", self.path_of().path())
    }

    fn from_path(path: &str) -> Option<Self> {
        let found = ToolchainPath::parse(path.strip_prefix(ROOT)?)?;
        Some(match found {
            ToolchainPath::Manifest(name) => Self::Manifest(name),
            ToolchainPath::RustupRelease => Self::RustupRelease,
            ToolchainPath::InitSum(file) => Self::InitSum(file),
            // These are kept within the records of others, or are large.
            ToolchainPath::ManifestSum(_)
            | ToolchainPath::Component(_)
            | ToolchainPath::Init(_) => return None,
        })
    }
}

impl fmt::Display for ToolchainDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(ManifestName { day, channel }) => match day {
                Some(day) => write!(f, "the manifest of {channel} of {day}"),
                None => write!(f, "the manifest of {channel}"),
            },
            Self::RustupRelease => f.write_str("the newest version of rustup"),
            Self::InitSum(file) => write!(f, "the checksum of {file}"),
        }
    }
}

impl ToolchainItem {
    /// What a path asks for when it asks for it.
    pub fn path_of(&self) -> ToolchainPath {
        match *self {
            Self::Component(file) => ToolchainPath::Component(file),
            Self::Init(file) => ToolchainPath::Init(file),
        }
    }

    /// The folder of the stored file.
    pub fn folder(&self) -> String {
        match self {
            Self::Component(file) => format!("{ROOT}dist/{}", file.day),
            Self::Init(file) => format!("{ROOT}{}", file.folder()),
        }
    }
}

impl fmt::Display for ToolchainItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(file) => file.fmt(f),
            Self::Init(file) => file.fmt(f),
        }
    }
}

impl ToolchainKey {
    /// The stored path: that of the URL, with the checksum before the file's extension.
    pub fn path(&self) -> String {
        let (folder, sha256) = (self.item.folder(), self.sha256);
        let (stem, end) = match &self.item {
            ToolchainItem::Component(file) => file.name.parts(),
            ToolchainItem::Init(file) => match file.file_name().strip_suffix(".exe") {
                Some(stem) => (stem, ".exe"),
                None => (file.file_name(), ""),
            },
        };
        format!("{folder}/{stem}.{sha256}{end}")
    }

    fn from_path(path: &str) -> Option<Self> {
        let (folder, file) = path.strip_prefix(ROOT)?.rsplit_once('/')?;
        let end = ENDS.iter().chain([&".exe"]);
        let end = end.copied().find(|end| file.ends_with(end)).unwrap_or("");
        let (stem, sha256) = file.strip_suffix(end)?.rsplit_once('.')?;
        let sha256 = Sha256::parse(sha256).ok()?;
        let item = match ToolchainPath::parse(&format!("{folder}/{stem}{end}"))? {
            ToolchainPath::Component(file) => ToolchainItem::Component(file),
            ToolchainPath::Init(file) => ToolchainItem::Init(file),
            ToolchainPath::Manifest(_)
            | ToolchainPath::ManifestSum(_)
            | ToolchainPath::RustupRelease
            | ToolchainPath::InitSum(_) => return None,
        };
        let key = Self { item, sha256 };
        (key.path() == path).then_some(key)
    }
}

/// What is stored under a path of toolchains.
pub(in crate::domain) enum ToolchainObject {
    Document(ToolchainDocument),
    File(ToolchainKey),
}

impl ToolchainObject {
    /// What is stored under `path`, if that is one of theirs.
    pub(in crate::domain) fn from_path(path: &str) -> Option<Self> {
        let document = ToolchainDocument::from_path(path).map(Self::Document);
        document.or_else(|| ToolchainKey::from_path(path).map(Self::File))
    }
}

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )*};
}

shown_as_text!(ComponentName, TargetTriple, RustupVersion);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATHS: [&str; 14] = [
        "dist/channel-rust-stable.toml",
        "dist/channel-rust-stable.toml.sha256",
        "dist/channel-rust-1.95.0.toml",
        "dist/channel-rust-1.96.0-beta.2.toml.sha256",
        "dist/2026-11-01/channel-rust-nightly.toml",
        "dist/2026-11-01/channel-rust-nightly.toml.sha256",
        "dist/2026-11-01/rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz",
        "dist/2026-11-01/rust-std-nightly-wasm32-wasip1.tar.gz",
        "rustup/release-stable.toml",
        "rustup/archive/1.28.2/x86_64-unknown-linux-gnu/rustup-init",
        "rustup/archive/1.28.2/x86_64-unknown-linux-gnu/rustup-init.sha256",
        "rustup/archive/1.28.2/x86_64-pc-windows-msvc/rustup-init.exe",
        "rustup/dist/x86_64-pc-windows-msvc/rustup-init.exe.sha256",
        "rustup/dist/aarch64-apple-darwin/rustup-init",
    ];

    #[test]
    fn what_rustup_asks_for_is_read_as_it_is_written() {
        for path in PATHS {
            let read = ToolchainPath::parse(path).expect(path);
            assert_eq!(read.path(), path);
        }
    }

    #[test]
    fn everything_else_is_nothing() {
        let long = format!("dist/2026-11-01/{}.tar.xz", "a".repeat(200));
        for path in [
            "",
            "/",
            "dist",
            "dist/",
            "dist//channel-rust-stable.toml",
            "dist/channel-rust-stable",
            "dist/channel-rust-stable.toml.asc",
            "dist/channel-rust-stable.toml/",
            "dist/channel-rust-..toml",
            "dist/channel-rust-../x.toml",
            "dist/channel-rust-stable.toml.sha256.sha256",
            "dist/rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz",
            "dist/2026-13-01/rustc-1.95.0.tar.xz",
            "dist/2026-11-01/../2026-11-02/a.tar.xz",
            "dist/2026-11-01/..tar.xz",
            "dist/2026-11-01/.tar.xz",
            "dist/2026-11-01/a..b.tar.xz",
            "dist/2026-11-01/a%2fb.tar.xz",
            "dist/2026-11-01/a\\b.tar.xz",
            "dist/2026-11-01/a b.tar.xz",
            "dist/2026-11-01/A.tar.xz",
            "dist/2026-11-01/a.tar.xz.sha256",
            "dist/2026-11-01/a.zip",
            "dist/2026-11-01/a/b.tar.xz",
            "dist/2026-11-01/channel-rust-stable.tar.xz",
            "dist/%32026-11-01/a.tar.xz",
            &long,
            "rustup/release-beta.toml",
            "rustup/rustup-init.sh",
            "rustup/dist/rustup-init",
            "rustup/dist/x86_64-unknown-linux-gnu/rustup-init.exe",
            "rustup/dist/x86_64-pc-windows-msvc/rustup-init",
            "rustup/dist/../x86_64-unknown-linux-gnu/rustup-init",
            "rustup/dist/..-x/rustup-init",
            "rustup/archive/1.28/x86_64-unknown-linux-gnu/rustup-init",
            "rustup/archive/1.28.2/rustup-init",
            "rustup/archive/../1.28.2/x86_64-unknown-linux-gnu/rustup-init",
            "other/2026-11-01/a.tar.xz",
        ] {
            assert_eq!(ToolchainPath::parse(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_stored_path_says_what_is_there() {
        for path in PATHS {
            let read = ToolchainPath::parse(path).expect(path);
            let sha256 = Sha256::of(path.as_bytes());
            match read {
                ToolchainPath::Component(file) => of_item(ToolchainItem::Component(file), sha256),
                ToolchainPath::Init(file) => of_item(ToolchainItem::Init(file), sha256),
                ToolchainPath::Manifest(name) => of(ToolchainDocument::Manifest(name)),
                ToolchainPath::RustupRelease => of(ToolchainDocument::RustupRelease),
                ToolchainPath::InitSum(file) => of(ToolchainDocument::InitSum(file)),
                ToolchainPath::ManifestSum(_) => {
                    assert!(ToolchainObject::from_path(&format!("{ROOT}{path}")).is_none());
                }
            }
        }
        fn of(document: ToolchainDocument) {
            match ToolchainObject::from_path(&document.path()) {
                Some(ToolchainObject::Document(read)) => assert_eq!(read, document),
                Some(ToolchainObject::File(_)) | None => panic!("{document}"),
            }
        }
        fn of_item(item: ToolchainItem, sha256: Sha256) {
            let key = ToolchainKey { item, sha256 };
            match ToolchainObject::from_path(&key.path()) {
                Some(ToolchainObject::File(read)) => assert_eq!(read, key),
                Some(ToolchainObject::Document(_)) | None => panic!("{}", key.path()),
            }
        }
    }

    #[test]
    fn a_name_tells_which_manifests_may_name_it() {
        let channels = |name: &str| {
            let name = ComponentName::parse(name).expect(name);
            let channels = name.channels();
            channels
                .iter()
                .map(|c| c.as_str().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            channels("rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz"),
            "stable 1.95.0"
        );
        assert_eq!(channels("rust-std-nightly-wasm32-wasip1.tar.gz"), "nightly");
        assert_eq!(channels("cargo-beta-x86_64-pc-windows-msvc.tar.xz"), "beta");
        assert_eq!(
            channels("rustc-1.96.0-beta.2-x86_64-apple-darwin.tar.xz"),
            "beta 1.96.0-beta.2"
        );
        assert_eq!(channels("rust-src.tar.xz"), "stable beta nightly");
        assert_eq!(
            channels("rust-std-1.95.0-thumbv8m.main-none-eabi.tar.xz"),
            "stable 1.95.0"
        );
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_what_is_read_is_written_alike(path in "(dist/|rustup/)?[a-z0-9./%_-]{0,60}(\\PC{0,8})?") {
            if let Some(read) = ToolchainPath::parse(&path) {
                prop_assert_eq!(&read.path(), &path);
            }
            let _ = ToolchainObject::from_path(&format!("{ROOT}{path}"));
        }

        #[test]
        fn no_component_leaves_its_folder(name in "\\PC{1,40}") {
            if let Some(name) = ComponentName::parse(&format!("{name}.tar.xz")) {
                prop_assert!(!name.as_str().contains(['/', '\\', '%']));
                prop_assert!(!name.channels().is_empty());
            }
        }
    }
}
