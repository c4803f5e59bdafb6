//! [`Gate`]: the rules as they are held against what is stored, by jobs that go over a store.

use std::{io::Read, sync::Arc, time::SystemTime};

use super::{
    crate_rules::{Candidate, CrateRules, Decision, Known},
    manifest::license_from,
    rules::Policy,
    sentence::refusal,
};
use crate::domain::{CrateKey, Version, View};

/// The rules at one moment.
#[derive(Clone, Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    now: SystemTime,
}

impl Gate {
    /// The rules of `policy` at `now`.
    pub fn new(policy: Policy, now: SystemTime) -> Self {
        Self {
            policy: Arc::new(policy),
            now,
        }
    }

    /// Why the .crate file `key` wouldn't be handed out, as a sentence without a full stop; `None` when it would. The key may be one that a stored path comes to,
    /// which doesn't tell case. `known` is its stored index; `open` gives the file's bytes, and is asked only where licences matter.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn denial<R: Read, E>(
        &self,
        key: &CrateKey,
        known: Known<'_>,
        open: impl FnOnce() -> Result<Option<R>, E>,
    ) -> Result<Option<String>, E> {
        let CrateKey { registry, id, .. } = key;
        let name = known.file.name();
        let rules = self.policy.of_crate(*registry, name, View::Usual, self.now);
        let Some((candidate, decision)) = decided(key, known, &rules) else {
            return Ok(None);
        };
        let by_rule = rules.crate_denial().or(decision.denial);
        let denial = match by_rule {
            None if self.policy.asks_for_licenses() => match open()? {
                Some(file) => rules.license_denial(&candidate, &license_from(file, id)),
                None => None,
            },
            other => other,
        };
        let enforced = denial.filter(|denial| rules.is_enforced(denial));
        let what = format!("{name} {}", candidate.version());
        Ok(enforced.map(|denial| refusal(*registry, &what, &denial, &rules, Some(known))))
    }
}

/// What the rules say of a stored file: by its line in the index, or as one that isn't listed any more.
fn decided(
    key: &CrateKey,
    known: Known<'_>,
    rules: &CrateRules<'_>,
) -> Option<(Candidate, Decision)> {
    let is_it =
        |line: &&Version| line.sha256 == key.sha256 && line.version().is_same_path(&key.id.version);
    // By its text at once, if that is how it is spelt.
    let line = known.file.find(&key.id).filter(is_it);
    let line = line.or_else(|| known.file.versions().iter().find(is_it));
    match line {
        Some(line) => {
            let candidate = Candidate::listed(line, known)?;
            let decision = rules.decide(&candidate, Some(known));
            Some((candidate, decision))
        }
        None => rules.decide_withdrawn(&[key.id.version], key.sha256, Some(known)),
    }
}
