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
    Wanted(Picks),
}

/// Versions by crate, in the order of a bundle: by registry, then by the path of the crate's index file.
#[derive(Clone, Debug, Default)]
pub struct Picks(BTreeMap<(RegistryName, String), Vec<Pick>>);

/// One version that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which one.
    pub id: CrateId,
    /// What its .crate file must hash to, if that is known.
    pub sha256: Option<Sha256>,
}

impl Picks {
    /// Adds a version; one that is wanted twice is wanted once.
    pub fn add(&mut self, registry: RegistryName, id: CrateId, sha256: Option<Sha256>) {
        let path = IndexKey::new(registry, id.name).path.to_string();
        let picks = self.0.entry((registry, path)).or_default();
        let pick = Pick { id, sha256 };
        if !picks.contains(&pick) {
            picks.push(pick);
        }
    }

    /// Every crate's picks.
    pub(super) fn crates(&self) -> impl Iterator<Item = (IndexKey, &[Pick])> {
        self.0.iter().filter_map(|((registry, _), picks)| {
            let name = picks.first()?.id.name;
            Some((IndexKey::new(*registry, name), picks.as_slice()))
        })
    }
}
