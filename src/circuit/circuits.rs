//! [`Circuits`]: circuit breakers, one for each host. While a host's circuit is open it isn't asked, but for one request at a time that finds out
//! whether it is back.
//!
//! Without them every request during an outage would wait for its own timeouts, and an overloaded host would be asked more and more. But one resource that
//! fails doesn't make its host fail: a file that can't be had, again and again, says nothing of the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::failures::{Backoffs, Failure, Failures, Resource};
use crate::error::{Error, Kind, Result};

/// How long a host is left alone at first; doubled with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// When to ask again while a probe is on its way.
const PROBE_TAKES: Duration = Duration::from_millis(250);
/// So many hosts are remembered. A registry has one or two; redirects could lead to a new one each time.
const HOSTS: usize = 64;

/// Whether a host is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It is.
    Closed,
    /// It isn't, or only by one request that is to find out whether it is back.
    Open,
}

/// A host, and how it is asked.
#[derive(Clone, Debug)]
pub struct HostCircuit {
    /// Its name, with its port where that isn't the usual one.
    pub host: String,
    /// Whether it is being asked.
    pub circuit: Circuit,
    /// The last request to it that failed, if one has.
    pub last_failure: Option<HostFailure>,
}

/// Why a request to a host failed.
#[derive(Clone, Debug)]
pub struct HostFailure {
    /// What came, or didn't. It may be shown to who may see which hosts are asked.
    pub error: Error,
    /// How long ago that was.
    pub ago: Duration,
}

impl HostCircuit {
    /// Whether it isn't asked at the moment.
    pub fn is_open(&self) -> bool {
        self.circuit == Circuit::Open
    }
}

/// The circuits of hosts that belong together: that of a registry's index, and those its crates are on; or that of a bucket.
#[derive(Default)]
pub(crate) struct Circuits(Mutex<HashMap<String, Host>>);

/// What is known of a host.
struct Host {
    state: HostState,
    /// The resources that are to be left alone, whatever becomes of the others.
    backoffs: Backoffs,
    used: Instant,
    /// The last request that failed, and when. It stays when the host is back: who looks then wants to know what it was.
    last_failure: Option<(Error, Instant)>,
}

enum HostState {
    Closed(Failures),
    Open(Opening),
    /// One request is on its way to find out.
    Probing(Opening),
}

/// What is known while a circuit is open.
#[derive(Clone)]
struct Opening {
    until: Instant,
    length: Duration,
    /// The resource of the last probe, if it failed. Another one goes first the next time, because this resource may be all that is wrong.
    by: Option<Resource>,
    /// Why, if it is for a reason that doesn't pass.
    refused: Option<Error>,
}

/// Leave to send one request. Dropped before it is told how the request ended, it counts as neither success nor failure.
pub(crate) struct CircuitPass {
    circuits: Arc<Circuits>,
    host: String,
    resource: Resource,
    probe: bool,
}

impl Circuits {
    /// Leave to ask `host` for `resource`.
    ///
    /// # Errors
    /// [`Kind::CircuitOpen`] with the time until the next probe while the circuit is open, or until this resource may be asked for again;
    /// [`Kind::UpstreamRefused`] while it is open for a reason that doesn't pass.
    pub(crate) fn pass(
        self: &Arc<Self>,
        host: &str,
        resource: Resource,
        now: Instant,
    ) -> Result<CircuitPass> {
        let mut hosts = self.lock();
        make_room(&mut hosts, host);
        let known = hosts
            .entry(host.to_owned())
            .or_insert_with(|| Host::new(now));
        known.used = now;
        if let Some(wait) = known.backoffs.wait(resource, now) {
            let said = format!("upstream {host} has asked to be left alone with this for a while");
            return Err(Error::new(Kind::CircuitOpen { retry_after: wait }, said));
        }
        let probe = match &known.state {
            HostState::Closed(_) => false,
            HostState::Open(opening) => match opening.left(resource, now) {
                None => {
                    known.state = HostState::Probing(opening.clone());
                    true
                }
                Some(left) => return Err(opening.told(host, left)),
            },
            HostState::Probing(opening) => return Err(opening.told(host, PROBE_TAKES)),
        };
        Ok(CircuitPass {
            circuits: self.clone(),
            host: host.to_owned(),
            resource,
            probe,
        })
    }

