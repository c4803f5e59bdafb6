//! [`Readable`]: of which registries and views somebody may be told.

use std::sync::Arc;

use crate::domain::RegistryName;

/// Of which registries and views somebody may be told. Views go by the name that tokens know them by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Readable {
    /// Of all that there are.
    All,
    /// Of these and no other.
    Only(Arc<[RegistryName]>),
}

impl Readable {
    /// Those of `names` that `may_read` accepts.
    pub(super) fn of(
        names: impl Iterator<Item = RegistryName>,
        may_read: impl Fn(RegistryName) -> bool,
    ) -> Self {
        let (readable, others): (Vec<_>, Vec<_>) = names.partition(|name| may_read(*name));
        match others.is_empty() {
            true => Self::All,
            false => Self::Only(readable.into()),
        }
    }

    /// Whether what belongs to the registry or view of that name may be told.
    pub(super) fn includes(&self, name: RegistryName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(&name),
        }
    }
}
