//! The rules in words, for who wonders why something isn't offered: one sentence for each thing that the operator has written.

use std::{fmt::Display, sync::Arc};

use super::{
    licenses::UnknownLicense,
    rules::{Policy, Rule, Rules},
    sentence::span,
};
use crate::{
    config::policy::{Action, Fallback, Mode, Undated},
    domain::{NamePattern, RegistryName, View},
};

impl Policy {
    /// All rules that hold for crates of `registry` in `view`, in words: a sentence each, in the order in which they decide. Those of other registries alone are
    /// left out: they may name crates that who reads this mustn't know of.
    pub fn in_words(&self, registry: RegistryName, view: View) -> Vec<String> {
        let rules = self.rules_of(view);
        let mut said = Vec::new();
        if self.mode == Mode::Report {
            said.push("The policy is only tried: nothing is refused because of it, and what would be is counted and logged.".to_owned());
        }
        said.push("Content that comes back changed under a version known before is refused, unless a rule with its sha256 allows it.".to_owned());
        match view {
            View::AsOf(day) => said.push(seen_as_of(&day)),
            View::Usual | View::Named(_) => said.extend(rules.as_of.as_ref().map(seen_as_of)),
        }
        let of_it = rules.all.iter().filter(|rule| rule.is_for(registry));
        said.extend(of_it.map(rule_in_words));
        self.say_advisories(&mut said);
        self.say_waits(rules, &mut said);
        if rules.default == Fallback::Deny {
            said.push("Nothing else comes in: only what a rule allows.".to_owned());
        }
        self.say_licenses(&mut said);
        if let Some(contact) = &self.contact {
            said.push(format!("Ask {contact} about all this."));
        }
        said
    }

    fn say_advisories(&self, said: &mut Vec<String>) {
        if self.advisories.is_empty() {
            return;
        }
        for (matchers, what) in [
            (&self.deny, "is denied"),
            (&self.warn, "is let in, logged and counted"),
        ] {
            if !matchers.is_empty() {
                let kinds = listed(matchers);
                said.push(format!(
                    "A version that an advisory is known about ({kinds}) {what}; of such and other advisories {} are known in all.",
                    self.advisories.len()
                ));
            }
        }
    }

    fn say_waits(&self, rules: &Rules, said: &mut Vec<String>) {
        if rules.cooldown.is_zero() {
            return;
        }
        let undated = match self.undated {
            Undated::FirstSeen => "one without a date counts from when it was first seen here",
            Undated::Allow => "one without a date doesn't wait",
            Undated::Deny => "one without a date is denied",
        };
        let fixes = match self.fixes_skip_cooldown {
            true => "; one that mends what an advisory is about doesn't wait",
            false => "",
        };
        let wait = span(rules.cooldown);
        said.push(format!(
            "A new version waits for {wait} after its publication; {undated}{fixes}."
        ));
    }

    fn say_licenses(&self, said: &mut Vec<String>) {
        if self.licenses.allow_all() {
            return;
        }
        let unknown = match self.licenses.unknown {
            UnknownLicense::Allow => "one whose licence isn't known comes in",
            UnknownLicense::Deny => "one whose licence isn't known is denied",
        };
        let allowed = match self.licenses.allow.is_empty() {
            true => "any known licence".to_owned(),
            false => listed(&self.licenses.allow),
        };
        said.push(format!(
            "A crate has to come under one of these licences: {allowed}; {unknown}."
        ));
    }
}

fn seen_as_of(day: &impl Display) -> String {
    format!("Versions published after {day} are denied.")
}

fn rule_in_words(rule: &Arc<Rule>) -> String {
    let settings = rule.settings();
    let mut text = format!("Rule {}: ", rule.label);
    text.push_str(match settings.action {
        Action::Allow => "allows",
        Action::Deny => "denies",
        Action::Wait(_) => "has new versions wait of",
    });
    let crates: Vec<_> = settings.crates.iter().map(NamePattern::as_str).collect();
    text.push_str(&format!(" {}", crates.join(", ")));
    if let Some(versions) = &settings.versions {
        text.push_str(&format!(" in versions {versions}"));
    }
    if let Some(registries) = &settings.registries {
        text.push_str(&format!(" of {}", listed(registries)));
    }
    if let Some(sha256) = &settings.sha256 {
        text.push_str(&format!(" with the sha256 {sha256}"));
    }
    if let Action::Wait(wait) = settings.action {
        text.push_str(&format!(" for {}", span(*wait)));
    }
    if let Some(until) = settings.until {
        text.push_str(&format!(", until {until}"));
    }
    if let Some(reason) = &rule.reason {
        text.push_str(&format!(": {reason}"));
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

fn listed<T: Display>(all: &[T]) -> String {
    let texts: Vec<_> = all.iter().map(T::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, policy::RulesVersion};

    fn words(toml: &str, view: View) -> Vec<String> {
        let config = config::parse(toml).expect("settings");
        let advisories = Arc::default();
        let policy = Policy::new(
            &config.policy,
            &config.views,
            advisories,
            RulesVersion::default(),
        );
        policy.in_words(RegistryName::crates_io(), view)
    }

    #[test]
    fn everything_that_is_written_is_said() {
        let said = words(
            "[policy]\nmode = \"report\"\ncontact = \"sec@example.com\"\ncooldown = \"7d\"\ndefault = \"deny\"\n\
             [policy.licenses]\nallow = [\"MIT\"]\nunknown = \"deny\"\n\
             [[policy.rules]]\ncrates = [\"acme-*\", \"x\"]\nversions = \">=2, <3\"\nregistries = [\"crates-io\"]\naction = \"deny\"\nreason = \"ours\"\nuntil = \"2999-01-01\"\n\
             [[policy.rules]]\nname = \"slow\"\ncrates = [\"y\"]\ncooldown = \"30d\"\n",
            View::Usual,
        );
        let all = said.join("\n");
        for words in [
            "only tried",
            "Rule 1: denies acme-*, x in versions >=2, <3 of crates-io, until 2999-01-01: ours.",
            "Rule slow: has new versions wait of y for 30 days.",
            "A new version waits for 7 days after its publication",
            "Nothing else comes in",
            "one of these licences: MIT; one whose licence isn't known is denied.",
            "Ask sec@example.com about all this.",
        ] {
            assert!(all.contains(words), "{words}: {all}");
        }
        assert!(said.iter().all(|sentence| sentence.ends_with('.')), "{all}");
    }

    #[test]
    fn without_rules_there_is_the_one_that_always_holds() {
        assert_eq!(words("", View::Usual).len(), 1);
        let day = crate::domain::Day::parse("2026-11-01").expect("a day");
        let said = words("", View::AsOf(day));
        assert_eq!(said[1], "Versions published after 2026-11-01 are denied.");
    }
}
