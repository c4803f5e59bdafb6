//! [`CrateRules`]: what the rules say of one crate and each of its versions. Pure: facts and `now` in, a decision out.

use std::{
    cell::OnceCell,
    sync::Arc,
    time::{Duration, SystemTime},
};

use semver::Version as SemVersion;

use super::{
    advisories::Advisory,
    denial::{Cause, Denial, Since},
    marks::Marks,
    rules::{Policy, Rule, Rules},
    validity::RulingValidity,
};
use crate::{
    config::policy::{Action, Fallback, Mode, Undated},
    domain::{
        CrateName, CrateVersion, Day, History, IndexFile, License, RegistryName, Sha256, Version,
        View,
    },
};

#[cfg(test)]
thread_local! {
    /// How many decisions this thread has made, for tests that count the work.
    pub(crate) static DECISIONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The rules that matter for one crate, seen in one view at one moment.
pub struct CrateRules<'a> {
    policy: &'a Policy,
    mode: Mode,
    rules: Vec<&'a Arc<Rule>>,
    default: Fallback,
    cooldown: Duration,
    as_of: Option<Day>,
    advisories: &'a [Arc<Advisory>],
    /// When the first of the rules ends.
    ends: Option<SystemTime>,
    now: SystemTime,
}

/// What is known of a crate.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Its index file.
    pub file: &'a IndexFile,
    /// What is remembered beside it.
    pub history: &'a History,
    /// When the file came to be. What it lists was there then.
    pub modified_at: SystemTime,
}

/// What is known of one version.
#[derive(Clone, Debug)]
pub struct Candidate {
    version: SemVersion,
    sha256: Sha256,
    since: Option<Since>,
    /// What its content was first, if that is another one.
    was: Option<Sha256>,
}

/// What the rules say of a version.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Why it may not come in, if so.
    pub denial: Option<Denial>,
    /// What is known against it and doesn't keep it out, if it is to be written down.
    pub warnings: Vec<Arc<Advisory>>,
}

/// What the rules say of an index file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The versions that may not be picked.
    pub hidden: Marks,
    /// The versions of which the rules have anything to say when somebody asks for them.
    pub noted: Marks,
    /// How many are waiting to be old enough.
    pub waiting: usize,
    /// Whether the crate as such is refused.
    pub crate_is_denied: bool,
    /// Whether a version's licence matters too, of which the index says nothing.
    pub asks_for_licenses: bool,
    /// By which rules, and until when they say the same.
    pub validity: RulingValidity,
}

impl Ruling {
    /// About how many bytes of memory this takes beside itself.
    pub fn size(&self) -> usize {
        self.hidden.size() + self.noted.size()
    }
}

impl Policy {
    /// The rules that matter for one crate, as it is seen in `view` at `now`.
    pub fn of_crate(
        &self,
        registry: RegistryName,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> CrateRules<'_> {
        let rules = self.rules_of(view);
        let as_of = match view {
            View::Usual | View::Named(_) => rules.as_of,
            View::AsOf(day) => Some(day),
        };
        let mode = self.mode_of(view);
        CrateRules {
            mode,
            ..CrateRules::new(self, rules, as_of, registry, name, now)
        }
    }
}

impl<'a> CrateRules<'a> {
    fn new(
        policy: &'a Policy,
        rules: &'a Rules,
        as_of: Option<Day>,
        registry: RegistryName,
        name: CrateName,
        now: SystemTime,
    ) -> Self {
        let in_force = |rule: &&Arc<Rule>| rule.ends().is_none_or(|ends| now < ends);
        let of_it = rules
            .all
            .iter()
            .filter(|rule| rule.is_about(registry, &name));
        let of_it: Vec<_> = of_it.filter(in_force).collect();
        Self {
            policy,
            mode: policy.mode,
            ends: of_it.iter().filter_map(|rule| rule.ends()).min(),
            rules: of_it,
            default: rules.default,
            cooldown: rules.cooldown,
            as_of,
            advisories: policy.advisories.of(name),
            now,
        }
    }

