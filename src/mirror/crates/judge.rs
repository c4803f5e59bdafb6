//! [`Judgement`]: what the rules say of a version to who asks about it, and not for it.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use super::CrateService;
use crate::{
    domain::{CrateId, CrateKey, CrateName, IndexKey, License, RegistryName, Sha256, View},
    error::{Error, Result},
    mirror::{kept::IndexEntry, registry::Registry},
    policy::{
        Candidate, Cause, CrateRules, Denial, Known, advisories::Advisory, refusal, refusal_naming,
    },
};

/// What the rules say of a version, whether they are enforced or only tried.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Why it may not come in, if so.
    pub denial: Option<Denied>,
    /// The rule that lets it in or has it wait, if one is about it.
    pub rule: Option<Arc<str>>,
    /// What is known against it and doesn't keep it out.
    pub warnings: Vec<Arc<Advisory>>,
    /// Its licence, where licences matter and it is known here.
    pub license: LicenseKnown,
}

/// Why something may not come in.
#[derive(Clone, Debug)]
pub struct Denied {
    /// What it is about it, and until when.
    pub denial: Denial,
    /// The same as a sentence, without a full stop.
    pub sentence: String,
}

/// What is known of a licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LicenseKnown {
    /// The rules let in all.
    NoMatter,
    /// This one.
    Known(License),
    /// Only the .crate file says it, which isn't stored.
    Unknown,
}

/// What the rules say of a crate.
#[derive(Clone, Debug, Default)]
pub struct CrateJudgement {
    /// Why the crate as such may not come in, if so.
    pub denial: Option<Denied>,
    /// How many versions there are that aren't yanked.
    pub versions: usize,
    /// Of those, which may not come in, and why, the newest first.
    pub denied: Vec<(CrateId, Denied)>,
    /// The newest version that may be picked.
    pub newest: Option<CrateId>,
    /// Of how many the licence isn't known here, where licences matter.
    pub licenses_unknown: usize,
}

