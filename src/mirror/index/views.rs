//! [`ViewCache`]: index files as they are seen in views and as of days, each made once of the entry that everybody shares.

use std::{sync::Arc, time::SystemTime};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::{
    gzip_variants::GzipMaker,
    view::{Viewpoint, shown_again},
};
use crate::{
    domain::{IndexKey, View},
    error::Result,
    mirror::{
        kept::IndexEntry,
        shared::{Shared, SingleFlight},
    },
};

/// Of the memory for what is kept, views may take a part of this size.
const OF_VIEWS: u64 = 8;
/// And days one of this size. They have a place of their own: who asks for a thousand dates pushes out other dates, and nothing that is asked for every day.
const OF_DAYS: u64 = 32;
/// What an entry takes beside its bodies, rounded up.
const OVERHEAD: usize = 1 << 10;

type Seen = (IndexKey, View);

/// What is seen of index files in views. Freshness is no matter of theirs: they are looked up for an entry that may be served.
pub(super) struct ViewCache {
    shared: Arc<Shared>,
    gzip: Arc<GzipMaker>,
    named: Cache<Seen, Arc<IndexEntry>>,
    days: Cache<Seen, Arc<IndexEntry>>,
    flights: SingleFlight<Seen, Arc<IndexEntry>>,
}

impl ViewCache {
    pub(super) fn new(shared: Arc<Shared>, gzip: Arc<GzipMaker>) -> Self {
        let budget = shared.memory.budget();
        Self {
            named: cache(budget / OF_VIEWS),
            days: cache(budget / OF_DAYS),
            flights: SingleFlight::default(),
            gzip,
            shared,
        }
    }

    /// What is seen of `entry`, if it takes nothing but a look into memory.
    pub(super) fn at_once(
        &self,
        key: &IndexKey,
        view: View,
        entry: &Arc<IndexEntry>,
        now: SystemTime,
    ) -> Option<Arc<IndexEntry>> {
        let cache = match view {
            View::Usual => return Some(entry.clone()),
            View::Named(_) => &self.named,
            View::AsOf(_) => &self.days,
        };
        let seen = cache.get(&(*key, view))?;
        let is_of_it = Arc::ptr_eq(&seen.content, &entry.content)
            && seen.not_stored == entry.not_stored
            && seen.history == entry.history;
        let is_valid = || seen.rendition.is_valid(self.shared.rules.version(), now);
        (is_of_it && is_valid()).then_some(seen)
    }

    /// What is seen of `entry`.
    ///
    /// # Errors
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it in time.
    pub(super) async fn of(
        self: &Arc<Self>,
        key: IndexKey,
        view: View,
        entry: Arc<IndexEntry>,
        now: SystemTime,
    ) -> Result<Arc<IndexEntry>> {
        loop {
            if let Some(seen) = self.at_once(&key, view, &entry, now) {
                return Ok(seen);
            }
            let tasks = self.shared.background.tasks();
            let mut is_mine = false;
            let flight = self.flights.join((key, view), tasks, |_| {
                is_mine = true;
                let (this, entry) = (self.clone(), entry.clone());
                async move { this.make(key, view, &entry, now).await }
            });
            let made = flight.result.clone().await;
            // Another's may have been made of an older entry.
            if is_mine || made.is_err() {
                return made;
            }
        }
    }

    async fn make(
        &self,
        key: IndexKey,
        view: View,
        entry: &IndexEntry,
        now: SystemTime,
    ) -> Result<Arc<IndexEntry>> {
        let from = Viewpoint::of(&self.shared, view, now);
        let seen = Arc::new(shown_again(&self.shared, key, entry, from).await?);
        self.gzip.make(key, &seen.rendition);
        let cache = match view {
            View::Usual | View::Named(_) => &self.named,
            View::AsOf(_) => &self.days,
        };
        cache.insert((key, view), seen.clone());
        cache.run_pending_tasks();
        Ok(seen)
    }
}

fn cache(bytes: u64) -> Cache<Seen, Arc<IndexEntry>> {
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|_, entry: &Arc<IndexEntry>| {
            // The file is the shared entry's as long as that is kept, and this one's after that.
            u32::try_from(entry.size() + OVERHEAD).unwrap_or(u32::MAX)
        })
        .eviction_policy(EvictionPolicy::lru())
        .build()
}
