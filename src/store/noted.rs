//! [`Noted`]: which missed requests were written down lately, so that a build that fails again and again costs the disk nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// So many are remembered, and kept in the store: a client may ask for anything.
pub(super) const MOST: usize = 10_000;
/// One that was noted so lately isn't noted again.
const NOTED_FOR: Duration = Duration::from_secs(60);

/// When each was noted last, by its folded text.
#[derive(Default)]
pub(super) struct Noted(Mutex<HashMap<String, Instant>>);

impl Noted {
    /// Whether it is to be noted now; if so, it counts as done. Of more than can be remembered, those noted longest ago make room.
    pub(super) fn is_due(&self, folded: &str, now: Instant) -> bool {
        let is_late = |at: &Instant| now.duration_since(*at) < NOTED_FOR;
        let mut noted = self.lock();
        if noted.len() >= MOST && !noted.contains_key(folded) {
            noted.retain(|_, at| is_late(at));
        }
        let known = noted.get(folded);
        let due = known.map_or(noted.len() < MOST, |at| !is_late(at));
        if due {
            noted.insert(folded.to_owned(), now);
        }
        due
    }

    pub(super) fn forget(&self, folded: &str) {
        self.lock().remove(folded);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One crawler must not keep the mirror from noting what builds lack, until it is started again.
    #[test]
    fn what_was_noted_long_ago_makes_room() {
        let (noted, start) = (Noted::default(), Instant::now());
        let due = |n: usize, at| noted.is_due(&format!("a{n}"), at);
        assert!((0..MOST).all(|n| due(n, start)));
        assert!(!due(MOST, start), "no more than that at once");
        assert!(due(MOST, start + NOTED_FOR));
        assert!(!due(MOST, start + NOTED_FOR), "just noted");
    }
}
