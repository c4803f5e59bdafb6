//! Missed requests: what clients asked an offline mirror for in vain. They are kept in the store, so that they outlive restarts and two mirrors may share
//! one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::{handle::Store, noted::MOST};
use crate::{
    domain::{
        CrateVersion, IndexKey, Key, MissedCrate, MissedRequest, MissedToolchain,
        toolchain::{ManifestName, ToolchainDocument, ToolchainItem, ToolchainName},
    },
    error::Result,
};

/// What nobody has asked for again for so long is forgotten: it was a typing error, or the project has been given up.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

impl Store {
    /// Notes that a client asked for something in vain, at `now`. Another spelling of it is the same; beyond ten thousand no more are taken.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be written down.
    pub async fn note_missed(&self, request: MissedRequest, now: SystemTime) -> Result<()> {
        if !self.noted.is_due(&request.folded(), Instant::now()) {
            return Ok(());
        }
        self.backend.note_missed(&request, MOST, now).await
    }

    /// What was asked for in vain and still isn't here, in the order of its text; without what nobody has asked for again in the ninety days before `now`. Nothing is
    /// changed.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn missed(&self, now: SystemTime) -> Result<Vec<MissedRequest>> {
        let mut open = BTreeMap::new();
        for (request, at) in self.backend.missed().await? {
            if !self.is_settled(&request, at, now).await? {
                open.insert(request.to_string(), request);
            }
        }
        Ok(open.into_values().collect())
    }

    /// Forgets what has come since it was asked for in vain, and what nobody has asked for again in the ninety days before `now`. In a store that can't be written to it
    /// stays, and is left out of the list all the same.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read.
    pub async fn tidy_missed(&self, now: SystemTime) -> Result<()> {
        for (request, at) in self.backend.missed().await? {
            if self.is_settled(&request, at, now).await? {
                let _ = self.forget(&request).await;
            }
        }
        Ok(())
    }

    /// Whether what was asked for at `at` isn't wanted any more.
    async fn is_settled(
        &self,
        request: &MissedRequest,
        at: SystemTime,
        now: SystemTime,
    ) -> Result<bool> {
        let age = now.duration_since(at).unwrap_or_default();
        Ok(age > KEPT_FOR || self.has(request).await?)
    }

    /// Forgets these; who asks for them again has them noted again.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub async fn forget_missed(&self, requests: &[MissedRequest]) -> Result<()> {
        for request in requests {
            self.forget(request).await?;
        }
        Ok(())
    }

    async fn forget(&self, request: &MissedRequest) -> Result<()> {
        self.noted.forget(&request.folded());
        self.backend.forget_missed(request).await
    }

    /// Whether what was asked for is here, under whichever spelling: cargo tries them all, and those that aren't the registry's never come.
    async fn has(&self, request: &MissedRequest) -> Result<bool> {
        match request {
            MissedRequest::Crate(missed) => self.has_crate(missed).await,
            MissedRequest::Toolchain(missed) => self.has_toolchain(missed).await,
        }
    }

    async fn has_toolchain(&self, missed: &MissedToolchain) -> Result<bool> {
        let document = match *missed {
            MissedToolchain::Channel(ToolchainName { channel, day }) => {
                ToolchainDocument::Manifest(ManifestName { day, channel })
            }
            MissedToolchain::Rustup => ToolchainDocument::RustupRelease,
            MissedToolchain::Init(file) => return self.has_file(ToolchainItem::Init(file)).await,
            MissedToolchain::File(file) => {
                return self.has_file(ToolchainItem::Component(file)).await;
            }
        };
        let size = self.size_of(&Key::from(document)).await?;
        Ok(size.is_some())
    }

    async fn has_file(&self, item: ToolchainItem) -> Result<bool> {
        Ok(!self.toolchain_files(&item).await?.is_empty())
    }

    async fn has_crate(&self, request: &MissedCrate) -> Result<bool> {
        for name in std::iter::once(request.name).chain(request.name.spellings()) {
            let key = IndexKey::new(request.registry, name);
            let here = match &request.version {
                None => self.has_index(&key).await?,
                Some(version) => self.has_version(&key, version).await?,
            };
            if here {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_version(&self, key: &IndexKey, version: &CrateVersion) -> Result<bool> {
        let stored = self.crates_of(key).await?;
        let wanted = version.as_str();
        // Paths are in lower case, and with them what keys read from there say.
        let is_it = |stored: &str| stored.eq_ignore_ascii_case(wanted);
        Ok(stored.iter().any(|key| is_it(key.id.version.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{CrateId, CrateKey, RegistryName, Sha256},
        metrics::Metrics,
        store::FolderSettings,
    };

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn request(text: &str) -> MissedRequest {
        MissedRequest::parse(text).expect(text)
    }

    #[tokio::test]
    async fn a_missed_request_is_kept_as_long_as_somebody_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let open = || {
            let settings = FolderSettings::new(folder.path(), false);
            Store::open(settings, Arc::new(Metrics::new()), now).expect("a store")
        };
        let store = open();
        for text in ["serde", "sedre", "internal:a@1.0.0"] {
            let noted = store.note_missed(request(text), now).await;
            noted.expect("noted");
        }
        // Another process: this one would remember.
        let (later, serde) = (open(), request("serde"));
        let noted = later.note_missed(serde, now + 60 * DAY).await;
        noted.expect("noted");
        assert_eq!(store.missed(now + 89 * DAY).await.expect("three").len(), 3);
        let left = store.missed(now + 91 * DAY).await.expect("one");
        assert_eq!(left, [serde]);
        // Looking at it forgot it.
        assert_eq!(store.missed(now).await.expect("three").len(), 3);
        store.tidy_missed(now + 91 * DAY).await.expect("tidied");
        assert_eq!(store.missed(now).await.expect("one"), [serde], "forgotten");
        store.forget_missed(&left).await.expect("forgotten");
        assert_eq!(store.missed(now).await.expect("none"), []);
    }

    #[tokio::test]
    async fn what_is_here_under_another_spelling_is_no_longer_wanted() {
        let store = Store::in_memory(Arc::new(Metrics::new()));
        let now = SystemTime::now();
        for text in ["foo_bar", "foo_bar@1.0.0", "foo_bar@2.0.0"] {
            let noted = store.note_missed(request(text), now).await;
            noted.expect("noted");
        }
        let key = CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse("foo-bar", "1.0.0").expect("valid"),
            sha256: Sha256::of(b""),
        };
        store.save_file(key, "".into()).await.expect("stored");
        let left = store.missed(now).await.expect("two");
        assert_eq!(left, [request("foo_bar"), request("foo_bar@2.0.0")]);
    }
}
