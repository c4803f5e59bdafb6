//! [`RequestCounts`]: what answered requests are counted in.
//!
//! Each thread counts in a shard of its own, and whoever reads adds the shards up. With the same counters for all threads, each request waited several times for a
//! cache line that another core had changed a moment before.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::labels::{Protocol, RouteLabel};
use crate::domain::Outcome;

/// There are so many shards. With more threads than that, some share one.
const SHARDS: usize = 16;
const ROUTES: usize = RouteLabel::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();
/// The upper bounds of the buckets of durations, in microseconds; there is one more without a bound.
const BOUNDS: [u64; 11] = [
    100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 25_000_000,
];

const REQUESTS: (&str, &str) = (
    "crate_mirror_requests_total",
    "Requests answered, by what was asked and where the answer came from (x-cache)",
);
const PROTOCOLS: (&str, &str) = (
    "crate_mirror_requests_by_protocol_total",
    "Requests answered, by protocol",
);
const DURATIONS: (&str, &str) = (
    "crate_mirror_request_duration_seconds",
    "From a request's head to the end of its answer",
);
const SERVED: (&str, &str) = (
    "crate_mirror_served_bytes_total",
    "Bytes of bodies sent to clients",
);
const MIRRORED: (&str, &str) = (
    "crate_mirror_mirrored_bytes_total",
    "Bytes of bodies sent to clients that upstream would have been asked for: index files, crates, packs of the git index, toolchains",
);

/// What answered requests are counted in. A clone is another handle on the same.
#[derive(Clone)]
pub(super) struct RequestCounts(Arc<Counted>);

struct Counted {
    shards: [Shard; SHARDS],
    descriptions: Vec<Desc>,
}

/// What some threads have counted. A shard has cache lines of its own, in pairs, because processors fetch two at a time: otherwise they would share them falsely.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    requests: [[AtomicU64; OUTCOMES]; ROUTES],
    protocols: [AtomicU64; Protocol::ALL.len()],
    durations: [Durations; ROUTES],
    served: AtomicU64,
    mirrored: AtomicU64,
}

/// How long requests took.
#[derive(Default)]
struct Durations {
    /// Each request is in one.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Of all of them together. After 584 years it begins again at 0, as a counter does after a restart.
    nanoseconds: AtomicU64,
}

impl Shard {
    /// The calling thread's number among the shards.
    fn own() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        OWN.with(|own| *own)
    }
}

/// Adds without an order among counts: nothing is concluded from one about another.
fn add(to: &AtomicU64, count: u64) {
    to.fetch_add(count, Ordering::Relaxed);
}

impl RequestCounts {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// Never: the names are literals.
    pub(super) fn new() -> prometheus::Result<Self> {
        let described = |(name, help): (&str, &str), labels: &[&str]| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        let descriptions = [
            described(REQUESTS, &["outcome", "route"])?,
            described(PROTOCOLS, &["protocol"])?,
            described(DURATIONS, &["route"])?,
            described(SERVED, &[])?,
            described(MIRRORED, &[])?,
        ];
        Ok(Self(Arc::new(Counted {
            shards: Default::default(),
            descriptions: descriptions.into(),
        })))
    }

    /// Counts one answered request.
    pub(super) fn request(
        &self,
        route: RouteLabel,
        outcome: Outcome,
        protocol: Protocol,
        took: Duration,
    ) {
        let shard = &self.0.shards[Shard::own()];
        add(&shard.requests[route as usize][outcome as usize], 1);
        add(&shard.protocols[protocol as usize], 1);
        let durations = &shard.durations[route as usize];
        let bucket = BOUNDS
            .iter()
            .position(|&bound| took <= Duration::from_micros(bound));
        add(&durations.buckets[bucket.unwrap_or(BOUNDS.len())], 1);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&durations.nanoseconds, nanoseconds);
    }

    /// Counts bytes of a body that went to a client; whether upstream would have been asked for it.
    pub(super) fn served(&self, bytes: u64, is_mirrored: bool) {
        let shard = &self.0.shards[Shard::own()];
        add(&shard.served, bytes);
        if is_mirrored {
            add(&shard.mirrored, bytes);
        }
    }

    /// How many requests for this were answered from there.
    pub(super) fn requests(&self, route: RouteLabel, outcome: Outcome) -> u64 {
        self.sum(|shard| &shard.requests[route as usize][outcome as usize])
    }

    /// Bytes of bodies that went to clients.
    pub(super) fn served_bytes(&self) -> u64 {
        self.sum(|shard| &shard.served)
    }

    /// Those of them that upstream would have been asked for.
    pub(super) fn mirrored_bytes(&self) -> u64 {
        self.sum(|shard| &shard.mirrored)
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        let counted = self
            .0
            .shards
            .iter()
            .map(|shard| of(shard).load(Ordering::Relaxed));
        counted.fold(0, u64::wrapping_add)
    }

    fn durations(&self, route: RouteLabel) -> Histogram {
        let mut count = 0;
        let mut buckets = Vec::new();
        for (n, bound) in BOUNDS.into_iter().enumerate() {
            count += self.sum(|shard| &shard.durations[route as usize].buckets[n]);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(Duration::from_micros(bound).as_secs_f64());
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        count += self.sum(|shard| &shard.durations[route as usize].buckets[BOUNDS.len()]);
        let nanoseconds = self.sum(|shard| &shard.durations[route as usize].nanoseconds);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(Duration::from_nanos(nanoseconds).as_secs_f64());
        histogram
    }
}

