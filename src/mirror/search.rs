//! [`Searched`]: crates that fit some words, by what is known here.

use std::{sync::Arc, time::SystemTime};

use super::{
    index::IndexService,
    kept::IndexEntry,
    registry::Registry,
    shared::{BlockingWork, Shared, not_enough_memory},
};
use crate::{
    domain::{CrateName, RegistryName, View},
    error::Result,
    policy::{Policy, refusal},
    upstream::ListedCrates,
};

/// No more of the best are ranked.
const DEEPEST: usize = 10_000;
/// And so many at least where those that the rules refuse are left out.
const LEAST: usize = 2_000;
/// So many searches are made at once: each of them keeps a core busy.
const AT_ONCE: usize = 2;

/// Where searches are made, a few at a time.
pub(super) struct Searches(BlockingWork);

impl Default for Searches {
    fn default() -> Self {
        Self(BlockingWork::new(AT_ONCE))
    }
}

/// What is searched for, and how it is seen.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) registry: &'a Registry,
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
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it, or its turn doesn't come in time.
pub(super) async fn search(
    searches: &Searches,
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
    let of = registry.name();
    let policy = shared.rules.policy();
    let may_hide = policy.may_hide(view);
    let deep = window.skip.saturating_add(window.take);
    let most = match refused {
        Refused::Shown => deep,
        Refused::LeftOut => deep.max(LEAST),
    };
    let (mut found, mut total) = ranked(searches, shared, of, words, most.min(DEEPEST)).await?;
    let why = |name| why_refused(&policy, of, name, view, now);
    if refused == Refused::LeftOut {
        let before = found.len();
        found.retain(|name| !is_refused(&policy, of, *name, view, now));
        total -= before - found.len();
    }
    let shown = found.into_iter().skip(window.skip).take(window.take);
    let shown = shown.map(|name| shared.catalog.known(of, name));
    let mut crates = Vec::with_capacity(shown.len());
    for known in shown {
        let seen = Seen::of(index, registry, known.name, view, now).await;
        let is_stored = known.version.is_some();
        let Some(version) = seen.version(known.version, may_hide, refused) else {
            total -= 1;
            continue;
        };
        crates.push(FoundCrate {
            name: seen.name().unwrap_or(known.name),
            version,
            is_stored,
            description: known.description,
            refused: why(known.name).map(Into::into),
        });
    }
    Ok(Searched {
        registry: of,
        crates,
        total,
    })
}

/// The names that fit, the best `most` of them, and how many do.
async fn ranked(
    searches: &Searches,
    shared: &Shared,
    registry: RegistryName,
    words: &str,
    most: usize,
) -> Result<(Vec<CrateName>, usize)> {
    if words.trim().is_empty() {
        return Ok((Vec::new(), 0));
    }
    let turn = searches.0.turn().await?;
    let mut lease = shared.budget.nothing();
    if !lease.try_grow_making_way(shared.catalog.memory_of_search(most)) {
        return Err(not_enough_memory());
    }
    let (catalog, words) = (shared.catalog.clone(), words.to_owned());
    turn.run_while_wanted(move |wanted| {
        // For as long as it takes, also when nobody waits for it any more.
        let _lease = lease;
        catalog.search(registry, &words, most, || wanted.is_wanted())
    })
    .await
}

/// What upstream has listed, without the crates that the rules refuse, and with versions that may be picked where they are known here.
pub(super) async fn offered(
    shared: &Shared,
    index: &IndexService,
    search: Search<'_>,
    listed: &ListedCrates,
    now: SystemTime,
) -> Searched {
    let (registry, view) = (search.registry, search.view);
    let policy = shared.rules.policy();
    let (of, may_hide) = (registry.name(), policy.may_hide(view));
    let mut crates = Vec::with_capacity(listed.crates.len());
    for listed in &listed.crates {
        if is_refused(&policy, of, listed.name, view, now) {
            continue;
        }
        let seen = Seen::of(index, registry, listed.name, view, now).await;
        let version = seen.version(
            Some(listed.version.as_str().into()),
            may_hide,
            search.refused,
        );
        crates.extend(version.map(|version| FoundCrate {
            name: listed.name,
            version,
            is_stored: false,
            description: listed.description.clone(),
            refused: None,
        }));
    }
    let left_out = listed.crates.len() - crates.len();
    let total = usize::try_from(listed.total).unwrap_or(usize::MAX);
    Searched {
        registry: of,
        total: total.saturating_sub(left_out).max(crates.len()),
        crates,
    }
}

/// What is known here of a crate's versions.
enum Seen {
    /// Its index file, as it is seen.
    Entry(Arc<IndexEntry>),
    /// Nothing, and upstream has it, or may have it.
    Nothing,
    /// Nothing, and nobody can be asked.
    NothingOffline,
}

impl Seen {
    /// What is at hand: nobody is asked.
    async fn of(
        index: &IndexService,
        registry: &Registry,
        name: CrateName,
        view: View,
        now: SystemTime,
    ) -> Self {
        match (
            index.look_at_hand(registry, name, view, now).await,
            registry,
        ) {
            (Some(entry), _) => Self::Entry(entry),
            (None, Registry::Online(_)) => Self::Nothing,
            (None, Registry::Offline(_)) => Self::NothingOffline,
        }
    }

    /// The crate's name in its own case.
    fn name(&self) -> Option<CrateName> {
        match self {
            Self::Entry(entry) => Some(entry.file().name()),
            Self::Nothing | Self::NothingOffline => None,
        }
    }

    /// The version to tell: one that may be picked or none, and nothing at all of a crate that is to be left out, because none of it can be had. What somebody
    /// else says is newest (`said`) is told only where the rules hide nothing.
    fn version(
        &self,
        said: Option<Box<str>>,
        may_hide: bool,
        refused: Refused,
    ) -> Option<Option<Box<str>>> {
        let version = match self {
            Self::Entry(entry) => entry.newest_shown().map(|newest| newest.as_str().into()),
            Self::Nothing if may_hide => return Some(None),
            Self::Nothing => return Some(said),
            Self::NothingOffline => None,
        };
        match (version, refused) {
            (None, Refused::LeftOut) => None,
            (version, Refused::Shown | Refused::LeftOut) => Some(version),
        }
    }
}

/// Whether a crate as such may not come in.
fn is_refused(
    policy: &Policy,
    registry: RegistryName,
    name: CrateName,
    view: View,
    now: SystemTime,
) -> bool {
    let rules = policy.of_crate(registry, name, view, now);
    let denial = rules.crate_denial();
    denial.is_some_and(|denial| rules.is_enforced(&denial))
}

/// Why a crate as such may not come in, if so.
fn why_refused(
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
