//! [`Needed`]: a .crate file that somebody's Cargo.lock or list asks for; [`Missing`]: one that couldn't be had.

use std::sync::Arc;

use crate::domain::{CrateId, RegistryName, Sha256};

/// One .crate file that has to be here.
#[derive(Clone, Debug)]
pub struct Needed {
    /// Of which registry.
    pub registry: RegistryName,
    /// Which crate and version.
    pub id: CrateId,
    /// What it must hash to, if whoever needs it knows.
    pub sha256: Option<Sha256>,
    /// Who needs it: Cargo.lock files by their path, or none if it was asked for by name.
    pub by: Vec<Arc<str>>,
}

/// Something that couldn't be had.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What it is, as a list of what is wanted has it.
    pub what: String,
    /// Why.
    pub why: String,
    /// Who needs it.
    pub by: Vec<Arc<str>>,
}
