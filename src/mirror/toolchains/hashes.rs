//! [`Hashes`]: what files must hash to, by the documents that name them. What no document names isn't served.

use std::{sync::Arc, time::SystemTime};

use tokio::time::{Instant, timeout_at};

use super::{documents::Documents, door::Channels, lookup::ComponentLookup};
use crate::{
    domain::{
        RegistryName, Sha256,
        toolchain::{ComponentFile, ToolchainDocument, ToolchainItem},
    },
    error::{Error, Result},
    mirror::{
        kept::{DocumentSays, KeptDocument},
        shared::SingleFlight,
    },
};

/// What files must hash to.
pub(super) struct Hashes {
    documents: Documents,
    lookup: Arc<ComponentLookup>,
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
}

impl Hashes {
    pub(super) fn new(documents: Documents, channels: Arc<Channels>) -> Self {
        Self {
            lookup: Arc::new(ComponentLookup::new(documents.clone(), channels)),
            documents,
            flights: SingleFlight::default(),
        }
    }

    /// What a component must hash to, if that is known by heart.
    pub(super) fn at_once(&self, file: &ComponentFile) -> Option<Sha256> {
        self.documents.component(file)
    }

    /// What a file must hash to.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when no document names it, [`Kind::Denied`](crate::error::Kind::Denied) when only such may that may not be asked for;
    /// those of the documents.
    pub(super) async fn of(
        &self,
        item: &ToolchainItem,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Sha256> {
        self.told(item, Freshly::IfDue, now, deadline).await
    }

    /// The same, looked up anew: upstream has sent something else than it says, so that it may have changed.
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
            ToolchainItem::Component(file) => {
                if let Freshly::Always = freshly {
                    self.documents.forget_component(&file);
                }
                return self.of_component(file, now, deadline).await;
            }
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
        if let Some(sha256) = self.documents.component(&file) {
            return Ok(sha256);
        }
        let lookup = self.lookup.clone();
        let tasks = self.documents.shared.background.tasks();
        let flight = self.flights.join(file, tasks, |waiters| async move {
            tokio::select! {
                found = lookup.sha256_of(file, now) => found,
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
        self.documents.keep_component(file, sha256);
        Ok(sha256)
    }
}

fn no_sum() -> Error {
    Error::internal("the checksum of a rustup-init is none")
}
