//! [`RegistrySettings`]: what is mirrored, by name; crates.io is there without being written, and one of them is the default one.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor},
};

use super::units::BaseUrl;
use crate::{
    domain::RegistryName,
    error::{Error, Result},
};

/// crates.io's sparse index, the upstream of the registry that is there without being configured.
const CRATES_IO_INDEX: &str = "sparse+https://index.crates.io/";

/// `[registries.NAME]`: one registry to mirror.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// The URL of its sparse index.
    pub index: BaseUrl,
    /// Whether it is the one served under `/index/`.
    pub default: bool,
}

/// All of them, by name.
type Registries = BTreeMap<RegistryName, RegistrySettings>;

/// What the operator wrote of one.
enum RegistryEntry {
    Enabled(RegistrySettings),
    /// Not to be served, nor asked, nor checked.
    Disabled,
}

/// Those of somebody who has written of none.
pub(super) fn unmentioned() -> Registries {
    let (index, default) = (crates_io_index(), true);
    BTreeMap::from([(
        RegistryName::crates_io(),
        RegistrySettings { index, default },
    )])
}

/// Those that are enabled, and crates.io if nothing was said of it; exactly one is the default one: the one that says so, else crates.io, else the
/// only one.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when none is left, or when it isn't clear which is the default one.
fn complete(written: BTreeMap<RegistryName, RegistryEntry>) -> Result<Registries> {
    let crates_io = RegistryName::crates_io();
    let is_unmentioned = !written.contains_key(&crates_io);
    let enabled = |(name, written)| match written {
        RegistryEntry::Enabled(registry) => Some((name, registry)),
        RegistryEntry::Disabled => None,
    };
    let mut all: Registries = written.into_iter().filter_map(enabled).collect();
    if is_unmentioned {
        let (index, default) = (crates_io_index(), false);
        all.insert(crates_io, RegistrySettings { index, default });
    }
    let mut chosen = all.iter().filter(|(_, r)| r.default).map(|(name, _)| *name);
    let default = match (chosen.next(), chosen.next()) {
        (Some(first), Some(second)) => {
            return Err(Error::config(format!(
                "both `registries.{first}.default` and `registries.{second}.default` are true; one registry can be the default one"
            )));
        }
        (Some(one), None) => one,
        (None, _) => unsaid_default(&all)?,
    };
    for (name, registry) in &mut all {
        registry.default = *name == default;
    }
    Ok(all)
}

/// Which is the default one where none says that it is.
fn unsaid_default(all: &Registries) -> Result<RegistryName> {
    let crates_io = RegistryName::crates_io();
    let names: Vec<_> = all.keys().copied().collect();
    match names[..] {
        [] => Err(Error::config(
            "every registry is disabled, so that there is nothing to mirror; `registries.NAME.enabled` must be true for one",
        )),
        [only] => Ok(only),
        _ if names.contains(&crates_io) => Ok(crates_io),
        [first, ..] => Err(Error::config(format!(
            "`registries.crates-io` is disabled, and no other registry is the default one; set `default = true` for one of those that are left, such as `registries.{first}.default`"
        ))),
    }
}

fn crates_io_index() -> BaseUrl {
    BaseUrl::parse(CRATES_IO_INDEX).expect("a literal URL")
}

/// Reads the table of all registries. Each is read with its name in hand, because only crates.io's index is known without being written.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Registries, D::Error> {
    deserializer.deserialize_map(Table)
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Registries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of registries, `[registries.NAME]` each")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Registries, A::Error> {
        let mut all = BTreeMap::new();
        while let Some(name) = map.next_key()? {
            all.insert(name, map.next_value_seed(Named(name))?);
        }
        complete(all).map_err(A::Error::custom)
    }
}

/// The keys of one registry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    index: Option<BaseUrl>,
    #[serde(default)]
    default: bool,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

struct Named(RegistryName);

impl<'de> DeserializeSeed<'de> for Named {
    type Value = RegistryEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RegistryEntry, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        let index = match keys.index {
            None if self.0 == RegistryName::crates_io() => Some(crates_io_index()),
            index => index,
        };
        match (keys.enabled, keys.default, index) {
            (false, false, _) => Ok(RegistryEntry::Disabled),
            (false, true, _) => Err(D::Error::custom(
                "a registry that isn't enabled can't be the default one; set `default = true` for another one",
            )),
            (true, _, None) => Err(D::Error::missing_field("index")),
            (true, default, Some(index)) => {
                Ok(RegistryEntry::Enabled(RegistrySettings { index, default }))
            }
        }
    }
}
