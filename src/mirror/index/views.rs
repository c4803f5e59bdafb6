//! [`ViewCache`]: index files as they are seen in views and as of days, each made once of the entry that everybody shares.

use std::{sync::Arc, time::SystemTime};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    gzip_variants::GzipMaker,
    view::{Viewpoint, needs, shown_again, shown_within},
};
use crate::{
    domain::{IndexKey, View},
    error::{Error, Kind, Result},
    mirror::{
        kept::IndexEntry,
        shared::{Shared, SingleFlight, Waiters},
    },
    upstream::ANSWER_WITHIN,
};

/// Of the memory for what is kept, views may take a part of this size.
const OF_VIEWS: u64 = 8;
/// And days one of this size. They have a place of their own: who asks for a thousand dates pushes out other dates, and nothing that is asked for every day.
const OF_DAYS: u64 = 32;
/// What an entry takes beside its bodies, rounded up.
const OVERHEAD: usize = 1 << 10;
/// So many index files are made ready for days at once: each keeps a core busy and takes memory, and who asks for a thousand dates must leave both to those
/// who ask for what everybody does.
const DAYS_AT_ONCE: usize = 2;

type Seen = (IndexKey, View);

/// What is seen of index files in views. Freshness is no matter of theirs: they are looked up for an entry that may be served.
pub(super) struct ViewCache {
    shared: Arc<Shared>,
    gzip: Arc<GzipMaker>,
    named: Cache<Seen, Arc<IndexEntry>>,
    days: Cache<Seen, Arc<IndexEntry>>,
    /// To make one more for a day. Nobody waits for it with memory in hand.
    permits: Semaphore,
    flights: SingleFlight<Seen, Arc<IndexEntry>>,
}

