//! [`Metrics`]: what the mirror counts, as Prometheus text.
//!
//! A leaf. What each request touches is counted by each thread in memory of its own (`metrics/requests.rs`). What else can be known beforehand is made at start, so that it is
//! there at 0.

mod counts;
mod labels;
mod process;
mod requests;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::StatusCode;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use counts::Counts;
pub use labels::{IndexChange, Protocol, RouteLabel, TlsHandshake, UpstreamKind};

use self::{process::ProcessCollector, requests::RequestCounts};
use crate::domain::{DenialKind, Outcome};

/// So many hosts of a registry have lines of their own. A label's values are kept for ever, and which hosts there are is up to what upstreams redirect to.
const HOSTS: usize = 32;
/// What is counted for those beyond what has a line of its own.
const OTHER: &str = "other";

/// All counters of one mirror.
pub struct Metrics {
    registry: Registry,
    requests: RequestCounts,
    upstream: IntCounterVec,
    upstream_duration: HistogramVec,
    circuits: IntGaugeVec,
    /// The hosts that have lines of their own, by registry.
    hosts: Mutex<BTreeMap<String, HashSet<String>>>,
    index_changes: IntCounterVec,
    tls_handshakes: IntCounterVec,
    tls_expiry: IntGaugeVec,
    /// Changed TLS files that couldn't be used, so that those before stayed in use.
    pub tls_reloads_failed: IntCounter,
    /// Whether the TLS files can't be used as they are now: 1 or 0.
    pub tls_files_unusable: IntGauge,
    policy_denied: IntCounterVec,
    policy_would_deny: IntCounterVec,
    policy_warned: IntCounterVec,
    /// Versions in index files in memory that wait until they are old enough.
    pub policy_waiting: IntGauge,
    /// Bytes of bodies received from upstreams.
    pub fetched_bytes: IntCounter,
    /// Connections open now.
    pub connections: IntGauge,
    /// What `memory.budget` says.
    pub memory_budget: IntGauge,
    stored_bytes: IntGaugeVec,
    stored_objects: IntGaugeVec,
    /// Objects in memory; set when the metrics are read.
    pub memory_entries: IntGauge,
    /// Bytes in memory, overhead counted; set when the metrics are read.
    pub memory_bytes: IntGauge,
    /// Stored objects that failed their check when loaded.
    pub corrupt: IntCounter,
    /// Reads and writes of the store that failed.
    pub store_failures: IntCounter,
    /// Whether the last read of the store failed.
    pub store_unreadable: IntGauge,
    /// Whether the last write into the store failed.
    pub store_unwritable: IntGauge,
    bucket_requests: IntCounterVec,
    /// Bytes of objects received from the bucket.
    pub bucket_received_bytes: IntCounter,
    /// Bytes of objects sent to the bucket.
    pub bucket_sent_bytes: IntCounter,
    /// Whether the bucket is left alone at the moment because it keeps failing.
    pub bucket_circuit_open: IntGauge,
    /// Objects that are still to be written into the bucket.
    pub bucket_waiting: IntGauge,
    /// Objects that were given up before they were written into the bucket.
    pub bucket_lost: IntCounter,
    /// Index files asked for upstream before any client did.
    pub read_ahead_fetched: IntCounter,
    /// Those of them that a client asked for afterwards.
    pub read_ahead_useful: IntCounter,
    /// Those that no client has asked for yet, and so may turn out to be wasted; set when the metrics are read.
    pub read_ahead_unasked: IntGauge,
    /// Files that say who may ask, and that can't be read or understood as they are now.
    pub access_files_unreadable: IntGauge,
    /// Advisories in force.
    pub advisories: IntGauge,
    /// Seconds since their database was last written to.
    pub advisories_age: IntGauge,
    /// Its files that can't be read as advisories.
    pub advisories_passed_over: IntGauge,
    /// Whether it can't be read as it is now.
    pub advisories_unreadable: IntGauge,
    /// Lines of the audit log that were lost.
    pub audit_lost: IntCounter,
    /// Whether the last write into the audit log failed.
    pub audit_unwritable: IntGauge,
}

