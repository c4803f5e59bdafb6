//! [`InFlight`]: a request whose answer isn't out yet.

use super::activity::{Activity, Standing};
use crate::{
    metrics::{Metrics, Protocol},
    zero_copy::Content,
};

/// A request whose answer isn't out yet. Whoever answers it keeps this until the answer is out: it is what holds the connection open when it is time to
/// stop, and what a client's silence is excused by.
pub struct InFlight {
    activity: Activity,
    standing: Standing,
    protocol: Protocol,
}

impl InFlight {
    /// One that begins now.
    pub(super) fn begin(activity: &Activity, protocol: Protocol) -> Self {
        let standing = activity.begin();
        Self::counted(activity.clone(), standing, protocol)
    }

    fn counted(activity: Activity, standing: Standing, protocol: Protocol) -> Self {
        activity.count(standing);
        Self {
            activity,
            standing,
            protocol,
        }
    }

    /// The same request once more, which goes on until both are dropped.
    pub(super) fn again(&self) -> Self {
        Self::counted(self.activity.clone(), self.standing, self.protocol)
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Whether there is memory for it. If not, it is to be refused.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What its client speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where to count.
    pub fn metrics(&self) -> &Metrics {
        self.activity.metrics()
    }

    /// The answer's body, before it is handed over. A protocol that writes it as it is can then have the system send it without a copy.
    pub fn announce(&self, content: Content) {
        match self.protocol {
            Protocol::Http1 => self.activity.handover().announce(content),
            Protocol::Http2 => {}
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.discount(self.standing);
    }
}
