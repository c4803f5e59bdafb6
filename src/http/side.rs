//! [`Side`]: which paths are answered on a listener.

use super::{route::Route, toolchains};
use crate::error::{Error, Result};

/// What is answered on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Everything.
    Both,
    /// What clients ask for; pages are answered elsewhere.
    Clients,
    /// The pages, for whoever runs the mirror, who needs no token there.
    Admin,
}

impl Side {
    /// Whether a path is answered on this side.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when it isn't, with where it is.
    pub(super) fn has(self, route: &Route) -> Result<()> {
        match (self, route) {
            (Self::Both, _)
            | (_, Route::Health | Route::Status | Route::Asset(_))
            | (Self::Admin, Route::Ready | Route::Metrics | Route::Page(_))
            | (
                Self::Clients,
                Route::ConfigJson { .. }
                | Route::Index { .. }
                | Route::Download { .. }
                | Route::WebApi { .. }
                | Route::Git { .. }
                | Route::Toolchain(_),
            ) => Ok(()),
            (Self::Admin, Route::Toolchain(_)) => Err(toolchains::not_here()),
            (Self::Clients, Route::Ready | Route::Metrics | Route::Page(_)) => Err(
                Error::not_found("this is answered on `server.admin_listen` only"),
            ),
            (
                Self::Admin,
                Route::ConfigJson { .. }
                | Route::Index { .. }
                | Route::Download { .. }
                | Route::WebApi { .. }
                | Route::Git { .. },
            ) => Err(Error::not_found(
                "here are the pages only (`server.admin_listen`); ask for crates on `server.listen`",
            )),
        }
    }
}
