//! A rule: which requests meet which fault, and how often.
//!
//! Rules are tried in the order they were written and a request meets the first that covers it and
//! isn't over, so two rules with `times(1)` are a sequence. Gates stand before the faults: a
//! request that was held can still fail.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::answer::{Class, Request};
use super::faults::{Delivery, Effect};
use super::gate::Gate;
use super::log::Seen;

/// Which requests a rule covers.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    Path(String),
    Index,
    Crates,
    /// What changes something, with this in its path.
    Writes(String),
    /// What changes nothing, with this in its path.
    Reads(String),
}

impl Scope {
    pub(super) fn covers(&self, seen: &Seen) -> bool {
        self.matches(&seen.method, &seen.path, seen.class)
    }

    fn matches(&self, method: &str, path: &str, class: Class) -> bool {
        let reads = matches!(method, "GET" | "HEAD");
        match self {
            Scope::Path(substring) => path.contains(substring),
            Scope::Index => class == Class::Index,
            Scope::Crates => class == Class::Crate,
            Scope::Writes(substring) => !reads && path.contains(substring),
            Scope::Reads(substring) => reads && path.contains(substring),
        }
    }
}

/// A handle on a rule in force.
#[derive(Clone, Debug)]
pub struct Rule {
    written: Arc<Written>,
    tally: Arc<Mutex<Tally>>,
}

/// What a test wrote down.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) scope: Scope,
    pub(super) after: usize,
    pub(super) times: usize,
    pub(super) delay: Duration,
    pub(super) effect: Effect,
}

#[derive(Debug, Default)]
struct Tally {
    covered: usize,
    hits: usize,
    lifted: bool,
}

impl Rule {
    /// How many requests met it.
    pub fn hits(&self) -> usize {
        self.tally().hits
    }

    /// Ends it.
    pub fn lift(&self) {
        self.tally().lifted = true;
    }

    fn meets(&self, request: &Request, class: Class) -> bool {
        let written = &self.written;
        let mut tally = self.tally();
        let over = tally.lifted || tally.hits == written.times || written.gate_is_open();
        if over || !written.scope.matches(&request.method, &request.path, class) {
            return false;
        }
        tally.covered += 1;
        let met = tally.covered > written.after;
        tally.hits += usize::from(met);
        met
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("a rule's tally")
    }
}

impl Written {
    /// When a gate is open, its rule is over, and the rules after it apply.
    fn gate_is_open(&self) -> bool {
        match &self.effect {
            Effect::Hold(gate) | Effect::Deliver(Delivery::HoldAfter(_, gate)) => gate.is_open(),
            Effect::Answer(_) | Effect::Deliver(_) => false,
        }
    }
}

/// The rules of one upstream, in the order they were written.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub(super) fn add(&self, written: Written) -> Rule {
        let rule = Rule {
            written: Arc::new(written),
            tally: Arc::default(),
        };
        self.list().push(rule.clone());
        rule
    }

    /// The gate a request has to wait at, and how long before that.
    pub(super) fn gate(&self, request: &Request, class: Class) -> Option<(Duration, Gate)> {
        self.list()
            .iter()
            .find_map(|rule| match &rule.written.effect {
                Effect::Hold(gate) if rule.meets(request, class) => {
                    Some((rule.written.delay, gate.clone()))
                }
                Effect::Hold(_) | Effect::Answer(_) | Effect::Deliver(_) => None,
            })
    }

    /// The fault a request meets, and how long before that.
    pub(super) fn fault(&self, request: &Request, class: Class) -> Option<(Duration, Effect)> {
        self.list()
            .iter()
            .filter(|rule| !matches!(rule.written.effect, Effect::Hold(_)))
            .find(|rule| rule.meets(request, class))
            .map(|rule| (rule.written.delay, rule.written.effect.clone()))
    }

    pub(super) fn clear(&self) {
        self.list().clear();
    }

    fn list(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().expect("the rules' lock")
    }
}