impl CrateService {
    /// What the rules say of this version; its index file is obtained if it isn't here.
    ///
    /// # Errors
    /// Those of the index, and [`Kind::Absent`](crate::error::Kind::Absent) when there is no such version.
    pub(in crate::mirror) async fn judge(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> Result<Judgement> {
        let policy = self.shared.rules.policy();
        let name = registry.name();
        let said = |rules: &CrateRules<'_>, denial: Denial, known: Option<Known<'_>>| Denied {
            sentence: refusal(name, &id.to_string(), &denial, rules, known),
            denial,
        };
        {
            let rules = policy.of_crate(name, id.name, view, now);
            if let Some(denial) = rules.crate_denial() {
                return Ok(Judgement {
                    denial: Some(said(&rules, denial, None)),
                    rule: None,
                    warnings: Vec::new(),
                    license: LicenseKnown::NoMatter,
                });
            }
        }
        let entry = self.entry(registry, id.name, now).await?;
        let Some(line) = entry.file().find(id) else {
            return Err(super::listing::unknown_version(&entry, name, id));
        };
        let key = CrateKey {
            registry: name,
            id: *id,
            sha256: line.sha256,
        };
        let license = match policy.asks_for_licenses() {
            false => LicenseKnown::NoMatter,
            true => self.known_license(&key, now).await,
        };
        let rules = policy.of_crate(name, id.name, view, now);
        let known = entry.known();
        let Some(candidate) = Candidate::listed(line, known) else {
            return Err(Error::internal("a version that is listed is none"));
        };
        let decision = rules.decide(&candidate, Some(known));
        let by_license = || match &license {
            LicenseKnown::Known(license) => rules.license_denial(&candidate, license),
            LicenseKnown::NoMatter | LicenseKnown::Unknown => None,
        };
        let denial = decision.denial.or_else(by_license);
        Ok(Judgement {
            // Which version could be had instead, the index can't say where licences decide.
            denial: denial.map(|denial| {
                let by_license = matches!(denial.cause, Cause::License(_));
                said(&rules, denial, (!by_license).then_some(known))
            }),
            rule: rules.deciding(&candidate),
            warnings: decision.warnings,
            license,
        })
    }

    /// What the rules say of this crate.
    ///
    /// # Errors
    /// Those of the index.
    pub(in crate::mirror) async fn judge_crate(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Result<CrateJudgement> {
        let policy = self.shared.rules.policy();
        let of = registry.name();
        {
            let rules = policy.of_crate(of, name, view, now);
            if let Some(denial) = rules.crate_denial() {
                let sentence = refusal(of, name.as_str(), &denial, &rules, None);
                return Ok(CrateJudgement {
                    denial: Some(Denied { denial, sentence }),
                    ..CrateJudgement::default()
                });
            }
        }
        let entry = self.entry(registry, name, now).await?;
        let licenses = match policy.asks_for_licenses() {
            true => Some(self.known_licenses(&entry, of, now).await),
            false => None,
        };
        let rules = policy.of_crate(of, name, view, now);
        Ok(judged(of, entry.known(), &rules, licenses.as_ref()))
    }

    async fn entry(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
    ) -> Result<Arc<IndexEntry>> {
        // Whether it is let in is what is asked here, and not decided by the rules for everybody.
        let found = self.index.look(registry, name, View::Usual, now).await?;
        Ok(found.value)
    }

    /// The licences of the versions that are stored, by the checksum of each.
    async fn known_licenses(
        &self,
        entry: &IndexEntry,
        registry: RegistryName,
        now: SystemTime,
    ) -> HashMap<Sha256, License> {
        let mut licenses = HashMap::new();
        let index = IndexKey::new(registry, entry.file().name());
        // A store that can't be read knows of none.
        for key in self
            .shared
            .store
            .crates_of(&index)
            .await
            .unwrap_or_default()
        {
            match self.known_license(&key, now).await {
                LicenseKnown::Known(license) => licenses.insert(key.sha256, license),
                LicenseKnown::NoMatter | LicenseKnown::Unknown => None,
            };
        }
        licenses
    }

    /// What is known of a licence without asking upstream.
    async fn known_license(&self, key: &CrateKey, now: SystemTime) -> LicenseKnown {
        match self.files.if_stored(&key.into(), now).await {
            Some(file) => match self.manifests.license_of(*key, &file).await {
                Ok(license) => LicenseKnown::Known(license),
                Err(_) => LicenseKnown::Unknown,
            },
            None => LicenseKnown::Unknown,
        }
    }
}

/// What the rules say of all versions of a crate, each of which is decided once for itself and once more at most for the others. The licences are those that are
/// known, where they matter.
fn judged(
    registry: RegistryName,
    known: Known<'_>,
    rules: &CrateRules<'_>,
    licenses: Option<&HashMap<Sha256, License>>,
) -> CrateJudgement {
    let mut judgement = CrateJudgement::default();
    let lines = known.file.versions().iter();
    judgement.versions = lines.filter(|line| !line.yanked).count();
    let newest_by_rules = rules.newest_allowed(known);
    let (mut denied, mut allowed) = (Vec::new(), Vec::new());
    let decided = rules.decide_all(known).into_iter();
    for (line, candidate, decision) in decided.filter(|(line, ..)| !line.yanked) {
        let license = licenses.and_then(|licenses| licenses.get(&line.sha256));
        judgement.licenses_unknown += usize::from(licenses.is_some() && license.is_none());
        let by_license = || license.and_then(|known| rules.license_denial(&candidate, known));
        let version = candidate.version().clone();
        let id = CrateId {
            name: known.file.name(),
            version: *line.version(),
        };
        match decision.denial.or_else(by_license) {
            Some(denial) => {
                // Which version could be had instead, the index can't say where licences decide.
                let by_license = matches!(denial.cause, Cause::License(_));
                let newest = newest_by_rules.filter(|_| !by_license);
                let sentence = refusal_naming(newest, registry, &id.to_string(), &denial, rules);
                denied.push((version, id, Denied { denial, sentence }));
            }
            None => allowed.push((version.pre.is_empty(), version, id)),
        }
    }
    denied.sort_by(|a, b| b.0.cmp(&a.0));
    let denied = denied.into_iter().map(|(_, id, denied)| (id, denied));
    judgement.denied = denied.collect();
    // A release, if there is one.
    allowed.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    judgement.newest = allowed.pop().map(|(_, _, id)| id);
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Day, History, IndexFile},
        policy::{DECISIONS, Policy},
    };

    /// Each denied version had all of them decided again, to name one that may be had.
    #[test]
    fn the_work_for_a_crate_grows_with_its_versions_and_not_with_their_square() {
        const VERSIONS: usize = 300;
        let now = SystemTime::now();
        let name = CrateName::parse("many").expect("a name");
        let key = IndexKey::new(RegistryName::crates_io(), name);
        let line = |n: usize| {
            format!(
                r#"{{"name":"many","vers":"1.0.{n}","deps":[],"cksum":"{}","features":{{}},"yanked":{},"pubtime":"2024-01-01T00:00:00Z"}}"#,
                "0".repeat(64),
                n == 0
            )
        };
        let lines: Vec<_> = (0..VERSIONS).map(line).collect();
        let file = IndexFile::parse(key.path, lines.join("\n").into()).expect("an index file");
        let known = Known {
            file: &file,
            history: &History::default(),
            modified_at: now,
        };
        let (policy, day) = (Policy::default(), Day::parse("2000-01-01").expect("a day"));
        let rules = policy.of_crate(key.registry, name, View::AsOf(day), now);
        let before = DECISIONS.get();
        let judgement = judged(key.registry, known, &rules, None);
        assert_eq!(judgement.versions, VERSIONS - 1, "one is yanked");
        assert_eq!(judgement.denied.len(), VERSIONS - 1);
        assert_eq!(judgement.denied[0].0.to_string(), "many 1.0.299");
        assert_eq!(judgement.newest, None);
        assert!(DECISIONS.get() - before <= 2 * VERSIONS);
    }
}
