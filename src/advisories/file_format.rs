//! [`FileFormat`]: which files of a database are advisories, by their paths.

use std::path::{Component, Path};

/// How an advisory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    RustSec,
    Osv,
}

impl FileFormat {
    /// That of the file at `path` in a database; `None` for what is no advisory about a crate.
    ///
    /// RustSec keeps those in `crates/NAME/`, beside `rust/` about the compiler's own libraries, and texts for people. OSV JSON may lie anywhere. What begins
    /// with a dot is git's or an editor's. In an archive a path can be anything; one that leads out of it is nothing here.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut folders = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => folders.push(name.to_str()?),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        let name = folders.pop()?;
        let is_hidden = |name: &&str| name.starts_with('.');
        if folders.iter().chain([&name]).any(is_hidden) {
            return None;
        }
        let (stem, extension) = name.rsplit_once('.')?;
        match extension {
            "json" => Some(Self::Osv),
            "md" if folders.contains(&"crates") => Some(Self::RustSec),
            "md" if stem.starts_with("RUSTSEC-") && !folders.contains(&"rust") => {
                Some(Self::RustSec)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advisories_are_told_from_what_lies_beside_them() {
        use FileFormat::{Osv, RustSec};
        for (path, format) in [
            ("crates/tokio/RUSTSEC-2021-0072.md", Some(RustSec)),
            (
                "advisory-db-main/crates/tokio/RUSTSEC-2021-0072.md",
                Some(RustSec),
            ),
            ("./crates/own/ACME-1.md", Some(RustSec)),
            ("RUSTSEC-2021-0072.md", Some(RustSec)),
            ("rust/std/RUSTSEC-2030-0001.md", None),
            ("rust/std/CVE-2015-20001.md", None),
            ("README.md", None),
            ("EXAMPLE_ADVISORY.md", None),
            (".git/crates/x/RUSTSEC-1.md", None),
            ("crates/x/.RUSTSEC-1.md.swp", None),
            ("crates/x/.hidden.json", None),
            ("osv/malicious/crates.io/x/MAL-2025-1.json", Some(Osv)),
            ("GHSA-1.json", Some(Osv)),
            ("../GHSA-1.json", None),
            ("crates/../../x.json", None),
            ("/etc/x.json", None),
            ("support.toml", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(FileFormat::of(Path::new(path)), format, "{path}");
        }
    }
}
