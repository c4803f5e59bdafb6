//! [`WebSearch`]: searches that upstream's web API answers: at most one request a second to a host, each answer kept for ten minutes, and longer when there is no
//! other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep_until, timeout_at},
};

use super::search::Window;
use crate::{
    allowance::{Allowance, Lease},
    domain::RegistryName,
    error::{Kind, Result},
    upstream::{ListedCrates, Upstream},
};

/// How long an answer is given unasked.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// After a request to a host has ended there is none for so long: crates.io's policy for its web API, https://crates.io/data-access, is one a second.
const PACE: Duration = Duration::from_secs(1);
/// So many hosts are remembered. A registry has one; it could name a new one each time.
const HOSTS: usize = 64;
/// Nobody waits longer for his turn and for upstream.
const PATIENCE: Duration = Duration::from_secs(8);
/// All answers that are kept may have so many bytes.
const MOST: u64 = 4 << 20;
/// What an answer takes beside what is in it, rounded up.
const OVERHEAD: usize = 512;

/// What was searched for at upstream.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    registry: RegistryName,
    words: Box<str>,
    window: Window,
}

#[derive(Clone)]
struct Kept {
    at: SystemTime,
    listed: Arc<ListedCrates>,
    _lease: Arc<Lease>,
}

/// Searches that upstream's web API answers.
pub(super) struct WebSearch {
    kept: Cache<Asked, Kept>,
    budget: Allowance,
    turns: Mutex<HashMap<String, Arc<Turn>>>,
}

/// Whose turn it is to ask a host, however many registries lead there: the holder of this; and when the next one may.
type Turn = tokio::sync::Mutex<Option<Instant>>;

/// Leave to ask a host. The pause for the next one begins when it is dropped, also when the request was given up.
struct Paced {
    next: OwnedMutexGuard<Option<Instant>>,
    pause: Duration,
}

impl Drop for Paced {
    fn drop(&mut self) {
        *self.next = Some(Instant::now() + self.pause);
    }
}

impl WebSearch {
    pub(super) fn new(memory_budget: u64, budget: Allowance) -> Self {
        let kept = Cache::builder()
            .max_capacity(MOST.min(memory_budget / 16))
            .weigher(|_: &Asked, kept: &Kept| {
                u32::try_from(kept.listed.memory() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru());
        Self {
            kept: kept.build(),
            budget,
            turns: Mutex::default(),
        }
    }

    /// What `upstream` says to a search, now or when it was asked last; `None` when it has no web API, or doesn't answer and never did.
    pub(super) async fn ask(
        &self,
        upstream: &Upstream,
        words: &str,
        window: Window,
        now: SystemTime,
    ) -> Option<Arc<ListedCrates>> {
        let asked = Asked {
            registry: upstream.registry(),
            words: words.into(),
            window,
        };
        if let Some(listed) = self.fresh(&asked, now) {
            return Some(listed);
        }
        let take = window.take.max(1);
        let (per_page, page) = (take as u32, (window.skip / take + 1) as u32);
        let answered = async {
            let Some(api) = upstream.searched_at().await? else {
                return Ok(None);
            };
            let search = async || upstream.search(&api, words, per_page, page).await;
            let listed = self.in_turn(&api.host(), &asked, now, search).await?;
            Ok(Some(listed))
        };
        self.within(PATIENCE, answered, &asked).await
    }

    /// What comes of a search within some time, or what came of it when it was made last.
    async fn within(
        &self,
        patience: Duration,
        answered: impl Future<Output = Result<Option<Arc<ListedCrates>>>>,
        asked: &Asked,
    ) -> Option<Arc<ListedCrates>> {
        match timeout_at(Instant::now() + patience, answered).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(e)) => {
                tracing::warn!("a search isn't passed on: {e}");
                self.any(asked)
            }
            Err(_) => self.any(asked),
        }
    }

    /// Searches when it is this one's turn, unless somebody else has made the same search meanwhile.
    async fn in_turn(
        &self,
        host: &str,
        asked: &Asked,
        now: SystemTime,
        search: impl AsyncFnOnce() -> Result<ListedCrates>,
    ) -> Result<Arc<ListedCrates>> {
        let next = self.turn(host).lock_owned().await;
        if let Some(listed) = self.fresh(asked, now) {
            return Ok(listed);
        }
        if let Some(at) = *next {
            sleep_until(at).await;
        }
        let mut paced = Paced { next, pause: PACE };
        let listed = search().await.inspect_err(|e| {
            // Nobody was asked.
            if matches!(e.kind(), Kind::CircuitOpen { .. }) {
                paced.pause = Duration::ZERO;
            }
        });
        let listed = Arc::new(listed?);
        let bytes = (listed.memory() + OVERHEAD) as u64;
        if let Some(lease) = self.budget.try_take(bytes) {
            let kept = Kept {
                at: now,
                listed: listed.clone(),
                _lease: Arc::new(lease),
            };
            self.kept.insert(asked.clone(), kept);
        }
        Ok(listed)
    }

