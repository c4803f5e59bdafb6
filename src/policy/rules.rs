//! [`Policy`]: all rules about what may come in, as one value.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use semver::Version;

use super::{
    advisories::Advisories,
    licenses::{LicenseRules, UnknownLicense},
    validity::RulesVersion,
};
use crate::{
    config::policy::{Action, Fallback, Mode, PolicySettings, RuleSettings, Undated, Views},
    domain::{AdvisoryMatcher, CrateName, Day, License, RegistryName, Sha256, View, ViewName},
};

/// All rules about what may come in, and the facts that they rest on. It never changes: other rules are another one, with another version.
#[derive(Debug, Default)]
pub struct Policy {
    version: RulesVersion,
    pub(super) mode: Mode,
    pub(super) contact: Option<Arc<str>>,
    pub(super) undated: Undated,
    pub(super) fixes_skip_cooldown: bool,
    pub(super) advisories: Arc<Advisories>,
    pub(super) deny: Vec<AdvisoryMatcher>,
    pub(super) warn: Vec<AdvisoryMatcher>,
    pub(super) licenses: LicenseRules,
    usual: Rules,
    views: BTreeMap<ViewName, NamedView>,
}

/// The rules of a view.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) all: Vec<Arc<Rule>>,
    pub(super) default: Fallback,
    pub(super) cooldown: Duration,
    pub(super) as_of: Option<Day>,
}

/// The rules that let nothing in.
static NOTHING: LazyLock<Rules> = LazyLock::new(|| Rules {
    default: Fallback::Deny,
    ..Rules::default()
});

#[derive(Debug)]
struct NamedView {
    registry: Option<RegistryName>,
    rules: Rules,
}

/// One rule of the operator's.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its name, or its number.
    pub(super) label: Arc<str>,
    pub(super) reason: Option<Arc<str>>,
    settings: RuleSettings,
}

impl Policy {
    /// What the operator has written, as version `version` of the rules, over what is known of faults.
    pub fn new(
        settings: &PolicySettings,
        views: &Views,
        advisories: Arc<Advisories>,
        version: RulesVersion,
    ) -> Self {
        let global = labelled(&settings.rules, "");
        let usual = Rules {
            all: global.clone(),
            default: settings.default,
            cooldown: *settings.cooldown,
            as_of: None,
        };
        let view = |(name, view): (&ViewName, &crate::config::policy::ViewSettings)| {
            let own = labelled(&view.rules, &format!("{name}/"));
            let rules = Rules {
                all: own.into_iter().chain(global.iter().cloned()).collect(),
                default: view.default.unwrap_or(settings.default),
                cooldown: view.cooldown.map_or(*settings.cooldown, |wait| *wait),
                as_of: view.as_of,
            };
            let registry = view.registry;
            (*name, NamedView { registry, rules })
        };
        Self {
            version,
            mode: settings.mode,
            contact: settings.contact.as_ref().map(|line| line.0.as_str().into()),
            undated: settings.undated,
            fixes_skip_cooldown: settings.fixes_skip_cooldown,
            advisories,
            deny: settings.advisories.deny.clone(),
            warn: settings.advisories.warn.clone(),
            licenses: LicenseRules {
                allow: settings.licenses.allow.clone(),
                unknown: match settings.licenses.unknown {
                    Fallback::Allow => UnknownLicense::Allow,
                    Fallback::Deny => UnknownLicense::Deny,
                },
            },
            usual,
            views: views.iter().map(view).collect(),
        }
    }

    /// Which rules these are.
    pub fn version(&self) -> RulesVersion {
        self.version
    }

    /// Whether what is denied is refused.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The same as version `version` of the rules.
    #[must_use]
    pub fn numbered(self, version: RulesVersion) -> Self {
        Self { version, ..self }
    }

    /// Whether anything could be hidden in `view` of some crate; otherwise all is shown as it is, but for content that changed.
    pub fn may_hide(&self, view: View) -> bool {
        let rules = self.rules_of(view);
        matches!(view, View::AsOf(_))
            || !rules.all.is_empty()
            || rules.default == Fallback::Deny
            || !rules.cooldown.is_zero()
            || rules.as_of.is_some()
            || !self.advisories.is_empty()
    }