impl Collector for RequestCounts {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let requests = RouteLabel::ALL.into_iter().flat_map(|route| {
            Outcome::ALL.into_iter().map(move |outcome| {
                let labels = [("outcome", outcome.as_str()), ("route", route.as_str())];
                counter(&labels, self.requests(route, outcome))
            })
        });
        let protocols = Protocol::ALL.into_iter().map(|protocol| {
            let count = self.sum(|shard| &shard.protocols[protocol as usize]);
            counter(&[("protocol", protocol.as_str())], count)
        });
        let durations = RouteLabel::ALL.into_iter().map(|route| {
            let mut metric = labelled(&[("route", route.as_str())]);
            metric.set_histogram(self.durations(route));
            metric
        });
        vec![
            family(REQUESTS, MetricType::COUNTER, requests.collect()),
            family(PROTOCOLS, MetricType::COUNTER, protocols.collect()),
            family(DURATIONS, MetricType::HISTOGRAM, durations.collect()),
            family(
                SERVED,
                MetricType::COUNTER,
                vec![counter(&[], self.served_bytes())],
            ),
            family(
                MIRRORED,
                MetricType::COUNTER,
                vec![counter(&[], self.mirrored_bytes())],
            ),
        ]
    }
}

fn family((name, help): (&str, &str), kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// One with these labels, which are in order.
fn labelled(labels: &[(&str, &str)]) -> Metric {
    let label = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    Metric::from_label(labels.iter().map(label).collect())
}

fn counter(labels: &[(&str, &str)], count: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use prometheus::{
        HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_many_threads_count_is_added_up() {
        const EACH: u64 = 1_000;
        let counts = RequestCounts::new().expect("literal names");
        let count = || {
            for _ in 0..EACH {
                let (route, outcome) = (RouteLabel::Index, Outcome::Hit);
                counts.request(route, outcome, Protocol::Http1, Duration::from_micros(7));
                counts.served(3, true);
                counts.served(2, false);
            }
        };
        let threads = 2 * SHARDS as u64;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(count);
            }
        });
        let all = threads * EACH;
        assert_eq!(counts.requests(RouteLabel::Index, Outcome::Hit), all);
        assert_eq!(counts.requests(RouteLabel::Index, Outcome::Miss), 0);
        assert_eq!(counts.requests(RouteLabel::Download, Outcome::Hit), 0);
        assert_eq!(
            (counts.served_bytes(), counts.mirrored_bytes()),
            (5 * all, 3 * all)
        );
        assert_eq!(counts.durations(RouteLabel::Index).get_sample_count(), all);
    }

    /// One shard for all, or two in a cache line, would be no better than one counter for all.
    #[test]
    fn threads_count_in_shards_that_share_no_cache_line() {
        let own = |_| thread::spawn(Shard::own).join().expect("no panic");
        let owns: HashSet<_> = (0..2 * SHARDS).map(own).collect();
        assert!(owns.len() > 1, "{owns:?}");
        assert_eq!(Shard::own(), Shard::own());
        assert_eq!(align_of::<Shard>() % 128, 0);
        assert_eq!(size_of::<Shard>() % 128, 0);
    }

    /// The same counted by Prometheus' own library, as it was once.
    #[derive(Clone)]
    struct Theirs {
        requests: IntCounterVec,
        protocols: IntCounterVec,
        durations: HistogramVec,
        served: IntCounter,
        mirrored: IntCounter,
    }

    impl Theirs {
        fn new() -> Self {
            let counters = |(name, help), labels: &[&str]| {
                IntCounterVec::new(Opts::new(name, help), labels).expect("a name")
            };
            let counter = |(name, help)| IntCounter::new(name, help).expect("a name");
            let bounds = [
                0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 25.0,
            ];
            let options = HistogramOpts::new(DURATIONS.0, DURATIONS.1).buckets(bounds.into());
            let theirs = Self {
                requests: counters(REQUESTS, &["route", "outcome"]),
                protocols: counters(PROTOCOLS, &["protocol"]),
                durations: HistogramVec::new(options, &["route"]).expect("a name"),
                served: counter(SERVED),
                mirrored: counter(MIRRORED),
            };
            for route in RouteLabel::ALL.map(RouteLabel::as_str) {
                let _ = theirs.durations.with_label_values(&[route]);
                for outcome in Outcome::ALL {
                    let _ = theirs
                        .requests
                        .with_label_values(&[route, outcome.as_str()]);
                }
            }
            for protocol in Protocol::ALL {
                let _ = theirs.protocols.with_label_values(&[protocol.as_str()]);
            }
            theirs
        }

        fn count(
            &self,
            route: RouteLabel,
            outcome: Outcome,
            protocol: Protocol,
            took: Duration,
            bytes: u64,
        ) {
            let labels = [route.as_str(), outcome.as_str()];
            self.requests.with_label_values(&labels).inc();
            self.protocols.with_label_values(&[protocol.as_str()]).inc();
            let durations = self.durations.with_label_values(&[route.as_str()]);
            durations.observe(took.as_secs_f64());
            self.served.inc_by(bytes);
            self.mirrored
                .inc_by(if route.is_mirrored() { bytes } else { 0 });
        }

        fn all(&self) -> [&dyn Collector; 5] {
            [
                &self.requests,
                &self.protocols,
                &self.durations,
                &self.served,
                &self.mirrored,
            ]
        }
    }

    impl Collector for Theirs {
        fn desc(&self) -> Vec<&Desc> {
            self.all().into_iter().flat_map(Collector::desc).collect()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            self.all()
                .into_iter()
                .flat_map(Collector::collect)
                .collect()
        }
    }

    /// What is shown of it: the text without the sums, and these.
    fn shown(collector: impl Collector + 'static) -> (String, Vec<(String, f64)>) {
        let registry = Registry::new();
        registry.register(Box::new(collector)).expect("one of them");
        let text = TextEncoder::new().encode_to_string(&registry.gather());
        let text = text.expect("text");
        let (sums, others): (Vec<_>, Vec<_>) = text.lines().partition(|l| l.contains("_sum{"));
        let sum = |line: &&str| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        (others.join("\n"), sums.iter().map(sum).collect())
    }

    proptest! {
        /// What is shown is, to the byte, what Prometheus' own library shows; only sums of durations are rounded in another way.
        #[test]
        fn it_is_shown_as_by_prometheus_own_library(
            all in prop::collection::vec((
                prop_oneof![prop::sample::select(&BOUNDS[..]), 0..60_000_000_u64],
                prop::sample::select(&RouteLabel::ALL[..]),
                prop::sample::select(&Outcome::ALL[..]),
                prop::sample::select(&Protocol::ALL[..]),
                0..1_000_u64,
            ), 0..40),
        ) {
            let (counts, theirs) = (RequestCounts::new().expect("literal names"), Theirs::new());
            for (micros, route, outcome, protocol, bytes) in all {
                let took = Duration::from_micros(micros);
                counts.request(route, outcome, protocol, took);
                counts.served(bytes, route.is_mirrored());
                theirs.count(route, outcome, protocol, took, bytes);
            }
            let (ours, our_sums) = shown(counts);
            let (theirs, their_sums) = shown(theirs);
            prop_assert_eq!(ours, theirs);
            prop_assert_eq!(our_sums.len(), RouteLabel::ALL.len());
            for (our, their) in our_sums.iter().zip(&their_sums) {
                prop_assert_eq!(&our.0, &their.0);
                prop_assert!((our.1 - their.1).abs() < 1e-6, "{} is {}, and {}", our.0, our.1, their.1);
            }
        }
    }
}