impl Metrics {
    /// Fresh counters, all zero.
    ///
    /// # Panics
    /// Never: the names are literals and each is registered once.
    pub fn new() -> Self {
        Self::build(Registry::new()).expect("literal metric names, each registered once")
    }

    fn build(registry: Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
                let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        registry.register(Box::new(ProcessCollector::new()?))?;
        registry.register(Box::new(build_info()?))?;
        let requests = RequestCounts::new()?;
        registry.register(Box::new(requests.clone()))?;
        // A series that begins with the first event hides it: what isn't there doesn't increase. So all that can be known is there from the start, at 0.
        let tls_handshakes = counters(
            "crate_mirror_tls_handshakes_total",
            "TLS handshakes, by how they ended",
            &["result"],
        )?;
        let policy_denied = counters(
            "crate_mirror_policy_denied_total",
            "Requests that the rules about what may come in refused, by kind of rule",
            &["kind"],
        )?;
        let policy_would_deny = counters(
            "crate_mirror_policy_would_deny_total",
            "Requests that the rules would have refused if policy.mode were \"enforce\", by kind of rule",
            &["kind"],
        )?;
        begin(&tls_handshakes, TlsHandshake::ALL.map(|how| [how.as_str()]));
        for denials in [&policy_denied, &policy_would_deny] {
            begin(denials, DenialKind::ALL.map(|kind| [kind.as_str()]));
        }
        Ok(Self {
            requests,
            upstream: counters(
                "crate_mirror_upstream_requests_total",
                "Requests sent upstream, by what was asked and what came back",
                &["registry", "kind", "result"],
            )?,
            upstream_duration: upstream_duration(&registry)?,
            circuits: gauges(
                "crate_mirror_upstream_circuit_open",
                "Whether an upstream host is left alone because it keeps failing",
                &["registry", "host"],
            )?,
            hosts: Mutex::default(),
            index_changes: counters(
                "crate_mirror_index_suspicious_changes_total",
                "Versions that vanished from an index file or changed their checksum, and crates that were deleted and replaced by others",
                &["registry", "change"],
            )?,
            tls_handshakes,
            tls_expiry: gauges(
                "crate_mirror_tls_certificate_expiry_timestamp_seconds",
                "When the certificate in use expires, in seconds since 1970",
                &["certificate"],
            )?,
            tls_reloads_failed: counter(
                "crate_mirror_tls_reloads_failed_total",
                "Changed TLS files that couldn't be used; those before stayed in use",
            )?,
            tls_files_unusable: gauge(
                "crate_mirror_tls_files_unusable",
                "Whether the TLS files can't be used as they are now (1 or 0); those before are in use",
            )?,
            policy_denied,
            policy_would_deny,
            policy_warned: counters(
                "crate_mirror_policy_warned_total",
                "Crates that were handed out although advisories are known about them (policy.advisories.warn)",
                &["registry"],
            )?,
            policy_waiting: gauge(
                "crate_mirror_policy_versions_waiting",
                "Versions in index files in memory that can't be picked yet because of policy.cooldown",
            )?,
            fetched_bytes: counter(
                "crate_mirror_fetched_bytes_total",
                "Bytes of bodies received from upstreams",
            )?,
            connections: gauge("crate_mirror_connections", "Connections open now")?,
            memory_budget: gauge(
                "crate_mirror_memory_budget_bytes",
                "What memory.budget allows; the process takes up to 100 MB more",
            )?,
            stored_bytes: gauges(
                "crate_mirror_stored_bytes",
                "Bytes in the store when it was looked through last",
                &["registry", "kind"],
            )?,
            stored_objects: gauges(
                "crate_mirror_stored_objects",
                "Objects in the store when it was looked through last",
                &["registry", "kind"],
            )?,
            memory_entries: gauge("crate_mirror_memory_entries", "Objects in memory")?,
            memory_bytes: gauge(
                "crate_mirror_memory_bytes",
                "Bytes in memory, overhead counted",
            )?,
            corrupt: counter(
                "crate_mirror_store_corrupt_total",
                "Stored objects that failed their check when loaded",
            )?,
            store_failures: counter(
                "crate_mirror_store_failures_total",
                "Reads and writes of the store that failed",
            )?,
            store_unreadable: gauge(
                "crate_mirror_store_unreadable",
                "Whether the last read of the store failed",
            )?,
            store_unwritable: gauge(
                "crate_mirror_store_unwritable",
                "Whether the last write into the store failed",
            )?,
            bucket_requests: counters(
                "crate_mirror_bucket_requests_total",
                "Requests sent to the bucket, by what was asked and what came back",
                &["operation", "result"],
            )?,
            bucket_received_bytes: counter(
                "crate_mirror_bucket_received_bytes_total",
                "Bytes of objects received from the bucket",
            )?,
            bucket_sent_bytes: counter(
                "crate_mirror_bucket_sent_bytes_total",
                "Bytes of objects sent to the bucket",
            )?,
            bucket_circuit_open: gauge(
                "crate_mirror_bucket_circuit_open",
                "Whether the bucket is left alone because it keeps failing",
            )?,
            bucket_waiting: gauge(
                "crate_mirror_bucket_waiting",
                "Objects that are still to be written into the bucket",
            )?,
            bucket_lost: counter(
                "crate_mirror_bucket_lost_total",
                "Objects that were given up before they were written into the bucket",
            )?,
            read_ahead_fetched: counter(
                "crate_mirror_read_ahead_fetched_total",
                "Index files asked for upstream before any client did",
            )?,
            read_ahead_useful: counter(
                "crate_mirror_read_ahead_useful_total",
                "Index files asked for ahead that a client then asked for",
            )?,
            read_ahead_unasked: gauge(
                "crate_mirror_read_ahead_unasked",
                "Index files asked for ahead that no client has asked for: wasted, unless one does yet",
            )?,
            access_files_unreadable: gauge(
                "crate_mirror_access_files_unreadable",
                "Files that say who may ask and can't be read or understood; what they said before is in force",
            )?,
            advisories: gauge("crate_mirror_advisories", "Advisories in force")?,
            advisories_age: gauge(
                "crate_mirror_advisories_age_seconds",
                "Time since the database of advisories was last written to",
            )?,
            advisories_passed_over: gauge(
                "crate_mirror_advisories_passed_over",
                "Files in the database of advisories that can't be read as advisories",
            )?,
            advisories_unreadable: gauge(
                "crate_mirror_advisories_unreadable",
                "Whether the database of advisories can't be read as it is now; what was read before is in force",
            )?,
            audit_lost: counter(
                "crate_mirror_audit_lost_total",
                "Lines of the audit log that were lost",
            )?,
            audit_unwritable: gauge(
                "crate_mirror_audit_unwritable",
                "Whether the last write into the audit log failed",
            )?,
            registry,
        })
    }