    /// Those that hold in `view`.
    pub(super) fn rules_of(&self, view: View) -> &Rules {
        match view {
            View::Usual | View::AsOf(_) => &self.usual,
            // Whoever asks for a view that is gone by now gets nothing.
            View::Named(name) => {
                let named = self.views.get(&name);
                named.map_or(&*NOTHING, |view| &view.rules)
            }
        }
    }

    /// Whether what is denied in `view` is refused. Of a view that is gone there is nothing to be tried.
    pub(super) fn mode_of(&self, view: View) -> Mode {
        match view {
            View::Named(name) if !self.views.contains_key(&name) => Mode::Enforce,
            View::Usual | View::AsOf(_) | View::Named(_) => self.mode,
        }
    }

    /// What is known of faults.
    pub fn advisories(&self) -> &Arc<Advisories> {
        &self.advisories
    }

    /// Whether any version has to wait until it is old enough.
    pub fn has_versions_wait(&self) -> bool {
        let is_wait = |rule: &Arc<Rule>| matches!(rule.action(), Action::Wait(_));
        !self.usual.cooldown.is_zero() || self.usual.all.iter().any(is_wait)
    }

    /// Whether a crate's licence matters.
    pub fn asks_for_licenses(&self) -> bool {
        !self.licenses.allow_all()
    }

    /// Whether crates under this licence may come in.
    pub fn allows_license(&self, license: &License) -> bool {
        self.licenses.allow(license)
    }

    /// Which registry a named view is of: `None` if there is no such view, and in it `None` for the default registry.
    pub fn registry_of(&self, view: ViewName) -> Option<Option<RegistryName>> {
        self.views.get(&view).map(|view| view.registry)
    }

    /// The names of all views.
    pub fn views(&self) -> impl Iterator<Item = ViewName> {
        self.views.keys().copied()
    }
}

fn labelled(rules: &[RuleSettings], prefix: &str) -> Vec<Arc<Rule>> {
    let rules = rules.iter().enumerate();
    let rules = rules.map(|(number, settings)| {
        let label = match &settings.name {
            Some(name) => format!("{prefix}{}", name.0),
            None => format!("{prefix}{}", number + 1),
        };
        Arc::new(Rule {
            label: label.into(),
            reason: settings.reason.as_ref().map(|line| line.0.as_str().into()),
            settings: settings.clone(),
        })
    });
    rules.collect()
}

impl Rule {
    /// Whether it is about crates of this registry.
    pub(super) fn is_for(&self, registry: RegistryName) -> bool {
        let registries = self.settings.registries.as_ref();
        registries.is_none_or(|names| names.contains(&registry))
    }

    /// Whether it is about this crate, whichever version.
    pub(super) fn is_about(&self, registry: RegistryName, name: &CrateName) -> bool {
        self.is_for(registry)
            && self
                .settings
                .crates
                .iter()
                .any(|pattern| pattern.matches(name))
    }

    /// Whether it is about this version of such a crate.
    pub(super) fn matches(&self, version: &Version, sha256: &Sha256) -> bool {
        let is_content = self
            .settings
            .sha256
            .as_ref()
            .is_none_or(|named| named == sha256);
        let versions = self.settings.versions.as_ref();
        is_content && versions.is_none_or(|range| range.contains(version))
    }

    /// Whether it lets this very content in.
    pub(super) fn names_content(&self, version: &Version, sha256: &Sha256) -> bool {
        self.settings.sha256.is_some() && self.matches(version, sha256)
    }

    /// Whether it is about all versions of such a crate.
    pub(super) fn is_about_the_crate(&self) -> bool {
        self.settings.versions.is_none() && self.settings.sha256.is_none()
    }

    pub(super) fn names_versions(&self) -> bool {
        self.settings.versions.is_some()
    }

    /// As it is written.
    pub(super) fn settings(&self) -> &RuleSettings {
        &self.settings
    }

    pub(super) fn action(&self) -> Action {
        self.settings.action
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Option<SystemTime> {
        self.settings.until.map(Day::start)
    }
}
