//! [`Gate`]: the rules as they are held against what is stored, by jobs that go over a store.

use std::{io::Read, sync::Arc, time::SystemTime};

use super::{
    crate_rules::{Candidate, Known},
    manifest::license_from,
    rules::Policy,
    sentence::refusal,
};
use crate::domain::{CrateKey, View};

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

    /// Why the .crate file `key` wouldn't be handed out, as a sentence without a full stop; `None` when it would. `known` is its stored index; `open` gives the
    /// file's bytes, and is asked only where licences matter.
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
        let rules = self
            .policy
            .of_crate(*registry, id.name, View::Usual, self.now);
        let line = known.file.find(id);
        let candidate = match line {
            Some(line) if line.sha256 == key.sha256 => Candidate::listed(line, known),
            Some(_) | None => Candidate::withdrawn(&id.version, key.sha256, Some(known)),
        };
        let Some(candidate) = candidate else {
            return Ok(None);
        };
        let by_rule = rules
            .crate_denial()
            .or_else(|| rules.decide(&candidate, Some(known)).denial);
        let denial = match by_rule {
            None if self.policy.asks_for_licenses() => match open()? {
                Some(file) => rules.license_denial(&candidate, &license_from(file, id)),
                None => None,
            },
            other => other,
        };
        let enforced = denial.filter(|denial| rules.is_enforced(denial));
        let what = id.to_string();
        Ok(enforced.map(|denial| refusal(*registry, &what, &denial, &rules, Some(known))))
    }
}
