//! The packaged `Cargo.toml`: cargo reads it after unpacking and expects the dependencies the index
//! promised.

use std::fmt::Write;

use super::{Dep, Kind, Package};

/// Edition 2018 goes with every `rust_version` from 1.31 on; cargo refuses a version that is older
/// than its edition.
pub(super) fn render(package: &Package) -> String {
    let mut toml = format!(
        "[package]\nname = {}\nversion = {}\nedition = \"2018\"\n",
        quoted(&package.name),
        quoted(&package.version)
    );
    if let Some(version) = &package.rust_version {
        line(&mut toml, &format!("rust-version = {}", quoted(version)));
    }
    for dep in &package.deps {
        line(&mut toml, &format!("\n[{}]", table(dep)));
        line(&mut toml, &format!("version = {}", quoted(&dep.req)));
        if dep.optional {
            line(&mut toml, "optional = true");
        }
    }
    if !package.features.is_empty() {
        line(&mut toml, "\n[features]");
    }
    for (name, enables) in &package.features {
        let enables: Vec<String> = enables.iter().map(|feature| quoted(feature)).collect();
        line(
            &mut toml,
            &format!("{} = [{}]", quoted(name), enables.join(", ")),
        );
    }
    toml
}

fn table(dep: &Dep) -> String {
    let section = match dep.kind {
        Kind::Normal => "dependencies",
        Kind::Dev => "dev-dependencies",
        Kind::Build => "build-dependencies",
    };
    let name = quoted(&dep.name);
    match &dep.target {
        Some(target) => format!("target.{}.{section}.{name}", quoted(target)),
        None => format!("{section}.{name}"),
    }
}

/// A TOML string. Rust's escapes are TOML's for all that names, versions and targets hold.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn line(toml: &mut String, text: &str) {
    writeln!(toml, "{text}").expect("a String takes everything");
}
