//! `[policy]` and `[views.NAME]`: which crates may come in.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Deserializer, de};

use super::{
    access::FilePath,
    units::{Span, parse_with},
};
use crate::{
    domain::{
        AdvisoryKind, AdvisoryMatcher, AllowedLicense, Day, NamePattern, RegistryName, Sha256,
        VersionRange, ViewName,
    },
    error::{Error, Result},
};

/// The longest waiting time: ten years.
type Wait = Span<0, { 10 * 365 * 24 * 3_600_000 }>;

/// `[policy]`: which crates may come in. All, when it says nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// A file with more of this table and of `[views]`, as bundles carry it.
    pub file: Option<FilePath>,
    /// Whether what is denied is refused.
    pub mode: Mode,
    /// Whom to ask, for who is refused something.
    pub contact: Option<Line>,
    /// What holds for crates that no rule is about.
    pub default: Fallback,
    /// How long after its publication a version may come in.
    pub cooldown: Wait,
    /// What a version counts as that upstream doesn't date.
    pub undated: Undated,
    /// Whether a version that mends what an advisory is about comes without waiting.
    pub fixes_skip_cooldown: bool,
    /// What is done about known faults.
    pub advisories: AdvisorySettings,
    /// Under which licences crates may come in.
    pub licenses: LicenseSettings,
    /// The rules, the first that matches decides.
    pub rules: Vec<RuleSettings>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            file: None,
            mode: Mode::default(),
            contact: None,
            default: Fallback::default(),
            cooldown: Wait::millis(0),
            undated: Undated::default(),
            fixes_skip_cooldown: true,
            advisories: AdvisorySettings::default(),
            licenses: LicenseSettings::default(),
            rules: Vec::new(),
        }
    }
}

/// Whether what is denied is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It isn't: it is counted, logged and written to the audit log.
    Report,
}

impl Mode {
    /// The word for it, as the settings have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// What holds for crates that no rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// They may come in.
    #[default]
    Allow,
    /// They may not.
    Deny,
}

/// What a version counts as that upstream doesn't date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undated {
    /// As published when this mirror saw it first.
    #[default]
    FirstSeen,
    /// As published long ago.
    Allow,
    /// As published just now, for ever.
    Deny,
}

/// `[policy.advisories]`: what is done about known faults.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdvisorySettings {
    /// The folder or archive with the database.
    pub path: Option<FilePath>,
    /// What of it keeps a version out.
    pub deny: Vec<AdvisoryMatcher>,
    /// What of it is written down when a version is handed out.
    pub warn: Vec<AdvisoryMatcher>,
}

impl Default for AdvisorySettings {
    fn default() -> Self {
        use AdvisoryKind::{Malicious, Unsound, Vulnerability};
        let matchers = |kinds: &[AdvisoryKind]| {
            let kinds = kinds.iter().copied();
            kinds.map(AdvisoryMatcher::Kind).collect()
        };
        Self {
            path: None,
            deny: matchers(&[Malicious]),
            warn: matchers(&[Vulnerability, Unsound]),
        }
    }
}

/// `[policy.licenses]`: under which licences crates may come in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LicenseSettings {
    /// These, by their SPDX names; all, when there are none.
    pub allow: Vec<AllowedLicense>,
    /// What holds for crates whose licence isn't known.
    pub unknown: Fallback,
}

/// `[[policy.rules]]`: a rule as it makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// What refusals call it.
    pub name: Option<Line>,
    /// Which crates it is about.
    pub crates: Vec<NamePattern>,
    /// Which versions of them; the crates as such when not set.
    pub versions: Option<VersionRange>,
    /// In which registries; in all when not set.
    pub registries: Option<Vec<RegistryName>>,
    /// What it does.
    pub action: Action,
    /// Why, for who is refused something.
    pub reason: Option<Line>,
    /// When it ends by itself.
    pub until: Option<Day>,
    /// The content it is about; any when not set. Content that came back changed is allowed only by a rule that names it.
    pub sha256: Option<Sha256>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets in.
    Allow,
    /// Keeps out.
    Deny,
    /// Lets in after another waiting time.
    Wait(Wait),
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: Option<Line>,
    #[serde(default)]
    crates: Vec<NamePattern>,
    versions: Option<VersionRange>,
    registries: Option<Vec<RegistryName>>,
    action: Option<Verb>,
    cooldown: Option<Wait>,
    reason: Option<Line>,
    until: Option<Day>,
    sha256: Option<Sha256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Allow,
    Deny,
}

impl<'de> Deserialize<'de> for RuleSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        let action = match (keys.action, keys.cooldown) {
            (Some(Verb::Allow), None) => Action::Allow,
            (Some(Verb::Deny), None) => Action::Deny,
            (None, Some(wait)) => Action::Wait(wait),
            (Some(_), Some(_)) | (None, None) => {
                return Err(de::Error::custom(
                    "a rule has either an `action`, \"allow\" or \"deny\", or a `cooldown` such as \"30d\"",
                ));
            }
        };
        if keys.crates.is_empty() {
            return Err(de::Error::custom(
                "a rule names the crates it is about, such as `crates = [\"acme-*\"]`; [\"*\"] is all",
            ));
        }
        if keys.sha256.is_some() && !matches!(action, Action::Allow) {
            return Err(de::Error::custom(
                "`sha256` allows content that came back changed, so it stands with `action = \"allow\"` only",
            ));
        }
        Ok(Self {
            name: keys.name,
            crates: keys.crates,
            versions: keys.versions,
            registries: keys.registries,
            action,
            reason: keys.reason,
            until: keys.until,
            sha256: keys.sha256,
        })
    }
}

