//! [`RulingValidity`]: for how long the rules make the same of an index file.

use std::time::SystemTime;

/// Which rules. A change of rules makes it another number, and whatever was made by the rules before is made anew when it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesVersion(pub u64);

/// By which rules something was made, and until when these make the same of the same file: a rule may depend on the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulingValidity {
    /// The rules it was made by.
    pub rules: RulesVersion,
    /// When they make something else of it; never, if that isn't set.
    pub until: Option<SystemTime>,
}

impl RulingValidity {
    /// What is made by these rules whatever the time.
    pub fn of(rules: RulesVersion) -> Self {
        Self { rules, until: None }
    }

    /// Whether it is still what `rules` make of the file at `now`.
    pub fn holds(self, rules: RulesVersion, now: SystemTime) -> bool {
        self.rules == rules && self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_ends_with_its_rules_and_with_its_time() {
        let (rules, then) = (RulesVersion(3), SystemTime::UNIX_EPOCH);
        let later = then + Duration::from_secs(1);
        let always = RulingValidity::of(rules);
        assert!(always.holds(rules, then) && always.holds(rules, later));
        assert!(!always.holds(RulesVersion(4), then));
        let until = Some(later);
        let ends = RulingValidity { rules, until };
        assert!(ends.holds(rules, then) && !ends.holds(rules, later));
    }
}
