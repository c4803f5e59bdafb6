//! [`Denial`]: why a crate may not come in, and until when.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::advisories::Advisory;
use crate::domain::{Day, DenialKind, Sha256};

/// The last second that RFC 3339 can say, of the year 9999, since 1970.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Why something may not come in.
#[derive(Clone, Debug)]
pub struct Denial {
    /// What it is about the crate.
    pub cause: Cause,
    /// When it ends by itself, if it does.
    pub ends: Option<SystemTime>,
}

/// What it is about a crate, or a version, that keeps it out.
#[derive(Clone, Debug)]
pub enum Cause {
    /// Its content was another one before.
    Changed {
        /// What it was.
        was: Sha256,
    },
    /// It was published after the day that is looked at.
    Day(Day),
    /// A rule of the operator's.
    Rule {
        /// What the rule is called.
        label: Arc<str>,
        /// What the operator says of it.
        reason: Option<Arc<str>>,
    },
    /// An advisory.
    Advisory(Arc<Advisory>),
    /// Its licence, or that none is known.
    License(Option<Box<str>>),
    /// It is too young.
    Cooldown {
        /// How old it has to be.
        wait: Duration,
        /// From when that counts.
        since: Since,
    },
    /// It has no date, and that counts as too young.
    Undated,
    /// No rule lets the crate in, and without one nothing comes in.
    Default,
}

/// From when the age of a version counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Since upstream says it was published.
    Published(SystemTime),
    /// Since it was first seen here; upstream doesn't say when it was published.
    FirstSeen(SystemTime),
}

impl Since {
    /// That moment.
    pub fn time(self) -> SystemTime {
        match self {
            Self::Published(time) | Self::FirstSeen(time) => time,
        }
    }

    /// When so long has passed since then; no later than the year 9999, for nothing beyond can be written out.
    pub(super) fn ends(self, wait: Duration) -> SystemTime {
        let last = SystemTime::UNIX_EPOCH + LAST;
        let ends = self.time().checked_add(wait);
        ends.map_or(last, |ends| ends.min(last))
    }
}

impl Cause {
    /// Which kind it is of.
    pub fn kind(&self) -> DenialKind {
        match self {
            Self::Changed { .. } => DenialKind::Changed,
            Self::Day(_) => DenialKind::Day,
            Self::Rule { .. } => DenialKind::Rule,
            Self::Advisory(_) => DenialKind::Advisory,
            Self::License(_) => DenialKind::License,
            Self::Cooldown { .. } | Self::Undated => DenialKind::Cooldown,
            Self::Default => DenialKind::Default,
        }
    }

    /// Which rule decided, as logs and the audit log name it: the operator's own by its name, an advisory by its identifier.
    pub fn rule(&self) -> Arc<str> {
        match self {
            Self::Rule { label, .. } => label.clone(),
            Self::Advisory(advisory) => (&*advisory.id).into(),
            Self::Changed { .. }
            | Self::Day(_)
            | Self::License(_)
            | Self::Cooldown { .. }
            | Self::Undated
            | Self::Default => self.kind().as_str().into(),
        }
    }

    /// Whether it holds even where the policy is only tried (`mode = "report"`): content that changed is no matter of policy, and a day is what was asked for.
    pub fn is_always_enforced(&self) -> bool {
        match self {
            Self::Changed { .. } | Self::Day(_) => true,
            Self::Rule { .. }
            | Self::Advisory(_)
            | Self::License(_)
            | Self::Cooldown { .. }
            | Self::Undated
            | Self::Default => false,
        }
    }
}
