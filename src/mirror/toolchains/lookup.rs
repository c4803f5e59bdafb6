//! [`ComponentLookup`]: which manifest names a component: one in memory, one that is stored, or one that upstream has. That none does is remembered, and manifests are gone through by
//! few at once, because anybody can ask for names that nobody has ever heard of.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use moka::sync::Cache;
use tokio::{sync::Semaphore, time::Instant};

use super::{documents::Documents, door::Channels};
use crate::{
    domain::{
        Day, Sha256,
        toolchain::{ComponentFile, ManifestName, ToolchainDocument, ToolchainItem},
    },
    error::{Error, Kind, Result},
    mirror::{
        kept::{DocumentSays, KeptDocument},
        shared::{Resident, not_in_store_of_toolchains},
    },
    store::{ListedManifest, Mark},
    upstream::ANSWER_WITHIN,
};

/// So many go through the stored manifests at once.
const AT_ONCE: usize = 2;
/// So many names are remembered that no manifest has, of some 400 bytes each.
const MOST_NOWHERE: u64 = 8_192;
/// Of so many manifests it is remembered which days' files they name.
const MOST_DAYS: u64 = 4_096;
/// No longer than this, however long `absent_for` is.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Which manifest names a component.
pub(super) struct ComponentLookup {
    documents: Documents,
    channels: Arc<Channels>,
    nowhere: Cache<ComponentFile, Nowhere>,
    /// Of manifests without a day, so that those needn't be read that name nothing of the one that is asked for.
    days: Cache<ManifestName, (ListedManifest, Arc<[Day]>)>,
    turns: Semaphore,
}

/// That no manifest names a file, and as of when.
#[derive(Clone)]
struct Nowhere {
    error: Error,
    since: SystemTime,
    /// How many manifests had come by then.
    come: u64,
    /// Offline, the state of the store.
    seen: Option<Mark>,
}

/// What came of going through manifests.
struct Searched {
    found: Option<Sha256>,
    /// Whether all of them could be read.
    was_whole: bool,
}

impl KeptDocument {
    /// What a file must hash to, if this is a manifest that names it.
    fn sha256_of(&self, file: &ComponentFile) -> Option<Sha256> {
        match &self.content.said {
            DocumentSays::Manifest(hashes) => hashes.sha256_of(file),
            DocumentSays::Sum(_) | DocumentSays::Release => None,
        }
    }

    /// The days of which it names files.
    fn days(&self) -> Arc<[Day]> {
        match &self.content.said {
            DocumentSays::Manifest(hashes) => hashes.days().into(),
            DocumentSays::Sum(_) | DocumentSays::Release => Arc::default(),
        }
    }
}

