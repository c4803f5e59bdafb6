//! [`Dependency`]: what a resolver will ask for next, as far as an index file tells.
//!
//! A guess, made as cargo's resolver would with nothing else to consider (`cargo/src/cargo/core/resolver/{dep_cache,features}.rs`): the newest version
//! that fits, and of its dependencies those that its features turn on. Nothing depends on its being right.

use std::collections::{BTreeMap, BTreeSet};

use semver::{Version as Semver, VersionReq};
use serde::Deserialize;

use super::{
    index_file::{IndexFile, Version},
    name::CrateName,
};

/// A dependency on a crate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// Which crate.
    pub name: CrateName,
    /// Which versions of it; any that is no pre-release, when nobody has said.
    pub req: Option<VersionReq>,
    /// The features asked for.
    pub features: BTreeSet<String>,
    /// Whether its `default` feature is.
    pub default_features: bool,
}

impl Dependency {
    /// What is known of it when somebody just asks for the index file of `name`.
    pub fn any(name: CrateName) -> Self {
        Self {
            name,
            req: None,
            features: BTreeSet::new(),
            default_features: true,
        }
    }

    /// The version of `file` that a resolver would take, which sees those as yanked that are `hidden`, by their place in the list.
    pub fn resolve<'a>(
        &self,
        file: &'a IndexFile,
        hidden: impl Fn(usize) -> bool,
    ) -> Option<&'a Version> {
        let newest_first = |a: &(Semver, &Version), b: &(Semver, &Version)| a.0.cmp(&b.0);
        let versions = file.versions().iter().enumerate();
        let versions = versions.filter(|(place, v)| !v.yanked && !hidden(*place));
        let versions = versions.map(|(_, version)| version);
        let fitting = versions.filter_map(|version| {
            let number = Semver::parse(version.version().as_str()).ok()?;
            let fits = match &self.req {
                Some(req) => req.matches(&number),
                None => number.pre.is_empty(),
            };
            fits.then_some((number, version))
        });
        fitting.max_by(newest_first).map(|(_, version)| version)
    }

    /// What a resolver that took `version` of `file` for this would ask for next. Empty when its line can't be read.
    pub fn next(&self, file: &IndexFile, version: &Version) -> Vec<Dependency> {
        let line = file.body().get(version.line.clone()).unwrap_or_default();
        let Ok(line) = serde_json::from_slice::<DependencyLine>(line) else {
            return Vec::new();
        };
        let active = line.activate(self);
        let deps = line.deps.iter();
        deps.filter_map(|dep| dep.followed(&active)).collect()
    }
}

/// The fields read of a line; `features2` is where newer syntax is kept from older cargos.
#[derive(Deserialize)]
struct DependencyLine {
    #[serde(default)]
    deps: Vec<Dep>,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    features2: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize)]
struct Dep {
    /// As the manifest calls it, which features refer to.
    name: String,
    req: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default = "yes")]
    default_features: bool,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    registry: Option<String>,
    /// As its registry calls it, if that is another name.
    #[serde(default)]
    package: Option<String>,
}

fn yes() -> bool {
    true
}

/// What the features of one version turn on.
#[derive(Default)]
struct Active<'a> {
    /// Optional dependencies.
    deps: BTreeSet<&'a str>,
    /// Features of dependencies, each with whose it is.
    features: BTreeSet<(&'a str, &'a str)>,
}

impl DependencyLine {
    fn activate<'a>(&'a self, dependency: &'a Dependency) -> Active<'a> {
        let mut active = Active::default();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = dependency.features.iter().map(String::as_str).collect();
        if dependency.default_features {
            open.push("default");
        }
        while let Some(feature) = open.pop() {
            if !seen.insert(feature) {
                continue;
            }
            let Some(values) = self.feature(feature) else {
                // An optional dependency is a feature of its own name.
                active.deps.insert(feature);
                continue;
            };
            for value in values {
                if let Some(dep) = value.strip_prefix("dep:") {
                    active.deps.insert(dep);
                } else if let Some((dep, feature)) = value.split_once('/') {
                    match dep.strip_suffix('?') {
                        // Only if something else turns the dependency on.
                        Some(dep) => {
                            active.features.insert((dep, feature));
                        }
                        None => {
                            active.deps.insert(dep);
                            active.features.insert((dep, feature));
                        }
                    }
                } else {
                    open.push(value);
                }
            }
        }
        active
    }

    fn feature(&self, name: &str) -> Option<&[String]> {
        let newer = self.features2.as_ref().and_then(|f| f.get(name));
        self.features.get(name).or(newer).map(Vec::as_slice)
    }
}

