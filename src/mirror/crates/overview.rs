//! [`CrateOverview`]: all that is known here of a crate and its versions, for who looks at it and doesn't fetch it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use semver::Version as SemVersion;

use super::{CrateService, judge::Denied};
use crate::{
    allowance::Lease,
    domain::{
        CrateId, CrateKey, CrateName, CrateVersion, IndexKey, License, Manifest, Outcome,
        RegistryName, Sha256, Version, View,
    },
    error::Result,
    mirror::{
        kept::IndexEntry,
        registry::Registry,
        shared::{WorkTurn, not_enough_memory},
    },
    policy::{
        Candidate, CrateRules, Decision, Known, advisories::Advisory, refusal, refusal_naming,
    },
};

/// What a version takes at most while it is shown, in bytes: what is known of it, a sentence, and the text that is made of these.
const OF_VERSION: u64 = 4 << 10;
/// What is read of the lines takes so many times their size, and no more than this many bytes of them are read.
const OF_LINES: u64 = 8;
const MOST_LINES: u64 = 512 << 10;

/// Of so many versions, the newest ones, it is looked up what their manifests say; of all that are stored where the rules ask for licences.
const WITH_MANIFEST: usize = 50;
/// So many stored files at most are read for that; what their manifests say is kept, so that the next look finds more.
const READ: usize = 32;
/// So many of those that depend on it are named.
const DEPENDENTS: usize = 100;

/// All that is known here of a crate.
#[derive(Clone)]
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
    /// Whether the rules ask for licences, which only the .crate files say: a version of which none is known may still be refused when it is asked for.
    pub needs_licenses: bool,
    /// Memory for this and for what is made of it, and leave to make that; kept until it is dropped.
    _held: Option<Arc<Held>>,
}

/// What is held as long as a crate is looked at.
struct Held {
    _lease: Lease,
    _turn: WorkTurn,
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
    /// Its licence, if its file is here, and it is one of the newest or the rules ask for licences.
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
        let turn = self.overviews.turn().await?;
        let lease = self.lease_for(&entry)?;
        let sizes = Arc::new(sizes);
        let decide = {
            let (shared, entry, sizes) = (self.shared.clone(), entry.clone(), sizes.clone());
            move || {
                let policy = shared.rules.policy();
                let rules = policy.of_crate(of, name, view, now);
                versions(of, entry.known(), &rules, &sizes)
            }
        };
        let (mut versions, _) = turn.run(decide).await?;
        let manifest = self.add_manifests(&mut versions, &sizes, now).await;
        add_missing(&mut versions, &entry);
        {
            let policy = self.shared.rules.policy();
            let rules = policy.of_crate(of, name, view, now);
            add_license_denials(&mut versions, of, &entry, &rules);
        }
        let newest = newest_offered(&versions);
        let (dependents, dependents_count) = self.dependents(&turn, of, name).await;
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
            needs_licenses: policy.asks_for_licenses(),
            _held: Some(Arc::new(Held {
                _lease: lease,
                _turn: turn,
            })),
        })
    }

    /// Memory for all that is shown of a crate.
    fn lease_for(&self, entry: &IndexEntry) -> Result<Lease> {
        let file = entry.file();
        let lines = (file.body().len() as u64).min(MOST_LINES);
        let bytes = file.versions().len() as u64 * OF_VERSION + lines * OF_LINES;
        let mut lease = self.shared.budget.nothing();
        match lease.try_grow_making_way(bytes) {
            true => Ok(lease),
            false => Err(not_enough_memory()),
        }
    }

    /// Adds what the manifests of the newest stored versions say; gives the newest of them.
    async fn add_manifests(
        &self,
        versions: &mut [VersionOverview],
        sizes: &HashMap<Sha256, (CrateKey, u64)>,
        now: SystemTime,
    ) -> Option<Manifest> {
        let is_asked_for = self.shared.rules.policy().asks_for_licenses();
        let of_how_many = if is_asked_for {
            usize::MAX
        } else {
            WITH_MANIFEST
        };
        let (mut newest, mut read) = (None, 0);
        for version in versions.iter_mut().take(of_how_many) {
            let Some((key, _)) = sizes.get(&version.sha256) else {
                continue;
            };
            let mut manifest = self.shared.store.load_manifest(key).await.ok().flatten();
            // Of the others than the newest one the file itself is read only to judge it.
            if manifest.is_none() && read < READ && (newest.is_none() || is_asked_for) {
                read += 1;
                manifest = self.manifests.of_stored(key, &self.files, now).await;
            }
            version.license = manifest.as_ref().map(|manifest| manifest.license.clone());
            newest = newest.or(manifest);
        }
        newest
    }

    async fn dependents(
        &self,
        turn: &WorkTurn,
        registry: RegistryName,
        name: CrateName,
    ) -> (Vec<Box<str>>, usize) {
        let catalog = self.shared.catalog.clone();
        let found = turn.run(move || catalog.dependents(registry, name, DEPENDENTS));
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

#[cfg(test)]
impl CrateOverview {
    /// One of which everything that somebody else writes is `text`.
    pub(crate) fn that_says(name: CrateName, text: &str) -> Self {
        let denied = Denied {
            denial: crate::policy::Denial {
                cause: crate::policy::Cause::Default,
                ends: None,
            },
            sentence: text.to_owned(),
        };
        let quoted = serde_json::to_string(text).expect("text");
        let line = format!(
            r#"{{"name":"a","vers":"1.0.0","deps":[{{"name":{quoted},"req":{quoted},"features":[],"optional":true,"default_features":true,"target":{quoted},"kind":"build"}}],"cksum":"","features":{{{quoted}:[]}},"yanked":false,"links":{quoted},"rust_version":{quoted}}}"#
        );
        let version = VersionOverview {
            version: CrateVersion::parse("1.0.0").expect("a version"),
            published: None,
            sha256: Sha256::of(b""),
            yanked: false,
            stored: Some(1),
            denied: Some(denied.clone()),
            is_refused: true,
            is_missing: false,
            advisories: Vec::new(),
            license: None,
            line: line.into(),
        };
        let words = || vec![text.into()];
        Self {
            versions: vec![version],
            manifest: Some(Manifest {
                description: Some(text.into()),
                keywords: words(),
                categories: words(),
                ..Manifest::none()
            }),
            dependents: words(),
            dependents_count: 1,
            denied: None,
            ..Self::denied(RegistryName::crates_io(), name, denied)
        }
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
            needs_licenses: false,
            _held: None,
        }
    }
}

