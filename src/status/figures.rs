//! [`Figures`]: what a mirror does at one moment, as `/status.json` has it.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::{
    circuit::HostCircuit,
    domain::{RegistryName, one_line},
    last_hour::LastHour,
    metrics::{Counts, Metrics},
    mirror::{Mirror, Registry, StoreCensus},
};

/// So many bytes of what a host's last failure was are shown. A certificate may be for a hundred names, all of which are said of it.
const SAID: usize = 400;

/// What a mirror does at one moment. Field by field what `/status.json` has; times are RFC 3339 in UTC, sizes bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// This program's version.
    pub version: &'static str,
    /// When these figures were made.
    pub at: String,
    /// For how many seconds it has been running.
    pub uptime_seconds: u64,
    /// What is wrong, in words, the worst first; nothing when all is well.
    pub troubles: Vec<String>,
    /// What clients asked for.
    pub requests: RequestFigures,
    /// Bytes of bodies sent to clients since the start.
    pub served_bytes: u64,
    /// Bytes of bodies received from upstreams since the start.
    pub fetched_bytes: u64,
    /// How many fewer were fetched than clients were sent of what upstream would have been asked for: index files, crates, packs, toolchains.
    pub saved_bytes: u64,
    /// Connections of clients that are open.
    pub connections: i64,
    /// What is served without touching the disk.
    pub memory: MemoryFigures,
    /// Where objects are kept.
    pub store: StoreFigures,
    /// The registries and the hosts behind them.
    pub registries: Vec<RegistryFigures>,
    /// The distribution host of toolchains, where these are served.
    pub toolchains: Option<DistributionFigures>,
    /// The oldest copy that was served within the last five minutes although it was due.
    pub oldest_stale: Option<StaleFigures>,
    /// What the rules refused since the start.
    pub refusals: RefusalFigures,
    /// The certificates in use.
    pub certificates: Vec<CertificateFigures>,
    /// What is known of faults in crates, where a database is followed.
    pub advisories: Option<AdvisoryFigures>,
    /// The audit log.
    pub audit: AuditFigures,
    /// The sixty minutes of the last hour, the oldest first.
    pub last_hour: Vec<MinuteFigures>,
}

/// What clients asked for: index files and crates.
#[derive(Clone, Debug, Serialize)]
pub struct RequestFigures {
    /// Those answered with something since the start.
    pub answered: u64,
    /// Those of them that didn't wait for upstream.
    pub hits: u64,
    /// Those of the hits that got a copy which was due.
    pub stale: u64,
    /// Hits by answers since the start, from 0 to 1; none before the first answer.
    pub hit_rate: Option<f64>,
    /// The same in the last hour.
    pub hit_rate_last_hour: Option<f64>,
    /// Answers within the last minute.
    pub per_minute: u64,
}

/// What is served without touching the disk.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryFigures {
    /// How many objects.
    pub objects: i64,
    /// Their bytes, overhead counted.
    pub bytes: i64,
}

/// Where objects are kept.
#[derive(Clone, Debug, Serialize)]
pub struct StoreFigures {
    /// Whether the last read went well.
    pub readable: bool,
    /// Whether the last write went well.
    pub writable: bool,
    /// Reads and writes that failed since the start.
    pub failures: u64,
    /// Objects that failed their check since the start.
    pub corrupt: u64,
    /// What was in it when it was looked through last; none before that, which is done soon after the start.
    pub census: Option<CensusFigures>,
    /// The bucket, where objects are in one: `census` is of what it holds then.
    pub bucket: Option<BucketFigures>,
}

/// The bucket in which objects are.
#[derive(Clone, Debug, Serialize)]
pub struct BucketFigures {
    /// Whether it is left alone at the moment, because it keeps failing.
    pub circuit_open: bool,
    /// Objects that are still to be written into it.
    pub waiting: i64,
    /// Objects that were given up before they were written into it, since the start.
    pub lost: u64,
}

/// What is in the store.
#[derive(Clone, Debug, Serialize)]
pub struct CensusFigures {
    /// How long ago it was looked through, in seconds.
    pub age_seconds: u64,
    /// Bytes of all objects.
    pub bytes: u64,
    /// By registry.
    pub registries: Vec<StoredFigures>,
    /// Of toolchains, if anything is.
    pub toolchains: Option<StoredToolchainFigures>,
    /// Why there may be more, if something couldn't be looked at.
    pub unread: Option<String>,
    /// What of it is in the folder in front of the bucket as well, where there is one.
    pub near: Option<NearFigures>,
}

