//! [`Door`]: the one way out for .crate files, from wherever they come. What may not go to who asks is refused here.
//!
//! Outside of this module nobody can make a [`Pass`], nor without one a [`FileBody`](crate::mirror::FileBody) or a
//! [`FileLink`](crate::mirror::FileLink) of a crate, and nothing else is given to clients.

use std::{sync::Arc, time::SystemTime};

use crate::{
    domain::{CrateId, CrateKey, FileKey, License, RegistryName, View},
    error::{Error, Kind, Result},
    mirror::{
        files::{CheckedFile, Clearance, Leave},
        kept::{IndexEntry, WholeFile},
        shared::{Refusal, RulesInForce, Shared},
    },
    policy::{Candidate, CrateRules, Denial, Known, Policy, refusal},
};

/// Leave for one file to go out.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) key: CrateKey,
    clearance: Clearance,
    /// Whose licence is still to be looked at, if licences matter.
    unlicensed: Option<Box<Candidate>>,
}

/// The rules that a request for a crate is held to, from its beginning to its end.
pub(super) struct Door<'a> {
    shared: &'a Shared,
    policy: Arc<Policy>,
    registry: RegistryName,
    id: &'a CrateId,
    view: View,
    now: SystemTime,
}

impl Pass {
    /// Leave for a file that is listed in `place` of an entry whose rendition says already that there is nothing to say of it; `None` when that has to be asked.
    /// This is the way of a hit.
    pub(super) fn at_once(
        rules: &RulesInForce,
        entry: &IndexEntry,
        place: usize,
        key: CrateKey,
        file: &WholeFile,
        now: SystemTime,
    ) -> Option<Self> {
        let (rendition, ruling) = (entry.rendition(), entry.rendition().ruling());
        let version = rules.version();
        let is_clear = rendition.is_valid(version, now)
            && !ruling.crate_is_denied
            && !ruling.noted.contains(place)
            && (!ruling.asks_for_licenses || file.is_licensed_under(version));
        is_clear.then_some(Self {
            key,
            clearance: Clearance::Clear,
            unlicensed: None,
        })
    }

    /// Whether the file's licence is still to be looked at.
    pub(super) fn needs_license(&self) -> bool {
        self.unlicensed.is_some()
    }
}

impl Leave for Pass {
    fn key(&self) -> FileKey {
        self.key.into()
    }

    fn clearance(self) -> Result<Clearance> {
        match self.needs_license() {
            true => Err(Error::internal(
                "a file was to go out whose licence nobody has looked at",
            )),
            false => Ok(self.clearance),
        }
    }
}

impl<'a> Door<'a> {
    /// The rules that hold now for who asks for `id` in `view`.
    pub(super) fn new(
        shared: &'a Shared,
        registry: RegistryName,
        id: &'a CrateId,
        view: View,
        now: SystemTime,
    ) -> Self {
        Self {
            policy: shared.rules.policy(),
            shared,
            registry,
            id,
            view,
            now,
        }
    }

