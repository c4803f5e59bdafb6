//! [`Scope`]: which crates are to go, before anybody has looked whether they are there.

use std::collections::BTreeMap;

use crate::domain::{IndexKey, RegistryName, Selected};

/// Which crates are to go.
#[derive(Clone, Debug, Default)]
pub enum Scope {
    /// All that are stored and that an index lists.
    #[default]
    Everything,
    /// These, and the index records of their crates.
    Only(SelectedCrates),
}

/// Selected versions by crate, in the order of a bundle: by registry, then by the path of the crate's index file.
#[derive(Clone, Debug, Default)]
pub struct SelectedCrates(BTreeMap<(RegistryName, String), Vec<Selected>>);

impl SelectedCrates {
    /// Adds a version; one that is selected twice goes once.
    pub fn add(&mut self, selected: Selected) {
        let path = selected.index().path.to_string();
        let versions = self.0.entry((selected.registry, path)).or_default();
        if !versions.iter().any(|known| known.file() == selected.file()) {
            versions.push(selected);
        }
    }

    /// The selected versions of each crate.
    pub(super) fn crates(&self) -> impl Iterator<Item = (IndexKey, &[Selected])> {
        let crates = self.0.values();
        crates.filter_map(|versions| Some((versions.first()?.index(), versions.as_slice())))
    }
}
