//! [`WebSearch`]: searches that upstream's web API answers: at most one request a second, each answer kept for ten minutes, and longer when there is no other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::search::Window;
use crate::{
    allowance::{Allowance, Lease},
    domain::RegistryName,
    error::Result,
    upstream::{ListedCrates, Upstream},
};

/// How long an answer is given unasked.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// Upstream is asked no more often: crates.io's policy for its web API, https://crates.io/data-access.
const PACE: Duration = Duration::from_secs(1);
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
    turns: Mutex<HashMap<RegistryName, Arc<Turn>>>,
}

/// Whose turn it is to ask an upstream: the holder of this; and when the next one may.
type Turn = tokio::sync::Mutex<Option<Instant>>;

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
        let deadline = Instant::now() + PATIENCE;
        match timeout_at(deadline, self.in_turn(upstream, &asked, now)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(e)) => {
                tracing::warn!("a search isn't passed on: {e}");
                self.any(&asked)
            }
            Err(_) => self.any(&asked),
        }
    }

    /// Asks when it is this one's turn, unless somebody else has asked the same meanwhile.
    async fn in_turn(
        &self,
        upstream: &Upstream,
        asked: &Asked,
        now: SystemTime,
    ) -> Result<Option<Arc<ListedCrates>>> {
        let turn = self.turn(asked.registry);
        let mut next = turn.lock().await;
        if let Some(listed) = self.fresh(asked, now) {
            return Ok(Some(listed));
        }
        if let Some(at) = *next {
            sleep_until(at).await;
        }
        *next = Some(Instant::now() + PACE);
        let Window { skip, take } = asked.window;
        let page = skip / take.max(1) + 1;
        let (per_page, page) = (take as u32, page as u32);
        let listed = upstream.search(&asked.words, per_page, page).await?;
        let Some(listed) = listed.map(Arc::new) else {
            return Ok(None);
        };
        let bytes = (listed.memory() + OVERHEAD) as u64;
        if let Some(lease) = self.budget.try_take(bytes) {
            let kept = Kept {
                at: now,
                listed: listed.clone(),
                _lease: Arc::new(lease),
            };
            self.kept.insert(asked.clone(), kept);
        }
        Ok(Some(listed))
    }

    fn fresh(&self, asked: &Asked, now: SystemTime) -> Option<Arc<ListedCrates>> {
        let kept = self.kept.get(asked)?;
        let age = now.duration_since(kept.at).unwrap_or_default();
        (age < GOOD_FOR).then_some(kept.listed)
    }

    fn any(&self, asked: &Asked) -> Option<Arc<ListedCrates>> {
        self.kept.get(asked).map(|kept| kept.listed)
    }

    fn turn(&self, registry: RegistryName) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(registry).or_default().clone()
    }
}
