//! [`MissedRequest`]: what a client asked an offline mirror for and didn't get.

use std::fmt;

use super::{
    name::CrateName,
    registry::RegistryName,
    request::{CrateRequest, Requirement},
    version::CrateVersion,
};

/// A crate, or one version of it, that somebody asked for and that wasn't here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MissedRequest {
    /// In which registry.
    pub registry: RegistryName,
    /// Which crate, as the asker spelled it; in lower case when its index file was asked for, as index paths are.
    pub name: CrateName,
    /// Which version; any, when the crate as a whole isn't here.
    pub version: Option<CrateVersion>,
}

impl MissedRequest {
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
impl fmt::Display for MissedRequest {
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
        ] {
            let request = MissedRequest::parse(text).expect(text);
            assert_eq!(request.to_string(), text);
        }
        for text in ["", "@1.0.0", "a@", "a@1", "a b", "A:b", ":a", "a@1.0.0@1"] {
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
