//! [`LastHour`]: what was counted in each minute of the last hour, kept in memory for the charts on the pages.
//!
//! Every ten seconds the counters are read; a minute is the difference of two such readings. Requests have no part in it, so that a hit costs no more for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::metrics::{Counts, Metrics};

/// How many minutes there are.
pub const MINUTES: usize = 60;
/// How often the counters are read.
const EVERY: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// Readings for one hour, and one to subtract from the first of them.
const MOST: usize = MINUTES * 6 + 1;

/// The readings of the last hour, the oldest first.
#[derive(Default)]
pub struct LastHour(Mutex<VecDeque<Reading>>);

/// What the counters said at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: SystemTime,
    counts: Counts,
}

impl LastHour {
    /// Reads the counters of `metrics` every ten seconds, for ever.
    pub async fn keep(self: Arc<Self>, metrics: Arc<Metrics>, now: fn() -> SystemTime) {
        loop {
            self.note(now(), metrics.counts());
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Notes what the counters say at `at`. A reading that isn't later than the last one takes its place: the clock was set back.
    pub fn note(&self, at: SystemTime, counts: Counts) {
        let mut readings = self.lock();
        while readings.back().is_some_and(|last| last.at >= at) {
            readings.pop_back();
        }
        if readings.len() == MOST {
            readings.pop_front();
        }
        readings.push_back(Reading { at, counts });
    }

    /// What was counted in each of the sixty minutes before `now`, the oldest first, when the counters say `counts` now. Nothing in those before the first
    /// reading.
    pub fn minutes(&self, now: SystemTime, counts: Counts) -> Vec<Counts> {
        let readings = self.lock();
        let at = |ago: usize| match ago {
            0 => counts,
            ago => at(&readings, now - MINUTE * ago as u32, counts),
        };
        let minutes = (1..=MINUTES).rev();
        minutes.map(|ago| at(ago - 1).since(&at(ago))).collect()
    }

    /// What was counted in the minute before `now`.
    pub fn minute(&self, now: SystemTime, counts: Counts) -> Counts {
        counts.since(&at(&self.lock(), now - MINUTE, counts))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the counters said at that time: by the last reading before it, or the first one after. `counts` where there is none.
fn at(readings: &VecDeque<Reading>, time: SystemTime, counts: Counts) -> Counts {
    let later = readings.partition_point(|reading| reading.at <= time);
    let reading = readings.get(later.saturating_sub(1));
    reading.map_or(counts, |reading| reading.counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(answered: u64) -> Counts {
        Counts {
            answered,
            ..Counts::default()
        }
    }

    fn time(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_minute_is_what_came_between_two_readings() {
        let hour = LastHour::default();
        // Two hours of one request a second, of which one is kept.
        for seconds in (0..7200).step_by(10) {
            hour.note(time(seconds), counts(seconds));
        }
        let minutes = hour.minutes(time(7200), counts(7200));
        assert_eq!(minutes.len(), MINUTES);
        assert!(minutes.iter().all(|m| m.answered == 60), "{minutes:?}");
        assert_eq!(hour.lock().len(), MOST);
        assert_eq!(hour.minute(time(7200), counts(7207)).answered, 67);
    }

    #[test]
    fn before_the_first_reading_there_was_nothing() {
        let hour = LastHour::default();
        assert_eq!(hour.minutes(time(0), counts(5)), vec![counts(0); MINUTES]);
        hour.note(time(0), counts(2));
        hour.note(time(10), counts(3));
        let minutes = hour.minutes(time(15), counts(5));
        assert_eq!(minutes.last(), Some(&counts(3)));
        let others = &minutes[..MINUTES - 1];
        assert!(others.iter().all(|m| m.answered == 0), "{minutes:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_readings_in_order() {
        let hour = LastHour::default();
        for (at, answered) in [(100, 1), (110, 2), (50, 3), (60, 4)] {
            hour.note(time(at), counts(answered));
        }
        let readings = hour.lock();
        let times: Vec<_> = readings.iter().map(|reading| reading.at).collect();
        assert_eq!(times, [time(50), time(60)]);
    }
}