    /// Whether anything of this crate may go out at all.
    ///
    /// # Errors
    /// [`Kind::Denied`] when not.
    pub(super) fn open(&self) -> Result<()> {
        let rules = self.rules();
        match rules.crate_denial() {
            Some(denial) if rules.is_enforced(&denial) => {
                let what = self.id.name.to_string();
                Err(self.refuse(&what, &denial, &rules, None))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Leave for the file `key`, by what `entry` says of it, or said before it was withdrawn.
    ///
    /// # Errors
    /// [`Kind::Denied`] when it may not go out.
    pub(super) fn examine(&self, key: &CrateKey, entry: Option<&IndexEntry>) -> Result<Pass> {
        let rules = self.rules();
        let known = entry.map(IndexEntry::known);
        let line = known.and_then(|known| Some((known, known.file.find(&key.id)?)));
        let (candidate, decision) = match line {
            Some((known, line)) if line.sha256 == key.sha256 => {
                let candidate = Candidate::listed(line, known);
                let candidate = candidate.ok_or_else(no_version)?;
                let decision = rules.decide(&candidate, Some(known));
                (candidate, decision)
            }
            Some(_) | None => {
                let spelt = [self.id.version, key.id.version];
                let decided = rules.decide_withdrawn(&spelt, key.sha256, known);
                decided.ok_or_else(no_version)?
            }
        };
        let asks = self.policy.asks_for_licenses();
        let pass = |clearance| Pass {
            key: *key,
            clearance,
            unlicensed: asks.then(|| Box::new(candidate.clone())),
        };
        match decision.denial.or_else(|| rules.crate_denial()) {
            Some(denial) if rules.is_enforced(&denial) => {
                let what = key.id.to_string();
                Err(self.refuse(&what, &denial, &rules, known))
            }
            Some(denial) => Ok(pass(self.would_refuse(&denial))),
            None if decision.warnings.is_empty() => Ok(pass(Clearance::Clear)),
            None => {
                let ids: Vec<_> = decision.warnings.iter().map(|a| &*a.id).collect();
                let ids: Arc<str> = ids.join(",").into();
                self.shared.metrics.policy_warned(self.registry.as_str());
                tracing::warn!(id = %key.id, advisories = %ids, "handed out, although advisories are known about it");
                Ok(pass(Clearance::Warned(ids)))
            }
        }
    }

    /// Leave for the same file, now that its licence is known.
    ///
    /// # Errors
    /// [`Kind::Denied`] when it may not go out under that.
    pub(super) fn license(
        &self,
        pass: Pass,
        file: &CheckedFile,
        license: &License,
    ) -> Result<Pass> {
        let candidate = pass.unlicensed.as_deref();
        let denial = candidate.map(|it| self.rules().license_denial(it, license));
        let is_clear = denial.is_some_and(|denial| denial.is_none());
        match file {
            CheckedFile::Whole(whole) if is_clear && self.policy.allows_license(license) => {
                whole.license_under(self.policy.version());
            }
            CheckedFile::Whole(_) | CheckedFile::Stored(..) | CheckedFile::Arriving(..) => {}
        }
        self.licensed(pass, license)
    }

    /// The same for a file that isn't at hand.
    ///
    /// # Errors
    /// [`Kind::Denied`] when it may not go out under that.
    pub(super) fn licensed(&self, pass: Pass, license: &License) -> Result<Pass> {
        let Some(candidate) = pass.unlicensed else {
            return Ok(pass);
        };
        let rules = self.rules();
        let clearance = match rules.license_denial(&candidate, license) {
            Some(denial) if rules.is_enforced(&denial) => {
                let what = pass.key.id.to_string();
                return Err(self.refuse(&what, &denial, &rules, None));
            }
            // Said once is enough.
            Some(denial) if !matches!(pass.clearance, Clearance::WouldDeny(_)) => {
                self.would_refuse(&denial)
            }
            Some(_) | None => pass.clearance,
        };
        Ok(Pass {
            key: pass.key,
            clearance,
            unlicensed: None,
        })
    }

    /// Whether the rules ask under which licence a file comes.
    pub(super) fn asks_for_licenses(&self) -> bool {
        self.policy.asks_for_licenses()
    }

    fn rules(&self) -> CrateRules<'_> {
        let name = self.id.name;
        self.policy
            .of_crate(self.registry, name, self.view, self.now)
    }

    /// The refusal, counted.
    fn refuse(
        &self,
        what: &str,
        denial: &Denial,
        rules: &CrateRules<'_>,
        known: Option<Known<'_>>,
    ) -> Error {
        self.shared.metrics.policy_denied(denial.cause.kind());
        let sentence = refusal(self.registry, what, denial, rules, known);
        let rule = denial.cause.rule();
        self.note(what, rule.clone(), Some(sentence.as_str().into()));
        Error::new(Kind::Denied, sentence).by_rule(rule)
    }

    /// Remembers what was refused, or with no sentence what would have been, for who looks at the pages.
    fn note(&self, what: &str, rule: Arc<str>, sentence: Option<Box<str>>) {
        self.shared.refusals.note(Refusal {
            registry: self.registry,
            view: self.view,
            what: what.into(),
            rule,
            sentence,
            at: self.now,
            count: 1,
        });
    }

    /// What would have been refused, counted and logged.
    fn would_refuse(&self, denial: &Denial) -> Clearance {
        let (kind, rule) = (denial.cause.kind(), denial.cause.rule());
        self.shared.metrics.policy_would_deny(kind);
        self.note(&self.id.to_string(), rule.clone(), None);
        tracing::warn!(id = %self.id, kind = kind.as_str(), %rule, "the policy would refuse this if it were enforced");
        Clearance::WouldDeny(rule)
    }
}

fn no_version() -> Error {
    Error::internal("a version that is listed is none")
}