/// One line of text for people: at most 400 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(pub String);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "one line of at most 400 characters";
        parse_with(deserializer, expected, |text| {
            let text = text.trim();
            let is_line = !text.is_empty()
                && text.chars().count() <= 400
                && !text.chars().any(char::is_control);
            is_line.then(|| Self(text.to_owned()))
        })
    }
}

/// `[views.NAME]`: a registry under other rules, at `/views/NAME/index/`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewSettings {
    /// Which registry; the default one when not set.
    pub registry: Option<RegistryName>,
    /// The last day of which versions are picked.
    pub as_of: Option<Day>,
    /// Instead of that of `[policy]`.
    pub cooldown: Option<Wait>,
    /// Instead of that of `[policy]`.
    pub default: Option<Fallback>,
    /// Asked before the rules of `[policy]`.
    pub rules: Vec<RuleSettings>,
}

/// All views, by name.
pub type Views = BTreeMap<ViewName, ViewSettings>;

impl PolicySettings {
    /// Whether it makes sense with these registries and views, each of which has to be there.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it doesn't.
    pub(super) fn check(&self, views: &Views, has: impl Fn(&RegistryName) -> bool) -> Result<()> {
        let named = views.iter().map(|(name, view)| (Some(name), &view.rules));
        for (view, rules) in std::iter::once((None, &self.rules)).chain(named) {
            for (number, rule) in rules.iter().enumerate() {
                let registries = rule.registries.iter().flatten();
                if let Some(unknown) = registries.into_iter().find(|name| !has(name)) {
                    let key = match view {
                        None => "policy.rules".to_owned(),
                        Some(view) => format!("views.{view}.rules"),
                    };
                    return Err(Error::config(format!(
                        "rule {} of `{key}` names the registry {unknown}, and there is no such registry; allowed are those of `[registries]`",
                        number + 1
                    )));
                }
            }
        }
        for (name, view) in views {
            if has(&name.as_registry()) {
                return Err(Error::config(format!(
                    "`views.{name}` has the name of a registry; tokens are for registries and views by name, so each needs one of its own"
                )));
            }
            if let Some(unknown) = view.registry.filter(|registry| !has(registry)) {
                return Err(Error::config(format!(
                    "`views.{name}.registry` is {unknown}, and there is no such registry; allowed are those of `[registries]`"
                )));
            }
        }
        Ok(())
    }

    /// The rules that end by themselves between `now` and a week from then.
    pub fn ending_soon(
        &self,
        now: SystemTime,
    ) -> impl Iterator<Item = (usize, &RuleSettings, Day)> {
        const WEEK: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
        let rules = self.rules.iter().enumerate();
        rules.filter_map(move |(number, rule)| {
            let until = rule.until?;
            let ends = until.start();
            (now < ends && ends <= now + WEEK).then_some((number + 1, rule, until))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        let rule = |keys: &str| format!("[[policy.rules]]\n{keys}\n");
        for (toml, word) in [
            (rule("crates = [\"a\"]"), "either an `action`"),
            (rule("action = \"deny\""), "names the crates"),
            (
                rule("crates = [\"a\"]\naction = \"deny\"\ncooldown = \"1d\""),
                "either an `action`",
            ),
            (rule("crates = [\"a b\"]\naction = \"deny\""), "a pattern"),
            (
                rule("crates = [\"a\"]\nversions = \"two\"\naction = \"deny\""),
                "what Cargo.toml takes",
            ),
            (
                rule("crates = [\"a\"]\nregistries = [\"other\"]\naction = \"deny\""),
                "no such registry",
            ),
            (
                rule("crates = [\"a\"]\naction = \"deny\"\nuntil = \"tomorrow\""),
                "a day such as",
            ),
            (
                rule("crates = [\"a\"]\naction = \"deny\"\nreason = \"a\\nb\""),
                "one line",
            ),
            (
                rule(&format!(
                    "crates = [\"a\"]\naction = \"deny\"\nsha256 = \"{}\"",
                    Sha256::of(b"a")
                )),
                "came back changed",
            ),
            ("[policy]\nmode = \"off\"".to_owned(), "enforce"),
            ("[policy]\nundated = \"old\"".to_owned(), "first-seen"),
            ("[policy]\ncooldown = \"11y\"".to_owned(), "3650 days"),
            (
                "[policy.advisories]\ndeny = [\"cvss>11\"]".to_owned(),
                "cvss>=9",
            ),
            ("[views.A]".to_owned(), "name of a view"),
            ("[views.a]\nregistry = \"b\"".to_owned(), "no such registry"),
            ("[views.crates-io]".to_owned(), "name of a registry"),
        ] {
            let error = parse(&toml).expect_err(&toml).to_string();
            assert!(error.contains(word), "{toml}: {error}");
        }
    }
}