    /// Why the crate as such may not come in, whatever its versions, if so: a rule without versions says so, or no rule lets it in where one has to.
    pub fn crate_denial(&self) -> Option<Denial> {
        for rule in &self.rules {
            match (rule.action(), rule.is_about_the_crate()) {
                (Action::Deny, true) => return Some(by_rule(rule)),
                (Action::Deny, false) => {}
                // Some of its versions may come in, at least.
                (Action::Allow | Action::Wait(_), _) => return None,
            }
        }
        let denial = Denial {
            cause: Cause::Default,
            ends: None,
        };
        (self.default == Fallback::Deny).then_some(denial)
    }

    /// What the rules say of one version, but for its licence.
    pub fn decide(&self, candidate: &Candidate, known: Option<Known<'_>>) -> Decision {
        self.decide_among(candidate, known.map(All::of).as_ref())
    }

    /// What the rules say of a version that the index doesn't list (any more), whose file hashes to `sha256`, and which is `spelt` like this at least. Stored
    /// paths don't tell case, so that it may be any of several: what denies one of them denies it.
    pub fn decide_withdrawn(
        &self,
        spelt: &[CrateVersion],
        sha256: Sha256,
        known: Option<Known<'_>>,
    ) -> Option<(Candidate, Decision)> {
        let mut all = spelt.to_vec();
        if let Some(known) = known {
            let spellings = |version| known.history.spellings(version);
            all.extend(spelt.iter().flat_map(spellings));
        }
        let mut found = None;
        for version in &all {
            let candidate = Candidate::withdrawn(version, sha256, known)?;
            let decision = self.decide(&candidate, known);
            if decision.denial.is_some() {
                return Some((candidate, decision));
            }
            found.get_or_insert((candidate, decision));
        }
        found
    }

