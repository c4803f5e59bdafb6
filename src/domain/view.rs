//! [`View`]: as what a registry is seen.

use std::fmt;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, de};

use super::{day::Day, registry::RegistryName};
use crate::error::Result;

/// As what a registry is seen: by the rules for everybody, by other rules, or as of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// By the rules for everybody, now.
    #[default]
    Usual,
    /// By the rules of `[views.NAME]` first.
    Named(ViewName),
    /// By the rules for everybody, as it was at the end of that day.
    AsOf(Day),
}

/// The name of a table `[views.NAME]`, and a segment of URLs: written like a registry's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewName(ArrayString<{ RegistryName::MAX_LEN }>);

impl View {
    /// The name by which a token says that it is for a registry as it is seen here: a named view's own, or the registry's.
    pub fn guarded_name(self, registry: RegistryName) -> RegistryName {
        match self {
            Self::Named(view) => view.as_registry(),
            Self::Usual | Self::AsOf(_) => registry,
        }
    }
}

impl ViewName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is allowed.
    pub fn parse(text: &str) -> Result<Self> {
        let name = RegistryName::parse(text).map_err(|e| {
            let said = e.message().replace("a registry name", "the name of a view");
            e.reworded(said)
        })?;
        Ok(Self(ArrayString::from(name.as_str()).unwrap_or_default()))
    }

    /// The same as what tokens are for: views and registries share one set of names there.
    pub fn as_registry(self) -> RegistryName {
        // Written alike, so that this can't fail.
        RegistryName::parse(&self.0).unwrap_or(RegistryName::crates_io())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<'de> Deserialize<'de> for ViewName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|e| de::Error::custom(e.message()))
    }
}