    /// The hosts asked lately and their circuits, as they are at `now`.
    pub(crate) fn circuits(&self, now: Instant) -> Vec<HostCircuit> {
        let hosts = self.lock();
        let circuits = hosts.iter().map(|(host, known)| HostCircuit {
            host: host.clone(),
            circuit: known.circuit(),
            last_failure: known.last_failure.as_ref().map(|(error, at)| HostFailure {
                error: error.clone(),
                ago: now.saturating_duration_since(*at),
            }),
        });
        circuits.collect()
    }

    /// Whether any of the hosts isn't asked at the moment.
    pub(crate) fn is_any_open(&self) -> bool {
        let hosts = self.lock();
        hosts.values().any(|known| known.circuit() == Circuit::Open)
    }

    /// Notes that what `host` has answered is of no use. Its circuit doesn't change: it answers, and something else may be well.
    pub(crate) fn note_failure(&self, host: &str, error: &Error, now: Instant) {
        if let Some(known) = self.lock().get_mut(host) {
            known.last_failure = Some((error.clone(), now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets one host when there are too many: of those whose circuit is closed, if there are any, the one asked longest ago.
fn make_room(hosts: &mut HashMap<String, Host>, host: &str) {
    if hosts.len() < HOSTS || hosts.contains_key(host) {
        return;
    }
    let oldest = hosts
        .iter()
        .min_by_key(|(_, known)| (!matches!(known.state, HostState::Closed(_)), known.used));
    if let Some(oldest) = oldest.map(|(host, _)| host.clone()) {
        hosts.remove(&oldest);
    }
}

impl Host {
    fn new(now: Instant) -> Self {
        Self {
            state: HostState::Closed(Failures::default()),
            backoffs: Backoffs::default(),
            used: now,
            last_failure: None,
        }
    }

    fn circuit(&self) -> Circuit {
        match self.state {
            HostState::Closed(_) => Circuit::Closed,
            HostState::Open(_) | HostState::Probing(_) => Circuit::Open,
        }
    }
}

impl Opening {
    /// How long until `resource` may be the probe; `None` when it may.
    fn left(&self, resource: Resource, now: Instant) -> Option<Duration> {
        let until = match self.by == Some(resource) {
            true => self.until + self.length,
            false => self.until,
        };
        (until > now).then(|| until - now)
    }

    /// What to tell who comes meanwhile.
    fn told(&self, host: &str, wait: Duration) -> Error {
        self.refused.clone().unwrap_or_else(|| {
            Error::new(
                Kind::CircuitOpen { retry_after: wait },
                format!(
                    "upstream {host} has failed too often lately and isn't asked at the moment"
                ),
            )
        })
    }
}

impl CircuitPass {
    /// What this request's host is called by its circuit.
    pub(crate) fn host(&self) -> HostNote {
        HostNote {
            circuits: self.circuits.clone(),
            host: self.host.clone(),
        }
    }

    /// Whether the others wait for what becomes of this request.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe
    }

    /// The host has answered.
    pub(crate) fn succeeded(mut self) {
        self.probe = false;
        self.change(|known| known.state = HostState::Closed(Failures::default()));
    }

    /// The request has failed, and not by what was asked.
    pub(crate) fn failed(mut self, failure: Failure, error: &Error, now: Instant) {
        let (probe, resource) = (std::mem::take(&mut self.probe), self.resource);
        let mut asked_for = None;
        if let (Failure::Resource, Kind::UpstreamUnavailable { retry_after }) =
            (failure, error.kind())
        {
            asked_for = retry_after.filter(|wait| !wait.is_zero());
        }
        let refused = (error.kind() == Kind::UpstreamRefused).then(|| error.clone());
        self.change(|known| {
            known.last_failure = Some((error.clone(), now));
            if let Some(wait) = asked_for {
                known.backoffs.leave_alone(resource, now, now + wait);
            }
            let (length, by) = match &mut known.state {
                HostState::Closed(failures) => {
                    failures.add(failure, resource, asked_for);
                    match failures.verdict(FIRST_PAUSE) {
                        Some(length) => (length, None),
                        None => return,
                    }
                }
                HostState::Probing(opening) if probe => {
                    let by = (failure == Failure::Resource).then_some(resource);
                    ((opening.length * 2).min(LONGEST_PAUSE), by)
                }
                // Sent before the circuit opened; it knows nothing newer.
                HostState::Open(_) | HostState::Probing(_) => return,
            };
            known.state = HostState::Open(Opening {
                until: now + length,
                length,
                by,
                refused,
            });
        });
    }

    /// Changes what is known of the host under one lock. In two steps a late failure could undo what a probe has found out in between.
    fn change(&self, change: impl FnOnce(&mut Host)) {
        let host = self.host.as_str();
        let mut hosts = self.circuits.lock();
        // It may have been forgotten meanwhile. Then there is nothing to change: its failures are counted anew.
        let Some(known) = hosts.get_mut(host) else {
            return;
        };
        let was_closed = matches!(known.state, HostState::Closed(_));
        change(known);
        match (was_closed, &known.state) {
            (true, HostState::Open(opening)) => {
                let pause_s = opening.length.as_secs_f64();
                tracing::warn!(
                    host,
                    pause_s,
                    "a host keeps failing; it is left alone for a while"
                );
            }
            (false, HostState::Closed(_)) => tracing::info!(host, "a host is back"),
            (true | false, HostState::Open(_) | HostState::Probing(_))
            | (true, HostState::Closed(_)) => {}
        }
    }
}

/// A host of which something can be noted when its circuit has been told long ago.
pub(crate) struct HostNote {
    circuits: Arc<Circuits>,
    host: String,
}

impl HostNote {
    /// See [`Circuits::note_failure`].
    pub(crate) fn failure(&self, error: &Error, now: Instant) {
        self.circuits.note_failure(&self.host, error, now);
    }
}

impl Drop for CircuitPass {
    fn drop(&mut self) {
        // A probe that nobody waited for told nothing; the next request is the next probe.
        if self.probe {
            self.change(|known| {
                if let HostState::Probing(opening) = &known.state {
                    known.state = HostState::Open(opening.clone());
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "index.test";
    const FAILURES: usize = 5;

    fn resource(n: u64) -> Resource {
        let url = format!("https://{HOST}/{n}");
        Resource::of(&url.parse().expect("a URL"))
    }

    fn unavailable(retry_after: Option<Duration>) -> Error {
        Error::new(Kind::UpstreamUnavailable { retry_after }, "503")
    }

    fn fail(circuits: &Arc<Circuits>, failure: Failure, n: u64, now: Instant) {
        let pass = circuits.pass(HOST, resource(n), now).expect("closed");
        pass.failed(failure, &unavailable(None), now);
    }

    fn broken(now: Instant) -> Arc<Circuits> {
        let circuits = Arc::new(Circuits::default());
        for _ in 0..FAILURES {
            fail(&circuits, Failure::Host, 0, now);
        }
        circuits
    }

    #[test]
    fn a_host_that_keeps_failing_is_left_alone_and_then_probed_once_at_a_time() {
        let now = Instant::now();
        let circuits = broken(now);
        assert!(circuits.pass(HOST, resource(1), now).is_err());
        assert!(circuits.pass("other.test", resource(1), now).is_ok());
        let later = now + FIRST_PAUSE;
        let probe = circuits.pass(HOST, resource(1), later).expect("the probe");
        assert!(circuits.pass(HOST, resource(2), later).is_err(), "a second");
        probe.succeeded();
        assert!(circuits.pass(HOST, resource(2), later).is_ok());
    }

    /// A file that upstream couldn't give used to stop all the others.
    #[test]
    fn one_object_that_keeps_failing_opens_nothing_and_several_do() {
        let (now, circuits) = (Instant::now(), Arc::new(Circuits::default()));
        for _ in 0..10 * FAILURES {
            fail(&circuits, Failure::Resource, 1, now);
        }
        for n in 2..5 {
            fail(&circuits, Failure::Resource, n, now);
            fail(&circuits, Failure::Resource, 1, now);
        }
        fail(&circuits, Failure::Resource, 5, now);
        assert!(circuits.pass(HOST, resource(6), now).is_err());
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut now = Instant::now();
        let circuits = broken(now);
        for expected in [2, 4, 8, 16, 30, 30] {
            now += LONGEST_PAUSE;
            fail(&circuits, Failure::Host, 1, now);
            let opening = Duration::from_secs(expected);
            let early = now + opening - Duration::from_millis(1);
            assert!(circuits.pass(HOST, resource(1), early).is_err());
            drop(
                circuits
                    .pass(HOST, resource(1), now + opening)
                    .expect("over"),
            );
        }
    }

    /// Whoever asks for one broken file all the time could have kept a host that is well from being asked.
    #[test]
    fn an_object_that_was_probed_with_in_vain_lets_others_go_first() {
        let now = Instant::now();
        let circuits = broken(now);
        let now = now + FIRST_PAUSE;
        fail(&circuits, Failure::Resource, 1, now);
        let now = now + FIRST_PAUSE * 2;
        assert!(circuits.pass(HOST, resource(1), now).is_err());
        drop(circuits.pass(HOST, resource(2), now).expect("another"));
        // But not for ever: it may be all that anybody asks for.
        let now = now + FIRST_PAUSE * 2;
        assert!(circuits.pass(HOST, resource(1), now).is_ok());
    }

    /// A probe whose asker went away used to keep the circuit open for ever.
    #[test]
    fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let now = Instant::now();
        let circuits = broken(now);
        let later = now + FIRST_PAUSE;
        drop(circuits.pass(HOST, resource(1), later).expect("the probe"));
        assert!(circuits.pass(HOST, resource(1), later).is_ok());
    }

    /// "Not for a day" for one file used to stop every crate for ten minutes.
    #[test]
    fn a_wish_to_be_left_alone_is_for_its_object_until_others_have_the_same() {
        let (now, circuits) = (Instant::now(), Arc::new(Circuits::default()));
        let wait = Duration::from_secs(7);
        let wish = |n| {
            let pass = circuits.pass(HOST, resource(n), now).expect("closed");
            pass.failed(Failure::Resource, &unavailable(Some(wait)), now);
        };
        let refused = |n| {
            circuits
                .pass(HOST, resource(n), now)
                .err()
                .map(|e| e.kind())
        };
        let resting = Some(Kind::CircuitOpen { retry_after: wait });
        wish(1);
        assert_eq!(refused(1), resting);
        assert_eq!(refused(9), None);
        wish(2);
        assert_eq!(refused(9), None);
        wish(3);
        assert_eq!(refused(9), resting);
        let later = now + wait;
        assert!(circuits.pass(HOST, resource(1), later).is_ok());
    }

    #[test]
    fn what_does_not_pass_is_told_as_what_it_is_while_the_circuit_is_open() {
        let (now, circuits) = (Instant::now(), Arc::new(Circuits::default()));
        let distrusted = Error::upstream_refused("nobody knows its certificate");
        for n in 0..FAILURES as u64 {
            let pass = circuits.pass(HOST, resource(n), now).expect("closed");
            pass.failed(Failure::Host, &distrusted, now);
        }
        let told = circuits.pass(HOST, resource(0), now).err().expect("open");
        assert_eq!(told.kind(), Kind::UpstreamRefused);
        assert_eq!(told.message(), distrusted.message());
    }

    #[test]
    fn a_success_between_failures_keeps_the_circuit_closed() {
        let (now, circuits) = (Instant::now(), Arc::new(Circuits::default()));
        for n in 0..3 * FAILURES as u64 {
            fail(&circuits, Failure::Host, n, now);
            circuits
                .pass(HOST, resource(n), now)
                .expect("closed")
                .succeeded();
        }
    }

    /// Whoever runs the mirror had to look for it in the log.
    #[test]
    fn why_a_host_failed_last_is_known_also_when_it_is_back() {
        let now = Instant::now();
        let circuits = broken(now);
        let known = |at| circuits.circuits(at).pop().expect("the host");
        let said = |at| {
            let failure = known(at).last_failure.expect("a failure");
            (failure.error.message().to_owned(), failure.ago)
        };
        let later = now + FIRST_PAUSE;
        assert!(known(later).is_open() && circuits.is_any_open());
        assert_eq!(said(later), ("503".to_owned(), FIRST_PAUSE));
        let probe = circuits.pass(HOST, resource(1), later).expect("the probe");
        let note = probe.host();
        probe.succeeded();
        assert!(!known(later).is_open() && !circuits.is_any_open());
        assert_eq!(said(later).0, "503");
        note.failure(&Error::upstream_refused("401"), later);
        assert_eq!(said(later), ("401".to_owned(), Duration::ZERO));
        assert!(!known(later).is_open(), "it answers");
    }

    /// A registry whose redirects lead to a new host each time could have filled memory with them.
    #[test]
    fn only_so_many_hosts_are_remembered_and_those_that_fail_longest() {
        let now = Instant::now();
        let circuits = broken(now);
        for n in 0..10 * HOSTS {
            let pass = circuits.pass(&format!("host{n}.test"), resource(1), now);
            pass.expect("closed").succeeded();
        }
        assert_eq!(circuits.circuits(now).len(), HOSTS);
        assert!(circuits.pass(HOST, resource(1), now).is_err());
    }
}
