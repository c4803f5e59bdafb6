//! [`CrateOverview`]: all that is known here of a crate and its versions, for who looks at it and doesn't fetch it.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use semver::Version as SemVersion;

use super::{CrateService, judge::Denied};
use crate::{
    domain::{
        CrateId, CrateKey, CrateName, CrateVersion, IndexKey, License, Manifest, Outcome,
        RegistryName, Sha256, Version, View,
    },
    error::Result,
    mirror::{kept::IndexEntry, registry::Registry},
    policy::{Candidate, CrateRules, advisories::Advisory, refusal},
};

/// Of so many versions, the newest ones, it is looked up what their manifests say.
const WITH_MANIFEST: usize = 50;
/// So many of those that depend on it are named.
const DEPENDENTS: usize = 100;

/// All that is known here of a crate.
#[derive(Clone, Debug)]
pub struct CrateOverview {
    /// In which registry.
    pub registry: RegistryName,
    /// Its name, in its own case where that is known.
    pub name: CrateName,
    /// Why the crate as such may not come in, if so; nothing is known of its versions then.
    pub denied: Option<Denied>,
    /// Where its index file came from.
    pub outcome: Outcome,
    /// When upstream last said that this is current.
    pub checked_at: Option<SystemTime>,
    /// The newest version that may be picked.
    pub newest: Option<CrateVersion>,
    /// All versions, the newest first.
    pub versions: Vec<VersionOverview>,
    /// What the newest stored version says of the crate.
    pub manifest: Option<Manifest>,
    /// Stored crates that are built from it, some of them.
    pub dependents: Vec<Box<str>>,
    /// How many there are of these.
    pub dependents_count: usize,
}

/// All that is known here of a version.
#[derive(Clone, Debug)]
pub struct VersionOverview {
    /// Which.
    pub version: CrateVersion,
    /// When it was published, if upstream says so.
    pub published: Option<SystemTime>,
    /// What its file must hash to.
    pub sha256: Sha256,
    /// Whether upstream has taken it back.
    pub yanked: bool,
    /// How many bytes its file has, if it is here.
    pub stored: Option<u64>,
    /// Why it may not come in, if so, and until when.
    pub denied: Option<Denied>,
    /// Whether that is held to, and not only tried.
    pub is_refused: bool,
    /// Whether it can't be had because it isn't here and this mirror is offline.
    pub is_missing: bool,
    /// What is known against it.
    pub advisories: Vec<Arc<Advisory>>,
    /// Its licence, if it is one of the newest and its file is here.
    pub license: Option<License>,
    /// Its line in the index file.
    pub line: Bytes,
}

impl CrateService {
    /// All that is known here of a crate as it is seen in `view`; its index file is obtained if it isn't here.
    ///
    /// # Errors
    /// Those of the index.
    pub(in crate::mirror) async fn overview(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Result<CrateOverview> {
        let (policy, of) = (self.shared.rules.policy(), registry.name());
        {
            let rules = policy.of_crate(of, name, view, now);
            if let Some(denial) = rules.crate_denial().filter(|d| rules.is_enforced(d)) {
                let sentence = refusal(of, name.as_str(), &denial, &rules, None);
                return Ok(CrateOverview::denied(of, name, Denied { denial, sentence }));
            }
        }
        let found = self.index.look(registry, name, view, now).await?;
        let (entry, outcome) = (found.value, found.outcome);
        let key = IndexKey::new(of, name);
        // A store that can't be read has nothing.
        let sizes = self.shared.store.crate_sizes(&key).await;
        let sizes: HashMap<Sha256, (CrateKey, u64)> = sizes
            .unwrap_or_default()
            .into_iter()
            .map(|(key, size)| (key.sha256, (key, size)))
            .collect();
        let mut versions = {
            let rules = policy.of_crate(of, name, view, now);
            versions(of, &entry, &rules, &sizes)
        };
        let manifest = self.add_manifests(&mut versions, &sizes, now).await;
        add_missing(&mut versions, &entry);
        {
            let rules = policy.of_crate(of, name, view, now);
            add_license_denials(&mut versions, of, &entry, &rules);
        }
        let newest = newest_offered(&versions);
        let (dependents, dependents_count) = self.dependents(of, name).await;
        Ok(CrateOverview {
            registry: of,
            name: entry.file().name(),
            denied: None,
            outcome,
            checked_at: Some(entry.checked_at),
            newest,
            versions,
            manifest,
            dependents,
            dependents_count,
        })
    }

    /// Adds what the manifests of the newest stored versions say; gives the newest of them.
    async fn add_manifests(
        &self,
        versions: &mut [VersionOverview],
        sizes: &HashMap<Sha256, (CrateKey, u64)>,
        now: SystemTime,
    ) -> Option<Manifest> {
        let mut newest = None;
        for version in versions.iter_mut().take(WITH_MANIFEST) {
            let Some((key, _)) = sizes.get(&version.sha256) else {
                continue;
            };
            // Only of the newest one is the file itself read for it.
            let manifest = match newest {
                None => self.manifests.of_stored(key, &self.loads, now).await,
                Some(_) => self.shared.store.load_manifest(key).await.ok().flatten(),
            };
            version.license = manifest.as_ref().map(|manifest| manifest.license.clone());
            newest = newest.or(manifest);
        }
        newest
    }

    async fn dependents(&self, registry: RegistryName, name: CrateName) -> (Vec<Box<str>>, usize) {
        let catalog = self.shared.catalog.clone();
        let found =
            tokio::task::spawn_blocking(move || catalog.dependents(registry, name, DEPENDENTS));
        found.await.unwrap_or_default()
    }
}

impl VersionOverview {
    /// Whether a resolver may pick it.
    pub fn is_offered(&self) -> bool {
        !self.yanked && !self.is_refused && !self.is_missing
    }