    /// What the rules say of each version that an index file lists, in its order: what is the same for all is worked out once.
    pub fn decide_all<'k>(&self, known: Known<'k>) -> Vec<(&'k Version, Candidate, Decision)> {
        let all = All::of(known);
        let listed = known.file.versions().iter();
        let decided = listed.filter_map(|line| {
            let candidate = Candidate::listed(line, known)?;
            let decision = self.decide_among(&candidate, Some(&all));
            Some((line, candidate, decision))
        });
        decided.collect()
    }

    fn decide_among(&self, candidate: &Candidate, all: Option<&All<'_>>) -> Decision {
        let denial = self.denial(candidate, all);
        let warnings = match &denial {
            Some(_) => Vec::new(),
            None => self.warnings(candidate),
        };
        Decision { denial, warnings }
    }

    /// Why a version may not come in because of its licence, if so.
    pub fn license_denial(&self, candidate: &Candidate, license: &License) -> Option<Denial> {
        let is_exempt = || self.rule_for(candidate).is_some_and(|rule| lets_in(rule));
        if self.policy.licenses.allow(license) || is_exempt() {
            return None;
        }
        let name = match license {
            License::Expression(text) => Some(text.clone()),
            License::File(_) | License::None => None,
        };
        Some(Denial {
            cause: Cause::License(name),
            ends: None,
        })
    }

    /// Whether a denial is held to; otherwise it is only counted and written down.
    pub fn is_enforced(&self, denial: &Denial) -> bool {
        self.mode == Mode::Enforce || denial.cause.is_always_enforced()
    }

    /// What is known against a version, whatever is done about it.
    pub fn advisories_of(&self, version: &SemVersion) -> Vec<Arc<Advisory>> {
        let hitting = self.advisories.iter().filter(|a| a.hits(version));
        hitting.cloned().collect()
    }

    /// Whom to ask about a refusal.
    pub fn contact(&self) -> Option<&str> {
        self.policy.contact.as_deref()
    }

    /// When it is.
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// What the rules say of a whole index file. Most often there is nothing to say, and this is quick.
    pub fn rule(&self, known: Known<'_>) -> Ruling {
        let validity = RulingValidity {
            rules: self.policy.version(),
            until: self.ends,
        };
        if self.has_nothing_to_say(known) {
            return Ruling {
                asks_for_licenses: self.policy.asks_for_licenses(),
                validity,
                ..Ruling::default()
            };
        }
        let (versions, all) = (known.file.versions(), All::of(known));
        let mut until = self.ends;
        let (mut waiting, mut hidden) = (0, Vec::with_capacity(versions.len()));
        let noted = Marks::of(versions.len(), |place| {
            let Some(candidate) = Candidate::listed(&versions[place], known) else {
                hidden.push(false);
                return false;
            };
            if let Some(ripens) = self.ripens(&candidate)
                && self.now < ripens
            {
                until = Some(until.map_or(ripens, |until| until.min(ripens)));
            }
            let decision = self.decide_among(&candidate, Some(&all));
            let denial = decision.denial.as_ref();
            waiting +=
                usize::from(denial.is_some_and(|d| matches!(d.cause, Cause::Cooldown { .. })));
            hidden.push(denial.is_some_and(|denial| self.is_enforced(denial)));
            denial.is_some() || !decision.warnings.is_empty()
        });
        Ruling {
            hidden: Marks::of(versions.len(), |place| hidden[place]),
            noted,
            waiting,
            asks_for_licenses: self.policy.asks_for_licenses(),
            crate_is_denied: self.crate_denial().is_some_and(|d| self.is_enforced(&d)),
            validity: RulingValidity { until, ..validity },
        }
    }

    /// The newest version that a resolver may pick: a release, if there is one.
    pub fn newest_allowed<'k>(&self, known: Known<'k>) -> Option<&'k CrateVersion> {
        let all = All::of(known);
        let listed = known.file.versions().iter().filter(|line| !line.yanked);
        let candidate = |line: &'k Version| Some((Candidate::listed(line, known)?, line.version()));
        let mut newest_first: Vec<_> = listed.filter_map(candidate).collect();
        let rank = |candidate: &Candidate| {
            let version = &candidate.version;
            (version.pre.is_empty(), version.clone())
        };
        newest_first.sort_by_cached_key(|(candidate, _)| std::cmp::Reverse(rank(candidate)));
        let is_allowed = |candidate: &Candidate| {
            let decision = self.decide_among(candidate, Some(&all));
            decision.denial.is_none()
        };
        let newest = newest_first.into_iter().find(|(c, _)| is_allowed(c));
        newest.map(|(_, version)| version)
    }

    fn has_nothing_to_say(&self, known: Known<'_>) -> bool {
        self.rules.is_empty()
            && self.default == Fallback::Allow
            && self.cooldown.is_zero()
            && self.as_of.is_none()
            && self.advisories.is_empty()
            && known
                .history
                .parts()
                .all(|(_, remembered)| remembered.sha256.is_none())
    }

    fn denial(&self, candidate: &Candidate, all: Option<&All<'_>>) -> Option<Denial> {
        #[cfg(test)]
        DECISIONS.set(DECISIONS.get() + 1);
        let lasting = |cause| Some(Denial { cause, ends: None });
        if let Some(was) = candidate.was
            && !self.allows_content(candidate)
        {
            return lasting(Cause::Changed { was });
        }
        if let Some(day) = self.as_of.filter(|day| self.is_later_than(candidate, *day)) {
            return lasting(Cause::Day(day));
        }
        let rule = self.rule_for(candidate);
        match rule.map(|rule| rule.action()) {
            Some(Action::Deny) => return rule.map(|rule| by_rule(rule)),
            Some(Action::Allow | Action::Wait(_)) | None => {}
        }
        if rule.is_some_and(|rule| lets_in(rule)) {
            return None;
        }
        let denied =
            |advisory: &&Arc<Advisory>| self.is_meant(&self.policy.deny, advisory, candidate);
        if let Some(advisory) = self.advisories.iter().find(denied) {
            return lasting(Cause::Advisory(advisory.clone()));
        }
        let wait = self.wait(rule.copied());
        if let Some(denial) = self.too_young(candidate, wait, all) {
            return Some(denial);
        }
        let is_unnamed = rule.is_none() && self.default == Fallback::Deny;
        is_unnamed.then_some(Denial {
            cause: Cause::Default,
            ends: None,
        })
    }

    /// The first rule that is about this version.
    fn rule_for(&self, candidate: &Candidate) -> Option<&&'a Arc<Rule>> {
        let matches = |rule: &&&Arc<Rule>| rule.matches(&candidate.version, &candidate.sha256);
        self.rules.iter().find(matches)
    }

    /// The operator's rule that lets a version in or has it wait, if one is about it.
    pub fn deciding(&self, candidate: &Candidate) -> Option<Arc<str>> {
        self.rule_for(candidate).map(|rule| rule.label.clone())
    }

    fn allows_content(&self, candidate: &Candidate) -> bool {
        let names = |rule: &&Arc<Rule>| rule.names_content(&candidate.version, &candidate.sha256);
        self.rules.iter().any(names)
    }

    fn is_later_than(&self, candidate: &Candidate, day: Day) -> bool {
        match (candidate.since, self.policy.undated) {
            (Some(Since::Published(time)), _)
            | (Some(Since::FirstSeen(time)), Undated::FirstSeen) => time >= day.end(),
            (Some(Since::FirstSeen(_)) | None, Undated::Allow) => false,
            // Of what nothing is known it can't be said that it was there.
            (None, Undated::FirstSeen) | (Some(Since::FirstSeen(_)) | None, Undated::Deny) => true,
        }
    }

    /// How old a version has to be.
    fn wait(&self, rule: Option<&Arc<Rule>>) -> Duration {
        match rule.map(|rule| rule.action()) {
            Some(Action::Wait(wait)) => *wait,
            Some(Action::Allow | Action::Deny) | None => self.cooldown,
        }
    }

    /// When a version is old enough, if it has a date that counts.
    fn ripens(&self, candidate: &Candidate) -> Option<SystemTime> {
        let wait = self.wait(self.rule_for(candidate).copied());
        self.old_enough_at(candidate, wait)
    }

    fn old_enough_at(&self, candidate: &Candidate, wait: Duration) -> Option<SystemTime> {
        let since = match (candidate.since?, self.policy.undated) {
            (Since::FirstSeen(_), Undated::Allow | Undated::Deny) => return None,
            (since, _) => since,
        };
        Some(since.ends(wait))
    }

    fn too_young(
        &self,
        candidate: &Candidate,
        wait: Duration,
        all: Option<&All<'_>>,
    ) -> Option<Denial> {
        if wait.is_zero() {
            return None;
        }
        let undated = Denial {
            cause: Cause::Undated,
            ends: None,
        };
        let since = match (candidate.since, self.policy.undated) {
            (Some(since @ Since::Published(_)), _)
            | (Some(since @ Since::FirstSeen(_)), Undated::FirstSeen) => since,
            (Some(Since::FirstSeen(_)) | None, Undated::Allow) => return None,
            (Some(Since::FirstSeen(_)) | None, Undated::Deny) | (None, Undated::FirstSeen) => {
                return Some(undated);
            }
        };
        let ends = since.ends(wait);
        let is_young = self.now < ends;
        let comes_at_once = || all.is_some_and(|all| self.is_awaited_fix(candidate, all));
        (is_young && !comes_at_once()).then_some(Denial {
            cause: Cause::Cooldown { wait, since },
            ends: Some(ends),
        })
    }

    /// Whether an advisory names this version as mended, and those who are hit have nothing else that has waited: not in the range that cargo takes them to, or
    /// where that range has none that was hit, nowhere above. Yanked ones count as well, or whoever may yank could make way for a hijacked release; every
    /// release after a fix is "mended", too.
    fn is_awaited_fix(&self, candidate: &Candidate, all: &All<'_>) -> bool {
        let this = &candidate.version;
        let mends = |advisory: &&Arc<Advisory>| advisory.is_patched_in(this);
        let mut mending = self.advisories.iter().filter(mends).peekable();
        if !self.policy.fixes_skip_cooldown || mending.peek().is_none() {
            return false;
        }
        let others = all.candidates();
        mending.any(|advisory| {
            let hit = |other: &&Candidate| other.version < *this && advisory.hits(&other.version);
            let will_do = |other: &Candidate| !advisory.hits(&other.version) && self.is_ripe(other);
            let is_near = |other: &&Candidate| is_compatible(&other.version, this);
            match others.iter().filter(hit).any(|other| is_near(&other)) {
                true => !others.iter().filter(is_near).any(will_do),
                false => match others.iter().filter(hit).map(|other| &other.version).max() {
                    Some(newest) => {
                        let above = others.iter().filter(|other| other.version > *newest);
                        !above.clone().any(will_do)
                    }
                    None => false,
                },
            }
        })
    }

    /// Whether a version has waited as long as it has to.
    fn is_ripe(&self, candidate: &Candidate) -> bool {
        match (candidate.since, self.policy.undated) {
            (Some(Since::FirstSeen(_)) | None, Undated::Deny) => false,
            (Some(_) | None, _) => self.ripens(candidate).is_none_or(|at| at <= self.now),
        }
    }

    fn warnings(&self, candidate: &Candidate) -> Vec<Arc<Advisory>> {
        let warned =
            |advisory: &&Arc<Advisory>| self.is_meant(&self.policy.warn, advisory, candidate);
        self.advisories.iter().filter(warned).cloned().collect()
    }

    fn is_meant(
        &self,
        matchers: &[crate::domain::AdvisoryMatcher],
        advisory: &Advisory,
        candidate: &Candidate,
    ) -> bool {
        matchers
            .iter()
            .any(|matcher| advisory.is_meant_by(*matcher))
            && advisory.hits(&candidate.version)
    }
}

