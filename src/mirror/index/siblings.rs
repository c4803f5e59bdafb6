//! [`Siblings`]: the other mirrors that share the store, and what upstream has told them.
//!
//! Index files are asked for anew every minute or so, and each mirror of many would ask for itself. So each tells the others, in one note every few seconds,
//! which bodies upstream has confirmed to it; whoever has the same body needn't ask. That costs one small write in ten seconds, however many index files
//! there are and however often they are confirmed: to write each record anew with another time in it would cost a write for each. A body that has changed
//! is in the store by the time the others hear of it, and is read from there.
//!
//! When one index file is asked for everywhere, it would be due everywhere at the same moment. So for each of them one mirror asks a little earlier than the
//! others (`leads`), and they hear of it in time. Which one that is follows from the names of those who tell something, and nothing rests on it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::interval;

use crate::{
    domain::{Bulletin, Confirmation, IndexKey, Sha256},
    error::Result,
    mirror::{kept::IndexEntry, shared::Shared},
    store::{Board, Note},
};

/// How often something is told and listened to, and no more than so many times while an index file is fresh.
const EVERY: Duration = Duration::from_secs(10);
const TIMES_WHILE_FRESH: u32 = 6;
/// What would have to be told more often than this isn't told at all.
const SOONEST: Duration = Duration::from_millis(500);
/// A mirror of which nobody has wanted an index file that was due for so many times listens only every so many-th time.
const IDLE_AFTER: u32 = 2 * TIMES_WHILE_FRESH;
const IDLE_EVERY: u32 = 6;
/// What wasn't written for so long is of a mirror that is gone.
const SILENT: Duration = Duration::from_secs(600);
/// And after so long it is taken away.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// So many others are taken for such when it is found out who leads.
const MOST_OTHERS: usize = 100;
/// So many confirmations of others are remembered.
const MOST: usize = 32_768;

/// The other mirrors.
pub(super) struct Siblings {
    shared: Arc<Shared>,
    /// What this one is called among them; another one at each start.
    name: String,
    /// What upstream has confirmed to this one lately.
    own: Mutex<HashMap<IndexKey, (Sha256, SystemTime)>>,
    heard: Mutex<Heard>,
    /// Whether somebody has wanted an index file that was due since that was looked at. Who always hears in time has nothing to tell himself.
    is_wanted: AtomicBool,
}

/// What others have had confirmed.
#[derive(Default)]
struct Heard {
    /// By the hash of a key that nobody can choose.
    confirmed: HashMap<u64, (Sha256, SystemTime)>,
    hashes: RandomState,
    /// The notes that were read.
    read: HashMap<String, Vec<u8>>,
}

