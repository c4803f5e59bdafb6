//! What pages and commands are told of a mirror: what the rules say, what is known of crates, and how it goes.

use std::{sync::Arc, time::SystemTime};

use super::{
    CrateJudgement, CrateOverview, Inner, Judgement, Mirror, Refusal, Registry, Searched,
    StaleCopy, StoreCensus, StoredToolchains, Window,
    search::{self, Refused, Search},
    shared::Shared,
    toolchains::ToolchainService,
};
use crate::{
    circuit::HostCircuit,
    domain::{CrateId, CrateName, MissedRequest, RegistryName, View},
    error::Result,
};

impl Mirror {
    /// What the rules say of this version, whether they are enforced or only tried; its index file is obtained if it isn't here.
    ///
    /// # Errors
    /// Those of [`index`](Self::index), and [`Kind::Absent`](crate::error::Kind::Absent) when there is no such version.
    pub fn judge(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> impl Future<Output = Result<Judgement>> {
        self.0.crates.judge(registry, id, view, now)
    }

    /// What the rules say of this crate and all its versions.
    ///
    /// # Errors
    /// Those of [`index`](Self::index).
    pub fn judge_crate(
        &self,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> impl Future<Output = Result<CrateJudgement>> {
        self.0.crates.judge_crate(registry, name, view, now)
    }

    /// All that is known here of a crate as it is seen in `view`; its index file is obtained if it isn't here.
    ///
    /// # Errors
    /// Those of [`index`](Self::index), and [`Kind::NotFound`](crate::error::Kind::NotFound) when there is no such registry or view.
    pub async fn overview(
        &self,
        registry: Option<RegistryName>,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Result<CrateOverview> {
        let registry = self.place(registry, view)?;
        self.0.crates.overview(registry, name, view, now).await
    }

    /// The crates that fit `words`, by what is known here.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is no such registry or view.
    pub async fn search(
        &self,
        registry: Option<RegistryName>,
        view: View,
        words: &str,
        window: Window,
        now: SystemTime,
    ) -> Result<Searched> {
        let search = Search {
            registry: self.place(registry, view)?,
            view,
            words,
            window,
            refused: Refused::Shown,
        };
        self.search_here(search, now).await
    }

    /// The crates that fit `words`, by what upstream's web API says, or else by what is known here; without those that the rules refuse. Upstream is asked at most
    /// once a second, and an answer is good for ten minutes.
    ///
    /// # Errors
    /// Those of [`search`](Self::search).
    pub async fn search_offered(
        &self,
        registry: Option<RegistryName>,
        view: View,
        words: &str,
        window: Window,
        now: SystemTime,
    ) -> Result<Searched> {
        let search = Search {
            registry: self.place(registry, view)?,
            view,
            words,
            window,
            refused: Refused::LeftOut,
        };
        let Inner {
            shared,
            index,
            web_search,
            ..
        } = &*self.0;
        let upstream = search.registry.upstream();
        if let Some(upstream) = upstream.filter(|_| !words.is_empty())
            && let Some(listed) = web_search.ask(upstream, words, window, now).await
        {
            return Ok(search::offered(shared, index, search, &listed, now).await);
        }
        self.search_here(search, now).await
    }

    async fn search_here(&self, search: Search<'_>, now: SystemTime) -> Result<Searched> {
        let Inner {
            searches,
            shared,
            index,
            ..
        } = &*self.0;
        search::search(searches, shared, index, search, now).await
    }

    /// What is stored of toolchains.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when they aren't served, [`Kind::Store`](crate::error::Kind::Store) when the store can't be read.
    pub async fn stored_toolchains(&self) -> Result<Arc<StoredToolchains>> {
        self.toolchains()?.stored().await
    }

    /// Whether there is a distribution host to ask for toolchains; nothing where they aren't served.
    pub fn asks_for_toolchains(&self) -> Option<bool> {
        let service = self.0.toolchains.as_ref()?;
        Some(service.source().upstream().is_some())
    }

    /// Every upstream host asked so far, by registry: whether it is left alone at the moment because it keeps failing, and why it failed last.
    pub fn circuits(&self) -> impl Iterator<Item = (RegistryName, HostCircuit)> {
        let toolchains = self.0.toolchains.iter().map(ToolchainService::source);
        let sources = self.0.registries.values().chain(toolchains);
        let upstreams = sources.filter_map(Registry::upstream);
        upstreams.flat_map(|upstream| {
            let circuits = upstream.circuits().into_iter();
            let registry = upstream.registry();
            circuits.map(move |circuit| (registry, circuit))
        })
    }

    /// The oldest copy that was served within the last five minutes although it was due, of the registries that `is_meant` accepts.
    pub fn oldest_stale(
        &self,
        is_meant: impl Fn(RegistryName) -> bool,
        now: SystemTime,
    ) -> Option<StaleCopy> {
        self.0.shared.stale.oldest(is_meant, now)
    }

    /// What the rules refused lately, the last of it first; at most fifty of each registry.
    pub fn refused_lately(&self) -> Vec<Refusal> {
        self.0.shared.refusals.lately()
    }

    /// What was asked for offline and still isn't here, in the order of its text, as of a moment ago: the store is looked at for all who ask, and not changed.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read.
    pub async fn missed(&self, now: SystemTime) -> Result<Arc<[MissedRequest]>> {
        let Shared { store, budget, .. } = &*self.0.shared;
        self.0.wanted.get(store, budget, now).await
    }

    /// What was in the store when it was looked through last; `None` before that has been done.
    pub fn census(&self) -> Option<Arc<StoreCensus>> {
        self.0.shared.catalog.census()
    }

    /// How many names of crates are known of a registry, and how many of these crates are stored.
    pub fn known_crates(&self, registry: RegistryName) -> (usize, usize) {
        self.0.shared.catalog.counts(registry)
    }
}
