//! What clients ask a mirror for: index files, crates, toolchains, the index as a git repository.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::{
    FileBody, FileLink, Found, GitPatience, IndexEntry, LinkMethod, Mirror, Registry, Repository,
    ToolchainAnswer, ToolchainAsker, WorkTurn, index::Trigger, toolchains::ToolchainService,
};
use crate::{
    domain::{
        CrateId, CrateName, View,
        toolchain::{ManifestName, ToolchainDocument, ToolchainName, ToolchainPath},
    },
    error::{Error, Result},
};

impl Mirror {
    /// The index file of `name` as it is seen in `view`, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when upstream doesn't know the crate; one of the upstream kinds when it fails and there is no copy; [`Kind::Offline`](crate::error::Kind::Offline)
    /// and [`Kind::Corrupt`](crate::error::Kind::Corrupt) when there is no upstream to ask.
    pub fn index(
        &self,
        registry: &Registry,
        name: CrateName,
        view: &View,
        now: SystemTime,
    ) -> impl Future<Output = Result<Found<Arc<IndexEntry>>>> {
        self.0.index.get(registry, name, view, now, Trigger::Client)
    }

    /// The same as everybody sees it, for who knows already what else it needs: no dependency is read ahead.
    ///
    /// # Errors
    /// Those of [`index`](Self::index).
    pub fn index_alone(
        &self,
        registry: &Registry,
        name: CrateName,
        now: SystemTime,
    ) -> impl Future<Output = Result<Found<Arc<IndexEntry>>>> {
        let view = &View::Usual;
        let trigger = Trigger::NoReadAhead;
        self.0.index.get(registry, name, view, now, trigger)
    }

    /// The same as [`index`](Self::index) if it takes nothing but a look into memory; `None` when it takes more.
    pub fn index_at_once(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Option<Result<Found<Arc<IndexEntry>>>> {
        self.0.index.get_at_once(registry, name, view, now)
    }

    /// The file of exactly this crate and version, for who sees the registry in `view`.
    ///
    /// The checksum comes from the index file, whatever its age, as long as the file is here: content under a checksum doesn't go stale. Only
    /// when upstream has to be asked anyway does the index have to be current first.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when there is no such crate or version, with the canonical name if there is one; one of the upstream kinds when upstream
    /// fails and the file isn't here; [`Kind::Offline`](crate::error::Kind::Offline) and [`Kind::Corrupt`](crate::error::Kind::Corrupt) when there is no upstream to ask.
    pub fn crate_file(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> impl Future<Output = Result<Found<FileBody>>> {
        self.0.crates.get(registry, id, view, now)
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub fn crate_at_once(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> Option<Result<Found<FileBody>>> {
        self.0.crates.get_at_once(registry, id, view, now)
    }

    /// Where a client gets the file by itself, if it isn't here and the store can let clients have it; `None` when it is handed out from here as any other.
    ///
    /// # Errors
    /// [`Kind::Denied`](crate::error::Kind::Denied) when it may not go out.
    pub fn crate_link(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        asks: LinkMethod,
        now: SystemTime,
    ) -> impl Future<Output = Result<Option<Found<FileLink>>>> {
        self.0.crates.link(registry, id, view, asks, now)
    }

    /// The length of a file of which a client asks for a part, if it can be given one: the length must be known, for which a download may have to go on
    /// for a while, and whatever clients may hold of this file unchecked must be how this file begins. Nothing of `body` is read.
    pub fn divisible(&self, body: &mut FileBody) -> impl Future<Output = Option<u64>> {
        self.0.crates.divisible(body)
    }

    /// Whether toolchains are served.
    pub fn has_toolchains(&self) -> bool {
        self.0.toolchains.is_some()
    }

    pub(super) fn toolchains(&self) -> Result<&ToolchainService> {
        self.0.toolchains.as_ref().ok_or_else(|| {
            Error::not_found(
                "this mirror serves no toolchains; whoever runs it can set `toolchains.enabled`",
            )
        })
    }

    /// What rustup asks for, if it takes nothing but a look into memory; `None` when it takes more.
    pub fn toolchain_at_once(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        now: SystemTime,
    ) -> Option<Result<Found<ToolchainAnswer>>> {
        match self.toolchains() {
            Ok(toolchains) => toolchains.at_once(path, asker, now),
            Err(e) => Some(Err(e)),
        }
    }

    /// What rustup asks for. What says which files there are is as fresh as it has to be; a file has the checksum that one of these says, or never comes to its end.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when upstream doesn't have it, [`Kind::Denied`](crate::error::Kind::Denied) when its channel may not be asked for, [`Kind::NotFound`](crate::error::Kind::NotFound) when toolchains aren't served; one of
    /// the upstream kinds when upstream fails and it isn't here; [`Kind::Offline`](crate::error::Kind::Offline) and [`Kind::Corrupt`](crate::error::Kind::Corrupt) when there is no upstream to ask.
    pub async fn toolchain(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        now: SystemTime,
    ) -> Result<Found<ToolchainAnswer>> {
        self.toolchains()?.get(path, asker, now).await
    }

    /// The same for nobody in particular.
    ///
    /// # Errors
    /// Those of [`toolchain`](Self::toolchain).
    pub async fn toolchain_unasked(
        &self,
        path: &ToolchainPath,
        now: SystemTime,
    ) -> Result<Found<ToolchainAnswer>> {
        self.toolchain(path, &ToolchainAsker::nobody(), now).await
    }

    /// Where a client gets a component by itself, if it isn't here and the store can let clients have it.
    ///
    /// # Errors
    /// Those of [`toolchain`](Self::toolchain).
    pub async fn toolchain_link(
        &self,
        path: &ToolchainPath,
        asks: LinkMethod,
        now: SystemTime,
    ) -> Result<Option<Found<FileLink>>> {
        self.toolchains()?.link(path, asks, now).await
    }

    /// The manifest of a toolchain, as fresh as it has to be, for who chooses from it.
    ///
    /// # Errors
    /// Those of [`toolchain`](Self::toolchain).
    pub async fn toolchain_manifest(&self, name: &ToolchainName, now: SystemTime) -> Result<Bytes> {
        let ToolchainName { channel, day } = *name;
        let document = ToolchainDocument::Manifest(ManifestName { day, channel });
        self.toolchains()?.manifest(&document, now).await
    }

    /// What is stored of a registry's index as it is seen in a view, as a git repository with this config.json in it. Nothing is fetched for it; the index as of a day isn't kept so.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read, [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it, or it takes too long the first time.
    pub fn git_index(
        &self,
        registry: &Registry,
        view: View,
        config: &Bytes,
        patience: GitPatience,
        now: SystemTime,
    ) -> impl Future<Output = Result<Arc<Repository>>> {
        let git_index = &self.0.git_index;
        git_index.repository(registry, view, config, patience, now)
    }

    /// Leave to make a part of a pack of such a repository; a few are made at once.
    ///
    /// # Errors
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when that takes longer than eight seconds.
    pub fn git_turn(&self) -> impl Future<Output = Result<WorkTurn>> {
        self.0.git_index.turn()
    }
}
