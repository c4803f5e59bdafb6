//! [`Operations`]: what a disk is at, and whether it answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::pulse::Pulse;

/// So many stuck operations, and nothing that came to an end since, and the disk is left alone. One may be a single bad block.
pub(super) const STUCK: usize = 4;
/// While one is stuck, nobody else waits as long as the first did.
const HASTE: u32 = 5;
/// How long the disk is left alone; doubled with each operation that finds it silent still.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The operations of one kind that are under way.
#[derive(Default)]
pub(super) struct Operations {
    /// A few dozen at most.
    under_way: Vec<Arc<Operation>>,
    /// When that one began which began last of those that have come to an end.
    answered: Option<Instant>,
    /// When the last one came to its end.
    ended: Option<Instant>,
    /// While the disk is silent.
    rest: Option<DiskRest>,
}

struct DiskRest {
    until: Instant,
    length: Duration,
}

/// An operation that a thread is at.
pub(super) struct Operation {
    pub(super) path: String,
    at: Instant,
    /// How long it may take without getting on.
    pub(super) limit: Duration,
    pub(super) pulse: Pulse,
}

/// Whether an operation may begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MayBegin {
    /// As soon as a thread is free.
    InLine,
    /// At once, to find out whether the disk answers.
    Probe,
    /// Not now.
    Refused,
}

impl Operations {
    /// Whether an operation on `path` may begin.
    pub(super) fn may_begin(&mut self, path: &str, now: Instant) -> MayBegin {
        let mut stuck = self
            .under_way
            .iter()
            .filter(|operation| operation.is_stuck(now));
        // One bad block must not take one thread after the other.
        if stuck.any(|operation| operation.path == path) {
            return MayBegin::Refused;
        }
        if self.unanswered(now) < STUCK {
            self.rest = None;
            return MayBegin::InLine;
        }
        let length = match &self.rest {
            None => FIRST_REST,
            Some(rest) if now < rest.until => return MayBegin::Refused,
            Some(rest) => (rest.length * 2).min(LONGEST_REST),
        };
        let (until, first) = (now + length, self.rest.is_none());
        self.rest = Some(DiskRest { until, length });
        match first {
            true => MayBegin::Refused,
            false => MayBegin::Probe,
        }
    }

    /// How many are stuck that began after everything that has come to an end.
    pub(super) fn unanswered(&self, now: Instant) -> usize {
        let since =
            |operation: &&Arc<Operation>| self.answered.is_none_or(|last| operation.at > last);
        let stuck = self
            .under_way
            .iter()
            .filter(|operation| operation.is_stuck(now));
        stuck.filter(since).count()
    }

    /// Whether anything came to its end or got on within that time.
    pub(super) fn got_on(&self, within: Duration, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < within;
        self.ended.is_some_and(lately)
            || self
                .under_way
                .iter()
                .any(|operation| !operation.is_stuck(now))
    }

    pub(super) fn begin(&mut self, path: &str, limit: Duration, now: Instant) -> Arc<Operation> {
        let limit = match self.unanswered(now) {
            0 => limit,
            _ => limit / HASTE,
        };
        let operation = Arc::new(Operation {
            path: path.to_owned(),
            at: now,
            limit,
            pulse: Pulse::new(now),
        });
        self.under_way.push(operation.clone());
        operation
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn end(&mut self, operation: &Arc<Operation>, now: Instant) {
        self.under_way
            .retain(|other| !Arc::ptr_eq(other, operation));
        self.answered = self.answered.max(Some(operation.at));
        self.ended = Some(now);
    }
}

impl Operation {
    /// How much longer it may take; `None` when it is stuck.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let silent_for = now.saturating_duration_since(self.pulse.last());
        self.limit
            .checked_sub(silent_for)
            .filter(|left| !left.is_zero())
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.left(now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const LATER: Duration = Duration::from_secs(6);

    fn with_stuck(count: usize, now: Instant) -> (Operations, Vec<Arc<Operation>>) {
        let mut operations = Operations::default();
        let stuck = (0..count).map(|n| operations.begin(&n.to_string(), LIMIT, now));
        let stuck = stuck.collect();
        (operations, stuck)
    }

    #[test]
    fn a_disk_that_is_silent_is_left_alone_and_probed_ever_more_seldom() {
        let start = Instant::now();
        let (mut operations, _stuck) = with_stuck(STUCK, start);
        assert_eq!(
            operations.may_begin("x", start + LIMIT / 2),
            MayBegin::InLine
        );
        let mut now = start + LATER;
        assert_eq!(operations.may_begin("x", now), MayBegin::Refused);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(pause);
            assert_eq!(
                operations.may_begin("x", now + pause - Duration::from_millis(1)),
                MayBegin::Refused
            );
            now += pause;
            assert_eq!(
                operations.may_begin("x", now),
                MayBegin::Probe,
                "after {pause:?}"
            );
            assert_eq!(
                operations.may_begin("y", now),
                MayBegin::Refused,
                "one at a time"
            );
        }
    }

    #[test]
    fn a_probe_that_comes_back_opens_the_way_for_all() {
        let start = Instant::now();
        let (mut operations, _stuck) = with_stuck(2 * STUCK, start);
        let now = start + LATER;
        assert_eq!(operations.may_begin("x", now), MayBegin::Refused);
        let probe = operations.begin("x", LIMIT, now);
        operations.end(&probe, now);
        assert_eq!(operations.may_begin("y", now), MayBegin::InLine);
    }

    #[test]
    fn what_was_stuck_and_comes_back_counts_for_those_before_it() {
        let start = Instant::now();
        let (mut operations, stuck) = with_stuck(STUCK + 1, start);
        let now = start + LATER;
        for operation in stuck.iter().take(2) {
            operations.end(operation, now);
        }
        assert_eq!(operations.may_begin("x", now), MayBegin::InLine);
    }

    /// Every request for it would take a thread that never comes back.
    #[test]
    fn a_file_on_which_somebody_is_stuck_is_not_asked_for_again() {
        let start = Instant::now();
        let (mut operations, stuck) = with_stuck(1, start);
        let now = start + LATER;
        assert_eq!(operations.may_begin("0", now), MayBegin::Refused);
        assert_eq!(operations.may_begin("1", now), MayBegin::InLine);
        operations.end(&stuck[0], now);
        assert_eq!(operations.may_begin("0", now), MayBegin::InLine);
    }

    #[test]
    fn nobody_waits_as_long_as_the_first() {
        let start = Instant::now();
        let (mut operations, _stuck) = with_stuck(1, start);
        assert_eq!(operations.begin("x", LIMIT, start).limit, LIMIT);
        let next = operations.begin("y", LIMIT, start + LATER);
        assert_eq!(next.limit, LIMIT / HASTE);
    }

    /// A large file on a slow disk takes long, and isn't stuck.
    #[test]
    fn what_gets_on_is_not_stuck() {
        let before = Instant::now();
        let mut operations = Operations::default();
        let operation = operations.begin("x", LIMIT, before);
        std::thread::sleep(Duration::from_millis(2));
        operation.pulse.beat();
        assert!(operation.is_stuck(operation.pulse.last() + LIMIT));
        assert!(!operation.is_stuck(before + LIMIT));
    }
}
