//! [`IndexEntry`]: a crate's index file as this mirror knows it, and what there is to do about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::Rendition;
use crate::{
    allowance::Lease,
    domain::{
        IndexFile, Sha256, Validators,
        freshness::{Freshness, judge},
    },
    store::{IndexRecord, Mark},
};

/// After a failed refresh the stale copy is served without asking for this long, at most.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A crate's index file as this mirror knows it.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    pub(super) content: Arc<Content>,
    pub(super) validators: Validators,
    pub(super) fetched_at: SystemTime,
    /// When upstream, or offline a look into the store, last said that this is current.
    pub(super) checked_at: SystemTime,
    /// The `checked_at` that the store knows of.
    pub(super) recorded_at: SystemTime,
    /// When upstream last failed to say anything about it.
    pub(super) failed_at: Option<SystemTime>,
    /// Whether upstream said then that there is no such crate any more. It isn't shown then, but what it says of checksums still lets what was
    /// served once be served again to those who hold a Cargo.lock.
    pub(super) gone: bool,
    /// Offline, the state of the store in which it was looked into: what was shown as stored may have changed since.
    pub(super) seen: Option<Mark>,
    /// Whether it was fetched ahead and nobody has asked for it yet.
    pub(super) ahead: Ahead,
}

/// Whether an entry was fetched before anybody asked, and nobody has since.
#[derive(Debug, Default)]
pub(super) struct Ahead(AtomicBool);

impl Clone for Ahead {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}

/// What doesn't change when upstream confirms a copy.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) file: IndexFile,
    sha256: Sha256,
    pub(super) rendition: Rendition,
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

    /// Notes that this came before anybody asked for it.
    pub(super) fn came_ahead(&self) {
        self.ahead.0.store(true, Ordering::Relaxed);
    }

    /// Whether this came before anybody asked; from now on somebody has.
    pub(super) fn was_ahead(&self) -> bool {
        // Looked at first: hits don't write to memory that they share.
        self.ahead.0.load(Ordering::Relaxed) && self.ahead.0.swap(false, Ordering::Relaxed)
    }

    pub(super) fn size(&self) -> usize {
        let Content {
            file, rendition, ..
        } = &*self.content;
        let shares = file.body().as_ptr() == rendition.body.as_ptr();
        let own = if shares { 0 } else { file.body().len() };
        file.overhead() + own + rendition.size() + size_of::<Self>()
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
            modified_at: self.fetched_at,
            checked_at: self.checked_at,
            gone: self.gone,
        }
    }
}

/// What is served of an index file.
pub(super) enum Shown {
    /// The file, with its gzip twin if upstream sent it so.
    AsIs(Option<Bytes>),
    /// This in its place.
    Other(Bytes),
}

/// Ties the memory to the bodies it was leased for and makes the rendition: of the file as it is, or of what is `shown` in its place. Takes a
/// millisecond for small files and for large ones.
pub(super) fn content(
    file: IndexFile,
    sha256: Sha256,
    modified: SystemTime,
    shown: Shown,
    mut lease: Lease,
) -> Arc<Content> {
    let own_body = matches!(shown, Shown::AsIs(_));
    let mut rendition = match shown {
        Shown::AsIs(twin) => Rendition::new(file.body().clone(), twin, &sha256, Some(modified)),
        // When what is shown of a file changed is another matter than when the file did.
        Shown::Other(shown) => {
            let sha256 = Sha256::of(&shown);
            Rendition::new(shown, None, &sha256, None)
        }
    };
    let held = match own_body {
        true => 0,
        false => file.body().len(),
    };
    lease.shrink_to((rendition.size() + file.overhead() + held) as u64);
    // A client may hold on to a body for longer than the entry lives.
    let mut part = |bytes: Bytes| match lease.split(bytes.len() as u64) {
        Some(part) => part.hold(bytes),
        None => bytes,
    };
    if let Some(twin) = rendition.twin_mut() {
        *twin = part(std::mem::take(twin));
    }
    if !own_body {
        rendition.body = part(std::mem::take(&mut rendition.body));
    }
    let held = lease.hold(file.body().clone());
    if own_body {
        rendition.body = held.clone();
    }
    Arc::new(Content {
        file: file.with_body(held),
        sha256,
        rendition,
    })
}
