//! What the rules make of an index file: decided here, for files from upstream and from the store, new ones and kept ones.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::blocking::make;
use crate::{
    allowance::Lease,
    domain::{CrateName, IndexKey, View},
    error::{Error, Kind, Result},
    mirror::{
        kept::{GZIP_AT_ONCE, IndexEntry, Shown, shown_anew},
        shared::{Refusal, Shared},
    },
    policy::{Known, Marks, Policy, Ruling, refusal, render_places},
};

/// By what an index file is looked at.
#[derive(Clone)]
pub(in crate::mirror) struct Viewpoint {
    pub(super) policy: Arc<Policy>,
    pub(super) view: View,
    pub(super) now: SystemTime,
}

impl Viewpoint {
    /// The rules for everybody, as they are now.
    pub(super) fn usual(shared: &Shared, now: SystemTime) -> Self {
        Self::of(shared, View::Usual, now)
    }

    /// The rules of a view, as they are now.
    pub(in crate::mirror) fn of(shared: &Shared, view: View, now: SystemTime) -> Self {
        Self {
            policy: shared.rules.policy(),
            view,
            now,
        }
    }

    /// How many copies of a file's body this may make: what is shown may be another one.
    pub(super) fn copies(&self) -> usize {
        usize::from(self.policy.may_hide(self.view))
    }

    /// What is shown of a file, whose gzip variant may be at hand, and what the rules say of it. Versions that are `not_stored` can't be had whatever they say.
    pub(in crate::mirror) fn see(
        &self,
        key: &IndexKey,
        known: Known<'_>,
        not_stored: &Marks,
        gzip: Option<Bytes>,
    ) -> (Shown, Ruling) {
        let (registry, name) = (key.registry, known.file.name());
        let rules = self.policy.of_crate(registry, name, self.view, self.now);
        let ruling = rules.rule(known);
        let is_as_it_is = ruling.hidden.is_empty() && not_stored.is_empty();
        let other = match is_as_it_is {
            true => None,
            false => render_places(known.file, |place| {
                ruling.hidden.contains(place) || not_stored.contains(place)
            }),
        };
        let shown = other.map_or(Shown::AsIs(gzip), Shown::Other);
        (shown, ruling)
    }
}

/// `entry` with what is shown of it made anew of what is kept: it is looked at from elsewhere, the rules are others now, or the time has come. Upstream has no
/// part in it.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it in time.
pub(super) async fn shown_again(
    shared: &Shared,
    key: IndexKey,
    entry: &IndexEntry,
    from: Viewpoint,
) -> Result<IndexEntry> {
    let lease = shared.budget.take(needs(entry, &from)).await?;
    shown_within(lease, key, entry, from).await
}

/// How many bytes of memory it may take to make anew what is shown of an entry.
pub(super) fn needs(entry: &IndexEntry, from: &Viewpoint) -> u64 {
    let body = entry.file().body().len();
    // `"yanked":true` is longer than `"yanked":false` is not; a line without the field grows by a few bytes.
    let grows = 16 * entry.file().versions().len();
    (from.copies() * (body + grows) + body.min(GZIP_AT_ONCE)) as u64
}

/// The same as [`shown_again`] within memory that is leased already.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when it panics.
pub(super) async fn shown_within(
    lease: Lease,
    key: IndexKey,
    entry: &IndexEntry,
    from: Viewpoint,
) -> Result<IndexEntry> {
    let before = entry.clone();
    let rendition = make(move || {
        let known = before.known();
        let (shown, ruling) = from.see(&key, known, &before.not_stored, None);
        let (content, modified) = (&before.content, before.modified_at);
        Ok(shown_anew(
            content,
            &before.rendition,
            modified,
            shown,
            ruling,
            lease,
        ))
    });
    Ok(IndexEntry {
        rendition: rendition.await?,
        ..entry.clone()
    })
}

/// Whether the rules refuse a crate as such, whatever its versions.
///
/// # Errors
/// [`Kind::Denied`](crate::error::Kind::Denied) with the sentence, if so; it is counted.
pub(super) fn denied(
    shared: &Shared,
    key: &IndexKey,
    name: CrateName,
    view: View,
    now: SystemTime,
) -> Result<()> {
    let policy = shared.rules.policy();
    let rules = policy.of_crate(key.registry, name, view, now);
    let Some(denial) = rules.crate_denial() else {
        return Ok(());
    };
    let (kind, rule) = (denial.cause.kind(), denial.cause.rule());
    let noted = |sentence| Refusal {
        registry: key.registry,
        view,
        what: name.as_str().into(),
        rule: rule.clone(),
        sentence,
        at: now,
        count: 1,
    };
    if !rules.is_enforced(&denial) {
        shared.metrics.policy_would_deny(kind);
        shared.refusals.note(noted(None));
        return Ok(());
    }
    shared.metrics.policy_denied(kind);
    let sentence = refusal(key.registry, name.as_str(), &denial, &rules, None);
    shared.refusals.note(noted(Some(sentence.as_str().into())));
    Err(Error::new(Kind::Denied, sentence).by_rule(rule))
}