/// What is in the folder in front of a bucket.
#[derive(Clone, Debug, Serialize)]
pub struct NearFigures {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is stored of a registry.
#[derive(Clone, Debug, Serialize)]
pub struct StoredFigures {
    /// Which.
    pub registry: String,
    /// How many .crate files.
    pub crates: u64,
    /// Their bytes.
    pub crate_bytes: u64,
    /// How many index files.
    pub index_files: u64,
    /// Their bytes.
    pub index_bytes: u64,
}

/// What is stored of toolchains.
#[derive(Clone, Debug, Serialize)]
pub struct StoredToolchainFigures {
    /// How many components and rustup-inits.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// How many manifests and checksums.
    pub documents: u64,
    /// Their bytes.
    pub document_bytes: u64,
}

/// A registry.
#[derive(Clone, Debug, Serialize)]
pub struct RegistryFigures {
    /// What the operator calls it.
    pub name: String,
    /// Whether it is the one that is served when none is named.
    pub default: bool,
    /// Whether there is an upstream to ask.
    pub online: bool,
    /// The hosts asked so far.
    pub hosts: Vec<HostFigures>,
}

/// A host of an upstream.
#[derive(Clone, Debug, Serialize)]
pub struct HostFigures {
    /// Its name and port.
    pub host: String,
    /// Whether it is left alone at the moment, because it keeps failing.
    pub circuit_open: bool,
    /// The last request to it that failed since the start, if one has; it stays when the host is well again.
    pub last_failure: Option<FailureFigures>,
}

/// Where toolchains come from.
#[derive(Clone, Debug, Serialize)]
pub struct DistributionFigures {
    /// Whether there is a host to ask.
    pub online: bool,
    /// The hosts asked so far.
    pub hosts: Vec<HostFigures>,
}

/// A request that failed.
#[derive(Clone, Debug, Serialize)]
pub struct FailureFigures {
    /// What came, or didn't: a sentence without its full stop.
    pub said: String,
    /// When.
    pub at: String,
    /// How long ago that is, in seconds.
    pub age_seconds: u64,
}

/// A copy that was served although it was due.
#[derive(Clone, Debug, Serialize)]
pub struct StaleFigures {
    /// In which registry.
    pub registry: String,
    /// Whose index file.
    pub name: String,
    /// How long ago upstream last said that it is current.
    pub age_seconds: u64,
}

/// What the rules refused since the start.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalFigures {
    /// Requests that were refused, by kind of rule.
    pub denied: Vec<KindFigures>,
    /// Requests that would have been, were the rules enforced.
    pub would_deny: Vec<KindFigures>,
    /// Versions that can't be picked yet because they are too young, in index files in memory.
    pub waiting: i64,
}

/// How often the rules of a kind decided something.
#[derive(Clone, Debug, Serialize)]
pub struct KindFigures {
    /// Which kind.
    pub kind: String,
    /// How often.
    pub count: u64,
}

/// A certificate in use.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateFigures {
    /// The file it was read from.
    pub certificate: String,
    /// Whole days until it expires; below zero when it has.
    pub days_left: i64,
}

/// What is known of faults in crates.
#[derive(Clone, Debug, Serialize)]
pub struct AdvisoryFigures {
    /// Advisories in force.
    pub count: i64,
    /// Seconds since their database was last written to.
    pub age_seconds: i64,
    /// Its files that can't be read as advisories.
    pub passed_over: i64,
    /// Whether it can be read as it is now.
    pub readable: bool,
}

/// The audit log.
#[derive(Clone, Debug, Serialize)]
pub struct AuditFigures {
    /// Lines that were lost since the start.
    pub lost: u64,
    /// Whether the last write went well.
    pub writable: bool,
}

/// One minute of the last hour.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MinuteFigures {
    /// Requests answered with something.
    pub answered: u64,
    /// Those of them that didn't wait for upstream.
    pub hits: u64,
    /// Bytes sent to clients.
    pub served_bytes: u64,
    /// Bytes received from upstreams.
    pub fetched_bytes: u64,
    /// Requests that the rules refused.
    pub denied: u64,
}

