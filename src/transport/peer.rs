//! [`Peer`]: who a client is by its certificate, and for how long; [`InForce`], by what it is known that the authorities behind it still count.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;

/// How often the clock is looked at until a certificate expires: it may be set, or stand still while the machine sleeps.
const LOOK: Duration = Duration::from_secs(60);

/// Whether the authorities of clients' certificates are in force: until others are in their place. Clones are of one mind.
#[derive(Clone, Debug, Default)]
pub struct InForce(Arc<CancellationToken>);

impl InForce {
    fn has_ended(&self) -> bool {
        self.0.is_cancelled()
    }

    /// They aren't any more, unless `next` are the same.
    pub(super) fn give_way_to(&self, next: &Self) {
        if !Arc::ptr_eq(&self.0, &next.0) {
            self.0.cancel();
        }
    }
}

/// Who a client is by its certificate, which is one that counted when it was shown. A connection may outlive that. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    until: SystemTime,
    authorities: InForce,
}

impl Peer {
    /// The holder of that name, whose certificate counts up to and with `until`, while `authorities` are in force.
    pub(crate) fn new(name: String, until: SystemTime, authorities: InForce) -> Self {
        Self(Arc::new(Inner {
            name,
            until,
            authorities,
        }))
    }

    /// The name, as the certificate has it; `None` when that doesn't count any more at `now`.
    pub fn name(&self, now: SystemTime) -> Option<&str> {
        let counts = now <= self.0.until && !self.0.authorities.has_ended();
        counts.then_some(&self.0.name)
    }

    /// Returns when the certificate doesn't count any more.
    pub(super) async fn lapsed(&self) {
        let expired = async {
            while let Ok(left) = self.0.until.duration_since(SystemTime::now()) {
                tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK)).await;
            }
        };
        tokio::select! {
            () = self.0.authorities.0.cancelled() => {}
            () = expired => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_counts_until_it_expires_or_its_authorities_are_replaced() {
        let (first, until) = (InForce::default(), SystemTime::now());
        let second = Duration::from_secs(1);
        let peer = Peer::new("a".to_owned(), until, first.clone());
        assert_eq!(peer.name(until - second), Some("a"));
        assert_eq!(peer.name(until), Some("a"));
        assert_eq!(peer.name(until + second), None);
        first.give_way_to(&first.clone());
        assert_eq!(peer.name(until), Some("a"), "they are the same");
        first.give_way_to(&InForce::default());
        assert_eq!(peer.name(until), None);
    }

    #[tokio::test]
    async fn its_end_is_waited_for() {
        let soon = SystemTime::now() + Duration::from_millis(20);
        let peer = Peer::new("a".to_owned(), soon, InForce::default());
        peer.lapsed().await;
        assert_eq!(peer.name(SystemTime::now()), None);
        let (first, far) = (InForce::default(), soon + 1_000_000 * LOOK);
        let peer = Peer::new("a".to_owned(), far, first.clone());
        first.give_way_to(&InForce::default());
        peer.lapsed().await;
    }
}
