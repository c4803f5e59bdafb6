//! [`Registry`]: what is mirrored, with or without an upstream to ask.

use std::sync::Arc;

use crate::{domain::RegistryName, upstream::Upstream};

/// A registry as this mirror serves it.
#[derive(Clone)]
pub enum Registry {
    /// In front of an upstream.
    Online(Arc<Upstream>),
    /// From what is stored alone. There is nothing in here to ask an upstream with, so that nothing can.
    Offline(RegistryName),
}

impl Registry {
    /// What the operator calls it.
    pub fn name(&self) -> RegistryName {
        match self {
            Self::Online(upstream) => upstream.registry(),
            Self::Offline(name) => *name,
        }
    }

    /// Who is asked, if anybody is.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Online(upstream) => Some(upstream),
            Self::Offline(_) => None,
        }
    }
}