impl Figures {
    /// Those of `mirror` at `now`.
    pub(super) fn of(
        mirror: &Mirror,
        last_hour: &LastHour,
        started: SystemTime,
        now: SystemTime,
    ) -> Self {
        let metrics = mirror.metrics();
        let counts = metrics.counts();
        let minutes = last_hour.minutes(now, counts);
        let per_minute = last_hour.minute(now, counts).answered;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            at: humantime::format_rfc3339_seconds(now).to_string(),
            uptime_seconds: seconds(started, now),
            troubles: Vec::new(),
            requests: RequestFigures::of(&counts, &minutes, per_minute),
            served_bytes: counts.served_bytes,
            fetched_bytes: counts.fetched_bytes,
            saved_bytes: counts.saved_bytes(),
            connections: metrics.connections.get(),
            memory: MemoryFigures {
                objects: metrics.memory_entries.get(),
                bytes: metrics.memory_bytes.get(),
            },
            store: StoreFigures::of(mirror, metrics, now),
            registries: registries(mirror, now),
            toolchains: toolchains(mirror, now),
            oldest_stale: StaleFigures::of(mirror, |_| true, now),
            refusals: RefusalFigures {
                denied: kinds(metrics.denied_by_kind()),
                would_deny: kinds(metrics.would_deny_by_kind()),
                waiting: metrics.policy_waiting.get(),
            },
            certificates: certificates(metrics, now),
            advisories: advisories(metrics),
            audit: AuditFigures {
                lost: metrics.audit_lost.get(),
                writable: metrics.audit_unwritable.get() == 0,
            },
            last_hour: minutes.iter().map(MinuteFigures::of).collect(),
        }
    }
}

impl Figures {
    /// The same with what is said of single registries only where `may_know` accepts them. What is counted over all registries stays: it names nothing.
    pub(super) fn only(
        self,
        mirror: &Mirror,
        may_know: impl Fn(RegistryName) -> bool,
        now: SystemTime,
    ) -> Self {
        let is_known = |name: &str| RegistryName::parse(name).is_ok_and(&may_know);
        let (mut registries, mut store) = (self.registries, self.store);
        registries.retain(|registry| is_known(&registry.name));
        if let Some(census) = &mut store.census {
            census.registries.retain(|of| is_known(&of.registry));
            let toolchains = census.toolchains.take();
            census.toolchains = toolchains.filter(|_| may_know(RegistryName::toolchains()));
            census.bytes = census.stored_bytes();
            // These are of all registries together.
            (census.near, census.unread) = (None, None);
        }
        let toolchains = self.toolchains;
        Self {
            registries,
            store,
            toolchains: toolchains.filter(|_| may_know(RegistryName::toolchains())),
            oldest_stale: StaleFigures::of(mirror, may_know, now),
            ..self
        }
    }
}

impl StaleFigures {
    fn of(
        mirror: &Mirror,
        is_meant: impl Fn(RegistryName) -> bool,
        now: SystemTime,
    ) -> Option<Self> {
        let copy = mirror.oldest_stale(is_meant, now)?;
        Some(Self {
            registry: copy.key.registry.to_string(),
            name: copy.key.name().to_string(),
            age_seconds: seconds(copy.checked_at, now),
        })
    }
}

impl RequestFigures {
    fn of(counts: &Counts, minutes: &[Counts], per_minute: u64) -> Self {
        let mut hour = Counts::default();
        for minute in minutes {
            hour.answered += minute.answered;
            hour.hits += minute.hits;
        }
        Self {
            answered: counts.answered,
            hits: counts.hits,
            stale: counts.stale,
            hit_rate: counts.hit_rate(),
            hit_rate_last_hour: hour.hit_rate(),
            per_minute,
        }
    }
}

impl StoreFigures {
    fn of(mirror: &Mirror, metrics: &Metrics, now: SystemTime) -> Self {
        Self {
            census: mirror
                .census()
                .map(|census| CensusFigures::of(&census, now)),
            readable: metrics.store_unreadable.get() == 0,
            writable: metrics.store_unwritable.get() == 0,
            failures: metrics.store_failures.get(),
            corrupt: metrics.corrupt.get(),
            bucket: mirror.has_bucket().then(|| BucketFigures {
                circuit_open: metrics.bucket_circuit_open.get() != 0,
                waiting: metrics.bucket_waiting.get(),
                lost: metrics.bucket_lost.get(),
            }),
        }
    }
}

