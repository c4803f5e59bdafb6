//! [`MissedRequest`]: what a client asked an offline mirror for and didn't get.

use std::fmt;

use super::{
    day::Day,
    name::CrateName,
    registry::RegistryName,
    request::{CrateRequest, Requirement},
    toolchain::{
        ComponentFile, ComponentName, InitFile, InitRelease, ManifestName, RustupVersion,
        TargetTriple, ToolchainName, ToolchainPath,
    },
    version::CrateVersion,
};

/// What all that is missed of toolchains begins with: no registry is called so.
const TOOLCHAINS: &str = "toolchains:";
/// What is missed of rustup itself.
const RUSTUP: &str = "rustup";

/// Something that somebody asked for and that wasn't here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissedRequest {
    /// A crate.
    Crate(MissedCrate),
    /// A part of a toolchain.
    Toolchain(MissedToolchain),
}

/// A crate, or one version of it, that somebody asked for and that wasn't here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissedCrate {
    /// In which registry.
    pub registry: RegistryName,
    /// Which crate, as the asker spelled it; in lower case when its index file was asked for, as index paths are.
    pub name: CrateName,
    /// Which version; any, when the crate as a whole isn't here.
    pub version: Option<CrateVersion>,
}

/// A part of a toolchain that somebody asked for and that wasn't here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissedToolchain {
    /// A toolchain as such.
    Channel(ToolchainName),
    /// One file of one.
    File(ComponentFile),
    /// Which rustup is the newest.
    Rustup,
    /// rustup itself.
    Init(InitFile),
}

impl MissedRequest {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(TOOLCHAINS) {
            Some(text) => MissedToolchain::parse(text).map(Self::Toolchain),
            None => MissedCrate::parse(text).map(Self::Crate),
        }
    }

    /// What was missed when rustup asked for this in vain.
    pub fn of_toolchain(path: &ToolchainPath) -> Self {
        Self::Toolchain(match *path {
            ToolchainPath::Manifest(name) | ToolchainPath::ManifestSum(name) => {
                let ManifestName { day, channel } = name;
                MissedToolchain::Channel(ToolchainName { channel, day })
            }
            ToolchainPath::Component(file) => MissedToolchain::File(file),
            ToolchainPath::RustupRelease => MissedToolchain::Rustup,
            ToolchainPath::Init(file) | ToolchainPath::InitSum(file) => MissedToolchain::Init(file),
        })
    }

    /// In which registry it was missed, or the name that toolchains have in its place.
    pub fn registry(&self) -> RegistryName {
        match self {
            Self::Crate(missed) => missed.registry,
            Self::Toolchain(_) => RegistryName::toolchains(),
        }
    }

    /// What is written down of it. Every registry is named there, crates.io too, so that which one is the default doesn't matter.
    pub fn in_full(&self) -> String {
        match self {
            Self::Crate(missed) => missed.in_full(),
            Self::Toolchain(missed) => format!("{TOOLCHAINS}{missed}"),
        }
    }

    /// One text for all spellings of the same request, which can be a file's name.
    pub fn folded(&self) -> String {
        match self {
            Self::Crate(missed) => missed.folded(),
            Self::Toolchain(missed) => format!("{TOOLCHAINS}{missed}"),
        }
    }
}

/// As `crate-mirror prefetch` takes it: `serde@1.0.200`, `toolchains:stable`.
impl fmt::Display for MissedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate(missed) => missed.fmt(f),
            Self::Toolchain(missed) => write!(f, "{TOOLCHAINS}{missed}"),
        }
    }
}

impl From<MissedCrate> for MissedRequest {
    fn from(missed: MissedCrate) -> Self {
        Self::Crate(missed)
    }
}

impl MissedToolchain {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = ToolchainName::parse(text) {
            return Some(Self::Channel(name));
        }
        if text == RUSTUP {
            return Some(Self::Rustup);
        }
        let (first, rest) = text.split_once(':')?;
        if first != RUSTUP {
            let day = Day::parse(first)?;
            let name = ComponentName::parse(rest)?;
            return Some(Self::File(ComponentFile { day, name }));
        }
        let (release, target) = match rest.split_once(':') {
            Some((version, target)) => {
                (InitRelease::Version(RustupVersion::parse(version)?), target)
            }
            None => (InitRelease::Newest, rest),
        };
        let target = TargetTriple::parse(target)?;
        Some(Self::Init(InitFile { release, target }))
    }
}

impl fmt::Display for MissedToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => name.fmt(f),
            Self::File(ComponentFile { day, name }) => write!(f, "{day}:{name}"),
            Self::Rustup => f.write_str(RUSTUP),
            Self::Init(InitFile { release, target }) => match release {
                InitRelease::Newest => write!(f, "{RUSTUP}:{target}"),
                InitRelease::Version(version) => write!(f, "{RUSTUP}:{version}:{target}"),
            },
        }
    }
}

impl MissedCrate {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let CrateRequest {
            registry,
            name,
            requirement,
        } = CrateRequest::parse(text).ok()?;
        let version = match requirement {
            Requirement::Any => None,
            Requirement::Exact(version) => Some(version),
            Requirement::Matching(_) => return None,
        };
        Some(Self {
            registry,
            name,
            version,
        })
    }

    /// What is written down of it. Every registry is named there, crates.io too, so that which one is the default doesn't matter.
    pub fn in_full(&self) -> String {
        let Self { registry, name, .. } = self;
        match &self.version {
            Some(version) => format!("{registry}:{name}@{version}"),
            None => format!("{registry}:{name}"),
        }
    }

    /// One text for all spellings of the same request: cargo asks for `a-b_c` under all its variants, of which upstream has one.
    pub fn folded(&self) -> String {
        let name = self.name.to_lowercase().as_str().replace('_', "-");
        let registry = self.registry;
        match &self.version {
            Some(version) => format!("{registry}:{name}@{version}"),
            None => format!("{registry}:{name}"),
        }
    }
}

/// As `crate-mirror prefetch` takes it: `serde`, `serde@1.0.200`, and `internal:thing@1.0.0` for what isn't crates.io's.
impl fmt::Display for MissedCrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = CrateRequest {
            registry: self.registry,
            name: self.name,
            requirement: self.version.map_or(Requirement::Any, Requirement::Exact),
        };
        request.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "serde",
            "serde@1.0.200",
            "internal:thing@0.1.0+a.b",
            "internal:thing",
            "toolchains:stable",
            "toolchains:nightly-2026-11-01",
            "toolchains:2026-11-01:rustc-1.95.0-x86_64-unknown-linux-gnu.tar.xz",
            "toolchains:rustup",
            "toolchains:rustup:x86_64-unknown-linux-gnu",
            "toolchains:rustup:1.28.2:x86_64-pc-windows-msvc",
        ] {
            let request = MissedRequest::parse(text).expect(text);
            assert_eq!(request.to_string(), text);
        }
        for text in [
            "",
            "@1.0.0",
            "a@",
            "a@1",
            "a b",
            "A:b",
            ":a",
            "a@1.0.0@1",
            "toolchains:",
            "toolchains:serde",
            "toolchains:../x",
            "toolchains:2026-11-01:a/b.tar.xz",
        ] {
            assert_eq!(MissedRequest::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn all_spellings_are_one_request() {
        let folded = |text| MissedRequest::parse(text).expect(text).folded();
        assert_eq!(folded("a-b_c"), folded("A_b-c"));
        assert_ne!(folded("a-b@1.0.0"), folded("a-b"));
        assert_ne!(folded("internal:a"), folded("a"));
    }
}
