//! Eviction: the store kept within its size and age, least recently used first, and no index record before the crates.
//!
//! An index record is small, and without it none of its crates can be served; so as long as there is a crate to remove, no record is.
//!
//! Nothing is remembered of the store between passes, and no list of it is made: one walk counts bytes by when they were last used, which gives the
//! moment before which things have to go; a second walk removes them. So a pass costs the same memory for a hundred files as for a million,
//! and two mirrors may share a folder.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::shared::MemoryCache;
use crate::{
    domain::Key,
    error::{Error, Result},
    store::{Links, Next, Sight, Store},
};

/// Uses are counted by the minute.
const BUCKET: u64 = 60;
/// What is in memory goes after what was used this minute.
const LAST: Duration = Duration::from_secs(2 * BUCKET);
/// How many minutes longer an index record is kept than a crate used at the same time.
const RECORDS_OUTLIVE: u64 = 120;
/// A store is looked at anew when it may have grown by this share of what it may hold, and at least so often: others may write to it too.
const GROWTH: u64 = 40;
const FIRST_LOOK: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How often to see whether it is time.
const TICK: Duration = Duration::from_secs(1);

/// What has to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// At most so many bytes.
    pub size: u64,
    /// Nothing that was last used before.
    pub oldest: Option<SystemTime>,
}

/// What a pass did.
#[derive(Clone, Debug, Default)]
pub struct Evicted {
    /// Objects removed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes still there, as far as they could be counted.
    pub left: u64,
    /// What couldn't be looked at, and so isn't counted, and what couldn't be removed.
    pub troubles: Troubles,
}

/// What went wrong on the way: how often, and the first few errors.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// How many there were.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Error>,
}

impl Troubles {
    /// A broken disk has as many as it has files.
    const KEPT: usize = 100;

    fn add(&mut self, error: Error) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(error);
        }
    }
}

/// The bytes of one kind of object by the minute of their last use.
type Uses = BTreeMap<u64, u64>;

/// What is in a store.
#[derive(Default)]
struct Census {
    crates: Uses,
    index: Uses,
    bytes: u64,
    troubles: Troubles,
}

/// What has to go: objects last used before, crates and index records apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cutoffs {
    crates: u64,
    index: u64,
}

/// Makes `store` meet `target`; objects at the paths in `used_now` count as used just now, and go last.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when the walk ends early. What can't be looked at or removed ends nothing.
pub async fn evict(store: &Store, target: Target, used_now: HashSet<String>) -> Result<Evicted> {
    let (used_now, now) = (Arc::new(used_now), SystemTime::now());
    let counting = count(used_now.clone(), now);
    let census = store.each(Links::PassedOver, Census::default(), counting);
    let census = census.await?;
    let cutoffs = census.cutoffs(target);
    let start = Evicted {
        left: census.bytes,
        troubles: census.troubles,
        ..Evicted::default()
    };
    if start.left <= target.size && target.oldest.is_none() {
        return Ok(start);
    }
    let choosing = choose(cutoffs, target, used_now, now);
    store.each(Links::PassedOver, start, choosing).await
}

impl Census {
    /// The moments before which crates and index records have to go for what is left to meet `target`.
    fn cutoffs(&self, target: Target) -> Cutoffs {
        let surplus = self.bytes.saturating_sub(target.size);
        let aged = target.oldest.map_or(0, minute);
        let (crates, surplus) = cutoff(&self.crates, surplus, aged);
        // A record is used whenever one of its crates is, but uses are noted by the hour.
        let (index, _) = cutoff(&self.index, surplus, aged.saturating_sub(RECORDS_OUTLIVE));
        Cutoffs { crates, index }
    }
}

/// The end of the first minutes that together hold `surplus` bytes, but at least `aged`; and what of the surplus remains.
fn cutoff(uses: &Uses, mut surplus: u64, aged: u64) -> (u64, u64) {
    let mut end = aged;
    for (minute, bytes) in uses {
        if surplus == 0 && *minute >= aged {
            break;
        }
        surplus = surplus.saturating_sub(*bytes);
        end = minute + 1;
    }
    (end.max(aged), surplus)
}

/// Counts. What is in memory is used now: a hit from there doesn't touch the disk, so it is touched here, lest what is asked for most looks
/// unused after a restart.
fn count(
    used_now: Arc<HashSet<String>>,
    now: SystemTime,
) -> impl FnMut(&mut Census, Sight) -> Next {
    move |census, sight| {
        let stored = match sight {
            Sight::Object(stored) => stored,
            Sight::Unread(e) | Sight::Unchanged(e) => {
                census.troubles.add(e);
                return Next::Go;
            }
            Sight::Odd(..) | Sight::Removed(_) => return Next::Go,
        };
        let in_use = used_now.contains(&stored.path);
        let used = if in_use { now + LAST } else { stored.used };
        let uses = match stored.key {
            Key::File(_) => &mut census.crates,
            Key::Record(_) => &mut census.index,
        };
        *uses.entry(minute(used)).or_default() += stored.size;
        census.bytes += stored.size;
        match in_use
            && now
                .duration_since(stored.used)
                .is_ok_and(|age| age > LOOK_EVERY)
        {
            true => Next::Touch,
            false => Next::Go,
        }
    }
}