impl CensusFigures {
    fn of(census: &StoreCensus, now: SystemTime) -> Self {
        let registries = census.registries.iter();
        let registries = registries.map(|(registry, of_it)| StoredFigures {
            registry: registry.to_string(),
            crates: of_it.crates,
            crate_bytes: of_it.crate_bytes,
            index_files: of_it.records,
            index_bytes: of_it.record_bytes,
        });
        let toolchains = Some(census.toolchains).filter(|of| of.files + of.documents > 0);
        Self {
            age_seconds: seconds(census.at, now),
            bytes: census.bytes(),
            registries: registries.collect(),
            toolchains: toolchains.map(|of| StoredToolchainFigures {
                files: of.files,
                file_bytes: of.file_bytes,
                documents: of.documents,
                document_bytes: of.document_bytes,
            }),
            unread: census.unread.as_deref().map(str::to_owned),
            near: census.near.map(|near| NearFigures {
                objects: near.objects,
                bytes: near.bytes,
            }),
        }
    }
}

impl CensusFigures {
    /// The bytes of all that it names.
    fn stored_bytes(&self) -> u64 {
        let registries = self.registries.iter();
        let registries = registries.map(|of| of.crate_bytes + of.index_bytes);
        let toolchains = self.toolchains.iter();
        let toolchains = toolchains.map(|of| of.file_bytes + of.document_bytes);
        registries.chain(toolchains).sum()
    }
}

impl MinuteFigures {
    fn of(counts: &Counts) -> Self {
        Self {
            answered: counts.answered,
            hits: counts.hits,
            served_bytes: counts.served_bytes,
            fetched_bytes: counts.fetched_bytes,
            denied: counts.denied,
        }
    }
}

impl HostFigures {
    fn of(host: HostCircuit, now: SystemTime) -> Self {
        let failure = host.last_failure.as_ref().map(|failure| FailureFigures {
            said: one_line(&failure.error.to_string(), SAID),
            at: humantime::format_rfc3339_seconds(now - failure.ago).to_string(),
            age_seconds: failure.ago.as_secs(),
        });
        Self {
            circuit_open: host.is_open(),
            last_failure: failure,
            host: host.host,
        }
    }
}

/// The hosts asked for a registry, or for toolchains, in the order of their names.
fn hosts_of(mirror: &Mirror, name: RegistryName, now: SystemTime) -> Vec<HostFigures> {
    let of_it = mirror.circuits().filter(|(of, _)| *of == name);
    let mut hosts: Vec<_> = of_it.map(|(_, host)| HostFigures::of(host, now)).collect();
    hosts.sort_by(|a, b| a.host.cmp(&b.host));
    hosts
}

fn toolchains(mirror: &Mirror, now: SystemTime) -> Option<DistributionFigures> {
    let online = mirror.asks_for_toolchains()?;
    let hosts = hosts_of(mirror, RegistryName::toolchains(), now);
    Some(DistributionFigures { online, hosts })
}

fn registries(mirror: &Mirror, now: SystemTime) -> Vec<RegistryFigures> {
    let is_online = |name| match mirror.registry(Some(name)) {
        Ok(Registry::Online(_)) => true,
        Ok(Registry::Offline(_)) | Err(_) => false,
    };
    let registry = |name: RegistryName| RegistryFigures {
        name: name.to_string(),
        default: name == mirror.default_registry(),
        online: is_online(name),
        hosts: hosts_of(mirror, name, now),
    };
    mirror.registries().map(registry).collect()
}

fn kinds(counted: Vec<(String, u64)>) -> Vec<KindFigures> {
    let kind = |(kind, count)| KindFigures { kind, count };
    counted.into_iter().map(kind).collect()
}

fn certificates(metrics: &Metrics, now: SystemTime) -> Vec<CertificateFigures> {
    let certificates = metrics.certificates(now).into_iter();
    let certificate = |(certificate, days_left)| CertificateFigures {
        certificate,
        days_left,
    };
    certificates.map(certificate).collect()
}

fn advisories(metrics: &Metrics) -> Option<AdvisoryFigures> {
    let count = metrics.advisories.get();
    let readable = metrics.advisories_unreadable.get() == 0;
    (count > 0 || !readable).then(|| AdvisoryFigures {
        count,
        age_seconds: metrics.advisories_age.get(),
        passed_over: metrics.advisories_passed_over.get(),
        readable,
    })
}

fn seconds(since: SystemTime, now: SystemTime) -> u64 {
    let age: Duration = now.duration_since(since).unwrap_or_default();
    age.as_secs()
}
