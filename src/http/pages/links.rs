//! [`PageLinks`]: where the pages of one registry are on this server.

use crate::{domain::View, http::route::Place};

/// Where the pages of a registry, as it is seen somehow, are on this server.
pub(super) struct PageLinks(String);

impl PageLinks {
    /// Those of `place`, on a server whose paths begin with `root`, without a final slash.
    pub(super) fn of(root: &str, place: Place) -> Self {
        let mut path = root.to_owned();
        if let Some(registry) = place.registry {
            path.push_str(&format!("/registries/{registry}"));
        }
        match place.view {
            View::Usual => {}
            View::Named(view) => path.push_str(&format!("/views/{view}")),
            View::AsOf(day) => path.push_str(&format!("/at/{day}")),
        }
        Self(path)
    }

    pub(super) fn search(&self) -> String {
        format!("{}/search", self.0)
    }

    pub(super) fn policy(&self) -> String {
        format!("{}/policy", self.0)
    }

    /// The page of a crate. Nothing in a crate's name has to be encoded.
    pub(super) fn crate_of(&self, name: &str) -> String {
        format!("{}/crates/{name}", self.0)
    }
}
