//! [`GitIndex`]: what is stored of an index as a git repository, for cargos that read no other.
//!
//! What is stored is in it, and nothing else: nobody who asks has anything fetched. For each registry and view there is an [`IndexPlace`], with a table of its files, its last states,
//! and a log of all objects. A state is made when somebody asks and something has changed. Of it a [`Repository`] is made for each way in which clients reach this mirror.

mod content;
mod file_table;
mod folder;
mod object_log;
mod pack_source;
mod place;
mod plan;
mod reading;
mod repository;
mod update;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

pub use pack_source::{CHUNK, PackSource};
pub use plan::PackPlan;
pub use repository::Repository;

use self::{
    content::StateContent,
    place::{Currency, IndexPlace},
    reading::CratesMatter,
    update::ended_early,
};
use super::{
    registry::Registry,
    shared::{BlockingWork, Flight, Shared, SingleFlight, WorkTurn},
};
use crate::{
    config::sections::OfflineIndex,
    domain::{RegistryName, View},
    error::{Error, Kind, Result},
    policy::RulesVersion,
};

/// Who can have the state before gets that when the one of now takes longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Who can't waits as long as clients do.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// How long somebody waits for a state of the git index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitPatience {
    /// As clients do, some seconds.
    Clients,
    /// Until it is there, however many records have to be read.
    Endless,
}
/// So many packs are being made at a time; how many are being sent is another matter.
const PACKS_AT_ONCE: usize = 4;

/// Longer than any store takes to be read.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3_600);

type PlaceKey = (RegistryName, View);

/// What is stored of all registries' indexes, as git repositories.
pub(super) struct GitIndex {
    shared: Arc<Shared>,
    offline: OfflineIndex,
    places: Mutex<Places>,
    updates: SingleFlight<PlaceKey, Arc<StateContent>>,
    work: BlockingWork,
}

/// The places, and under which rules they were asked for.
#[derive(Default)]
struct Places {
    by_key: HashMap<PlaceKey, Arc<IndexPlace>>,
    rules: Option<RulesVersion>,
}

impl GitIndex {
    pub(super) fn new(shared: Arc<Shared>, offline: OfflineIndex) -> Self {
        Self {
            shared,
            offline,
            places: Mutex::default(),
            updates: SingleFlight::default(),
            work: BlockingWork::new(PACKS_AT_ONCE),
        }
    }

    /// The repository of a registry as it is seen in a view, with this config.json, at the state of now.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, [`Kind::Overloaded`] when there is no memory for it, or it takes too long.
    pub(super) async fn repository(
        &self,
        registry: &Registry,
        view: View,
        config: &Bytes,
        patience: GitPatience,
        now: SystemTime,
    ) -> Result<Arc<Repository>> {
        let place = self.place(registry, view);
        let key = (registry.name(), view);
        let content = self.content(&place, key, patience, now).await?;
        // A folder at the top has a thousand entries, and is hashed when there is a new one.
        place.repository(config, &content)
    }

    /// Leave to make a part of a pack.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when too many are being made.
    pub(super) async fn turn(&self) -> Result<WorkTurn> {
        self.work.turn().await.map_err(|e| {
            e.reworded("this mirror is asked for more of its git index than it can send at the moment; try again in a moment")
        })
    }

    fn place(&self, registry: &Registry, view: View) -> Arc<IndexPlace> {
        let name = registry.name();
        let crates = match (registry, self.offline) {
            (Registry::Offline(_), OfflineIndex::Stored) => CratesMatter::Yes,
            (Registry::Offline(_), OfflineIndex::Full) | (Registry::Online(_), _) => {
                CratesMatter::No
            }
        };
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = self.shared.rules.version();
        if places.rules.replace(rules) != Some(rules) {
            // Views may be gone with the rules that had them.
            let policy = self.shared.rules.policy();
            places.by_key.retain(|(_, view), _| match view {
                View::Usual | View::AsOf(_) => true,
                View::Named(view) => policy.registry_of(*view).is_some(),
            });
        }
        let place = places.by_key.entry((name, view)).or_insert_with(|| {
            let place = IndexPlace::new(self.shared.clone(), name, view, crates);
            Arc::new(place)
        });
        place.clone()
    }

    /// The state of now.
    async fn content(
        &self,
        place: &Arc<IndexPlace>,
        key: PlaceKey,
        patience: GitPatience,
        now: SystemTime,
    ) -> Result<Arc<StateContent>> {
        let came = Instant::now();
        // Who was told why it failed and asks again in that moment would only have the whole store read again.
        let failed = place.failed_lately();
        loop {
            let things = place.state_of_things().await;
            let before = match place.currency(things, now) {
                Currency::Current(content) => return Ok(content),
                Currency::Unwatched(content) => {
                    drop(self.update(place, key, now));
                    return Ok(content);
                }
                Currency::Outdated(content) => Some(content),
                Currency::OtherRules | Currency::Missing => None,
            };
            match (&failed, before.clone()) {
                (Some(_), Some(before)) => return Ok(before),
                (Some(why), None) => return Err(why.clone()),
                (None, _) => {}
            }
            let flight = self.update(place, key, now);
            let is_mine = flight.started >= came;
            let patience = match (patience, &before) {
                (GitPatience::Clients, Some(_)) => PATIENCE,
                (GitPatience::Clients, None) => ANSWER_WITHIN,
                (GitPatience::Endless, _) => ENDLESS,
            };
            let landed = timeout_at(came + patience, flight.result).await;
            match (landed, before) {
                (Ok(Ok(content)), _) if is_mine => return Ok(content),
                // It may have begun before something changed that this one has seen.
                (Ok(Ok(_)), _) => {}
                (Ok(Err(e)), Some(before)) => {
                    tracing::warn!(registry = %key.0, "the git index stays as it was: {e}");
                    return Ok(before);
                }
                (Ok(Err(e)), None) => return Err(e),
                (Err(_), Some(before)) => return Ok(before),
                (Err(_), None) => return Err(late()),
            }
        }
    }

    /// Has the state brought up to date, once for all who ask.
    fn update(
        &self,
        place: &Arc<IndexPlace>,
        key: PlaceKey,
        now: SystemTime,
    ) -> Flight<Arc<StateContent>> {
        let tasks = self.shared.background.tasks();
        self.updates.join(key, tasks, |_| {
            let place = place.clone();
            async move {
                // Before looking: what changes meanwhile is looked at again.
                let things = place.state_of_things().await;
                let updated = spawn_blocking(move || place.update(things, now)).await;
                updated.map_err(ended_early)?
            }
        })
    }
}

fn late() -> Error {
    Error::new(
        Kind::Overloaded,
        "the git index is being put together for the first time since this mirror was started; try again in a moment",
    )
}