impl Dep {
    /// This one, if a resolver follows it: not those of tests, nor those of another registry.
    fn followed(&self, active: &Active<'_>) -> Option<Dependency> {
        let is_on = !self.optional || active.deps.contains(self.name.as_str());
        if !is_on || self.kind.as_deref() == Some("dev") || self.registry.is_some() {
            return None;
        }
        let from = (self.name.as_str(), "");
        let asked = active.features.range(from..);
        let asked = asked
            .take_while(|(dep, _)| *dep == self.name)
            .map(|(_, feature)| (*feature).to_owned());
        Some(Dependency {
            name: CrateName::parse(self.package.as_ref().unwrap_or(&self.name)).ok()?,
            req: Some(VersionReq::parse(&self.req).ok()?),
            features: self.features.iter().cloned().chain(asked).collect(),
            default_features: self.default_features,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::IndexPath;

    fn file(lines: &[String]) -> IndexFile {
        let path = IndexPath::of(CrateName::parse("a").expect("valid"));
        IndexFile::parse(path, Bytes::from(lines.join("\n"))).expect("an index file")
    }

    fn line(vers: &str, yanked: bool, rest: &str) -> String {
        let cksum = "0".repeat(64);
        format!(r#"{{"name":"a","vers":"{vers}","cksum":"{cksum}","yanked":{yanked},{rest}}}"#)
    }

    fn any() -> Dependency {
        Dependency::any(CrateName::parse("a").expect("valid"))
    }

    fn resolved(file: &IndexFile, dependency: &Dependency) -> Option<String> {
        dependency
            .resolve(file, |_| false)
            .map(|v| v.version().to_string())
    }

    fn names(file: &IndexFile, dependency: &Dependency) -> Vec<String> {
        let version = dependency.resolve(file, |_| false).expect("a version");
        let next = dependency.next(file, version).into_iter();
        next.map(|dependency| dependency.name.to_string()).collect()
    }

    #[test]
    fn the_newest_version_that_fits_is_taken() {
        let plain = |vers, yanked| line(vers, yanked, r#""deps":[],"features":{}"#);
        let file = file(&[
            plain("1.9.0", false),
            plain("1.10.0", false),
            plain("1.11.0", true),
            plain("2.0.0", false),
            plain("3.0.0-rc.1", false),
        ]);
        let of = |req: &str| Dependency {
            req: VersionReq::parse(req).ok(),
            ..any()
        };
        assert_eq!(resolved(&file, &any()).as_deref(), Some("2.0.0"));
        assert_eq!(resolved(&file, &of("^1")).as_deref(), Some("1.10.0"));
        assert_eq!(resolved(&file, &of("=1.9.0")).as_deref(), Some("1.9.0"));
        assert_eq!(resolved(&file, &of("4")), None);
    }

    #[test]
    fn dependencies_of_tests_and_of_features_that_are_off_are_passed_over() {
        let dep = |name: &str, more: &str| format!(r#"{{"name":"{name}","req":"^1"{more}}}"#);
        let deps = [
            dep("always", ""),
            dep("tests", r#","kind":"dev""#),
            dep("built", r#","kind":"build""#),
            dep("off", r#","optional":true"#),
            dep("by-default", r#","optional":true"#),
            dep("by-name", r#","optional":true"#),
            dep("by-dep", r#","optional":true"#),
            dep("by-slash", r#","optional":true"#),
            dep("weak", r#","optional":true"#),
            dep("renamed", r#","package":"real-name""#),
            dep("elsewhere", r#","registry":"https://example.com/index""#),
        ];
        let features = r#""features":{"default":["std"],"std":["by-default"],"full":["by-slash/x","weak?/y"]},"features2":{"more":["dep:by-dep"]}"#;
        let file = file(&[line(
            "1.0.0",
            false,
            &format!(r#""deps":[{}],{features}"#, deps.join(",")),
        )]);
        assert_eq!(
            names(&file, &any()),
            ["always", "built", "by-default", "real-name"]
        );
        let dependency = Dependency {
            features: ["full", "more", "by-name"].map(str::to_owned).into(),
            default_features: false,
            ..any()
        };
        assert_eq!(
            names(&file, &dependency),
            [
                "always",
                "built",
                "by-name",
                "by-dep",
                "by-slash",
                "real-name"
            ]
        );
        let next = dependency.next(
            &file,
            dependency.resolve(&file, |_| false).expect("a version"),
        );
        let slashed = next.iter().find(|w| w.name.as_str() == "by-slash");
        assert!(slashed.is_some_and(|w| w.features.contains("x")));
    }
}
