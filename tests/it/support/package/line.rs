//! The index line: one version as crates.io writes it, fields in crates.io's order.

use serde_json::{Value, json};

use super::{Dep, Kind, Package};

pub(super) fn render(package: &Package, checksum: &str) -> String {
    let (newer, older): (Vec<_>, Vec<_>) = package.features.iter().partition(|(_, enables)| {
        enables
            .iter()
            .any(|feature| feature.starts_with("dep:") || feature.contains("?/"))
    });
    let deps: Vec<String> = package.deps.iter().map(dep).collect();
    let mut line = Object::default();
    line.field("name", &json!(package.name));
    line.field("vers", &json!(package.version));
    line.raw("deps", &format!("[{}]", deps.join(",")));
    line.field("cksum", &json!(checksum));
    line.field("features", &features(&older));
    if !newer.is_empty() {
        line.field("features2", &features(&newer));
    }
    line.field("yanked", &json!(package.yanked));
    if let Some(version) = &package.rust_version {
        line.field("rust_version", &json!(version));
    }
    if let Some(time) = &package.pubtime {
        line.field("pubtime", &json!(time));
    }
    let needed = (!newer.is_empty()).then_some(2);
    if let Some(format) = package.format.or(needed) {
        line.field("v", &json!(format));
    }
    for (name, value) in &package.fields {
        line.field(name, value);
    }
    line.finish()
}

fn features(features: &[(&String, &Vec<String>)]) -> Value {
    features
        .iter()
        .map(|(name, enables)| ((*name).clone(), json!(enables)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn dep(dep: &Dep) -> String {
    let kind = match dep.kind {
        Kind::Normal => "normal",
        Kind::Dev => "dev",
        Kind::Build => "build",
    };
    let mut object = Object::default();
    object.field("name", &json!(dep.name));
    object.field("req", &json!(dep.req));
    object.field("features", &json!([]));
    object.field("optional", &json!(dep.optional));
    object.field("default_features", &json!(true));
    object.field("target", &json!(dep.target));
    object.field("kind", &json!(kind));
    object.finish()
}

/// A JSON object that keeps its fields in the order they came, which serde_json's own map sorts.
#[derive(Default)]
struct Object(Vec<String>);

impl Object {
    fn field(&mut self, name: &str, value: &Value) {
        self.raw(name, &value.to_string());
    }

    fn raw(&mut self, name: &str, value: &str) {
        self.0.push(format!("{}:{value}", json!(name)));
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.0.join(","))
    }
}
