//! [`Words`]: what speaks against a host since it answered last; and [`Resting`]: the objects that are left alone because upstream has asked for it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use arrayvec::ArrayVec;
use tokio::time::Instant;
use url::Url;

/// So many failures in a row open the circuit: of requests that got no answer, and of different objects.
const FAILURES: usize = 5;
/// So many different objects that each came with a wish to be left alone speak for the host. Fewer than of other failures, because who isn't heard
/// may block whoever asks.
const WISHES: usize = 3;
/// So many objects are left alone at once; beyond that the one whose time is over first is forgotten.
const RESTING: usize = 256;

/// What was asked for: one path of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object(u64);

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The host: it couldn't be reached, or gave no answer. So would any other request have fared.
    Host,
    /// What was asked for: there is an answer, and it says "not now" of this one.
    Object,
}

impl Object {
    /// The one under `url`.
    pub(super) fn of(url: &Url) -> Self {
        let mut hasher = DefaultHasher::new();
        (url.path(), url.query()).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What speaks against a host: failures in a row, with no success between them.
#[derive(Default)]
pub(super) struct Words {
    unanswered: usize,
    /// Each object has one word, however often it fails, and perhaps a wish.
    objects: ArrayVec<(Object, Option<Duration>), FAILURES>,
}

impl Words {
    /// One more failure, with the time for which upstream has asked to be left alone.
    pub(super) fn add(&mut self, failure: Failure, object: Object, wish: Option<Duration>) {
        match failure {
            Failure::Host => self.unanswered = self.unanswered.saturating_add(1),
            Failure::Object => match self.objects.iter_mut().find(|(known, _)| *known == object) {
                Some((_, last)) => *last = wish,
                // When it is full the circuit is open, and nothing is added.
                None => {
                    let _ = self.objects.try_push((object, wish));
                }
            },
        }
    }

    /// How long the host is to be left alone; `None` when there is too little against it. Of several wishes it is the least that all of them ask for.
    pub(super) fn verdict(&self, usual: Duration) -> Option<Duration> {
        let wishes = || self.objects.iter().filter_map(|(_, wish)| *wish);
        if wishes().count() >= WISHES {
            return wishes().min();
        }
        (self.unanswered + self.objects.len() >= FAILURES).then_some(usual)
    }
}

/// Objects that are left alone for a while.
#[derive(Default)]
pub(super) struct Resting(HashMap<Object, Instant>);

impl Resting {
    /// How long `object` is to be left alone from now on, if it is.
    pub(super) fn wait(&self, object: Object, now: Instant) -> Option<Duration> {
        let until = self.0.get(&object).copied()?;
        (until > now).then(|| until - now)
    }

    /// Leaves `object` alone until then.
    pub(super) fn leave_alone(&mut self, object: Object, now: Instant, until: Instant) {
        if self.0.len() >= RESTING {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() >= RESTING {
            let first = self.0.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(object, _)| *object) {
                self.0.remove(&first);
            }
        }
        self.0.insert(object, until);
    }
}
