//! [`Hashes`]: what files must hash to, by the documents that name them. What no document names isn't served.

use std::{sync::Arc, time::SystemTime};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time::{Instant, timeout_at};

use super::{documents::Documents, door::Channels};
use crate::{
    domain::{
        RegistryName, Sha256,
        toolchain::{ComponentFile, ManifestName, ToolchainDocument, ToolchainItem},
    },
    error::{Error, Kind, Result},
    mirror::{
        kept::{DocumentSays, KeptDocument},
        shared::{SingleFlight, not_in_store_of_toolchains},
    },
};

/// So many are known by heart, of 300 bytes each: those of a few releases.
const IN_MEMORY: u64 = 16_384;

/// What files must hash to.
pub(super) struct Hashes {
    documents: Documents,
    channels: Arc<Channels>,
    /// Of components, whose checksums never change.
    known: Cache<ComponentFile, Sha256>,
    flights: SingleFlight<ComponentFile, Sha256>,
}

/// Whether upstream is asked.
#[derive(Clone, Copy)]
enum Freshly {
    /// When what is here is due.
    IfDue,
    /// Also when it isn't.
    Always,
}

impl KeptDocument {
    /// The checksum that it is, if it is one.
    pub(super) fn sum(&self) -> Option<Sha256> {
        match self.content.said {
            DocumentSays::Sum(sha256) => Some(sha256),
            DocumentSays::Manifest(_) | DocumentSays::Release => None,
        }
    }

    /// What a file must hash to, if this is a manifest that names it.
    fn sha256_of(&self, file: &ComponentFile) -> Option<Sha256> {
        match &self.content.said {
            DocumentSays::Manifest(hashes) => hashes.sha256_of(file),
            DocumentSays::Sum(_) | DocumentSays::Release => None,
        }
    }
}

impl Hashes {
    pub(super) fn new(documents: Documents, channels: Arc<Channels>) -> Self {
        let known = Cache::builder()
            .max_capacity(IN_MEMORY)
            .eviction_policy(EvictionPolicy::lru());
        Self {
            documents,
            channels,
            known: known.build(),
            flights: SingleFlight::default(),
        }
    }

    /// What a component must hash to, if that is known by heart.
    pub(super) fn at_once(&self, file: &ComponentFile) -> Option<Sha256> {
        self.known.get(file)
    }

    /// What a file must hash to.
    ///
    /// # Errors
    /// [`Kind::Absent`] when no document names it, [`Kind::Denied`] when only such may that may not be asked for; those of the documents.
    pub(super) async fn of(
        &self,
        item: &ToolchainItem,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Sha256> {
        self.told(item, Freshly::IfDue, now, deadline).await
    }

    /// The same, asked for anew if it may have changed.
    ///
    /// # Errors
    /// Those of [`of`](Self::of).
    pub(super) async fn anew(
        &self,
        item: &ToolchainItem,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Sha256> {
        self.told(item, Freshly::Always, now, deadline).await
    }

    async fn told(
        &self,
        item: &ToolchainItem,
        freshly: Freshly,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Sha256> {
        let file = match *item {
            // It never changes.
            ToolchainItem::Component(file) => return self.of_component(file, now, deadline).await,
            ToolchainItem::Init(file) => file,
        };
        let document = ToolchainDocument::InitSum(file);
        let found = match freshly {
            Freshly::IfDue => self.documents.get(&document, now, deadline).await?,
            Freshly::Always => self.documents.anew(&document, now, deadline).await?,
        };
        found.value.sum().ok_or_else(no_sum)
    }

    async fn of_component(
        &self,
        file: ComponentFile,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Sha256> {
        if let Some(sha256) = self.known.get(&file) {
            return Ok(sha256);
        }
        let asked = self.channels.of_component(&file)?;
        let (documents, channels) = (self.documents.clone(), self.channels.clone());
        let tasks = self.documents.shared.background.tasks();
        let flight = self.flights.join(file, tasks, |waiters| async move {
            tokio::select! {
                found = looked_up(&documents, &channels, asked, file, now) => found,
                () = waiters.gone() => Err(Error::cancelled("nobody waits for this checksum any more")),
            }
        });
        let found = timeout_at(deadline, flight.result).await;
        let sha256 = found.unwrap_or_else(|_| {
            Err(Error::upstream_timeout(format!(
                "what {file} must hash to didn't come from {} in time; try again",
                RegistryName::toolchains()
            )))
        })?;
        self.known.insert(file, sha256);
        Ok(sha256)
    }
}

/// By the manifests that are here, then by those that upstream has, and last by the name of the stored file, which a manifest has told when it came.
async fn looked_up(
    documents: &Documents,
    channels: &Channels,
    asked: Vec<ManifestName>,
    file: ComponentFile,
    now: SystemTime,
) -> Result<Sha256> {
    let item = ToolchainItem::Component(file);
    // Most often it is one of these, and no folder has to be looked through.
    for name in &asked {
        if let Some(sha256) = known_by(documents, *name, &file, now).await {
            return Ok(sha256);
        }
    }
    // A store that can't be read has none.
    let here = documents.manifests_of(&file, |name| channels.allow(name));
    for name in here.await.unwrap_or_default() {
        if let Some(sha256) = known_by(documents, name, &file, now).await {
            return Ok(sha256);
        }
    }
    let mut error = None;
    for name in asked {
        let document = ToolchainDocument::Manifest(name);
        let deadline = Instant::now() + crate::upstream::ANSWER_WITHIN;
        match documents.get(&document, now, deadline).await {
            Ok(found) => {
                if let Some(sha256) = found.value.sha256_of(&file) {
                    return Ok(sha256);
                }
            }
            Err(e) if matches!(e.kind(), Kind::Absent | Kind::Offline) => {}
            Err(e) => error = error.or(Some(e)),
        }
    }
    if channels.are_all()
        && let Ok(Some(key)) = documents.stored_file(&item).await
    {
        return Ok(key.sha256);
    }
    Err(match (error, documents.is_offline()) {
        (Some(e), _) => e,
        (None, true) => not_in_store_of_toolchains(&item),
        (None, false) => Error::absent(format!("no manifest names {file}")),
    })
}

/// What a manifest that is here says of a file.
async fn known_by(
    documents: &Documents,
    name: ManifestName,
    file: &ComponentFile,
    now: SystemTime,
) -> Option<Sha256> {
    let document = ToolchainDocument::Manifest(name);
    let kept = documents.known(&document, now).await.ok()??;
    kept.sha256_of(file)
}

fn no_sum() -> Error {
    Error::internal("the checksum of a rustup-init is none")
}