    /// Has what is counted of a registry's crates there from now on, at 0.
    pub fn begin_registry(&self, registry: &str) {
        let changes = IndexChange::ALL.map(|change| [registry, change.as_str()]);
        begin(&self.index_changes, changes);
        begin(&self.policy_warned, [[registry]]);
    }

    /// Has what is counted of requests to the upstream of a registry there from now on, at 0: those of these kinds, with what usually comes back and with the `failures` that can. `host`
    /// is where it is asked first.
    pub fn begin_upstream(
        &self,
        registry: &str,
        host: &str,
        kinds: &[UpstreamKind],
        failures: &[&str],
    ) {
        for kind in kinds {
            let results = kind.usual_results().iter().chain(failures);
            let labels = results.map(|result| [registry, kind.as_str(), *result]);
            begin(&self.upstream, labels);
            let _ = self
                .upstream_duration
                .with_label_values(&[registry, kind.as_str()]);
        }
        self.circuits([(registry, host, false)]);
    }

    /// Has what is counted of requests to the bucket there from now on, at 0: these operations and results; all words are the program's own.
    pub fn begin_bucket<'a>(&self, requests: impl IntoIterator<Item = [&'a str; 2]>) {
        begin(&self.bucket_requests, requests);
    }

    /// Counts one answered request.
    pub fn request(&self, route: RouteLabel, outcome: Outcome, protocol: Protocol, took: Duration) {
        self.requests.request(route, outcome, protocol, took);
    }

    /// Counts one TLS handshake.
    pub fn tls_handshake(&self, how: TlsHandshake) {
        self.tls_handshakes.with_label_values(&[how.as_str()]).inc();
    }

    /// Notes until when the certificate in that file is good.
    pub fn tls_expiry(&self, certificate: &str, until: SystemTime) {
        let expiry = self.tls_expiry.with_label_values(&[certificate]);
        expiry.set(seconds(until));
    }

    /// Notes what is in the store of a registry, by a kind of objects (`crate`, `index`).
    pub fn stored(&self, registry: &str, kind: &str, objects: u64, bytes: u64) {
        let figure = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let labels = [registry, kind];
        let of = |gauges: &IntGaugeVec| gauges.with_label_values(&labels);
        of(&self.stored_objects).set(figure(objects));
        of(&self.stored_bytes).set(figure(bytes));
    }

    /// Counts one request sent upstream, and how long it `took` until the head of its answer came or it failed; `result` is a status or the kind of failure. Statuses
    /// that nobody has defined are counted as one.
    pub fn upstream(&self, registry: &str, kind: UpstreamKind, result: &str, took: Duration) {
        let status = result.parse().ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let undefined = status.is_some_and(|status| status.canonical_reason().is_none());
        let result = if undefined { OTHER } else { result };
        self.upstream
            .with_label_values(&[registry, kind.as_str(), result])
            .inc();
        self.upstream_duration
            .with_label_values(&[registry, kind.as_str()])
            .observe(took.as_secs_f64());
    }

    /// Counts one request sent to the bucket; both words are the program's own.
    pub fn bucket_request(&self, operation: &str, result: &str) {
        self.bucket_requests
            .with_label_values(&[operation, result])
            .inc();
    }

    /// Notes of upstream hosts (registry, host) whether they are left alone at the moment. Beyond 32 of a registry it is only said whether one of its others
    /// is.
    pub fn circuits<'a>(&self, circuits: impl IntoIterator<Item = (&'a str, &'a str, bool)>) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = BTreeMap::<_, bool>::new();
        for (registry, host, open) in circuits {
            let known = hosts.entry(registry.to_owned()).or_default();
            if known.contains(host) || known.len() < HOSTS {
                known.insert(host.to_owned());
                let circuit = self.circuits.with_label_values(&[registry, host]);
                circuit.set(i64::from(open));
            } else {
                *others.entry(registry).or_default() |= open;
            }
        }
        for (registry, open) in others {
            let circuit = self.circuits.with_label_values(&[registry, OTHER]);
            circuit.set(i64::from(open));
        }
    }

    /// Counts published versions that upstream took back or gave other content, and crates that another one took the name of.
    pub fn index_changes(&self, registry: &str, change: IndexChange, count: usize) {
        let labels = [registry, change.as_str()];
        let changes = self.index_changes.with_label_values(&labels);
        changes.inc_by(count as u64);
    }

    /// Counts what the rules of a kind refused.
    pub fn policy_denied(&self, kind: DenialKind) {
        self.policy_denied.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts what the rules of a kind would have refused, were they enforced.
    pub fn policy_would_deny(&self, kind: DenialKind) {
        let would_deny = &self.policy_would_deny;
        would_deny.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts a crate of `registry` that was handed out although advisories are known about it.
    pub fn policy_warned(&self, registry: &str) {
        self.policy_warned.with_label_values(&[registry]).inc();
    }

    /// Everything as Prometheus text, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 << 10);
        if let Err(e) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("metrics can't be rendered: {e}");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Has these series there, at 0.
fn begin<'a, const N: usize>(
    counters: &IntCounterVec,
    labels: impl IntoIterator<Item = [&'a str; N]>,
) {
    for labels in labels {
        let _ = counters.with_label_values(&labels);
    }
}

/// Which program this is, as a metric that is always 1.
fn build_info() -> prometheus::Result<IntGauge> {
    let options = Opts::new(
        "crate_mirror_build_info",
        "Always 1; the labels say which program this is",
    )
    .const_label("version", env!("CARGO_PKG_VERSION"))
    .const_label("os", std::env::consts::OS)
    .const_label("arch", std::env::consts::ARCH);
    let info = IntGauge::with_opts(options)?;
    info.set(1);
    Ok(info)
}

/// Seconds since 1970; below zero before.
fn seconds(time: SystemTime) -> i64 {
    let figure = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => figure(after),
        Err(before) => -figure(before.duration()),
    }
}

fn upstream_duration(registry: &Registry) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(
        "crate_mirror_upstream_request_duration_seconds",
        "From sending a request upstream to the head of its answer, or its failure",
    )
    .buckets(vec![
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0,
    ]);
    let durations = HistogramVec::new(options, &["registry", "kind"])?;
    registry.register(Box::new(durations.clone()))?;
    Ok(durations)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 hosts that an upstream redirected to made 60 KB of metrics, and each of them stayed for ever.
    #[test]
    fn labels_that_come_from_outside_are_bounded() {
        let metrics = Metrics::new();
        let names: Vec<_> = (0..1_000).map(|n| format!("cdn-{n}.example")).collect();
        let circuits = |open: bool| names.iter().map(move |n| ("crates-io", n.as_str(), open));
        metrics.circuits([("crates-io", "index.crates.io", true)]);
        metrics.circuits(circuits(false));
        for status in 100..1_000 {
            metrics.upstream(
                "crates-io",
                UpstreamKind::Index,
                &status.to_string(),
                Duration::ZERO,
            );
        }
        metrics.upstream("crates-io", UpstreamKind::Index, "timeout", Duration::ZERO);
        let text = || String::from_utf8(metrics.render()).expect("text");
        let hosts = |text: &str| text.matches("circuit_open{").count();
        assert_eq!(hosts(&text()), HOSTS + 1);
        let others = "circuit_open{host=\"other\",registry=\"crates-io\"}";
        let own = "circuit_open{host=\"index.crates.io\",registry=\"crates-io\"} 1\n";
        assert!(text().contains(own), "{}", text());
        assert!(text().contains(&format!("{others} 0\n")), "{}", text());
        metrics.circuits(circuits(true));
        assert!(text().contains(&format!("{others} 1\n")), "{}", text());
        assert_eq!(hosts(&text()), HOSTS + 1);
        let results = text().matches("upstream_requests_total{").count();
        assert!(results < 100, "{results}");
        for result in ["200", "404", "503", "timeout", "other"] {
            let line = format!("result=\"{result}\"}}");
            assert!(text().contains(&line), "{line}");
        }
    }

    /// Counters are found by index; a wrong stride would count a miss as a hit of another route.
    #[test]
    fn every_route_and_outcome_has_its_own_counter() {
        let metrics = Metrics::new();
        for route in RouteLabel::ALL {
            for outcome in Outcome::ALL {
                metrics.request(route, outcome, Protocol::Http2, Duration::ZERO);
            }
        }
        let text = String::from_utf8(metrics.render()).expect("text");
        for route in RouteLabel::ALL {
            for outcome in Outcome::ALL {
                let (route, outcome) = (route.as_str(), outcome.as_str());
                let line = format!(
                    "crate_mirror_requests_total{{outcome=\"{outcome}\",route=\"{route}\"}} 1\n"
                );
                assert!(text.contains(&line), "{line} in {text}");
            }
        }
        let all = RouteLabel::ALL.len() * Outcome::ALL.len();
        let line = format!("by_protocol_total{{protocol=\"HTTP/2\"}} {all}\n");
        assert!(text.contains(&line), "{line} in {text}");
        assert!(
            text.contains("duration_seconds_count{route=\"download\"} 8\n"),
            "{text}"
        );
    }
}
