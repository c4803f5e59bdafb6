//! [`CrateFromStore`]: offline, .crate files are those that are stored. There is nothing in here to ask an upstream with.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{listing::other_spelling, source::CrateSource};
use crate::{
    domain::{CrateId, CrateKey, IndexKey, MissedCrate, RegistryName},
    error::{Error, Kind, Result},
    mirror::{
        files::{CheckedFile, FileService},
        index::{IndexFound, IndexService},
        kept::IndexEntry,
        shared::{Found, Shared, not_in_store, note_missed, unreadable_offline},
    },
};

/// The store in upstream's place, looked into at `now` for one client.
pub(super) struct CrateFromStore<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) index: &'a IndexService,
    pub(super) files: &'a FileService,
    pub(super) registry: RegistryName,
    pub(super) now: SystemTime,
    pub(super) deadline: Instant,
}

impl CrateSource for CrateFromStore<'_> {
    async fn at_hand(&self, id: &CrateId) -> Result<Option<Arc<IndexEntry>>> {
        let key = IndexKey::new(self.registry, id.name);
        match self.index.looked_up(&key, self.now, self.deadline).await {
            Ok(found) => Ok(Some(found.value)),
            Err(e) if e.kind() == Kind::Offline => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// There is no other than the one at hand.
    async fn current(&self, id: &CrateId, at_hand: Option<&Arc<IndexEntry>>) -> Result<IndexFound> {
        match at_hand {
            Some(entry) => Ok(Found::here(entry.clone())),
            None => Err(not_in_store(&self.wanted(id))),
        }
    }

    async fn stored(&self, key: &CrateKey) -> Result<Option<CheckedFile>> {
        let stored = self.files.stored(&key.into(), self.now).await;
        stored.map_err(|e| unreadable_offline(&key.id, &e))
    }

    async fn obtain(&self, key: &CrateKey) -> Result<Found<CheckedFile>> {
        Err(self.missing(&key.id).await)
    }

    async fn unlisted(&self, id: &CrateId, current: Result<IndexFound>) -> Error {
        let canonical = current.ok().map(|found| found.value.file().name());
        match canonical.filter(|canonical| *canonical != id.name) {
            Some(canonical) => other_spelling(self.registry, id, canonical),
            None => self.missing(id).await,
        }
    }
}

impl CrateFromStore<'_> {
    fn wanted(&self, id: &CrateId) -> MissedCrate {
        MissedCrate {
            registry: self.registry,
            name: id.name,
            version: Some(id.version),
        }
    }

    /// What to say of a file that isn't stored; that somebody asked for it is remembered.
    async fn missing(&self, id: &CrateId) -> Error {
        let Shared {
            store, background, ..
        } = &**self.shared;
        if let Err(e) = store.require().await {
            return unreadable_offline(id, &e);
        }
        let missed = self.wanted(id);
        note_missed(store, background, missed, self.now);
        not_in_store(&missed)
    }
}
