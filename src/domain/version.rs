//! [`CrateId`]: one published version of one crate.

use std::fmt;

use arrayvec::ArrayString;

use super::name::{CrateName, shorten};
use crate::error::{Error, Result};

/// A version as semver writes it, at most 150 bytes, its text kept as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CrateVersion(ArrayString<{ CrateVersion::MAX_LEN }>);

impl CrateVersion {
    /// The longest version crates.io accepts, in bytes.
    pub const MAX_LEN: usize = 150;

    /// Parses a version.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let version = ArrayString::from(text)
            .map_err(|_| format!("it is longer than {} characters", Self::MAX_LEN))
            .and_then(|kept| match semver::Version::parse(text) {
                Ok(_) => Ok(Self(kept)),
                Err(e) => Err(e.to_string()),
            });
        version.map_err(|why| {
            Error::bad_request(format!("{:?} is not a version: {why}", shorten(text)))
        })
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without its build metadata, which doesn't count when versions are compared (semver, clause 10).
    pub fn without_build(&self) -> &str {
        self.0.split('+').next().unwrap_or_default()
    }

    /// Whether stored paths write both alike: equal but for case.
    pub fn is_same_path(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// The text in lower case, as stored paths use it.
    pub(super) fn to_lowercase(mut self) -> Self {
        self.0.make_ascii_lowercase();
        self
    }
}

impl fmt::Display for CrateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CrateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One version of one crate. Versions that differ only in build metadata are different crates' files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrateId {
    /// The crate's name, in the case the asker used.
    pub name: CrateName,
    /// Its version.
    pub version: CrateVersion,
}

impl CrateId {
    /// Parses both halves.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with which half is wrong and why.
    pub fn parse(name: &str, version: &str) -> Result<Self> {
        Ok(Self {
            name: CrateName::parse(name)?,
            version: CrateVersion::parse(version)?,
        })
    }
}

impl fmt::Display for CrateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
