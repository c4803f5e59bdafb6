//! [`VersionLine`]: all that an index file's line says of one version, for who shows it to people.

use std::collections::BTreeMap;

use serde::Deserialize;

/// All that an index file's line says of one version beside what [`Version`](super::Version) has of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct VersionLine {
    /// What it depends on.
    #[serde(default)]
    pub deps: Vec<LineDependency>,
    /// Its features, each with what it turns on; those in newer syntax included.
    #[serde(default)]
    pub features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    features2: Option<BTreeMap<String, Vec<String>>>,
    /// The oldest Rust it says it can be built with.
    #[serde(default)]
    pub rust_version: Option<String>,
    /// The native library it links to.
    #[serde(default)]
    pub links: Option<String>,
}

/// A dependency as an index file has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LineDependency {
    name: String,
    /// Which versions.
    pub req: String,
    /// The features asked for.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether it is left out unless a feature turns it on.
    #[serde(default)]
    pub optional: bool,
    /// Whether its `default` feature is asked for.
    #[serde(default = "yes")]
    pub default_features: bool,
    /// The platform it is for, if it isn't for all.
    #[serde(default)]
    pub target: Option<String>,
    /// `normal`, `build` or `dev`.
    #[serde(default)]
    pub kind: Option<String>,
    /// The registry it comes from, if that is another one.
    #[serde(default)]
    pub registry: Option<String>,
    #[serde(default)]
    package: Option<String>,
}

fn yes() -> bool {
    true
}

impl VersionLine {
    /// The longest line that is read, in bytes: ten times the longest on crates.io. What is read of a line takes some fifteen times as much memory.
    pub const LONGEST: usize = 256 << 10;

    /// Reads a line. One that can't be read, or is longer than [`LONGEST`](Self::LONGEST), says nothing.
    pub fn parse(line: &[u8]) -> Self {
        if line.len() > Self::LONGEST {
            return Self::default();
        }
        let mut parsed: Self = serde_json::from_slice(line).unwrap_or_default();
        parsed
            .features
            .extend(parsed.features2.take().unwrap_or_default());
        parsed
    }
}

impl LineDependency {
    /// The crate's name, as its registry has it.
    pub fn name(&self) -> &str {
        self.package.as_deref().unwrap_or(&self.name)
    }

    /// `normal`, `build` or `dev`; older lines leave it out for the first.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("normal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_all_that_people_ask_for() {
        let line = VersionLine::parse(
            br#"{"name":"a","vers":"1.0.0","deps":[{"name":"b","req":"^1","package":"bee","optional":true,"kind":"dev"},{"name":"c","req":"*","default_features":false}],
                "features":{"x":["y"]},"features2":{"z":["dep:b"]},"rust_version":"1.70","links":null,"later":1}"#,
        );
        let deps: Vec<_> = line
            .deps
            .iter()
            .map(|dep| (dep.name(), dep.kind(), dep.optional, dep.default_features))
            .collect();
        assert_eq!(
            deps,
            [("bee", "dev", true, true), ("c", "normal", false, false)]
        );
        assert_eq!(line.features.keys().collect::<Vec<_>>(), ["x", "z"]);
        assert_eq!(line.rust_version.as_deref(), Some("1.70"));
        assert_eq!(VersionLine::parse(b"no line"), VersionLine::default());
        let long = format!(
            "{{\"deps\":[{}]}}",
            [r#"{"name":"a","req":"*"}"#; 12_000].join(",")
        );
        assert_eq!(VersionLine::parse(long.as_bytes()), VersionLine::default());
        assert_eq!(
            VersionLine::parse(&long.as_bytes()[..20]),
            VersionLine::default()
        );
    }
}
