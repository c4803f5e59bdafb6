//! The layers: imports go downward only.

use std::{fs, path::Path};

/// Highest first. A module may use those after it, itself, and no others.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["commands"],
    &["app"],
    &["http"],
    &["access", "audit"],
    &["prefetch", "bundle"],
    &["mirror", "transport"],
    &["policy", "store", "upstream"],
    &["config"],
    &["metrics", "allowance", "zero_copy", "secret"],
    &["domain"],
    &["error"],
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| {
        panic!(
            "`{module}` has no place among the layers; give it one in {}",
            file!()
        )
    })
}

/// Every source file with the top-level module it belongs to.
fn sources() -> Vec<(String, String, String)> {
    fn walk(folder: &Path, module: Option<&str>, found: &mut Vec<(String, String, String)>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let stem = path
                .file_stem()
                .and_then(|s| s.to_str())
                .expect("a name")
                .to_owned();
            let module = module.unwrap_or(&stem);
            if path.is_dir() {
                walk(&path, Some(module), found);
            } else if !matches!(module, "lib" | "main") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((module.to_owned(), path.display().to_string(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        None,
        &mut found,
    );
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// The top-level modules named in `use crate::…` and in `crate::…` paths.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest],
        };
        for name in names {
            let end = name
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(name.len());
            found.push(name[..end].to_owned());
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The elements of a use list, up to its closing brace.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut elements) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                elements.push(list[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                elements.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    elements
}

#[test]
fn imports_go_downward_only() {
    for (module, file, text) in sources() {
        for import in imports(&text) {
            let allowed = import == module || layer(&import) > layer(&module);
            assert!(
                allowed,
                "{file} is part of `{module}` and imports `{import}`, which is not below it"
            );
        }
    }
}

#[test]
fn an_upward_import_would_be_seen() {
    let text =
        "use crate::{\n    domain::{A, B},\n    http,\n};\nfn f(x: crate::mirror::Mirror) {}";
    assert_eq!(imports(text), ["domain", "http", "mirror"]);
    assert!(layer("http") < layer("mirror") && layer("mirror") < layer("domain"));
}

#[test]
fn the_domain_knows_no_io_and_no_clock() {
    for (module, file, text) in sources() {
        if module == "domain" {
            for word in [
                "tokio::",
                "std::fs",
                "std::net",
                "SystemTime::now",
                "Instant",
                "reqwest",
            ] {
                assert!(!text.contains(word), "{file} mentions {word}");
            }
        }
    }
}
