//! What the rules make of an index file: decided here, for files from upstream and from the store, new ones and kept ones.

use std::time::SystemTime;

use bytes::Bytes;

use super::blocking::make;
use crate::{
    error::Result,
    mirror::{
        kept::{GZIP_AT_ONCE, IndexEntry, Shown, shown_anew},
        shared::Shared,
    },
    policy::{RulesVersion, Validity},
};

/// What `rules` show of a file whose gzip variant may be at hand, and for how long. There are no rules yet: the file as it is, for ever.
pub(super) fn view(rules: RulesVersion, gzip: Option<Bytes>) -> (Shown, Validity) {
    (Shown::AsIs(gzip), Validity::of(rules))
}

/// `entry` with what is shown of it made anew of what is kept: the rules are others now, or the time has come. Upstream has no part in it.
///
/// # Errors
/// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it in time.
pub(super) async fn shown_again(
    shared: &Shared,
    entry: &IndexEntry,
    now: SystemTime,
) -> Result<IndexEntry> {
    let rules = shared.rules();
    let (shown, validity) = view(rules, None);
    debug_assert!(validity.holds(rules, now), "what is made now holds now");
    let needs = match &shown {
        Shown::AsIs(_) => 0,
        Shown::Other(body) => body.len(),
    };
    let needs = needs + entry.file().body().len().min(GZIP_AT_ONCE);
    let lease = shared.budget.take(needs as u64).await?;
    let before = entry.clone();
    let rendition = make(move || {
        let (content, modified) = (&before.content, before.modified_at);
        Ok(shown_anew(
            content,
            &before.rendition,
            modified,
            shown,
            validity,
            lease,
        ))
    });
    Ok(IndexEntry {
        rendition: rendition.await?,
        ..entry.clone()
    })
}
