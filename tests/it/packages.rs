//! Packages: the .deb and the .rpm bring the same, all that they name is there, and no document in them leads to what isn't.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::book;

/// Where distributions keep what zsh completes by: the one place that differs.
const ZSH: [&str; 2] = ["zsh/vendor-completions", "zsh/site-functions"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a package brings: where each file comes to be, and what it is in this folder. Patterns are files here, but those of what is made on the way.
type Brought = BTreeMap<String, String>;

fn metadata() -> toml::Table {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let metadata = &manifest["package"]["metadata"];
    metadata.as_table().expect("a table").clone()
}

fn word<'a>(value: &'a toml::Value, at: &str) -> &'a str {
    let found = match value {
        toml::Value::Array(values) => values.get(at.parse::<usize>().expect("a number")),
        value => value.get(at),
    };
    found.and_then(|word| word.as_str()).expect("a word")
}

/// The files that a pattern such as `docs/*.md` means.
fn matching(pattern: &str) -> Vec<String> {
    let Some((folder, ending)) = pattern.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    if folder.starts_with("target/") {
        return vec![pattern.to_owned()];
    }
    let files = fs::read_dir(root().join(folder)).expect("a folder");
    let names = files.map(|file| file.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    let names = names.filter(|name| name.ends_with(ending));
    names.map(|name| format!("{folder}{name}")).collect()
}

fn brought(package: &str, source: &str, target: &str) -> Brought {
    let metadata = metadata();
    let assets = metadata[package]["assets"].as_array().expect("a list");
    let mut brought = Brought::new();
    for asset in assets {
        let target = word(asset, target).trim_start_matches('/');
        let target = target.replace(ZSH[1], ZSH[0]);
        for file in matching(word(asset, source)) {
            let name = file.rsplit('/').next().expect("a name");
            let at = match target.ends_with('/') {
                true => format!("{target}{name}"),
                false => target.clone(),
            };
            assert_eq!(brought.insert(at, file), None, "{target} twice");
        }
    }
    brought
}

fn deb() -> Brought {
    brought("deb", "0", "1")
}

fn rpm() -> Brought {
    brought("generate-rpm", "source", "dest")
}

#[test]
fn both_bring_the_same() {
    assert_eq!(deb(), rpm());
}

#[test]
fn all_that_they_name_is_there() {
    for source in deb().into_values() {
        let is_made = source.starts_with("target/");
        assert!(is_made || root().join(&source).is_file(), "{source}");
    }
    let text = |path| fs::read_to_string(root().join(path)).expect("a file");
    // The unit starts what a package brings, as it brings it.
    let unit = text("packaging/systemd/crate-mirror.service");
    for path in ["usr/bin/crate-mirror", "etc/crate-mirror/mirror.toml"] {
        assert!(deb().contains_key(path) && unit.contains(path), "{path}");
    }
}

#[test]
fn no_document_in_them_leads_to_what_is_not_in_them() {
    let brought = deb();
    let documents = brought.iter().filter(|(_, source)| source.ends_with(".md"));
    let mut wrong = BTreeSet::new();
    let mut looked_at = 0;
    for (document, source) in documents {
        let text = fs::read_to_string(root().join(source)).expect("a document");
        for link in book::links(&text) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || link.contains("://") {
                continue;
            }
            let folder = document.rsplit_once('/').expect("a folder").0;
            let target = format!("{folder}/{}", path.trim_end_matches('/'));
            let within = format!("{target}/");
            let mut all = brought.keys();
            if !all.any(|at| *at == target || at.starts_with(&within)) {
                wrong.insert(format!("{document}: {link}"));
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "{looked_at}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
