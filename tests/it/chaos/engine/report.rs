//! The figures of a run, collected while it goes on, and the report they become.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::connection::Outcome;

/// How many violations are shown: more of them tell nothing new.
const SHOWN: usize = 20;
/// A mirror promises to need no more than its budget and this, in bytes.
const BESIDE: u64 = 100_000_000;

#[derive(Default)]
pub(super) struct Figures {
    report: Mutex<Report>,
    /// What each ETag came with, by crate.
    tags: Mutex<HashMap<(String, String), String>>,
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    seed: u64,
    took: Duration,
    requests: u64,
    answers: BTreeMap<u16, u64>,
    x_cache: BTreeMap<String, u64>,
    /// Answers that broke off.
    cut: u64,
    unanswered: u64,
    vanished: u64,
    asked_upstream: u64,
    faults: BTreeMap<&'static str, u64>,
    kills: u64,
    slowest_start: Duration,
    longest_wait: Duration,
    /// Of the life that came closest to what it may need, in bytes; none where the system doesn't say.
    memory: Option<Memory>,
    wrong_bodies: u64,
    denied: u64,
    lost: u64,
    committed: u64,
    served_alone: u64,
    verified: String,
    violations: u64,
    shown: Vec<String>,
}

/// The most memory that one life needed, and the budget it was given, in bytes.
#[derive(Clone, Copy, Debug)]
struct Memory {
    peak: u64,
    budget: u64,
}

impl Memory {
    fn left(self) -> i64 {
        (self.budget + BESIDE).cast_signed() - self.peak.cast_signed()
    }
}

impl Figures {
    pub(super) fn asked(&self, outcome: &Outcome) {
        let mut report = self.lock();
        report.requests += 1;
        match outcome {
            Outcome::Left => report.vanished += 1,
            Outcome::Nothing => report.unanswered += 1,
            Outcome::Answered(answer) => {
                *report.answers.entry(answer.status).or_default() += 1;
                if let Some(word) = &answer.x_cache {
                    *report.x_cache.entry(word.clone()).or_default() += 1;
                }
                report.cut += u64::from(!answer.complete);
                report.longest_wait = report.longest_wait.max(answer.waited);
            }
        }
    }

    pub(super) fn fault(&self, name: &'static str, hits: u64) {
        *self.lock().faults.entry(name).or_default() += hits;
    }

    pub(super) fn asked_upstream(&self, requests: u64) {
        self.lock().asked_upstream += requests;
    }

    pub(super) fn started(&self, took: Duration) {
        let mut report = self.lock();
        report.slowest_start = report.slowest_start.max(took);
    }

    pub(super) fn killed(&self) {
        self.lock().kills += 1;
    }

    /// What one life needed at its peak, with the budget it was given.
    pub(super) fn needed(&self, peak: u64, budget: u64) {
        let needed = Memory { peak, budget };
        {
            let mut report = self.lock();
            if report.memory.is_none_or(|m| needed.left() < m.left()) {
                report.memory = Some(needed);
            }
        }
        if needed.left() < 0 {
            self.violation(format!("memory: {needed}"));
        }
    }

    /// Notes that `etag` came with `body`; the error is what else it came with.
    pub(super) fn tag(&self, name: &str, etag: &str, body: &str) -> Result<(), String> {
        let key = (name.to_owned(), etag.to_owned());
        let mut tags = self.tags.lock().expect("the tags' lock");
        let first = tags.entry(key).or_insert_with(|| body.to_owned());
        match first == body {
            true => Ok(()),
            false => Err(first.clone()),
        }
    }

    pub(super) fn wrong_body(&self) {
        self.lock().wrong_bodies += 1;
    }

    /// Counts a 404 for something that exists.
    pub(super) fn denied(&self) {
        self.lock().denied += 1;
    }

    pub(super) fn lost(&self, what: String) {
        self.lock().lost += 1;
        self.violation(format!("lost: {what}"));
    }

    /// How many crates were on the disk in the end.
    pub(super) fn committed(&self, crates: usize) {
        self.lock().committed = crates as u64;
    }

    /// Counts a stored crate that was served while upstream was down.
    pub(super) fn served_alone(&self) {
        self.lock().served_alone += 1;
    }

    pub(super) fn verified(&self, said: &str) {
        said.trim().clone_into(&mut self.lock().verified);
    }

    pub(super) fn violation(&self, what: String) {
        let mut report = self.lock();
        report.violations += 1;
        if report.shown.len() < SHOWN {
            report.shown.push(what);
        }
    }

    pub(super) fn report(&self, seed: u64, took: Duration) -> Report {
        Report {
            seed,
            took,
            ..self.lock().clone()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().expect("the figures' lock")
    }
}

impl Report {
    /// Whether every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations == 0
    }

    /// Whether enough went wrong for that to mean something.
    pub(crate) fn is_lively(&self) -> bool {
        let faults: u64 = self.faults.values().sum();
        self.kills > 2 && faults > 20 && self.requests > 300 && self.served_alone > 10
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: String| writeln!(f, "{what:<28}{value}");
        line("seed", self.seed.to_string())?;
        line("seconds", format!("{:.1}", self.took.as_secs_f64()))?;
        line("requests", self.requests.to_string())?;
        line("answers by status", list(&self.answers))?;
        line("answers by x-cache", list(&self.x_cache))?;
        line("broken off by the mirror", self.cut.to_string())?;
        line("clients that vanished", self.vanished.to_string())?;
        line("without an answer", self.unanswered.to_string())?;
        line("requests upstream saw", self.asked_upstream.to_string())?;
        line("faults met", list(&self.faults))?;
        line("kills", self.kills.to_string())?;
        line("slowest start", format!("{:?}", self.slowest_start))?;
        line(
            "longest wait for an answer",
            format!("{:?}", self.longest_wait),
        )?;
        let memory = self.memory.map(|memory| memory.to_string());
        line("peak memory", memory.unwrap_or("not known here".to_owned()))?;
        line("complete wrong bodies", self.wrong_bodies.to_string())?;
        line("404 for what is there", self.denied.to_string())?;
        line("entries lost", self.lost.to_string())?;
        line("crates stored in the end", self.committed.to_string())?;
        line("served without upstream", self.served_alone.to_string())?;
        line("verify", self.verified.clone())?;
        line("violations", self.violations.to_string())?;
        for violation in &self.shown {
            writeln!(f, "  - {violation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { peak, budget } = self;
        let (peak, most) = (peak / 1_000_000, (budget + BESIDE) / 1_000_000);
        write!(f, "{peak} MB at its peak, where {most} MB may be needed")
    }
}

fn list<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let counts = counts
        .iter()
        .map(|(what, count)| format!("{what}: {count}"));
    counts.collect::<Vec<_>>().join(", ")
}
