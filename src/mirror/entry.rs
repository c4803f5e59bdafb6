//! [`IndexEntry`]: a crate's index file as this mirror knows it, and what there is to do about it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::Rendition;
use crate::{
    allowance::Lease,
    domain::{
        IndexFile, Sha256, Validators,
        freshness::{Freshness, judge},
    },
    store::IndexRecord,
};

/// After a failed refresh the stale copy is served without asking for this long, at most.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A crate's index file as this mirror knows it.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    pub(super) content: Arc<Content>,
    pub(super) validators: Validators,
    pub(super) fetched_at: SystemTime,
    /// When upstream last said that this is current.
    pub(super) checked_at: SystemTime,
    /// The `checked_at` that the store knows of.
    pub(super) recorded_at: SystemTime,
    /// When upstream last failed to say anything about it.
    pub(super) failed_at: Option<SystemTime>,
    /// Whether upstream said then that there is no such crate any more. It isn't shown then, but what it says of checksums still lets what was
    /// served once be served again to those who hold a Cargo.lock.
    pub(super) gone: bool,
}

/// What doesn't change when upstream confirms a copy.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) file: IndexFile,
    sha256: Sha256,
    rendition: Rendition,
}

/// What to do about an entry now.
pub(super) enum Due {
    /// Serve it.
    Nothing,
    /// Serve it: asking failed a moment ago.
    NotYet,
    /// Ask upstream; it may be served when that fails.
    Refresh,
    /// Ask upstream; it is too old to be served otherwise.
    Replace,
}

impl IndexEntry {
    /// The file's lines.
    pub fn file(&self) -> &IndexFile {
        &self.content.file
    }

    /// What is served of it.
    pub fn rendition(&self) -> &Rendition {
        &self.content.rendition
    }

    pub(super) fn size(&self) -> usize {
        self.content.file.overhead() + self.content.rendition.size() + size_of::<Self>()
    }

    pub(super) fn due(
        &self,
        freshness: &crate::config::sections::Freshness,
        now: SystemTime,
    ) -> Due {
        let mut lifetimes = freshness.lifetimes();
        if self.gone {
            lifetimes.fresh_for = freshness.absent_for();
        }
        let pause = PAUSE_AFTER_FAILURE.min(lifetimes.fresh_for);
        let failed_lately = |at| now.duration_since(at).is_ok_and(|since| since < pause);
        match judge(self.checked_at, now, lifetimes) {
            Freshness::Fresh => Due::Nothing,
            Freshness::Stale if self.failed_at.is_some_and(failed_lately) => Due::NotYet,
            Freshness::Stale => Due::Refresh,
            Freshness::Expired => Due::Replace,
        }
    }

    pub(super) fn record(&self) -> IndexRecord {
        IndexRecord {
            body: self.content.file.body().clone(),
            sha256: self.content.sha256,
            validators: self.validators.clone(),
            fetched_at: self.fetched_at,
            checked_at: self.checked_at,
            gone: self.gone,
        }
    }
}

/// Ties the memory to the bodies it was leased for and makes the rendition.
pub(super) fn content(
    file: IndexFile,
    sha256: Sha256,
    modified: SystemTime,
    mut lease: Lease,
) -> Arc<Content> {
    let mut rendition = Rendition::new(file.body().clone(), &sha256, modified);
    lease.shrink_to((rendition.size() + file.overhead()) as u64);
    if let Some(gzip) = rendition.gzip.take() {
        // A client may hold on to it for longer than the entry lives.
        let part = lease.split(gzip.len() as u64);
        rendition.gzip = Some(part.map_or(gzip.clone(), |part| part.hold(gzip)));
    }
    let held = lease.hold(std::mem::take(&mut rendition.body));
    rendition.body = held.clone();
    Arc::new(Content {
        file: file.with_body(held),
        sha256,
        rendition,
    })
}