impl ComponentLookup {
    pub(super) fn new(documents: Documents, channels: Arc<Channels>) -> Self {
        Self {
            documents,
            channels,
            nowhere: Cache::builder()
                .max_capacity(MOST_NOWHERE)
                .time_to_live(FORGOTTEN_AFTER)
                .build(),
            days: Cache::new(MOST_DAYS),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// What a component must hash to: by the manifests that are here, then by those that upstream has, and last by the name of the stored file, which a manifest has told
    /// when it came.
    ///
    /// # Errors
    /// [`Kind::Absent`] or [`Kind::Offline`] when no document names it, [`Kind::Denied`] when only such may that may not be asked for; those of the documents.
    pub(super) async fn sha256_of(&self, file: ComponentFile, now: SystemTime) -> Result<Sha256> {
        let likely = self.channels.likely_of(&file);
        if let Some(sha256) = self.in_memory(&likely, &file) {
            return Ok(sha256);
        }
        if let Some(error) = self.remembered(&file, now).await {
            return Err(error);
        }
        let (come, seen) = (self.documents.come(), self.seen().await);
        let turn = self.turns.acquire().await;
        let turn = turn.map_err(|_| Error::internal("nobody looks any more"))?;
        let here = self.among_stored(&file, now).await;
        drop(turn);
        if let Some(sha256) = here.found {
            return Ok(sha256);
        }
        let mut error = None;
        for name in &likely {
            let document = ToolchainDocument::Manifest(*name);
            let deadline = Instant::now() + ANSWER_WITHIN;
            match self.documents.get(&document, now, deadline).await {
                Ok(found) => {
                    if let Some(sha256) = found.value.sha256_of(&file) {
                        return Ok(sha256);
                    }
                }
                Err(e) if matches!(e.kind(), Kind::Absent | Kind::Offline) => {}
                Err(e) => error = error.or(Some(e)),
            }
        }
        let item = ToolchainItem::Component(file);
        if self.channels.are_all()
            && let Ok(Some(key)) = self.documents.stored_file(&item).await
        {
            return Ok(key.sha256);
        }
        if let Some(error) = error {
            return Err(error);
        }
        let error = match (likely.is_empty(), self.documents.is_offline()) {
            (true, _) => self.channels.refused(&file.to_string()),
            (false, true) => not_in_store_of_toolchains(&item),
            (false, false) => Error::absent(format!("no manifest names {file}")),
        };
        if here.was_whole {
            let nowhere = Nowhere {
                error: error.clone(),
                since: now,
                // What has come meanwhile may not have been looked at.
                come,
                seen,
            };
            self.nowhere.insert(file, nowhere);
        }
        Err(error)
    }

    /// By the manifests of these names, or of their channels as of today, that are in memory: for most who ask, rustup has asked for one a moment ago.
    fn in_memory(&self, likely: &[ManifestName], file: &ComponentFile) -> Option<Sha256> {
        let today = likely
            .iter()
            .map(|name| ManifestName { day: None, ..*name });
        let mut names = likely.iter().copied().chain(today);
        names.find_map(|name| {
            let memory = &self.documents.shared.memory;
            match memory.toolchain(&ToolchainDocument::Manifest(name))? {
                Resident::Toolchain(kept) if self.channels.allow(&name) => kept.sha256_of(file),
                Resident::Toolchain(_)
                | Resident::Index(_)
                | Resident::File(_)
                | Resident::Absent(_) => None,
            }
        })
    }

    /// What was said a moment ago, if nothing has come since.
    async fn remembered(&self, file: &ComponentFile, now: SystemTime) -> Option<Error> {
        let nowhere = self.nowhere.get(file)?;
        let shared = &self.documents.shared;
        let holds = nowhere.come == self.documents.come()
            && shared.still_absent(nowhere.since, now)
            && nowhere.seen == self.seen().await;
        holds.then_some(nowhere.error)
    }

    async fn seen(&self) -> Option<Mark> {
        match self.documents.is_offline() {
            true => Some(self.documents.shared.store.change_mark().await),
            false => None,
        }
    }

    /// By the manifests that are stored. Only the one that names it is kept in memory: all of them would take the place of what somebody wants.
    async fn among_stored(&self, file: &ComponentFile, now: SystemTime) -> Searched {
        let allowed = |name: &ManifestName| self.channels.allow(name);
        let mut searched = Searched {
            found: None,
            was_whole: true,
        };
        let Ok(listed) = self.documents.manifests_of(file, allowed).await else {
            searched.was_whole = false;
            return searched;
        };
        for manifest in listed {
            if self.names_other_days(&manifest, file.day) {
                continue;
            }
            let document = ToolchainDocument::Manifest(manifest.name);
            match self.documents.peek(&document, now).await {
                Ok(Some(kept)) => {
                    if manifest.name.day.is_none() {
                        self.days.insert(manifest.name, (manifest, kept.days()));
                    }
                    searched.found = kept.sha256_of(file);
                    if searched.found.is_some() {
                        self.documents.keep_unless_known(&document, kept);
                        return searched;
                    }
                }
                Ok(None) => {}
                Err(e) => {
                    tracing::debug!(%document, "it can't be looked into: {e}");
                    searched.was_whole = false;
                }
            }
        }
        searched
    }

    fn names_other_days(&self, manifest: &ListedManifest, day: Day) -> bool {
        let known = self.days.get(&manifest.name);
        known.is_some_and(|(as_of, days)| as_of == *manifest && !days.contains(&day))
    }
}