/// Removes what is due: crates first by the order of the cutoffs, and no more of the last minute than has to go.
fn choose(
    cutoffs: Cutoffs,
    target: Target,
    used_now: Arc<HashSet<String>>,
    now: SystemTime,
) -> impl FnMut(&mut Evicted, Sight) -> Next {
    move |done, sight| {
        let stored = match sight {
            Sight::Object(stored) => stored,
            Sight::Removed(stored) => {
                done.objects += 1;
                done.bytes += stored.size;
                done.left = done.left.saturating_sub(stored.size);
                return Next::Go;
            }
            Sight::Unchanged(e) => {
                done.troubles.add(e);
                return Next::Go;
            }
            // The count has come by these.
            Sight::Unread(_) | Sight::Odd(..) => return Next::Go,
        };
        let cutoff = match stored.key {
            Key::File(_) => cutoffs.crates,
            Key::Record(_) => cutoffs.index,
        };
        let in_use = used_now.contains(&stored.path);
        let used = if in_use { now + LAST } else { stored.used };
        let too_old = target.oldest.is_some_and(|oldest| used < oldest);
        match minute(used) < cutoff && (too_old || done.left > target.size) {
            true => Next::Remove,
            false => Next::Go,
        }
    }
}

fn minute(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    since.as_secs() / BUCKET
}

/// Keeps `store` within `max_size` and `max_age`, for ever: looks at it a while after the start, when it may have grown noticeably, and now and
/// then. What is in `memory` counts as used now: a hit from there doesn't touch the disk.
pub(super) async fn keep_within(
    store: &Store,
    memory: &MemoryCache,
    max_size: u64,
    max_age: Option<Duration>,
    removed: impl Fn(),
) {
    // Nothing is scanned at the start, when everybody is waiting.
    let mut next_look = Instant::now() + FIRST_LOOK;
    let mut written_before = 0;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let written = store.written();
        let grown = written - written_before > max_size / GROWTH;
        if !grown && Instant::now() < next_look {
            continue;
        }
        next_look = Instant::now() + LOOK_EVERY;
        written_before = written;
        // What is on its way into the store takes of it already.
        let target = Target {
            size: max_size.saturating_sub(store.spooled()),
            oldest: max_age.and_then(|age| SystemTime::now().checked_sub(age)),
        };
        match evict(store, target, memory.paths()).await {
            Ok(done) => {
                note_evicted(store, &done);
                if done.objects > 0 {
                    removed();
                }
            }
            Err(e) => tracing::warn!("evicting failed: {e}"),
        }
    }
}

fn note_evicted(store: &Store, done: &Evicted) {
    let Evicted {
        objects,
        bytes,
        left,
        troubles,
    } = done;
    if let Some(first) = troubles.first.first() {
        let count = troubles.count;
        tracing::warn!(
            count,
            "the store can't be kept within its limits as a whole: {first}"
        );
        troubles.first.iter().for_each(|e| store.complain(e));
    }
    if *objects > 0 {
        tracing::info!(objects, bytes, left, "evicted what was used least recently");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(minutes: &[(u64, u64)]) -> Uses {
        minutes.iter().copied().collect()
    }

    fn target(size: u64, oldest_minute: Option<u64>) -> Target {
        let at = |m| SystemTime::UNIX_EPOCH + Duration::from_secs(m * BUCKET);
        let oldest = oldest_minute.map(at);
        Target { size, oldest }
    }

    #[test]
    fn crates_go_before_any_index_record() {
        let census = Census {
            crates: uses(&[(1_000, 40), (2_000, 40)]),
            index: uses(&[(10, 20)]),
            bytes: 100,
            troubles: Troubles::default(),
        };
        let cutoffs = |size| {
            let Cutoffs { crates, index } = census.cutoffs(target(size, None));
            (crates, index)
        };
        assert_eq!(cutoffs(100), (0, 0), "it fits");
        assert_eq!(cutoffs(99), (1_001, 0), "the older crates are enough");
        assert_eq!(cutoffs(20), (2_001, 0), "all crates are enough");
        assert_eq!(cutoffs(19), (2_001, 11), "only then records");
    }

    #[test]
    fn what_is_too_old_goes_although_there_is_room() {
        let census = Census {
            crates: uses(&[(1_000, 40), (2_000, 40)]),
            index: uses(&[(1_000, 20)]),
            bytes: 100,
            troubles: Troubles::default(),
        };
        let cutoffs = census.cutoffs(target(1_000, Some(1_500)));
        assert!((1_001..=1_500).contains(&cutoffs.crates), "{cutoffs:?}");
        let just_aged = census.cutoffs(target(1_000, Some(1_100)));
        assert!(
            just_aged.index <= 1_000,
            "its crates may be used a little longer"
        );
    }
}
