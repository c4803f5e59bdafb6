//! [`RulesInForce`]: the rules that hold now, looked at by every request and replaced while they are.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use crate::policy::{Policy, RulesVersion};

/// The rules that hold now.
#[derive(Default)]
pub(in crate::mirror) struct RulesInForce {
    policy: ArcSwap<Policy>,
    /// Beside them, so that a hit that asks whether they are others now reads one number.
    version: AtomicU64,
}

impl RulesInForce {
    /// These.
    pub(in crate::mirror) fn new(policy: Policy) -> Self {
        let version = policy.version().0;
        Self {
            policy: ArcSwap::from_pointee(policy),
            version: AtomicU64::new(version),
        }
    }

    /// Which rules hold.
    pub(in crate::mirror) fn version(&self) -> RulesVersion {
        RulesVersion(self.version.load(Ordering::Acquire))
    }

    /// The rules that hold.
    pub(in crate::mirror) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// From now on these hold, as the next version. What was made by those before is made anew when it is asked for.
    pub(in crate::mirror) fn replace(&self, policy: Policy) {
        let next = RulesVersion(self.policy.load().version().0 + 1);
        self.policy.store(Arc::new(policy.numbered(next)));
        // After them: who sees the new number finds the new rules.
        self.version.store(next.0, Ordering::Release);
    }
}
