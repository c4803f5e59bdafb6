//! [`IndexPath`]: where a crate's index file lives in a sparse index.

use std::fmt;

use super::name::CrateName;
use crate::error::{Error, Result};

/// The canonical path of a crate's index file: `1/a`, `2/ab`, `3/a/abc`, `ab/cd/abcd…`, all in lower case.
///
/// The layout is cargo's (`cargo_util::registry::make_dep_path`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexPath(CrateName);

impl IndexPath {
    /// The path of `name`'s index file; case is folded.
    pub fn of(name: CrateName) -> Self {
        Self(name.to_lowercase())
    }

    /// Parses the path below the index's root, without a leading slash.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) for everything but the one canonical path of a name: no index has a file there.
    pub fn parse(path: &str) -> Result<Self> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let canonical = CrateName::parse(name)
            .ok()
            .filter(|name| name.is_lowercase() && is_path_of(path, name.as_str()));
        canonical.map(Self).ok_or_else(|| {
            Error::not_found(format!(
                "{:?} is not the path of an index file: that is `1/a`, `2/ab`, `3/a/abc` or `ab/cd/abcd…`, in lower case",
                super::name::shorten(path)
            ))
        })
    }

    /// The crate's name in lower case.
    pub fn name(&self) -> CrateName {
        self.0
    }
}

/// Whether `path` is the prefix of `name`, a slash and `name`; compared piece by piece so that no path has to be built.
fn is_path_of(path: &str, name: &str) -> bool {
    let Some(prefix) = path.strip_suffix(name).and_then(|p| p.strip_suffix('/')) else {
        return false;
    };
    match name.len() {
        1 => prefix == "1",
        2 => prefix == "2",
        3 => prefix.strip_prefix("3/") == Some(&name[..1]),
        _ => prefix.split_once('/') == Some((&name[..2], &name[2..4])),
    }
}

impl fmt::Display for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Prefix(self.0.as_str()), self.0)
    }
}

/// The folder a crate's files stand in: `1`, `2`, `3/a` or `ab/cd`, in the case of the name it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Prefix<'a>(&'a str);

impl<'a> Prefix<'a> {
    /// The folder for `name`.
    pub fn of(name: &'a CrateName) -> Self {
        Self(name.as_str())
    }
}

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            len @ (1 | 2) => write!(f, "{len}"),
            3 => write!(f, "3/{}", &self.0[..1]),
            _ => write!(f, "{}/{}", &self.0[..2], &self.0[2..4]),
        }
    }
}
