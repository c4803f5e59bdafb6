//! [`RegistrySettings`]: what is mirrored, by name; crates.io is there without being written, and one of them is the default one.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor},
};

use super::{
    access::FilePath,
    connection::{ClientCertificate, ProxySetting},
    credential::CredentialSettings,
    units::BaseUrl,
};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
};

/// crates.io's sparse index, the upstream of the registry that is there without being configured.
const CRATES_IO_INDEX: &str = "sparse+https://index.crates.io/";

/// `[registries.NAME]`: one registry to mirror, and the way to it.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// The URL of its sparse index.
    pub index: BaseUrl,
    /// Whether it is the one served under `/index/`.
    pub default: bool,
    /// The proxy on the way there, in place of `upstream.proxy`.
    pub proxy: Option<ProxySetting>,
    /// The authorities that are trusted there, in place of `upstream.ca_certificates`.
    pub ca_certificates: Option<FilePath>,
    /// What is shown to a server that asks for a certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// What is shown to a registry that wants to know who asks.
    pub credential: Option<CredentialSettings>,
}

impl RegistrySettings {
    /// One whose sparse index is at `index`, of which nothing else is said.
    pub fn at(index: BaseUrl) -> Self {
        Self {
            index,
            default: false,
            proxy: None,
            ca_certificates: None,
            client_certificate: None,
            credential: None,
        }
    }
}

/// All of them, by name.
type Registries = BTreeMap<RegistryName, RegistrySettings>;

/// What the operator wrote of one.
enum RegistryEntry {
    Enabled(Box<RegistrySettings>),
    /// Not to be served, nor asked, nor checked.
    Disabled,
}

/// Those of somebody who has written of none.
pub(super) fn unmentioned() -> Registries {
    let crates_io = RegistrySettings {
        default: true,
        ..RegistrySettings::at(crates_io_index())
    };
    BTreeMap::from([(RegistryName::crates_io(), crates_io)])
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
        RegistryEntry::Enabled(registry) => Some((name, *registry)),
        RegistryEntry::Disabled => None,
    };
    let mut all: Registries = written.into_iter().filter_map(enabled).collect();
    if is_unmentioned {
        all.insert(crates_io, RegistrySettings::at(crates_io_index()));
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
    proxy: Option<ProxySetting>,
    ca_certificates: Option<FilePath>,
    client_certificate: Option<FilePath>,
    client_key: Option<FilePath>,
    credential: Option<CredentialSettings>,
}

impl Keys {
    /// A registry at `index`, with what else is said of it.
    fn at(self, index: BaseUrl) -> Result<RegistrySettings, &'static str> {
        let client_certificate = match (self.client_certificate, self.client_key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err("`client_certificate` takes `client_key`, the file with its key, too");
            }
            (None, Some(_)) => {
                return Err(
                    "`client_key` takes `client_certificate`, the file with the certificate, too",
                );
            }
        };
        if self.credential.is_some() && index.has_user() {
            return Err(
                "there is a user in the URL of `index` and a table `credential`; one of them is enough",
            );
        }
        Ok(RegistrySettings {
            index,
            default: self.default,
            proxy: self.proxy,
            ca_certificates: self.ca_certificates,
            client_certificate,
            credential: self.credential,
        })
    }
}

fn yes() -> bool {
    true
}

struct Named(RegistryName);

impl<'de> DeserializeSeed<'de> for Named {
    type Value = RegistryEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RegistryEntry, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        let index = match keys.index.clone() {
            None if self.0 == RegistryName::crates_io() => Some(crates_io_index()),
            index => index,
        };
        match (keys.enabled, keys.default, index) {
            (false, false, _) => Ok(RegistryEntry::Disabled),
            (false, true, _) => Err(D::Error::custom(
                "a registry that isn't enabled can't be the default one; set `default = true` for another one",
            )),
            (true, _, None) => Err(D::Error::missing_field("index")),
            (true, _, Some(index)) => {
                let registry = keys.at(index).map_err(D::Error::custom)?;
                Ok(RegistryEntry::Enabled(Box::new(registry)))
            }
        }
    }
}