impl ViewCache {
    pub(super) fn new(shared: Arc<Shared>, gzip: Arc<GzipMaker>) -> Self {
        let budget = shared.memory.budget();
        Self {
            named: cache(budget / OF_VIEWS),
            days: cache(budget / OF_DAYS),
            permits: Semaphore::new(DAYS_AT_ONCE),
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
        let seen = match view {
            View::Usual => return Some(entry.clone()),
            View::Named(_) => self.named.get(&(*key, view))?,
            View::AsOf(_) => {
                let seen = self.days.get(&(*key, view))?;
                // Not before it is asked for again: those of a thousand days would be made before that of today.
                self.gzip.make(*key, &seen.rendition);
                seen
            }
        };
        let is_of_it = Arc::ptr_eq(&seen.content, &entry.content)
            && seen.not_stored == entry.not_stored
            && seen.history == entry.history;
        let is_valid = || seen.rendition.is_valid(self.shared.rules.version(), now);
        (is_of_it && is_valid()).then_some(seen)
    }

    /// What is seen of `entry`.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when there is no memory for it in time, or too many days are asked for.
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
            let flight = self.flights.join((key, view), tasks, |waiters| {
                is_mine = true;
                let (this, entry) = (self.clone(), entry.clone());
                async move {
                    match view {
                        View::Usual | View::Named(_) => this.make(key, view, &entry, now).await,
                        View::AsOf(_) => this.make_day(key, view, &entry, now, &waiters).await,
                    }
                }
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
        keep(&self.named, (key, view), &seen);
        Ok(seen)
    }

    /// The same for a day, as long as somebody waits for it, after everybody else: with one of few permits, and memory that nobody gives back for it.
    async fn make_day(
        &self,
        key: IndexKey,
        view: View,
        entry: &IndexEntry,
        now: SystemTime,
        waiters: &Waiters<Seen, Arc<IndexEntry>>,
    ) -> Result<Arc<IndexEntry>> {
        let _permit = tokio::select! {
            permit = self.permit() => permit?,
            () = waiters.gone() => return Err(Error::cancelled("nobody waits for this day any more")),
        };
        let from = Viewpoint::of(&self.shared, view, now);
        let (budget, needs) = (&self.shared.budget, needs(entry, &from));
        let lease = match budget.try_take(needs) {
            Some(lease) => lease,
            None => {
                self.forget_days();
                budget.take_spare(needs).await?
            }
        };
        let seen = Arc::new(shown_within(lease, key, entry, from).await?);
        keep(&self.days, (key, view), &seen);
        Ok(seen)
    }

    async fn permit(&self) -> Result<Option<SemaphorePermit<'_>>> {
        match timeout(ANSWER_WITHIN, self.permits.acquire()).await {
            // It is never closed; without one, all the same, nobody is kept waiting.
            Ok(permit) => Ok(permit.ok()),
            Err(_) => Err(Error::new(
                Kind::Overloaded,
                "this mirror is asked for more days than it can make ready; try again in a moment",
            )),
        }
    }

    /// Lets go of all that is kept for days, of which nobody is sure to ask again; false when there is nothing. What somebody still reads is gone when they have.
    pub(super) fn forget_days(&self) -> bool {
        let mut was_any = false;
        for (seen, _) in &self.days {
            was_any = true;
            self.days.invalidate(&*seen);
        }
        self.days.run_pending_tasks();
        was_any
    }
}

fn keep(cache: &Cache<Seen, Arc<IndexEntry>>, place: Seen, seen: &Arc<IndexEntry>) {
    cache.insert(place, seen.clone());
    cache.run_pending_tasks();
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            IndexService,
            tests::{MIB, entry, entry_of, service},
        },
        *,
    };
    use crate::{
        domain::{CrateName, Day, RegistryName},
        mirror::shared::Resident,
        policy::RulingValidity,
    };

    /// A service that has one index file in memory, which is hot.
    fn with_one(now: SystemTime) -> (IndexService, IndexKey) {
        let service = service();
        let name = RegistryName::parse("nobody").expect("a name");
        let key = IndexKey::new(name, CrateName::parse("tiny").expect("a name"));
        entry(&service, &key, RulingValidity::default(), now);
        (service, key)
    }

    fn hot(service: &IndexService, key: &IndexKey) -> Option<Arc<IndexEntry>> {
        match service.shared.memory.index(key)? {
            Resident::Index(entry) => Some(entry),
            Resident::Absent(_) | Resident::File(_) | Resident::Toolchain(_) => None,
        }
    }

    fn day(number: u32) -> View {
        let text = format!("2026-11-{number:02}");
        View::AsOf(Day::parse(&text).expect("a day"))
    }

    /// Who wanted memory was given what everybody asks for, and days that somebody had scanned stayed.
    #[tokio::test(start_paused = true)]
    async fn when_memory_is_short_days_go_first_and_nothing_that_all_share_goes_for_one() {
        let now = SystemTime::now();
        let (service, key) = with_one(now);
        let (views, budget) = (&service.views, &service.shared.budget);
        let shared = hot(&service, &key).expect("it is in memory");
        let large = IndexKey::new(key.registry, CrateName::parse("large").expect("a name"));
        entry_of(&service, &large, 1_800, RulingValidity::default(), now);
        let of_large = hot(&service, &large).expect("it is in memory");
        let of = |day: View| views.of(key, day, shared.clone(), now);
        for number in 1..20 {
            of(day(number)).await.expect("there is memory");
        }
        let kept = || (1..20).filter(|n| views.at_once(&key, day(*n), &shared, now).is_some());
        assert!(kept().count() > 1);
        let held = budget.try_take(MIB - budget.taken()).expect("all of it");
        service.make_way(1);
        assert_eq!(kept().count(), 0);
        assert!(hot(&service, &key).is_some());
        // What they have given back is taken, too: there is none for another day, of a large file least of all.
        budget.on_shortage(|_| panic!("something is to go for a day"));
        let more = budget.try_take(MIB - budget.taken()).expect("all of it");
        let refused = of(day(20)).await.map(drop).map_err(|e| e.kind());
        assert_eq!(refused, Err(Kind::Overloaded));
        let refused = views.of(large, day(20), of_large, now).await;
        assert_eq!(
            refused.map(drop).map_err(|e| e.kind()),
            Err(Kind::Overloaded)
        );
        assert!(hot(&service, &key).is_some(), "it isn't pushed out");
        drop((held, more));
        of(day(20)).await.expect("there is memory again");
        service.make_way(1);
        service.make_way(1);
        assert!(hot(&service, &large).is_none(), "without days it goes");
    }

    /// Each keeps a core busy: a scan of a thousand dates left none for those who build.
    #[tokio::test(start_paused = true)]
    async fn few_days_are_made_ready_at_once_and_none_for_who_has_gone_away() {
        let now = SystemTime::now();
        let (service, key) = with_one(now);
        let views = &service.views;
        let shared = hot(&service, &key).expect("it is in memory");
        let permits = u32::try_from(DAYS_AT_ONCE).expect("few");
        let all = views.permits.acquire_many(permits).await.expect("permits");
        let waits = views.of(key, day(1), shared.clone(), now);
        let late = waits.await.map(drop).map_err(|e| e.kind());
        assert_eq!(late, Err(Kind::Overloaded));
        let waits = views.of(key, day(2), shared.clone(), now);
        let gone = timeout(ANSWER_WITHIN / 2, waits).await;
        assert!(gone.is_err(), "it still waits");
        while views.flights.join_existing(&(key, day(2))).is_some() {
            tokio::task::yield_now().await;
        }
        // Views that the operator has named stand in no line.
        let named = View::Named(crate::domain::ViewName::parse("lts").expect("a name"));
        views
            .of(key, named, shared.clone(), now)
            .await
            .expect("at once");
        drop(all);
        assert!(views.of(key, day(3), shared, now).await.is_ok());
    }
}
