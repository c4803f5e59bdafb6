//! [`IndexEntry`]: a crate's index file as this mirror knows it, and what there is to do about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use semver::Version as SemVersion;

use super::{content::IndexContent, rendition::Rendition};
use crate::{
    config::sections,
    domain::{
        Before, CrateVersion, History, IndexFile, Validators,
        freshness::{Freshness, judge},
    },
    policy::{Known, Marks},
    store::{Mark, StoreRecord},
};

/// After a failed revalidation the stale copy is served without asking for this long, at most.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// So much earlier than others who share the store the one asks that leads. They hear of it within two notes, which are ten seconds apart, and a bucket's clock counts whole seconds: with
/// just as much they asked themselves, again and again in the same moment.
const LEAD: Duration = Duration::from_secs(30);

/// A crate's index file as this mirror knows it.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    pub(in crate::mirror) content: Arc<IndexContent>,
    pub(in crate::mirror) rendition: Arc<Rendition>,
    pub(in crate::mirror) validators: Validators,
    /// What is remembered of the crate's versions beside the file.
    pub(in crate::mirror) history: Arc<History>,
    /// Offline, the versions that can't be had because they aren't stored.
    pub(in crate::mirror) not_stored: Arc<Marks>,
    /// When the body came to be.
    pub(in crate::mirror) modified_at: SystemTime,
    /// When upstream, or offline a look into the store, last said that this is current.
    pub(in crate::mirror) checked_at: SystemTime,
    /// The `checked_at` that the store knows of.
    pub(in crate::mirror) recorded_at: SystemTime,
    /// Whether upstream said so to the mirror that leads among those who share the store: then this one asks again before the others do.
    pub(in crate::mirror) leads: bool,
    /// When upstream last failed to say anything about it.
    pub(in crate::mirror) failed_at: Option<SystemTime>,
    /// Whether upstream said then that there is no such crate any more. It isn't shown then, but what it says of checksums still lets what was
    /// served once be served again to those who hold a Cargo.lock.
    pub(in crate::mirror) gone: bool,
    /// Offline, the state of the store in which it was looked into: what was shown as stored may have changed since.
    pub(in crate::mirror) seen: Option<Mark>,
    /// Whether the store may have a record that couldn't be read. What that remembers isn't known then, and it isn't replaced before it is.
    pub(in crate::mirror) incomplete: bool,
    /// Whether it was read ahead and nobody has asked for it yet.
    pub(in crate::mirror) read_ahead: ReadAheadMark,
}

/// Whether an entry came before anybody asked, and nobody has since.
#[derive(Debug, Default)]
pub(in crate::mirror) struct ReadAheadMark(AtomicBool);

impl Clone for ReadAheadMark {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}

/// What to do about an entry now.
pub(in crate::mirror) enum Due {
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

    /// What the rules have to know of it.
    pub(in crate::mirror) fn known(&self) -> Known<'_> {
        Known {
            file: self.file(),
            history: &self.history,
            modified_at: self.modified_at,
        }
    }

    /// Whether the version in this place of the file's list is shown as yanked although it isn't.
    pub fn hides(&self, place: usize) -> bool {
        self.rendition.ruling().hidden.contains(place) || self.not_stored.contains(place)
    }

    /// The newest version that a resolver may pick as this is shown: a release, if there is one.
    pub(in crate::mirror) fn newest_shown(&self) -> Option<&CrateVersion> {
        let listed = self.file().versions().iter().enumerate();
        let offered = listed.filter(|(place, line)| !line.yanked && !self.hides(*place));
        let ranked = offered.filter_map(|(_, line)| {
            let number = SemVersion::parse(line.version().as_str()).ok()?;
            Some((number.pre.is_empty(), number, line.version()))
        });
        let newest = ranked.max_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        newest.map(|(_, _, version)| version)
    }

    /// What was known before its index file changes.
    pub(in crate::mirror) fn before(&self) -> Before<'_> {
        Before {
            file: self.file(),
            history: &self.history,
            checked_at: self.checked_at,
            modified_at: self.modified_at,
            gone: self.gone,
        }
    }

    /// What is served of it.
    pub fn rendition(&self) -> &Rendition {
        &self.rendition
    }

    /// Notes that this came before anybody asked for it.
    pub(in crate::mirror) fn came_ahead(&self) {
        self.read_ahead.0.store(true, Ordering::Relaxed);
    }

    /// Whether this came before anybody asked; from now on somebody has.
    pub(in crate::mirror) fn was_ahead(&self) -> bool {
        // Looked at first: hits don't write to memory that they share.
        self.read_ahead.0.load(Ordering::Relaxed)
            && self.read_ahead.0.swap(false, Ordering::Relaxed)
    }

    /// About how many bytes of memory this takes.
    pub(in crate::mirror) fn size(&self) -> usize {
        let (file, rendition) = (self.file(), self.rendition());
        let shares = file.body().as_ptr() == rendition.body.as_ptr();
        let own = if shares { 0 } else { file.body().len() };
        let beside = self.history.size() + self.not_stored.size();
        file.overhead() + own + rendition.size() + beside + size_of::<Self>()
    }

    /// What to do about it at `now`.
    pub(in crate::mirror) fn due(
        &self,
        freshness: &sections::FreshnessSettings,
        now: SystemTime,
    ) -> Due {
        let mut lifetimes = freshness.lifetimes();
        if self.gone {
            lifetimes.fresh_for = freshness.absent_for();
        }
        if self.leads {
            lifetimes.fresh_for -= LEAD.min(lifetimes.fresh_for / 2);
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

    /// What the store keeps of it.
    pub(in crate::mirror) fn record(&self) -> StoreRecord {
        StoreRecord {
            body: self.content.file.body().clone(),
            sha256: self.content.sha256,
            validators: self.validators.clone(),
            modified_at: self.modified_at,
            checked_at: self.checked_at,
            gone: self.gone,
            history: self.history.clone(),
            sum: None,
        }
    }
}
