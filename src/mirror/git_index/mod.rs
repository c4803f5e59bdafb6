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
};

/// Who can have the state before gets that when the one of now takes longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Who can't waits as long as clients do.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// So many packs are being made at a time; how many are being sent is another matter.
const PACKS_AT_ONCE: usize = 4;

type PlaceKey = (RegistryName, View);

/// What is stored of all registries' indexes, as git repositories.
pub(super) struct GitIndex {
    shared: Arc<Shared>,
    offline: OfflineIndex,
    places: Mutex<HashMap<PlaceKey, Arc<IndexPlace>>>,
    updates: SingleFlight<PlaceKey, Arc<StateContent>>,
    work: BlockingWork,
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
        now: SystemTime,
    ) -> Result<Arc<Repository>> {
        let place = self.place(registry, view);
        let content = self.content(&place, (registry.name(), view), now).await?;
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
        let place = places.entry((name, view)).or_insert_with(|| {
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
        now: SystemTime,
    ) -> Result<Arc<StateContent>> {
        let came = Instant::now();
        loop {
            let things = place.state_of_things().await;
            let before = match place.currency(things, now) {
                Currency::Current(content) => return Ok(content),
                Currency::Unwatched(content) => {
                    drop(self.update(place, key, now));
                    return Ok(content);
                }
                Currency::Outdated(content) => Some(content),
                Currency::Missing => None,
            };
            let flight = self.update(place, key, now);
            let is_mine = flight.started >= came;
            let patience = match before {
                Some(_) => PATIENCE,
                None => ANSWER_WITHIN,
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