    /// Whether it is no pre-release.
    pub fn is_release(&self) -> bool {
        SemVersion::parse(self.version.as_str()).is_ok_and(|number| number.pre.is_empty())
    }
}

impl CrateOverview {
    fn denied(registry: RegistryName, name: CrateName, denied: Denied) -> Self {
        Self {
            registry,
            name,
            denied: Some(denied),
            outcome: Outcome::Denied,
            checked_at: None,
            newest: None,
            versions: Vec::new(),
            manifest: None,
            dependents: Vec::new(),
            dependents_count: 0,
        }
    }
}

/// What an index file, the rules and the store say of each version, the newest first.
fn versions(
    registry: RegistryName,
    entry: &IndexEntry,
    rules: &CrateRules<'_>,
    sizes: &HashMap<Sha256, (CrateKey, u64)>,
) -> Vec<VersionOverview> {
    let (file, known) = (entry.file(), entry.known());
    let overview = |line: &Version| {
        let number = SemVersion::parse(line.version().as_str()).ok()?;
        let candidate = Candidate::listed(line, known)?;
        let decision = rules.decide(&candidate, Some(known));
        let id = CrateId {
            name: file.name(),
            version: *line.version(),
        };
        let denied = decision.denial.map(|denial| Denied {
            sentence: refusal(registry, &id.to_string(), &denial, rules, Some(known)),
            denial,
        });
        let overview = VersionOverview {
            version: *line.version(),
            published: line.published,
            sha256: line.sha256,
            yanked: line.yanked,
            stored: sizes.get(&line.sha256).map(|(_, size)| *size),
            is_refused: denied
                .as_ref()
                .is_some_and(|d| rules.is_enforced(&d.denial)),
            denied,
            is_missing: false,
            advisories: rules.advisories_of(&number),
            license: None,
            line: file.body().slice(line.line.clone()),
        };
        Some((number, overview))
    };
    let mut all: Vec<_> = file.versions().iter().filter_map(overview).collect();
    all.sort_by_key(|(number, _)| Reverse(number.clone()));
    all.into_iter().map(|(_, overview)| overview).collect()
}

/// Says of each version that the index shows as yanked offline, because it isn't here, that this is so.
fn add_missing(versions: &mut [VersionOverview], entry: &IndexEntry) {
    let listed = entry.file().versions().iter().enumerate();
    let missing = listed.filter(|(place, _)| entry.not_stored.contains(*place));
    let missing: HashSet<_> = missing.map(|(_, line)| *line.version()).collect();
    for version in versions {
        version.is_missing = missing.contains(&version.version);
    }
}

/// Adds what the rules say of the licences that are known.
fn add_license_denials(
    versions: &mut [VersionOverview],
    registry: RegistryName,
    entry: &IndexEntry,
    rules: &CrateRules<'_>,
) {
    for version in versions
        .iter_mut()
        .filter(|version| version.denied.is_none())
    {
        let id = CrateId {
            name: entry.file().name(),
            version: version.version,
        };
        let denial = version.license.as_ref().and_then(|license| {
            let candidate = Candidate::listed(entry.file().find(&id)?, entry.known())?;
            rules.license_denial(&candidate, license)
        });
        version.is_refused = denial.as_ref().is_some_and(|d| rules.is_enforced(d));
        // Which version could be had instead, the index can't say where licences decide.
        version.denied = denial.map(|denial| Denied {
            sentence: refusal(registry, &id.to_string(), &denial, rules, None),
            denial,
        });
    }
}

/// The newest version that a resolver may pick, of versions of which the newest is the first: a release, if there is one.
fn newest_offered(versions: &[VersionOverview]) -> Option<CrateVersion> {
    let offered = || versions.iter().filter(|version| version.is_offered());
    let release = offered().find(|version| version.is_release());
    let newest = release.or_else(|| offered().next());
    newest.map(|version| version.version)
}
