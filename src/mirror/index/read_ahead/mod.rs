//! [`ReadAhead`]: index files asked for before cargo does.
//!
//! Cargo learns of dependencies level by level: only with one index file in hand does it know whom to ask for next, so that a resolve takes as many
//! round trips to upstream as its graph is deep. The mirror is nearer and may know more: a stale copy, which is most often still right, names all the
//! levels below it at once. So when a client's request has to go upstream, its dependencies are followed from here, breadth first.
//!
//! One task follows for everybody. It never takes a permit of upstream's that a client waits for, joins what clients have asked for and is joined by them,
//! and gives up where upstream fails.

mod queue;
mod step;

use std::{sync::Arc, time::SystemTime};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use self::{
    queue::{Following, StepQueue},
    step::{FollowedSteps, Step},
};
use super::{
    records::StoredRecords,
    refresh::{RefreshStep, Refresher},
    shown::IndexFound,
};
use crate::{
    config::sections,
    domain::{IndexKey, Outcome, RegistryName, View},
    error::{Kind, Result},
    mirror::{
        kept::{Due, IndexEntry},
        shared::{Resident, Shared, SingleFlight},
    },
    upstream::{Permit, Upstream},
};

/// Who reads ahead.
pub(super) struct ReadAhead {
    settings: sections::ReadAheadSettings,
    shared: Arc<Shared>,
    records: Arc<StoredRecords>,
    refresher: Arc<Refresher>,
    /// Shared with those who ask for themselves.
    flights: SingleFlight<IndexKey, IndexFound>,
    queue: StepQueue,
}

/// Steps whose index files have been asked for, each with what came.
type UnderWay = FuturesUnordered<BoxFuture<'static, (Step, Result<Arc<IndexEntry>>)>>;

/// Whether more steps can be begun.
#[derive(PartialEq, Eq)]
enum Capacity {
    Left,
    /// Upstream has no permit to spare for this registry.
    NoPermit(RegistryName),
}

impl ReadAhead {
    pub(super) fn new(
        settings: sections::ReadAheadSettings,
        shared: Arc<Shared>,
        records: Arc<StoredRecords>,
        refresher: Arc<Refresher>,
        flights: SingleFlight<IndexKey, IndexFound>,
    ) -> Self {
        Self {
            settings,
            shared,
            records,
            refresher,
            flights,
            queue: StepQueue::default(),
        }
    }

    /// Follows the dependencies of what a client has asked for, beside its answer.
    pub(super) fn follow(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        entry: &IndexEntry,
        now: SystemTime,
    ) {
        if !self.settings.enabled || entry.gone {
            return;
        }
        let steps = Step::from(upstream, entry, now, &self.settings);
        if self.queue.add(steps) {
            let this = self.clone();
            let background = &self.shared.background;
            background.run_until_stopped(async move { this.follow_all(now).await });
        }
    }

    /// Follows until there is nothing left to follow.
    async fn follow_all(self: Arc<Self>, began: SystemTime) {
        let (queue, started) = (&self.queue, Instant::now());
        let following = Following::new(queue);
        let (mut followed, mut under_way) = (FollowedSteps::new(began), UnderWay::new());
        loop {
            let now = began + started.elapsed();
            followed.forget_old(now);
            let capacity = self.begin_steps(&mut followed, &mut under_way, now).await;
            if under_way.is_empty() {
                if let Capacity::NoPermit(registry) = capacity {
                    // Clients have them all, who come first; cargo asks for the rest itself.
                    queue.give_up(registry);
                }
                if queue.is_over() {
                    return following.finish();
                }
                continue;
            }
            tokio::select! {
                Some((step, came)) = under_way.next() => match came {
                    Ok(entry) => {
                        queue.add(step.next(&entry, &mut followed, &self.settings));
                    }
                    // It isn't asked at all at the moment.
                    Err(e) if matches!(e.kind(), Kind::CircuitOpen { .. }) => {
                        queue.give_up(step.upstream.registry());
                    }
                    Err(_) => {}
                },
                () = queue.more.notified(), if capacity == Capacity::Left => {}
            }
        }
    }

    /// Takes the steps that wait, one after the other, until there are none or no permit for another request.
    async fn begin_steps(
        self: &Arc<Self>,
        followed: &mut FollowedSteps,
        under_way: &mut UnderWay,
        now: SystemTime,
    ) -> Capacity {
        while let Some(step) = self.queue.next() {
            let key = step.key();
            if self.is_denied(&key, now)
                || self.is_current(&step, &key, followed, now).await
                || !step.has_files_left()
            {
                continue;
            }
            let flight = match self.flights.join_existing(&key) {
                Some(flight) => flight,
                None => {
                    let Some(permit) = step.upstream.spare_permit() else {
                        let registry = step.upstream.registry();
                        self.queue.put_back(step);
                        return Capacity::NoPermit(registry);
                    };
                    let tasks = self.shared.background.tasks();
                    self.flights.join(key, tasks, |_| {
                        step.take_file();
                        let (this, upstream) = (self.clone(), step.upstream.clone());
                        async move { this.bring(&upstream, key, permit, now).await }
                    })
                }
            };
            under_way.push(Box::pin(async move {
                let found = flight.result.clone().await;
                (step, found.map(|found| found.value))
            }));
        }
        Capacity::Left
    }

    /// Whether the rules refuse a step's crate: nobody will be given its index file.
    fn is_denied(&self, key: &IndexKey, now: SystemTime) -> bool {
        let policy = self.shared.rules.policy();
        let rules = policy.of_crate(key.registry, key.name(), View::Usual, now);
        let denial = rules.crate_denial();
        denial.is_some_and(|denial| rules.is_enforced(&denial))
    }

    /// Whether what is here of a step's index file needn't be asked for. What there is is followed in any case.
    async fn is_current(
        &self,
        step: &Step,
        key: &IndexKey,
        followed: &mut FollowedSteps,
        now: SystemTime,
    ) -> bool {
        match self.records.known(key, now).await {
            Ok(Some(Resident::Index(entry))) => {
                // A stale copy, too: most often it is still right, and then all levels below are asked for at once.
                self.queue.add(step.next(&entry, followed, &self.settings));
                match entry.due(&self.shared.freshness, now) {
                    Due::Nothing | Due::NotYet => true,
                    Due::Refresh | Due::Replace => false,
                }
            }
            Ok(Some(Resident::Absent(since))) => self.shared.still_absent(since, now),
            Ok(Some(Resident::File(_) | Resident::Toolchain(_)) | None) | Err(_) => false,
        }
    }

    /// Brings an index file that nobody has asked for yet, with a permit that no client waited for.
    async fn bring(
        &self,
        upstream: &Upstream,
        key: IndexKey,
        permit: Permit,
        now: SystemTime,
    ) -> Result<IndexFound> {
        let copy = match self.refresher.begin(&key, now).await {
            RefreshStep::Permitted(found) => return found,
            RefreshStep::Ask(copy) => copy,
        };
        let found = self.refresher.ask(upstream, key, copy, permit, now).await?;
        if matches!(found.outcome, Outcome::Miss | Outcome::Revalidated) && !found.value.gone {
            self.shared.metrics.read_ahead_fetched.inc();
            found.value.came_ahead();
        }
        Ok(found)
    }
}
