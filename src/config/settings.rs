//! [`Config`]: all settings in one value.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    access::{AccessSettings, AuditSettings},
    origins::Origins,
    policy::{PolicySettings, Views},
    registries::{self, RegistrySettings},
    sections,
    tls::TlsSettings,
    toolchains::ToolchainSettings,
    traces::TracesSettings,
};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
};

/// All settings. `Default` is what holds where nothing is said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients find the mirror.
    pub server: sections::ServerSettings,
    /// What clients are shown over TLS.
    pub tls: TlsSettings,
    /// What is kept on disk.
    pub store: sections::StoreSettings,
    /// What is kept in memory.
    pub memory: sections::MemorySettings,
    /// How long copies are good for.
    pub freshness: sections::FreshnessSettings,
    /// How to treat the registries that are mirrored.
    pub upstream: sections::UpstreamSettings,
    /// Fetching ahead of what cargo will ask for next.
    pub read_ahead: sections::ReadAheadSettings,
    /// Serving without any upstream.
    pub offline: sections::OfflineSettings,
    /// What rustup asks for.
    pub toolchains: ToolchainSettings,
    /// What is kept here although nobody asks.
    pub prefetch: sections::PrefetchSettings,
    /// The index as a git repository.
    pub git_index: sections::GitIndexSettings,
    /// Who may ask.
    pub access: AccessSettings,
    /// What is written down of who got what.
    pub audit: AuditSettings,
    /// Where spans of requests are sent.
    pub traces: TracesSettings,
    /// Which crates may come in.
    pub policy: PolicySettings,
    /// The registries under other rules.
    pub views: Views,
    /// The registries to mirror, by name, exactly one of them the default one; crates.io is there without being written, and those that are disabled
    /// aren't.
    #[serde(
        default = "registries::unmentioned",
        deserialize_with = "registries::read"
    )]
    pub registries: BTreeMap<RegistryName, RegistrySettings>,
    #[serde(skip)]
    origins: Origins,
}

impl Config {
    /// The registry served when none is named.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when no registry is the default one, which loading doesn't let happen.
    pub fn default_registry(&self) -> Result<RegistryName> {
        let default = self.registries.iter().find(|(_, r)| r.default);
        default
            .map(|(name, _)| *name)
            .ok_or_else(|| Error::config("no registry is the default one"))
    }

    /// Which registry a Cargo.lock means: by the settings as they were written, whatever became of them since.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The settings as they were read, with what follows from them.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when parts of them contradict one another.
    pub(super) fn complete(self) -> Result<Self> {
        let has = |name: &RegistryName| self.registries.contains_key(name);
        let is_view =
            |name: &RegistryName| self.views.keys().any(|view| view.as_registry() == *name);
        let toolchains = RegistryName::toolchains();
        if has(&toolchains) || is_view(&toolchains) {
            return Err(Error::config(format!(
                "a registry or a view is called {toolchains}, which is what tokens, metrics and the audit log call toolchains; give it another name"
            )));
        }
        self.toolchains.check()?;
        if !self.prefetch.toolchains.is_empty() && !self.toolchains.enabled {
            return Err(Error::config(
                "`prefetch.toolchains` names toolchains, and `toolchains.enabled` is false; set it to true, so that they are served",
            ));
        }
        self.access
            .check(|name| has(name) || is_view(name) || *name == toolchains)?;
        self.audit.check()?;
        self.tls.check()?;
        self.store.check()?;
        self.policy.check(&self.views, has)?;
        let origins = Origins::of(&self.server, &self.registries);
        Ok(Self { origins, ..self })
    }
}