/// All versions of a crate, read once when they are needed.
struct All<'a> {
    known: Known<'a>,
    candidates: OnceCell<Vec<Candidate>>,
}

impl<'a> All<'a> {
    fn of(known: Known<'a>) -> Self {
        let candidates = OnceCell::new();
        Self { known, candidates }
    }

    fn candidates(&self) -> &[Candidate] {
        self.candidates.get_or_init(|| {
            let listed = self.known.file.versions().iter();
            listed
                .filter_map(|line| Candidate::listed(line, self.known))
                .collect()
        })
    }
}

impl Candidate {
    /// A version that the index lists; `None` if it isn't one that can be compared, which an index file has none of.
    pub fn listed(version: &Version, known: Known<'_>) -> Option<Self> {
        let remembered = known.history.of(version.version());
        let first_seen = remembered.first_seen.unwrap_or(known.modified_at);
        let since = version
            .published
            .map_or(Since::FirstSeen(first_seen), Since::Published);
        Some(Self {
            version: SemVersion::parse(version.version().as_str()).ok()?,
            sha256: version.sha256,
            since: Some(since),
            was: remembered.sha256.filter(|was| *was != version.sha256),
        })
    }

    /// Its number.
    pub fn version(&self) -> &SemVersion {
        &self.version
    }

