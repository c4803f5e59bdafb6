//! [`Counts`]: what was counted until one moment, in the few sums that pages show.

use std::time::SystemTime;

use http::StatusCode;
use prometheus::core::Collector;

use super::{Metrics, RouteLabel, seconds};
use crate::domain::Outcome;

/// What was counted since the start until one moment: index files, crates and files of toolchains, and the bytes of all answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that could be answered with something, wherever it came from.
    pub answered: u64,
    /// Those of them that were answered without waiting for upstream.
    pub hits: u64,
    /// Those of the hits that got a copy which was due, because upstream failed or dawdled.
    pub stale: u64,
    /// Requests that the rules about what may come in refused.
    pub denied: u64,
    /// Bytes of bodies sent to clients.
    pub served_bytes: u64,
    /// Those of them that upstream would have been asked for: index files, crates, packs of the git index, files of toolchains.
    pub mirrored_bytes: u64,
    /// Bytes of bodies received from upstreams.
    pub fetched_bytes: u64,
}

impl Counts {
    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(before.answered),
            hits: self.hits.saturating_sub(before.hits),
            stale: self.stale.saturating_sub(before.stale),
            denied: self.denied.saturating_sub(before.denied),
            served_bytes: self.served_bytes.saturating_sub(before.served_bytes),
            mirrored_bytes: self.mirrored_bytes.saturating_sub(before.mirrored_bytes),
            fetched_bytes: self.fetched_bytes.saturating_sub(before.fetched_bytes),
        }
    }

    /// The share of what could be answered that was answered without waiting for upstream, from 0 to 1; `None` before anything was.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.hits as f64 / self.answered as f64)
    }

    /// How many bytes fewer were asked of upstreams than without this mirror. Its own pages are no part of it: nobody would have asked upstream for them.
    pub fn saved_bytes(&self) -> u64 {
        self.mirrored_bytes.saturating_sub(self.fetched_bytes)
    }
}

impl Metrics {
    /// Counts so many bytes of a body that went to a client.
    pub fn served(&self, route: RouteLabel, status: StatusCode, bytes: u64) {
        let is_mirrored = route.is_mirrored() && status.is_success();
        self.requests.served(bytes, is_mirrored);
    }

    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        let requests = |outcome: Outcome| -> u64 {
            let of = |route: RouteLabel| self.requests.requests(route, outcome);
            of(RouteLabel::Index) + of(RouteLabel::Download) + of(RouteLabel::Toolchain)
        };
        let stale = requests(Outcome::Stale);
        let hits = requests(Outcome::Hit) + requests(Outcome::Redirect) + stale;
        Counts {
            answered: hits + requests(Outcome::Revalidated) + requests(Outcome::Miss),
            hits,
            stale,
            denied: requests(Outcome::Denied),
            served_bytes: self.requests.served_bytes(),
            mirrored_bytes: self.requests.mirrored_bytes(),
            fetched_bytes: self.fetched_bytes.get(),
        }
    }

    /// How often the rules of each kind have refused something, and how often they would have if they were enforced.
    pub fn denied_by_kind(&self) -> Vec<(String, u64)> {
        counters(&self.policy_denied)
    }

    /// How often the rules of each kind would have refused something if they were enforced.
    pub fn would_deny_by_kind(&self) -> Vec<(String, u64)> {
        counters(&self.policy_would_deny)
    }

    /// The certificates in use, and how many whole days each is good for at `now`; below zero when it has expired.
    pub fn certificates(&self, now: SystemTime) -> Vec<(String, i64)> {
        const DAY: i64 = 24 * 3_600;
        let days = |expiry: f64| (expiry as i64).saturating_sub(seconds(now)).div_euclid(DAY);
        samples(&self.tls_expiry)
            .map(|(label, expiry)| (label, days(expiry)))
            .collect()
    }
}

/// Those of a metric's counters that have counted something.
fn counters(of: &impl Collector) -> Vec<(String, u64)> {
    samples(of)
        .map(|(label, value)| (label, value as u64))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The values of a metric with one label, by that.
fn samples(of: &impl Collector) -> impl Iterator<Item = (String, f64)> {
    let families = of.collect().into_iter();
    families.flat_map(|mut family| {
        let metrics = family.take_metric().into_iter();
        metrics.map(|metric| {
            let label = metric.get_label().first();
            let label = label.map(|label| label.value().to_owned());
            let (counter, gauge) = (
                metric.get_counter().get_value(),
                metric.get_gauge().get_value(),
            );
            (label.unwrap_or_default(), counter + gauge)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{domain::DenialKind, metrics::Protocol};

    #[test]
    fn what_is_counted_comes_to_sums() {
        let metrics = Metrics::new();
        let count =
            |route, outcome| metrics.request(route, outcome, Protocol::Http1, Duration::ZERO);
        for outcome in Outcome::ALL {
            for route in RouteLabel::ALL {
                count(route, outcome);
            }
        }
        // Pages are no saving, nor is what says that there is nothing.
        for (route, status) in [
            (RouteLabel::Page, StatusCode::OK),
            (RouteLabel::ConfigJson, StatusCode::OK),
            (RouteLabel::Download, StatusCode::FORBIDDEN),
        ] {
            metrics.served(route, status, 1_000);
        }
        metrics.served(RouteLabel::Index, StatusCode::OK, 3);
        metrics.served(RouteLabel::Download, StatusCode::PARTIAL_CONTENT, 7);
        metrics.fetched_bytes.inc_by(4);
        metrics.policy_denied(DenialKind::Rule);
        metrics.policy_denied(DenialKind::Rule);
        metrics.policy_would_deny(DenialKind::Cooldown);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let day = Duration::from_secs(24 * 3_600);
        metrics.tls_expiry("cert.pem", now - day * 2 - Duration::from_secs(1));
        let counts = metrics.counts();
        // Of index files, crates and files of toolchains, one each.
        assert_eq!(
            (counts.answered, counts.hits, counts.stale, counts.denied),
            (15, 9, 3, 3)
        );
        assert_eq!((counts.served_bytes, counts.saved_bytes()), (3_010, 6));
        assert_eq!(counts.hit_rate(), Some(0.6));
        assert_eq!(counts.since(&counts), Counts::default());
        assert_eq!(Counts::default().hit_rate(), None);
        assert_eq!(metrics.denied_by_kind(), [("rule".to_owned(), 2)]);
        assert_eq!(metrics.would_deny_by_kind(), [("cooldown".to_owned(), 1)]);
        assert_eq!(metrics.certificates(now), [("cert.pem".to_owned(), -3)]);
        metrics.tls_expiry("cert.pem", now + day * 3 - Duration::from_secs(1));
        assert_eq!(metrics.certificates(now), [("cert.pem".to_owned(), 2)]);
    }
}