/// What an index file, the rules and the store say of each version, the newest first; and which is the newest that may be picked. Each version is decided once
/// for itself, and once more at most for the others.
fn versions(
    registry: RegistryName,
    known: Known<'_>,
    rules: &CrateRules<'_>,
    sizes: &HashMap<Sha256, (CrateKey, u64)>,
) -> (Vec<VersionOverview>, Option<CrateVersion>) {
    let file = known.file;
    let newest = rules.newest_allowed(known);
    let overview = |(line, candidate, decision): (&Version, Candidate, Decision)| {
        let number = candidate.version().clone();
        let id = CrateId {
            name: file.name(),
            version: *line.version(),
        };
        let denied = decision.denial.map(|denial| Denied {
            sentence: refusal_naming(newest, registry, &id.to_string(), &denial, rules),
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
        (number, overview)
    };
    let decided = rules.decide_all(known).into_iter();
    let mut all: Vec<(SemVersion, _)> = decided.map(overview).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0));
    let all = all.into_iter().map(|(_, overview)| overview);
    (all.collect(), newest.copied())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Day, History, IndexFile},
        policy::{DECISIONS, Policy},
    };

    /// Each denied version had all of them sorted and decided again: 3,000 took ten seconds of a thread that serves hits.
    #[test]
    fn the_work_for_a_page_grows_with_its_versions_and_not_with_their_square() {
        const VERSIONS: usize = 300;
        let now = SystemTime::now();
        let key = IndexKey::new(
            RegistryName::crates_io(),
            CrateName::parse("many").expect("a name"),
        );
        let line = |n: usize| {
            format!(
                r#"{{"name":"many","vers":"1.0.{n}","deps":[],"cksum":"{}","features":{{}},"yanked":false,"pubtime":"2024-01-01T00:00:00Z"}}"#,
                "0".repeat(64)
            )
        };
        let lines: Vec<_> = (0..VERSIONS).map(line).collect();
        let body = Bytes::from(lines.join("\n"));
        let file = IndexFile::parse(key.path, body).expect("an index file");
        let known = Known {
            file: &file,
            history: &History::default(),
            modified_at: now,
        };
        let policy = Policy::default();
        let day = Day::parse("2000-01-01").expect("a day");
        let rules = policy.of_crate(key.registry, key.name(), View::AsOf(day), now);
        let before = DECISIONS.get();
        let (all, newest) = versions(key.registry, known, &rules, &HashMap::new());
        assert_eq!((all.len(), newest), (VERSIONS, None));
        assert!(all.iter().all(|version| version.is_refused));
        assert!(DECISIONS.get() - before <= 2 * VERSIONS);
    }
}
