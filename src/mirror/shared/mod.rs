//! What the services of the mirror have in common: memory, store, and where work goes on beside requests.

mod background;
mod blocking_work;
mod found;
mod memory;
mod missed;
mod mistold;
mod refusals;
mod rules;
mod single_flight;
mod stale;
mod stored_changes;
mod user_messages;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use blocking_work::WorkTurn;
pub use found::Found;
pub use refusals::Refusal;
pub use stale::StaleCopy;

pub(in crate::mirror) use background::Background;
pub(in crate::mirror) use blocking_work::{BlockingWork, not_enough_memory};
pub(in crate::mirror) use memory::{MemoryCache, Resident};
pub(in crate::mirror) use missed::{
    not_in_store, not_in_store_of_toolchains, note_missed, unreadable_offline,
};
pub(in crate::mirror) use mistold::Mistold;
pub(in crate::mirror) use refusals::Refusals;
pub(in crate::mirror) use rules::RulesInForce;
pub(in crate::mirror) use single_flight::{Flight, SingleFlight, Waiters};
pub(in crate::mirror) use stale::StaleServed;
pub(in crate::mirror) use stored_changes::{ChangedRecords, StoredChanges};
pub(in crate::mirror) use user_messages::{not_here, too_old, unreadable};

use super::catalog::Catalog;
use crate::{
    allowance::Allowance, config::sections::FreshnessSettings, metrics::Metrics, store::Store,
};

/// What both services use.
pub(in crate::mirror) struct Shared {
    /// How long copies are good for.
    pub(in crate::mirror) freshness: FreshnessSettings,
    /// What is served without touching the disk.
    pub(in crate::mirror) memory: MemoryCache,
    /// The memory budget: what bodies may take, cached ones included, is leased from it.
    pub(in crate::mirror) budget: Allowance,
    /// Where objects are kept.
    pub(in crate::mirror) store: Store,
    /// Where to count.
    pub(in crate::mirror) metrics: Arc<Metrics>,
    /// What may come in.
    pub(in crate::mirror) rules: RulesInForce,
    /// Where work goes on that nobody waits for.
    pub(in crate::mirror) background: Background,
    /// What was served lately although it was due.
    pub(in crate::mirror) stale: StaleServed,
    /// What the rules refused lately.
    pub(in crate::mirror) refusals: Refusals,
    /// Files that weren't what a document says, when they came.
    pub(in crate::mirror) mistold: Mistold,
    /// Which index records have been written lately.
    pub(in crate::mirror) stored_changes: StoredChanges,
    /// Which crates there are.
    pub(in crate::mirror) catalog: Arc<Catalog>,
}

impl Shared {
    /// Whether "there is no such thing", said at that time, is still believed.
    pub(in crate::mirror) fn still_absent(&self, since: SystemTime, now: SystemTime) -> bool {
        now.duration_since(since)
            .is_ok_and(|age: Duration| age < self.freshness.absent_for())
    }
}
