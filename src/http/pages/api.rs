//! The web API in crates.io's shape, with what a mirror can know, and `null` for the rest.

use std::{cmp::Reverse, fmt::Write, time::SystemTime};

use serde_json::{Map, Value, json};

use crate::{
    domain::{CrateVersion, VersionLine},
    error::{Error, Kind, Result},
    mirror::{CrateOverview, Denied, FoundCrate, Searched, VersionOverview},
};

/// Beyond so many bytes of index lines, what versions say of their features is left out: there are crates with megabytes of it.
const MOST_LINES: usize = VersionLine::LONGEST;
/// So many versions are told, the newest ones; `meta.total` and `num_versions` count all. The largest crates of crates.io have some thousands.
const MOST_VERSIONS: usize = 10_000;

/// Why the web API says nothing of a crate, if so: the rules refuse it.
fn offered(found: &CrateOverview) -> Result<()> {
    match &found.denied {
        Some(Denied { sentence, denial }) => {
            let refused = Error::new(Kind::Denied, sentence.clone());
            Err(refused.by_rule(denial.cause.rule()))
        }
        None => Ok(()),
    }
}

/// `crates?q=`: what cargo's search reads, and `null` for the rest.
pub(super) fn search(found: &Searched) -> Value {
    let krate = |found: &FoundCrate| {
        json!({
            "id": found.name.as_str(),
            "name": found.name.as_str(),
            "description": found.description,
            // Cargo wants one, and prints it for who pastes it: with this any that may be picked is picked.
            "max_version": found.version.as_deref().unwrap_or("*"),
            "newest_version": found.version,
            "downloads": null,
            "recent_downloads": null,
            "exact_match": false,
        })
    };
    let crates: Vec<_> = found.crates.iter().map(krate).collect();
    // Cargo reads it as so many bits.
    let total = u32::try_from(found.total).unwrap_or(u32::MAX);
    json!({ "crates": crates, "meta": { "total": total } })
}

/// `crates/NAME`.
///
/// # Errors
/// [`Kind::Denied`] when the rules refuse it.
pub(super) fn krate(found: &CrateOverview) -> Result<String> {
    offered(found)?;
    let about = about(found);
    with_versions(
        found,
        &json!({ "crate": about, "keywords": null, "categories": null }),
    )
}

/// `crates/NAME/versions`.
///
/// # Errors
/// [`Kind::Denied`] when the rules refuse the crate.
pub(super) fn versions(found: &CrateOverview) -> Result<String> {
    offered(found)?;
    let meta = json!({ "total": found.versions.len(), "next_page": null });
    with_versions(found, &json!({ "meta": meta }))
}

/// `crates/NAME/VERSION`.
///
/// # Errors
/// [`Kind::Denied`] when the rules refuse it, [`Kind::Absent`] when there is no such version.
pub(super) fn version(found: &CrateOverview, wanted: &CrateVersion) -> Result<Value> {
    let version = one(found, wanted)?;
    let in_full = version.line.len() <= MOST_LINES;
    Ok(json!({ "version": of_version(found, version, in_full) }))
}

/// `crates/NAME/VERSION/dependencies`. They are written one after the other, as versions are.
///
/// # Errors
/// Those of [`version`].
pub(super) fn dependencies(found: &CrateOverview, wanted: &CrateVersion) -> Result<String> {
    let version = one(found, wanted)?;
    let line = VersionLine::parse(&version.line);
    let mut text = "{\"dependencies\":[".to_owned();
    for (place, dep) in line.deps.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let dependency = json!({
            "id": null,
            "version_id": null,
            "crate_id": dep.name(),
            "req": dep.req,
            "optional": dep.optional,
            "default_features": dep.default_features,
            "features": dep.features,
            "target": dep.target,
            "kind": dep.kind(),
            "downloads": null,
        });
        let _ = write!(text, "{dependency}");
    }
    text.push_str("]}");
    Ok(text)
}

fn one<'a>(found: &'a CrateOverview, wanted: &CrateVersion) -> Result<&'a VersionOverview> {
    offered(found)?;
    let version = found.versions.iter().find(|v| v.version == *wanted);
    version.ok_or_else(|| {
        Error::absent(format!(
            "{} has no version {wanted} of {}",
            found.registry, found.name
        ))
    })
}