impl Siblings {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            name: format!("{:016x}", fastrand::u64(..)),
            own: Mutex::default(),
            heard: Mutex::default(),
            is_wanted: AtomicBool::new(false),
        }
    }

    /// Whether this one of them asks upstream for an index file first, so that the others needn't; not when there are no others.
    pub(super) fn leads(&self, key: &IndexKey) -> bool {
        let heard = lock(&self.heard);
        let (others, own) = (heard.read.keys(), rank(&self.name, key));
        !heard.read.is_empty() && others.take(MOST_OTHERS).all(|other| rank(other, key) < own)
    }

    /// Upstream has confirmed this entry to this mirror.
    pub(super) fn tell(&self, key: IndexKey, entry: &IndexEntry) {
        if self.shared.store.board().is_none() {
            return;
        }
        let mut own = lock(&self.own);
        if own.len() < Bulletin::MOST || own.contains_key(&key) {
            own.insert(key, (entry.content.sha256, entry.checked_at));
        }
    }

    /// What another mirror has had confirmed of an index file, if that is newer than what is known of it here and would be fresh now: which body, and when.
    pub(super) fn heard(
        &self,
        key: &IndexKey,
        known: &IndexEntry,
        now: SystemTime,
    ) -> Option<(Sha256, SystemTime)> {
        self.is_wanted.store(true, Ordering::Relaxed);
        let (sha256, at) = {
            let heard = lock(&self.heard);
            *heard.confirmed.get(&heard.hashes.hash_one(key))?
        };
        // By the other's clock it may be later than now.
        let at = at.min(now);
        let is_newer = at > known.checked_at && self.is_fresh(at, now);
        (is_newer && !known.gone).then_some((sha256, at))
    }

    fn is_fresh(&self, at: SystemTime, now: SystemTime) -> bool {
        let fresh_for = self.shared.freshness.lifetimes().fresh_for;
        now.duration_since(at).unwrap_or_default() < fresh_for
    }

    /// Tells and listens, for ever; it ends at once where there is nobody to tell.
    pub(super) async fn run(&self) {
        let Some(board) = self.shared.store.board() else {
            return;
        };
        let fresh_for = self.shared.freshness.lifetimes().fresh_for;
        let every = EVERY.min(fresh_for / TIMES_WHILE_FRESH);
        // What is asked for each time can't be told in time.
        if every < SOONEST {
            return;
        }
        let (mut tick, mut idle) = (interval(every), 0);
        loop {
            tick.tick().await;
            let now = SystemTime::now();
            let (told, is_wanted) = (
                self.post(&*board, now).await,
                self.is_wanted.swap(false, Ordering::Relaxed),
            );
            idle = match told || is_wanted {
                true => 0,
                false => idle + 1,
            };
            if idle > IDLE_AFTER && idle % IDLE_EVERY != 0 {
                continue;
            }
            if let Err(e) = self.listen(&*board, now).await {
                tracing::debug!("other mirrors aren't heard: {e}");
            }
        }
    }

    /// Tells the others what is fresh of what was confirmed here; says whether there was anything.
    async fn post(&self, board: &dyn Board, now: SystemTime) -> bool {
        let bulletin = {
            let mut own = lock(&self.own);
            own.retain(|_, (_, at)| self.is_fresh(*at, now));
            let told = own.iter().map(|(key, (sha256, at))| Confirmation {
                key: *key,
                sha256: *sha256,
                at: *at,
            });
            Bulletin(told.collect())
        };
        if bulletin.0.is_empty() {
            return false;
        }
        if let Err(e) = board.post(&self.name, bulletin.written().into()).await {
            tracing::debug!("other mirrors aren't told what upstream says: {e}");
        }
        true
    }

    /// Reads what is new of the others.
    async fn listen(&self, board: &dyn Board, now: SystemTime) -> Result<()> {
        let mut others = board.list().await?;
        others.retain(|note| note.name != self.name);
        let age = |note: &Note| now.duration_since(note.at).unwrap_or_default();
        let (lately, silent): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|note| age(note) < SILENT);
        let forgotten = silent.iter().filter(|note| age(note) > FORGOTTEN);
        for note in forgotten {
            let _ = board.remove(&note.name).await;
        }
        for note in &lately {
            if !self.is_new(note) {
                continue;
            }
            if let Some(text) = board.read(&note.name, Bulletin::LARGEST).await?
                && let Some(bulletin) = Bulletin::read(&text)
            {
                // One clock for all is the bucket's, and what is later than now by ours is of a clock that is wrong.
                self.take(bulletin, note.at.min(now), now);
            }
            let read = (note.name.clone(), note.version.clone());
            lock(&self.heard).read.extend([read]);
        }
        let mut heard = lock(&self.heard);
        heard.confirmed.retain(|_, (_, at)| self.is_fresh(*at, now));
        heard
            .read
            .retain(|name, _| lately.iter().any(|note| note.name == *name));
        Ok(())
    }

    /// Whether a note wasn't read yet.
    fn is_new(&self, note: &Note) -> bool {
        lock(&self.heard).read.get(&note.name) != Some(&note.version)
    }

    fn take(&self, bulletin: Bulletin, written: SystemTime, now: SystemTime) {
        let mut heard = lock(&self.heard);
        for Confirmation { key, sha256, at } in bulletin.0 {
            let at = at.min(written);
            let slot = heard.hashes.hash_one(key);
            let known = heard.confirmed.get(&slot);
            let is_newer = known.is_none_or(|(_, before)| at > *before);
            let has_room = known.is_some() || heard.confirmed.len() < MOST;
            if is_newer && has_room && self.is_fresh(at, now) {
                heard.confirmed.insert(slot, (sha256, at));
            }
        }
    }

    /// Takes back what was told, when this mirror ends.
    pub(super) async fn leave(&self) {
        let has_told = !lock(&self.own).is_empty();
        if let Some(board) = self.shared.store.board().filter(|_| has_told) {
            let _ = board.remove(&self.name).await;
        }
    }
}

/// A mirror's place among others for an index file: the same to all of them, and another one for each file.
fn rank(mirror: &str, key: &IndexKey) -> String {
    let both = format!("{mirror} {}", key.path());
    Sha256::of(both.as_bytes()).to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
