//! `policy.file`: rules in a file of their own, as bundles carry them.

use std::path::{Path, PathBuf};

use figment::Figment;
use toml::{Table, Value};

use crate::error::{Error, Result};

/// The tables that such a file has.
const TABLES: [&str; 2] = ["policy", "views"];
/// Keys of `[policy]` that are about this machine.
const LOCAL: [&str; 1] = ["file"];

/// The file that the settings name.
pub(super) fn named(figment: &Figment) -> Option<PathBuf> {
    let file = figment.extract_inner::<PathBuf>("policy.file");
    file.ok()
}

/// The text of the file at `path`.
pub(super) fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::config(format!(
            "`policy.file`: {} can't be read: {e}; `import --with-policy` writes it, and an empty file has no rules",
            path.display()
        ))
        .with_source(e)
    })?;
    check(&text).map_err(|e| {
        let said = format!("`policy.file`: {}: {}", path.display(), e.message());
        e.reworded(said)
    })?;
    Ok(text)
}

/// Whether it has what such a file may have.
pub(super) fn check(text: &str) -> Result<()> {
    // Without the library's error, which has all of the text in it.
    let table: Table = toml::from_str(text).map_err(|e| Error::config(e.message().to_owned()))?;
    if let Some(other) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
        return Err(Error::config(format!(
            "unknown key `{other}`; allowed here: policy, views"
        )));
    }
    let policy = table.get("policy").and_then(Value::as_table);
    let has = |key: &str| policy.is_some_and(|policy| policy.contains_key(key));
    if let Some(local) = LOCAL.into_iter().find(|key| has(key)) {
        return Err(Error::config(format!(
            "`policy.{local}` is for the settings themselves, not for a file that is carried"
        )));
    }
    Ok(())
}

/// The rules in force by the settings, as such a file; `None` when they say nothing of rules. What is about this machine stays out of it.
pub(super) fn text_of(figment: &Figment) -> Result<Option<String>> {
    let mut tables = Table::new();
    for name in TABLES {
        let Ok(mut table) = figment.extract_inner::<Table>(name) else {
            continue;
        };
        if name == "policy" {
            LOCAL.into_iter().for_each(|key| drop(table.remove(key)));
            if let Some(Value::Table(advisories)) = table.get_mut("advisories") {
                advisories.remove("path");
            }
            table.retain(|_, value| value.as_table().is_none_or(|table| !table.is_empty()));
        }
        if !table.is_empty() {
            tables.insert(name.to_owned(), Value::Table(table));
        }
    }
    if tables.is_empty() {
        return Ok(None);
    }
    let text = toml::to_string(&tables);
    text.map(Some)
        .map_err(|e| Error::internal("rules can't be written").caused_by(e))
}
