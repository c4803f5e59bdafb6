//! [`Searched`]: crates that fit some words, by what is known here.

use std::time::SystemTime;

use super::{catalog::KnownCrate, index::IndexService, shared::Shared};
use crate::{
    domain::{CrateName, IndexKey, RegistryName, View},
    error::{Error, Result},
    policy::{Policy, refusal},
    upstream::ListedCrates,
};

/// Of more crates than this, those that the rules refuse aren't looked for.
const MOST: usize = 2_000;

/// What is searched for, and how it is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub(super) registry: RegistryName,
    pub(super) view: View,
    pub(super) words: &'a str,
    pub(super) window: Window,
    pub(super) refused: Refused,
}

/// Which of the crates that are found are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// So many are passed over.
    pub skip: usize,
    /// So many follow.
    pub take: usize,
}

/// What becomes of crates that the rules refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// They are given with the reason.
    Shown,
    /// They are left out.
    LeftOut,
}

/// Crates that fit some words.
#[derive(Clone, Debug)]
pub struct Searched {
    /// In which registry.
    pub registry: RegistryName,
    /// Those of the window that was asked for, the best first.
    pub crates: Vec<FoundCrate>,
    /// How many there are.
    pub total: usize,
}

/// A crate that was found.
#[derive(Clone, Debug)]
pub struct FoundCrate {
    /// Its name; in lower case where nothing else is known of it.
    pub name: CrateName,
    /// Its newest version that may be picked, as far as that is known.
    pub version: Option<Box<str>>,
    /// Whether a version of it is stored.
    pub is_stored: bool,
    /// What it is, if it is stored.
    pub description: Option<Box<str>>,
    /// Why it may not come in, as a sentence without a full stop.
    pub refused: Option<Box<str>>,
}

/// The crates that fit, by what is known here.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when the search ends early.
pub(super) async fn search(
    shared: &Shared,
    index: &IndexService,
    search: Search<'_>,
    now: SystemTime,
) -> Result<Searched> {
    let Search {
        registry,
        view,
        words,
        window,
        refused,
    } = search;
    let (catalog, words) = (shared.catalog.clone(), words.to_owned());
    let found = tokio::task::spawn_blocking(move || catalog.search(registry, &words)).await;
    let mut found = found.map_err(|e| Error::ended_early("a search", e))?;
    let policy = shared.rules.policy();
    let why = |name| why_refused(&policy, registry, name, view, now);
    if refused == Refused::LeftOut {
        found.truncate(MOST);
        found.retain(|known| why(known.name).is_none());
    }
    let total = found.len();
    let shown = found.into_iter().skip(window.skip).take(window.take);
    let crates = shown.map(|known| {
        let key = IndexKey::new(registry, known.name);
        let entry = index.seen_in_memory(&key, view, now);
        let rules = policy.of_crate(registry, known.name, view, now);
        let newest = entry
            .as_ref()
            .and_then(|entry| rules.newest_allowed(entry.known()));
        let KnownCrate {
            name,
            version,
            description,
        } = known;
        FoundCrate {
            name: entry.as_ref().map_or(name, |entry| entry.file().name()),
            is_stored: version.is_some(),
            version: newest.map(|newest| newest.as_str().into()).or(version),
            description,
            refused: why(name).map(Into::into),
        }
    });
    Ok(Searched {
        registry,
        crates: crates.collect(),
        total,
    })
}

/// What upstream has listed, without the crates that the rules refuse, and with versions that may be picked where they are known here.
pub(super) fn offered(
    shared: &Shared,
    index: &IndexService,
    search: Search<'_>,
    listed: &ListedCrates,
    now: SystemTime,
) -> Searched {
    let (registry, view) = (search.registry, search.view);
    let policy = shared.rules.policy();
    let crates = listed
        .crates
        .iter()
        .filter(|listed| why_refused(&policy, registry, listed.name, view, now).is_none());
    let crates: Vec<_> = crates
        .map(|listed| {
            let key = IndexKey::new(registry, listed.name);
            let entry = index.seen_in_memory(&key, view, now);
            let rules = policy.of_crate(registry, listed.name, view, now);
            let newest = entry
                .as_ref()
                .and_then(|entry| rules.newest_allowed(entry.known()));
            FoundCrate {
                name: listed.name,
                version: Some(
                    newest.map_or(listed.version.clone(), |newest| newest.as_str().into()),
                ),
                is_stored: false,
                description: listed.description.clone(),
                refused: None,
            }
        })
        .collect();
    let left_out = listed.crates.len() - crates.len();
    let total = usize::try_from(listed.total).unwrap_or(usize::MAX);
    Searched {
        registry,
        total: total.saturating_sub(left_out).max(crates.len()),
        crates,
    }
}

/// Why a crate as such may not come in, if so.
pub(super) fn why_refused(
    policy: &Policy,
    registry: RegistryName,
    name: CrateName,
    view: View,
    now: SystemTime,
) -> Option<String> {
    let rules = policy.of_crate(registry, name, view, now);
    let denial = rules
        .crate_denial()
        .filter(|denial| rules.is_enforced(denial))?;
    Some(refusal(registry, name.as_str(), &denial, &rules, None))
}
