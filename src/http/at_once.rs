//! [`AtOnce`]: what is answered with nothing but memory, and what has to wait.

use std::time::SystemTime;

use super::{
    asked::Asked,
    deferred::Deferred,
    files::NegotiatedFile,
    index::{self, NegotiatedIndex},
    receipt::Ledger,
    requested::RequestedFile,
    respond::Answer,
    route::{Place, Verb},
    toolchains,
};
use crate::{
    domain::{CrateId, CrateName, Principal, toolchain::ToolchainPath},
    error::Result,
    mirror::{Mirror, ToolchainAsker},
};

/// How far a request gets with nothing but memory.
pub(super) enum AtOnce {
    /// To its answer.
    Answer(Answer),
    /// To what takes longer.
    Deferred(Deferred),
}

/// A request of somebody who may ask.
pub(super) struct Admitted<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) verb: Verb,
    /// Who asks, as far as that is known.
    pub(super) who: Option<&'a Principal>,
    /// Where it is written down who got what, if it is.
    pub(super) ledger: Option<&'a Ledger>,
    pub(super) now: SystemTime,
}

impl Admitted<'_> {
    /// What is asked of a file, and its receipt if there is a ledger for that.
    fn requested(&self, ledger: Option<&Ledger>) -> RequestedFile {
        let Asked { head, client, .. } = self.asked;
        RequestedFile {
            negotiated: NegotiatedFile::of(&head.headers, self.verb),
            receipt: ledger.and_then(|l| l.receipt(self.verb, self.who, *client, self.now)),
        }
    }
}

/// An index file.
///
/// # Errors
/// [`Kind::NoSuchRegistry`](crate::error::Kind::NoSuchRegistry), and those of [`Mirror::index_at_once`].
pub(super) fn index(
    mirror: &Mirror,
    place: Place,
    name: CrateName,
    admitted: &Admitted<'_>,
) -> Result<AtOnce> {
    let registry = mirror.place(place.registry, place.view)?;
    let negotiated = NegotiatedIndex::of(&admitted.asked.head.headers);
    match mirror.index_at_once(registry, name, place.view, admitted.now) {
        Some(found) => Ok(AtOnce::Answer(index::answer(&negotiated, found?))),
        None => Ok(Deferred::Index(registry.clone(), place.view, name, negotiated.kept()).into()),
    }
}

/// A .crate file.
///
/// # Errors
/// [`Kind::NoSuchRegistry`](crate::error::Kind::NoSuchRegistry), those of [`Mirror::crate_at_once`], and
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when it has to be written down and can't be.
pub(super) fn download(
    mirror: &Mirror,
    place: Place,
    id: CrateId,
    admitted: &Admitted<'_>,
) -> Result<AtOnce> {
    let registry = mirror.place(place.registry, place.view)?;
    let requested = admitted.requested(admitted.ledger);
    let found = match requested.negotiated.is_maybe_part() {
        true => None,
        false => mirror.crate_at_once(registry, &id, place.view, admitted.now),
    };
    match found {
        Some(found) => Ok(AtOnce::Answer(requested.whole(found?)?)),
        None => Ok(Deferred::Download(registry.clone(), place.view, id, requested.kept()).into()),
    }
}

/// What rustup asks for.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when it has to be written down and can't be.
pub(super) fn toolchain(
    mirror: &Mirror,
    path: ToolchainPath,
    admitted: &Admitted<'_>,
) -> Result<AtOnce> {
    let asker = ToolchainAsker {
        connection: admitted.asked.connection.map(|number| number.0),
        address: admitted.asked.client,
    };
    let is_item = toolchains::item(&path).is_some();
    let requested = admitted.requested(admitted.ledger.filter(|_| is_item));
    let found = match requested.negotiated.is_maybe_part() {
        true => None,
        false => mirror.toolchain_at_once(&path, &asker, admitted.now),
    };
    if let Some(Ok(found)) = found {
        return Ok(AtOnce::Answer(toolchains::answer(&path, requested, found)?));
    }
    // Not here; or refused, which may have to be written down.
    Ok(Deferred::Toolchain(path, asker, requested.kept()).into())
}

impl From<Deferred> for AtOnce {
    fn from(deferred: Deferred) -> Self {
        Self::Deferred(deferred)
    }
}
