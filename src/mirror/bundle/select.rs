//! [`Selection`]: which crates are to go, before anybody has looked whether they are there.

use std::collections::BTreeMap;

use crate::domain::{CrateId, IndexKey, RegistryName, Sha256};

/// Which crates are to go.
#[derive(Clone, Debug, Default)]
pub enum Selection {
    /// All that are stored and that an index lists.
    #[default]
    Whole,
    /// These, and the index records of their crates.
    Wanted(Wants),
}

/// Versions by crate, in the order of a bundle: by registry, then by the path of the crate's index file.
#[derive(Clone, Debug, Default)]
pub struct Wants(BTreeMap<(RegistryName, String), Vec<Want>>);

/// One version that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which one.
    pub id: CrateId,
    /// What its .crate file must hash to, if that is known.
    pub sha256: Option<Sha256>,
}

impl Wants {
    /// Adds a version; one that is wanted twice is wanted once.
    pub fn add(&mut self, registry: RegistryName, id: CrateId, sha256: Option<Sha256>) {
        let path = IndexKey::new(registry, id.name).path.to_string();
        let wants = self.0.entry((registry, path)).or_default();
        let want = Want { id, sha256 };
        if !wants.contains(&want) {
            wants.push(want);
        }
    }

    /// Every crate's wants.
    pub(super) fn crates(&self) -> impl Iterator<Item = (IndexKey, &[Want])> {
        self.0.iter().filter_map(|((registry, _), wants)| {
            let name = wants.first()?.id.name;
            Some((IndexKey::new(*registry, name), wants.as_slice()))
        })
    }
}
