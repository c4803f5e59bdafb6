//! [`KeySource`]: where an issuer's keys come from, and those that are in use.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::keys::KeySet;
use crate::error::{Error, Result};

/// How long keys may take to be fetched.
const FETCH_WITHIN: Duration = Duration::from_secs(10);
/// How often they are fetched at most.
const PAUSE: Duration = Duration::from_secs(60);
/// The same while there are none, and nobody can be let in.
const PAUSE_WITHOUT: Duration = Duration::from_secs(5);
/// Keys that are older than this are fetched anew: one may have been taken back.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// Fetches a set of keys, as the bytes that its issuer publishes.
pub type FetchKeys = Arc<dyn Fn() -> Fetching + Send + Sync>;
type Fetching = Pin<Box<dyn Future<Output = Result<Vec<u8>>> + Send>>;

/// The keys in use.
pub type Keys = Arc<KeySet>;

/// An issuer's keys and where they come from.
pub struct KeySource {
    /// What it is called in logs.
    name: String,
    keys: ArcSwapOption<KeySet>,
    /// How often the keys have changed.
    generation: AtomicU64,
    /// None where they come from a file, which is followed.
    fetch: Option<FetchKeys>,
    state: Mutex<State>,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// When the last fetch began.
    attempted: Option<SystemTime>,
    is_under_way: bool,
}

/// A fetch that is under way.
pub struct KeyFetch(watch::Receiver<u64>);

impl KeyFetch {
    /// Waits for its end, whatever comes of it.
    pub async fn done(mut self) {
        let _ = self.0.changed().await;
    }
}

impl KeySource {
    /// Keys that are known, and replaced when somebody says so.
    pub fn known(keys: KeySet) -> Self {
        Self::new("", Some(Arc::new(keys)), None)
    }

    /// Keys that are fetched when the first token comes; `name` is the table's.
    pub fn fetched(name: &str, fetch: FetchKeys) -> Self {
        Self::new(name, None, Some(fetch))
    }

    fn new(name: &str, keys: Option<Keys>, fetch: Option<FetchKeys>) -> Self {
        Self {
            name: name.to_owned(),
            keys: ArcSwapOption::new(keys),
            generation: AtomicU64::new(0),
            fetch,
            state: Mutex::default(),
            ended: watch::Sender::new(0),
        }
    }

    /// The keys in use; none when they could not be fetched yet. When they are old, newer ones are sent for, and these do meanwhile.
    pub(super) fn current(self: &Arc<Self>, now: SystemTime) -> Option<Keys> {
        let keys = self.keys.load_full()?;
        let is_old = self
            .lock()
            .attempted
            .is_some_and(|at| age(at, now) >= GOOD_FOR);
        if is_old {
            drop(self.fetch(now));
        }
        Some(keys)
    }

    /// How often the keys have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts these keys in place of those in use.
    pub fn replace(&self, keys: KeySet) {
        self.keys.store(Some(Arc::new(keys)));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Has the keys fetched, or joins who does already. None when they were fetched a short while ago, or can't be: then it stays with those there are.
    pub(super) fn fetch(self: &Arc<Self>, now: SystemTime) -> Option<KeyFetch> {
        let fetch = self.fetch.as_ref()?;
        let mut state = self.lock();
        let awaited = KeyFetch(self.ended.subscribe());
        if state.is_under_way {
            return Some(awaited);
        }
        let pause = match self.keys.load().is_some() {
            true => PAUSE,
            false => PAUSE_WITHOUT,
        };
        if state.attempted.is_some_and(|at| age(at, now) < pause) {
            return None;
        }
        *state = State {
            attempted: Some(now),
            is_under_way: true,
        };
        drop(state);
        // A task of its own: whoever began it may go away, and the others wait for it all the same.
        let under_way = UnderWay(self.clone());
        let fetch = fetch.clone();
        tokio::spawn(async move { under_way.end(fetched(fetch).await) });
        Some(awaited)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is fetched now, within some seconds.
///
/// # Errors
/// Those of `fetch`; [`Kind::UpstreamTimeout`](crate::error::Kind::UpstreamTimeout) when nothing comes in time, and
/// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it is no set of keys.
pub async fn fetched(fetch: FetchKeys) -> Result<KeySet> {
    let json = tokio::time::timeout(FETCH_WITHIN, fetch()).await;
    let late = |_| Error::upstream_timeout("they don't come within 10 seconds");
    KeySet::parse(&json.map_err(late)??)
}

/// Ends a fetch when it is dropped, also by a panic or by a runtime that ends.
struct UnderWay(Arc<KeySource>);

impl UnderWay {
    fn end(self, fetched: Result<KeySet>) {
        let source = &self.0;
        match fetched {
            Ok(keys) => source.replace(keys),
            Err(e) => tracing::warn!(
                "the keys of `access.jwt.{}` can't be fetched: {e}; {}",
                source.name,
                match source.keys.load().is_some() {
                    true => "those fetched before stay in use",
                    false => "none of its tokens can be checked until they are",
                }
            ),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().is_under_way = false;
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

/// How long ago `at` was. A clock that was set back since makes it long ago: then it is done once more.
fn age(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or(Duration::MAX)
}
