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
    let Admitted {
        asked,
        verb,
        who,
        ledger,
        now,
    } = *admitted;
    let registry = mirror.place(place.registry, place.view)?;
    let receipt = ledger.and_then(|l| l.receipt(verb, who, asked.client, now));
    let negotiated = NegotiatedFile::of(&asked.head.headers, verb);
    let found = match negotiated.is_maybe_part() {
        true => None,
        false => mirror.crate_at_once(registry, &id, place.view, now),
    };
    let Some(found) = found else {
        let requested = Box::new(RequestedFile {
            negotiated: negotiated.kept(),
            receipt,
        });
        return Ok(Deferred::Download(registry.clone(), place.view, id, requested).into());
    };
    let requested = RequestedFile {
        negotiated,
        receipt,
    };
    Ok(AtOnce::Answer(requested.whole(found?)?))
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
    let Admitted {
        asked,
        verb,
        who,
        ledger,
        now,
    } = *admitted;
    let asker = ToolchainAsker {
        connection: asked.connection.map(|number| number.0),
        address: asked.client,
    };
    let ledger = ledger.filter(|_| toolchains::item(&path).is_some());
    let receipt = ledger.and_then(|l| l.receipt(verb, who, asked.client, now));
    let negotiated = NegotiatedFile::of(&asked.head.headers, verb);
    let found = match negotiated.is_maybe_part() {
        true => None,
        false => mirror.toolchain_at_once(&path, &asker, now),
    };
    if let Some(Ok(found)) = found {
        let requested = RequestedFile {
            negotiated,
            receipt,
        };
        return Ok(AtOnce::Answer(toolchains::answer(&path, requested, found)?));
    }
    // Not here; or refused, which may have to be written down.
    let requested = Box::new(RequestedFile {
        negotiated: negotiated.kept(),
        receipt,
    });
    Ok(Deferred::Toolchain(path, asker, requested).into())
}

impl From<Deferred> for AtOnce {
    fn from(deferred: Deferred) -> Self {
        Self::Deferred(deferred)
    }
}
