//! Links: a .crate file that neither memory nor a disk of ours has needn't come by here, where the store can let a client have it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::{CrateService, door::Door, listing::listed};
use crate::{
    domain::{CrateId, CrateKey, IndexKey, View},
    error::Result,
    mirror::{
        files::{FileLink, let_link_out},
        kept::IndexEntry,
        registry::Registry,
        shared::Found,
    },
    secret::Secret,
    store::Signed,
};

/// A link is a shortcut; when it takes longer than this to know of one, the file comes by here.
const SIGNED_WITHIN: Duration = Duration::from_millis(500);

/// With which method a client is going to follow a link: each needs one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMethod {
    /// For the file.
    Get,
    /// For what is said of it.
    Head,
}

impl From<LinkMethod> for Signed {
    fn from(method: LinkMethod) -> Self {
        match method {
            LinkMethod::Get => Self::Get,
            LinkMethod::Head => Self::Head,
        }
    }
}

impl CrateService {
    /// Where a client gets the file of exactly this crate and version by itself; `None` when it comes from here as any other.
    ///
    /// Only what this process has verified or written itself, and what the rules let out: the file itself is under its checksum, which clients check.
    ///
    /// # Errors
    /// [`Kind::Denied`](crate::error::Kind::Denied) when it may not go out.
    pub(in crate::mirror) async fn link(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        asks: LinkMethod,
        now: SystemTime,
    ) -> Result<Option<Found<FileLink>>> {
        if !self.shared.store.signs_urls() {
            return Ok(None);
        }
        let signed = timeout(SIGNED_WITHIN, self.signed(registry, id, asks, now)).await;
        let Ok(signed) = signed else {
            self.shared.metrics.bucket_request("sign", "timeout");
            return Ok(None);
        };
        let Some((entry, key, url)) = signed else {
            return Ok(None);
        };
        let door = Door::new(&self.shared, registry.name(), id, view, now);
        let license = match door.asks_for_licenses() {
            true => match self.manifests.known_license(&key).await {
                Some(license) => Some(license),
                None => return Ok(None),
            },
            false => None,
        };
        door.open()?;
        let mut pass = door.examine(&key, Some(&*entry))?;
        if let Some(license) = license {
            pass = door.licensed(pass, &license)?;
        }
        let_link_out(url, pass).map(Some)
    }

    /// The URL at which the file is to be had, with the entry that says which file it is.
    async fn signed(
        &self,
        registry: &Registry,
        id: &CrateId,
        asks: LinkMethod,
        now: SystemTime,
    ) -> Option<(Arc<IndexEntry>, CrateKey, Secret)> {
        let index = IndexKey::new(registry.name(), id.name);
        let entry = self.index.at_hand(&index, now).await?;
        let (_, key) = listed(&entry, index.registry, id)?;
        if self.shared.memory.file(&key.into()).is_some() {
            return None;
        }
        let url = self
            .shared
            .store
            .signed_url(&key.into(), asks.into())
            .await
            // The store has said why.
            .ok()??;
        Some((entry, key, url))
    }
}