    /// A version that the index doesn't list any more, and whose file hashes to `sha256`. It was seen before the index file came to be that lacks it.
    pub fn withdrawn(
        version: &CrateVersion,
        sha256: Sha256,
        known: Option<Known<'_>>,
    ) -> Option<Self> {
        let remembered = known
            .map(|known| known.history.of(version))
            .unwrap_or_default();
        let seen = remembered
            .first_seen
            .or(known.map(|known| known.modified_at));
        Some(Self {
            version: SemVersion::parse(version.as_str()).ok()?,
            sha256,
            since: seen.map(Since::Published),
            was: remembered.sha256.filter(|was| *was != sha256),
        })
    }
}

/// Whether a rule overrules all that comes after the rules: it names versions and lets them in.
fn lets_in(rule: &Rule) -> bool {
    rule.names_versions() && matches!(rule.action(), Action::Allow)
}

fn by_rule(rule: &Rule) -> Denial {
    Denial {
        cause: Cause::Rule {
            label: rule.label.clone(),
            reason: rule.reason.clone(),
        },
        ends: rule.ends(),
    }
}

/// Whether cargo takes one in place of the other: the left-most part that isn't zero is the same (cargo's reference, "Specifying Dependencies").
fn is_compatible(a: &SemVersion, b: &SemVersion) -> bool {
    let range = |v: &SemVersion| match (v.major, v.minor) {
        (0, 0) => (0, 0, v.patch),
        (0, minor) => (0, minor, 0),
        (major, _) => (major, 0, 0),
    };
    range(a) == range(b)
}
