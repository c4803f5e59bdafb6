//! [`Failures`]: how often a host has failed since it answered last; and [`Backoffs`]: the resources that aren't asked for because upstream has sent a
//! `Retry-After`.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use arrayvec::ArrayVec;
use tokio::time::Instant;
use url::Url;

/// So many failures in a row open the circuit: of requests that got no answer, and of different resources.
const FAILURES: usize = 5;
/// So many different resources that each came with a `Retry-After` open the circuit. They are fewer than other failures, because a host that isn't heard
/// may block whoever asks.
const RETRY_AFTERS: usize = 3;
/// So many resources are remembered with their `Retry-After`; beyond that the one whose time is over first is forgotten.
const BACKOFFS: usize = 256;

/// What was asked for: one path of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource(u64);

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The host: it couldn't be reached, or gave no answer. Any other request would have failed as well.
    Host,
    /// What was asked for: the host answers, and says "not now" of this one.
    Resource,
}

impl Resource {
    /// The one under `url`.
    pub(crate) fn of(url: &Url) -> Self {
        let mut hasher = DefaultHasher::new();
        (url.path(), url.query()).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The one under a path of its own kind, a bucket's object.
    pub(crate) fn at(path: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A host's failures in a row, with no success between them.
#[derive(Default)]
pub(crate) struct Failures {
    unanswered: usize,
    /// Each resource counts once, however often it fails, and perhaps with its last `Retry-After`.
    resources: ArrayVec<(Resource, Option<Duration>), FAILURES>,
}

impl Failures {
    /// One more failure, with the `Retry-After` that came with it.
    pub(crate) fn add(
        &mut self,
        failure: Failure,
        resource: Resource,
        retry_after: Option<Duration>,
    ) {
        match failure {
            Failure::Host => self.unanswered = self.unanswered.saturating_add(1),
            Failure::Resource => match self
                .resources
                .iter_mut()
                .find(|(known, _)| *known == resource)
            {
                Some((_, last)) => *last = retry_after,
                // When it is full the circuit is open, and nothing is added.
                None => {
                    let _ = self.resources.try_push((resource, retry_after));
                }
            },
        }
    }

    /// For how long the circuit is to open; `None` when there are too few failures. Of several `Retry-After` it is the shortest.
    pub(crate) fn verdict(&self, usual: Duration) -> Option<Duration> {
        let asked_for = || self.resources.iter().filter_map(|(_, wait)| *wait);
        if asked_for().count() >= RETRY_AFTERS {
            return asked_for().min();
        }
        (self.unanswered + self.resources.len() >= FAILURES).then_some(usual)
    }
}

/// Resources that aren't asked for until their `Retry-After` is over.
#[derive(Default)]
pub(crate) struct Backoffs(HashMap<Resource, Instant>);

impl Backoffs {
    /// How long `resource` isn't to be asked for, if it isn't.
    pub(crate) fn wait(&self, resource: Resource, now: Instant) -> Option<Duration> {
        let until = self.0.get(&resource).copied()?;
        (until > now).then(|| until - now)
    }

    /// Has `resource` left alone until then.
    pub(crate) fn leave_alone(&mut self, resource: Resource, now: Instant, until: Instant) {
        if self.0.len() >= BACKOFFS {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() >= BACKOFFS {
            let first = self.0.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(resource, _)| *resource) {
                self.0.remove(&first);
            }
        }
        self.0.insert(resource, until);
    }
}
