//! [`RegistryName`]: what the operator calls a registry, in mirror.toml, in URLs and in the store.

use std::fmt;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// A registry's name: a lower-case letter first, then lower-case letters, digits, `-` and `_`, at most 32 bytes.
///
/// It is a folder of the store and a segment of URLs, which is why it can't start with a dot and knows no capitals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryName(ArrayString<{ RegistryName::MAX_LEN }>);

impl RegistryName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 32;

    /// Parses a name.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is allowed.
    pub fn parse(text: &str) -> Result<Self> {
        let well_formed = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        match ArrayString::from(text) {
            Ok(name) if well_formed => Ok(Self(name)),
            _ => Err(Error::bad_request(format!(
                "{:?} is not a registry name: it takes a lower-case letter, then lower-case letters, digits, `-` and `_`, at most {} in all",
                super::name::shorten(text),
                Self::MAX_LEN
            ))),
        }
    }

    /// The registry that cargo uses when nothing else is said: crates.io.
    pub fn crates_io() -> Self {
        Self(ArrayString::from("crates-io").expect("nine bytes fit"))
    }

    /// What toolchains are called where a registry's name is asked for: in tokens, metrics and the audit log.
    pub fn toolchains() -> Self {
        Self(ArrayString::from("toolchains").expect("ten bytes fit"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for RegistryName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RegistryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}