    fn fresh(&self, asked: &Asked, now: SystemTime) -> Option<Arc<ListedCrates>> {
        let kept = self.kept.get(asked)?;
        let age = now.duration_since(kept.at).unwrap_or_default();
        (age < GOOD_FOR).then_some(kept.listed)
    }

    fn any(&self, asked: &Asked) -> Option<Arc<ListedCrates>> {
        self.kept.get(asked).map(|kept| kept.listed)
    }

    fn turn(&self, host: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= HOSTS {
            // Those that wait for nothing.
            let waits = |turn: &Turn| {
                turn.try_lock()
                    .is_ok_and(|next| next.is_none_or(|at| at <= Instant::now()))
            };
            turns.retain(|_, turn| Arc::strong_count(turn) > 1 || !waits(turn));
        }
        turns.entry(host.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn searches() -> WebSearch {
        WebSearch::new(16 << 20, Allowance::new(16 << 20, 0))
    }

    fn asked(registry: &str, words: &str) -> Asked {
        Asked {
            registry: RegistryName::parse(registry).expect("a name"),
            words: words.into(),
            window: Window { skip: 0, take: 10 },
        }
    }

    fn listed(total: u64) -> ListedCrates {
        ListedCrates {
            crates: Vec::new(),
            total,
        }
    }

    async fn ask(
        searches: &WebSearch,
        asked: &Asked,
        now: SystemTime,
        search: impl AsyncFnOnce() -> Result<ListedCrates>,
    ) -> Option<u64> {
        let answered = async {
            let listed = searches.in_turn("host:443", asked, now, search).await?;
            Ok(Some(listed))
        };
        let found = searches.within(PATIENCE, answered, asked).await;
        found.map(|listed| listed.total)
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_from_before_is_given_when_upstream_fails_or_hangs() {
        let (searches, now) = (searches(), SystemTime::now());
        let (a, b) = (asked("crates-io", "a"), asked("crates-io", "b"));
        assert_eq!(
            ask(&searches, &a, now, async || Ok(listed(7))).await,
            Some(7)
        );
        let within = now + GOOD_FOR / 2;
        let unasked = async || panic!("it is good for ten minutes");
        assert_eq!(ask(&searches, &a, within, unasked).await, Some(7));
        let later = now + 2 * GOOD_FOR;
        let fails = async || Err(Error::upstream_unavailable("down"));
        assert_eq!(ask(&searches, &a, later, fails).await, Some(7), "stale");
        let hangs = async || std::future::pending().await;
        assert_eq!(ask(&searches, &a, later, hangs).await, Some(7), "stale");
        assert_eq!(ask(&searches, &b, later, fails).await, None);
        assert_eq!(
            ask(&searches, &a, later, async || Ok(listed(8))).await,
            Some(8)
        );
        let fresh = async || panic!("it is new");
        assert_eq!(ask(&searches, &a, later, fresh).await, Some(8));
    }

    /// Two registries of one host were two requests a second, and a search that was given up left the next one no pause.
    #[tokio::test(start_paused = true)]
    async fn a_host_is_asked_once_a_second_for_however_many_registries() {
        let (searches, now) = (searches(), SystemTime::now());
        let times = Mutex::new(Vec::new());
        let note = || times.lock().expect("times").push(Instant::now());
        let search = async |registry: &str, words: &str, takes: Duration| {
            let searched = async || {
                note();
                tokio::time::sleep(takes).await;
                note();
                Ok(listed(1))
            };
            ask(&searches, &asked(registry, words), now, searched).await
        };
        let short = Duration::from_millis(100);
        let all = tokio::join!(
            search("crates-io", "a", short),
            search("internal", "a", short),
            search("crates-io", "b", 2 * PATIENCE),
        );
        assert_eq!(all, (Some(1), Some(1), None));
        assert_eq!(search("internal", "b", short).await, Some(1));
        let times = times.into_inner().expect("times");
        let starts = [times[0], times[2], times[4], times[5]];
        assert!(
            starts.windows(2).all(|pair| pair[1] - pair[0] >= PACE),
            "{times:?}"
        );
        assert!(times[5] - times[4] > PATIENCE / 2, "it was given up before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_left_alone_keeps_nobody_waiting_for_his_turn() {
        let (searches, now) = (searches(), SystemTime::now());
        let started = Instant::now();
        for words in ["a", "b", "c", "d"] {
            let retry_after = Duration::from_secs(5);
            let open = async || Err(Error::new(Kind::CircuitOpen { retry_after }, "open"));
            assert_eq!(
                ask(&searches, &asked("crates-io", words), now, open).await,
                None
            );
        }
        assert!(started.elapsed() < PACE);
    }

    #[test]
    fn hosts_that_nobody_waits_for_are_forgotten() {
        let searches = searches();
        for number in 0..1_000 {
            drop(searches.turn(&format!("host-{number}:443")));
        }
        assert!(searches.turns.lock().expect("turns").len() <= HOSTS);
    }
}
