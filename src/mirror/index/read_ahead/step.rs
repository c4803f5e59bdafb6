//! [`Step`]: one dependency to follow, and which ones were followed already.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::{
    config::sections,
    domain::{CrateVersion, Dependency, IndexKey, RegistryName},
    mirror::kept::IndexEntry,
    upstream::Upstream,
};

/// So many dependencies wait to be followed, at most; no known graph is a tenth as large.
pub(super) const MOST_WAITING: usize = 20_000;

/// One dependency to follow.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) upstream: Arc<Upstream>,
    want: Dependency,
    depth: u32,
    /// How many more files may be asked for because of the client's request that this goes back to.
    files_left: Arc<AtomicU32>,
}

/// What was followed already: the same version with the same features has the same dependencies.
pub(super) struct FollowedSteps {
    steps: HashSet<(RegistryName, Dependency, CrateVersion)>,
    since: SystemTime,
}

impl FollowedSteps {
    /// What is followed once is followed again after a while: index files are due for a check then.
    const FOR: Duration = Duration::from_secs(10);

    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            steps: HashSet::new(),
            since: now,
        }
    }

    pub(super) fn forget_old(&mut self, now: SystemTime) {
        if now
            .duration_since(self.since)
            .is_ok_and(|age| age < Self::FOR)
        {
            return;
        }
        *self = Self::new(now);
    }

    /// Notes a step; false if it was followed already.
    fn add(&mut self, step: (RegistryName, Dependency, CrateVersion)) -> bool {
        self.steps.len() < MOST_WAITING && self.steps.insert(step)
    }
}

impl Step {
    /// The steps that what a client has asked for leads to.
    pub(super) fn from(
        upstream: &Arc<Upstream>,
        entry: &IndexEntry,
        now: SystemTime,
        settings: &sections::ReadAheadSettings,
    ) -> Vec<Self> {
        let root = Self {
            upstream: upstream.clone(),
            want: Dependency::any(entry.file().name()),
            depth: 0,
            files_left: Arc::new(AtomicU32::new(settings.max_files.get())),
        };
        root.next(entry, &mut FollowedSteps::new(now), settings)
    }

    /// The index file that this step is about.
    pub(super) fn key(&self) -> IndexKey {
        IndexKey::new(self.upstream.registry(), self.want.name)
    }

    /// The steps that follow this one: the dependencies of the version that a resolver would pick of `entry`.
    pub(super) fn next(
        &self,
        entry: &IndexEntry,
        followed: &mut FollowedSteps,
        settings: &sections::ReadAheadSettings,
    ) -> Vec<Self> {
        let Some(version) = self.want.resolve(entry.file(), |place| entry.hides(place)) else {
            return Vec::new();
        };
        let step = (
            self.upstream.registry(),
            self.want.clone(),
            *version.version(),
        );
        if self.depth >= settings.depth.get() || entry.gone || !followed.add(step) {
            return Vec::new();
        }
        let wants = self.want.next(entry.file(), version).into_iter();
        let step = |want| Self {
            want,
            depth: self.depth + 1,
            ..self.clone()
        };
        wants.map(step).collect()
    }

    /// Whether one more file may be asked for.
    pub(super) fn has_files_left(&self) -> bool {
        self.files_left.load(Ordering::Relaxed) > 0
    }

    /// One more file is asked for.
    pub(super) fn take_file(&self) {
        self.files_left.fetch_sub(1, Ordering::Relaxed);
    }
}
