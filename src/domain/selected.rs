//! [`Selected`]: one version of a crate that has to be here, because a Cargo.lock names it or a [`CrateRequest`] comes to it.

use std::sync::Arc;

use super::{
    checksum::Sha256, key::IndexKey, registry::RegistryName, request::CrateRequest,
    version::CrateId,
};

/// One version of a crate that has to be here.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Of which registry.
    pub registry: RegistryName,
    /// Which crate and version.
    pub id: CrateId,
    /// What its .crate file must hash to, if whoever needs it knows.
    pub sha256: Option<Sha256>,
    /// Who needs it: Cargo.lock files by their path, or none if it was asked for by name.
    pub by: Vec<Arc<str>>,
}

/// Which file a [`Selected`] means, whoever needs it.
pub type SelectedFile = (RegistryName, CrateId, Option<Sha256>);

impl Selected {
    /// Which file it means.
    pub fn file(&self) -> SelectedFile {
        (self.registry, self.id, self.sha256)
    }

    /// The key of its crate's index file.
    pub fn index(&self) -> IndexKey {
        IndexKey::new(self.registry, self.id.name)
    }

    /// What it is called in a list of requests.
    pub fn label(&self) -> String {
        CrateRequest::exactly(self.registry, &self.id).to_string()
    }
}