fn about(found: &CrateOverview) -> Value {
    let manifest = found.manifest.as_ref();
    let dates = || found.versions.iter().filter_map(|v| v.published);
    // Of those that may be picked: the highest, the highest that is no pre-release, and the one that was published last, as on crates.io.
    let shown = || found.versions.iter().filter(|v| v.is_offered());
    let number = |version: &VersionOverview| version.version.to_string();
    let highest = shown().next().map(number);
    let stable = shown().find(|v| v.is_release()).map(number);
    let last = shown().min_by_key(|v| Reverse(v.published)).map(number);
    let default = found.newest.as_ref().map(CrateVersion::as_str);
    let name = found.name.as_str();
    json!({
        "id": name,
        "name": name,
        "description": manifest.and_then(|m| m.description.as_ref()),
        "homepage": manifest.and_then(|m| m.homepage.as_ref()),
        "documentation": manifest.and_then(|m| m.documentation.as_ref()),
        "repository": manifest.and_then(|m| m.repository.as_ref()),
        "keywords": manifest.map(|m| &m.keywords),
        "categories": manifest.map(|m| &m.categories),
        // Never null there, whoever reads it: it is this where none can be picked.
        "max_version": highest.as_deref().unwrap_or("0.0.0"),
        "newest_version": last.as_deref().unwrap_or("0.0.0"),
        "default_version": default,
        "max_stable_version": stable,
        "num_versions": found.versions.len(),
        "yanked": found.newest.is_none(),
        "created_at": dates().min().map(time),
        "updated_at": dates().max().map(time),
        "downloads": null,
        "recent_downloads": null,
        "exact_match": false,
        "links": {
            "versions": format!("/api/v1/crates/{name}/versions"),
            "owners": null,
            "reverse_dependencies": null,
        },
    })
}

/// An object with `fields`, and with the crate's versions, which are written one after the other: as values they take several times as much memory as in the end.
fn with_versions(found: &CrateOverview, fields: &Value) -> Result<String> {
    let shown = &found.versions[..found.versions.len().min(MOST_VERSIONS)];
    let lines: usize = shown.iter().map(|v| v.line.len()).sum();
    let in_full = lines <= MOST_LINES;
    let mut text = fields.to_string();
    // The brace that closes it goes to the end.
    text.pop();
    text.push_str(",\"versions\":[");
    for (place, version) in shown.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let _ = write!(text, "{}", of_version(found, version, in_full));
    }
    text.push_str("]}");
    Ok(text)
}

fn of_version(found: &CrateOverview, version: &VersionOverview, in_full: bool) -> Value {
    let line = in_full.then(|| VersionLine::parse(&version.line));
    let line = line.as_ref();
    let (name, number) = (found.name.as_str(), version.version.as_str());
    let path = format!("/api/v1/crates/{name}/{number}");
    let license = version.license.as_ref().map(ToString::to_string);
    let mut value = json!({
        "id": null,
        "crate": name,
        "num": number,
        "dl_path": format!("{path}/download"),
        "readme_path": null,
        "checksum": version.sha256.to_string(),
        "crate_size": version.stored,
        "created_at": version.published.map(time),
        "updated_at": null,
        "downloads": null,
        "features": line.map(|line| &line.features),
        // What the rules refuse counts as yanked, and offline what isn't here, as in the index.
        "yanked": !version.is_offered(),
        "yank_message": version.denied.as_ref().filter(|_| version.is_refused).map(|d| &d.sentence),
        "license": license,
        "rust_version": line.and_then(|line| line.rust_version.as_ref()),
        "links": { "dependencies": format!("{path}/dependencies"), "version_downloads": null },
        "published_by": null,
    });
    if let (Some(links), Value::Object(fields)) = (line.and_then(|l| l.links.as_ref()), &mut value)
    {
        let fields: &mut Map<String, Value> = fields;
        fields.insert("lib_links".to_owned(), links.as_str().into());
    }
    value
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
