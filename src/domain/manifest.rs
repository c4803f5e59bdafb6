//! [`Manifest`]: what the Cargo.toml inside a .crate file says, as far as it is kept.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{license::License, name::CrateName};

/// What the Cargo.toml inside a .crate file says, as far as it is kept: a few kilobytes of a stranger's text at most, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Under which licence the crate comes.
    pub license: License,
    /// The crate's name, in its own case; none where the manifest has none that can be one.
    pub name: Option<Box<str>>,
    /// What it is, in a sentence or two; at most 1,000 bytes.
    pub description: Option<Box<str>>,
    /// Web pages about it: `http` or `https`, at most 512 bytes.
    pub homepage: Option<Box<str>>,
    /// Its documentation, likewise.
    pub documentation: Option<Box<str>>,
    /// Its sources, likewise.
    pub repository: Option<Box<str>>,
    /// At most eight.
    pub keywords: Vec<Box<str>>,
    /// At most eight.
    pub categories: Vec<Box<str>>,
    /// What it is built from, by the names that the registry has for them, each once and in their order: those of dependencies of all targets and those to
    /// build it, not those for its tests. At most 512.
    pub dependencies: Vec<Box<str>>,
}

impl Manifest {
    /// The longest description, in bytes. What is longer ends in `…`.
    pub const MAX_DESCRIPTION: usize = 1_000;
    const MAX_URL: usize = 512;
    const MAX_WORD: usize = 64;
    const MAX_WORDS: usize = 8;
    const MAX_DEPENDENCIES: usize = 512;

    /// What is known of a file that has no manifest.
    pub fn none() -> Self {
        Self {
            license: License::None,
            name: None,
            description: None,
            homepage: None,
            documentation: None,
            repository: None,
            keywords: Vec::new(),
            categories: Vec::new(),
            dependencies: Vec::new(),
        }
    }

    /// Reads a Cargo.toml. cargo writes the one in a .crate file anew, so that nothing is inherited from a workspace there. One that can't be read says nothing.
    pub fn parse(content: &[u8]) -> Self {
        let Ok(toml) = toml::from_slice::<toml::Table>(content) else {
            return Self::none();
        };
        let package = toml.get("package").or_else(|| toml.get("project"));
        let Some(package) = package.and_then(toml::Value::as_table) else {
            return Self::none();
        };
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
        let url = |key| text(key).and_then(url);
        let name = text("name").filter(|name| CrateName::parse(name).is_ok());
        Self {
            license: License::of_manifest(text("license"), text("license-file")),
            name: name.map(Into::into),
            description: text("description").and_then(|text| kept(text, Self::MAX_DESCRIPTION)),
            homepage: url("homepage"),
            documentation: url("documentation"),
            repository: url("repository"),
            keywords: words(package.get("keywords")),
            categories: words(package.get("categories")),
            dependencies: dependencies(&toml),
        }
    }
}

/// A text without control characters and runs of blanks; `None` when nothing is left of it.
fn kept(text: &str, most: usize) -> Option<Box<str>> {
    const CUT: char = '…';
    let room = most - CUT.len_utf8();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut kept = String::new();
    for c in words.join(" ").chars() {
        if kept.len() + c.len_utf8() > room {
            kept.push(CUT);
            break;
        }
        kept.push(c);
    }
    (!kept.is_empty()).then(|| kept.into())
}

/// A URL that may be made a link of.
fn url(text: &str) -> Option<Box<str>> {
    let url = Url::parse(text.trim()).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    let is_plain = url.username().is_empty() && url.password().is_none();
    let is_short = url.as_str().len() <= Manifest::MAX_URL;
    (is_web && is_plain && is_short).then(|| url.as_str().into())
}

fn words(value: Option<&toml::Value>) -> Vec<Box<str>> {
    let words = value.and_then(toml::Value::as_array).into_iter().flatten();
    let words = words.filter_map(|word| kept(word.as_str()?, Manifest::MAX_WORD));
    words.take(Manifest::MAX_WORDS).collect()
}

fn dependencies(toml: &toml::Table) -> Vec<Box<str>> {
    let targets = toml.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(toml::Table::values);
    let tables = targets.filter_map(toml::Value::as_table);
    let of = |table: &toml::Table| -> Vec<Box<str>> {
        let keys = ["dependencies", "build-dependencies", "build_dependencies"];
        let found = keys.iter().filter_map(|key| table.get(*key)?.as_table());
        let found = found.flatten().filter_map(|(name, value)| {
            let package = value.get("package").and_then(toml::Value::as_str);
            let name = package.unwrap_or(name);
            CrateName::parse(name).is_ok().then(|| name.into())
        });
        found.collect()
    };
    let mut all: Vec<_> = std::iter::once(toml).chain(tables).flat_map(of).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(Manifest::MAX_DEPENDENCIES);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_manifest_says_is_kept_within_bounds() {
        let long = "é ".repeat(2_000);
        let manifest = format!(
            "[package]\nname = \"Some_Tool\"\nlicense = \"MIT\"\ndescription = \"\"\"\n  A <script>tool</script>,\n\\u0007 {long}\"\"\"\n\
             homepage = \"javascript:alert(1)\"\nrepository = \"https://example.com/x\"\ndocumentation = \"https://me:secret@example.com/\"\n\
             keywords = [\"a\", \"\", \"b\", 1]\ncategories = [{}]\n\
             [dependencies.x]\npackage = \"serde\"\n[dependencies]\nserde_json = \"1\"\n[dev-dependencies]\ninsta = \"1\"\n\
             [target.'cfg(unix)'.build-dependencies]\ncc = \"1\"\n[target.x.dependencies.libc]\nversion = \"1\"\n",
            vec!["\"c\""; 20].join(",")
        );
        let manifest = Manifest::parse(manifest.as_bytes());
        assert_eq!(manifest.license, License::Expression("MIT".into()));
        assert_eq!(manifest.name.as_deref(), Some("Some_Tool"));
        let description = manifest.description.expect("a description");
        assert!(
            description.starts_with("A <script>tool</script>, é"),
            "{description}"
        );
        assert!(description.len() <= Manifest::MAX_DESCRIPTION && description.ends_with('…'));
        assert_eq!(manifest.homepage, None);
        assert_eq!(manifest.documentation, None, "it has a password");
        assert_eq!(
            manifest.repository.as_deref(),
            Some("https://example.com/x")
        );
        assert_eq!(manifest.keywords, ["a".into(), "b".into()]);
        assert_eq!(manifest.categories.len(), 8);
        let dependencies: Vec<&str> = manifest.dependencies.iter().map(|name| &**name).collect();
        assert_eq!(dependencies, ["cc", "libc", "serde", "serde_json"]);
    }

    #[test]
    fn what_is_no_manifest_says_nothing() {
        for content in [
            "",
            "x",
            "[package]",
            "package = 1",
            "[workspace]\n",
            "\u{0}",
        ] {
            assert_eq!(
                Manifest::parse(content.as_bytes()),
                Manifest::none(),
                "{content:?}"
            );
        }
        assert_eq!(Manifest::parse(&[0xff]), Manifest::none());
    }

    proptest! {
        #[test]
        fn no_text_is_kept_that_could_break_a_line(text in "\\PC{0,200}|[\\x00-\\x7f]{0,200}") {
            if let Some(kept) = kept(&text, 100) {
                prop_assert!(kept.len() <= 100 && !kept.is_empty());
                prop_assert!(!kept.chars().any(char::is_control));
            }
        }
    }
}
