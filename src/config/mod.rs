//! [`Config`]: what the operator wrote, typed. Defaults, then mirror.toml, then the environment, then flags; unknown keys are errors.

mod load;
mod origins;
pub mod sections;
pub mod units;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use load::{DEFAULT_FILE, Flags, file, load, parse};
pub use origins::Origins;
pub use sections::Registry;
pub use units::BaseUrl;

use crate::{
    domain::RegistryName,
    error::{Error, Result},
};

/// The checked-in mirror.toml: every key with its default, commented. A test holds it against the defaults.
pub const DOCUMENTED: &str = include_str!("../../mirror.toml");

/// crates.io's sparse index, the upstream of the registry that is there without being configured.
const CRATES_IO_INDEX: &str = "sparse+https://index.crates.io/";

/// All settings. `Default` is what holds where nothing is said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients find the mirror.
    pub server: sections::Server,
    /// What is kept on disk.
    pub store: sections::Store,
    /// What is kept in memory.
    pub memory: sections::Memory,
    /// How long copies are good for.
    pub freshness: sections::Freshness,
    /// How to treat the registries that are mirrored.
    pub upstream: sections::Upstream,
    /// Fetching ahead of what cargo will ask for next.
    pub read_ahead: sections::ReadAhead,
    /// Serving without any upstream.
    pub offline: sections::Offline,
    /// What is kept here although nobody asks.
    pub prefetch: sections::Prefetch,
    /// The registries to mirror, by name; crates.io is there without being written.
    pub registries: BTreeMap<RegistryName, Registry>,
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

    /// Makes crates.io known if nothing was said of it, and one registry the default one.
    fn complete(mut self) -> Result<Self> {
        let chosen: Vec<_> = self.registries.iter().filter(|(_, r)| r.default).collect();
        if let [(first, _), (second, _), ..] = chosen[..] {
            return Err(Error::config(format!(
                "both `registries.{first}.default` and `registries.{second}.default` are true; one registry can be the default one"
            )));
        }
        let none_chosen = chosen.is_empty();
        let crates_io = self
            .registries
            .entry(RegistryName::crates_io())
            .or_insert_with(|| Registry {
                index: BaseUrl::parse(CRATES_IO_INDEX).expect("a literal URL"),
                default: false,
            });
        crates_io.default |= none_chosen;
        Ok(self)
    }
}
