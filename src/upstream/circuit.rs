//! [`Breaker`]: stops asking a host that keeps failing, and finds out with one request at a time whether it is back.
//!
//! Without it, every request during an outage would wait for its own timeouts, and a host that is overloaded would be asked the more the worse it
//! gets. But one object's trouble isn't the host's: a file that can't be had, again and again, says nothing of the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::words::{Failure, Object, Resting, Words};
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

/// The circuits of an upstream's hosts: that of its index, and those its crates are on.
#[derive(Default)]
pub(super) struct Breaker(Mutex<HashMap<String, Host>>);

/// What is known of a host.
struct Host {
    state: State,
    /// The objects that are to be left alone, whatever becomes of the others.
    resting: Resting,
    used: Instant,
}

enum State {
    Closed(Words),
    Open(Pause),
    /// One request is on its way to find out.
    Probing(Pause),
}

/// A time in which a host is left alone.
#[derive(Clone)]
struct Pause {
    until: Instant,
    length: Duration,
    /// What has been probed with last and in vain. Others go first the next time, because it may be all that is wrong.
    by: Option<Object>,
    /// Why, if it is for a reason that doesn't pass.
    refused: Option<Error>,
}

/// Leave to send one request. Dropped without a word, it counts as neither success nor failure.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    host: String,
    object: Object,
    probe: bool,
}

impl Breaker {
    /// Leave to ask `host` for `object`.
    ///
    /// # Errors
    /// [`Kind::CircuitOpen`] with the time until the next probe while the circuit is open, or until this object may be asked for again;
    /// [`Kind::UpstreamRefused`] while it is open for a reason that doesn't pass.
    pub(super) fn pass(self: &Arc<Self>, host: &str, object: Object, now: Instant) -> Result<Pass> {
        let mut hosts = self.lock();
        make_room(&mut hosts, host);
        let known = hosts
            .entry(host.to_owned())
            .or_insert_with(|| Host::new(now));
        known.used = now;
        if let Some(wait) = known.resting.wait(object, now) {
            let said = format!("upstream {host} has asked to be left alone with this for a while");
            return Err(Error::new(
                Kind::CircuitOpen { retry_after: wait },
                said,
            ));
        }
        let probe = match &known.state {
            State::Closed(_) => false,
            State::Open(pause) => match pause.left(object, now) {
                None => {
                    known.state = State::Probing(pause.clone());
                    true
                }
                Some(left) => return Err(pause.told(host, left)),
            },
            State::Probing(pause) => return Err(pause.told(host, PROBE_TAKES)),
        };
        Ok(Pass {
            breaker: self.clone(),
            host: host.to_owned(),
            object,
            probe,
        })
    }

    /// The hosts asked lately and their circuits.
    pub(super) fn circuits(&self) -> Vec<(String, Circuit)> {
        let hosts = self.lock();
        let circuits = hosts.iter().map(|(host, known)| {
            let circuit = match known.state {
                State::Closed(_) => Circuit::Closed,
                State::Open(_) | State::Probing(_) => Circuit::Open,
            };
            (host.clone(), circuit)
        });
        circuits.collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the host asked longest ago, of those that are well if there are any, when there are too many.
fn make_room(hosts: &mut HashMap<String, Host>, host: &str) {
    if hosts.len() < HOSTS || hosts.contains_key(host) {
        return;
    }
    let oldest = hosts
        .iter()
        .min_by_key(|(_, known)| (!matches!(known.state, State::Closed(_)), known.used));
    if let Some(oldest) = oldest.map(|(host, _)| host.clone()) {
        hosts.remove(&oldest);
    }
}

impl Host {
    fn new(now: Instant) -> Self {
        Self {
            state: State::Closed(Words::default()),
            resting: Resting::default(),
            used: now,
        }
    }
}

impl Pause {
    /// How long until `object` may be the probe; `None` when it may.
    fn left(&self, object: Object, now: Instant) -> Option<Duration> {
        let until = match self.by == Some(object) {
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

impl Pass {
    /// Whether the others wait for what becomes of this request.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// The host has answered.
    pub(super) fn succeeded(mut self) {
        self.probe = false;
        self.change(|known| known.state = State::Closed(Words::default()));
    }

    /// The request has failed, and not by what was asked.
    pub(super) fn failed(mut self, failure: Failure, error: &Error, now: Instant) {
        let (probe, object) = (std::mem::take(&mut self.probe), self.object);
        let mut wish = None;
        if let (Failure::Object, Kind::UpstreamUnavailable { retry_after }) =
            (failure, error.kind())
        {
            wish = retry_after.filter(|wait| !wait.is_zero());
        }
        let refused = (error.kind() == Kind::UpstreamRefused).then(|| error.clone());
        self.change(|known| {
            if let Some(wait) = wish {
                known.resting.leave_alone(object, now, now + wait);
            }
            let (length, by) = match &mut known.state {
                State::Closed(words) => {
                    words.add(failure, object, wish);
                    match words.verdict(FIRST_PAUSE) {
                        Some(length) => (length, None),
                        None => return,
                    }
                }
                State::Probing(pause) if probe => {
                    let by = (failure == Failure::Object).then_some(object);
                    ((pause.length * 2).min(LONGEST_PAUSE), by)
                }
                // Sent before the circuit opened; it knows nothing newer.
                State::Open(_) | State::Probing(_) => return,
            };
            known.state = State::Open(Pause {
                until: now + length,
                length,
                by,
                refused,
            });
        });
    }

    /// Changes what is known of the host in one step: read and written apart, a late failure could undo what a probe has found out meanwhile.
    fn change(&self, change: impl FnOnce(&mut Host)) {
        let host = self.host.as_str();
        let mut hosts = self.breaker.lock();
        // It may have been forgotten meanwhile; then it has to begin anew, and so would its words.
        let Some(known) = hosts.get_mut(host) else {
            return;
        };
        let was_closed = matches!(known.state, State::Closed(_));
        change(known);
        match (was_closed, &known.state) {
            (true, State::Open(pause)) => {
                let pause_s = pause.length.as_secs_f64();
                tracing::warn!(
                    host,
                    pause_s,
                    "an upstream host keeps failing; it is left alone for a while"
                );
            }
            (false, State::Closed(_)) => tracing::info!(host, "an upstream host is back"),
            (true | false, State::Open(_) | State::Probing(_)) | (true, State::Closed(_)) => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A probe that nobody waited for told nothing; the next request is the next probe.
        if self.probe {
            self.change(|known| {
                if let State::Probing(pause) = &known.state {
                    known.state = State::Open(pause.clone());
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

    fn object(n: u64) -> Object {
        let url = format!("https://{HOST}/{n}");
        Object::of(&url.parse().expect("a URL"))
    }

    fn unavailable(retry_after: Option<Duration>) -> Error {
        Error::new(Kind::UpstreamUnavailable { retry_after }, "503")
    }

    fn fail(breaker: &Arc<Breaker>, failure: Failure, n: u64, now: Instant) {
        let pass = breaker.pass(HOST, object(n), now).expect("closed");
        pass.failed(failure, &unavailable(None), now);
    }

    fn broken(now: Instant) -> Arc<Breaker> {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..FAILURES {
            fail(&breaker, Failure::Host, 0, now);
        }
        breaker
    }

    #[test]
    fn a_host_that_keeps_failing_is_left_alone_and_then_probed_once_at_a_time() {
        let now = Instant::now();
        let breaker = broken(now);
        assert!(breaker.pass(HOST, object(1), now).is_err());
        assert!(breaker.pass("other.test", object(1), now).is_ok());
        let later = now + FIRST_PAUSE;
        let probe = breaker.pass(HOST, object(1), later).expect("the probe");
        assert!(breaker.pass(HOST, object(2), later).is_err(), "a second");
        probe.succeeded();
        assert!(breaker.pass(HOST, object(2), later).is_ok());
    }

    /// A file that upstream couldn't give used to stop all the others.
    #[test]
    fn one_object_that_keeps_failing_opens_nothing_and_several_do() {
        let (now, breaker) = (Instant::now(), Arc::new(Breaker::default()));
        for _ in 0..10 * FAILURES {
            fail(&breaker, Failure::Object, 1, now);
        }
        for n in 2..5 {
            fail(&breaker, Failure::Object, n, now);
            fail(&breaker, Failure::Object, 1, now);
        }
        fail(&breaker, Failure::Object, 5, now);
        assert!(breaker.pass(HOST, object(6), now).is_err());
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut now = Instant::now();
        let breaker = broken(now);
        for expected in [2, 4, 8, 16, 30, 30] {
            now += LONGEST_PAUSE;
            fail(&breaker, Failure::Host, 1, now);
            let pause = Duration::from_secs(expected);
            let early = now + pause - Duration::from_millis(1);
            assert!(breaker.pass(HOST, object(1), early).is_err());
            drop(breaker.pass(HOST, object(1), now + pause).expect("over"));
        }
    }

    /// Whoever asks for one broken file all the time could have kept a host that is well from being asked.
    #[test]
    fn an_object_that_was_probed_with_in_vain_lets_others_go_first() {
        let now = Instant::now();
        let breaker = broken(now);
        let now = now + FIRST_PAUSE;
        fail(&breaker, Failure::Object, 1, now);
        let now = now + FIRST_PAUSE * 2;
        assert!(breaker.pass(HOST, object(1), now).is_err());
        drop(breaker.pass(HOST, object(2), now).expect("another"));
        // But not for ever: it may be all that anybody asks for.
        let now = now + FIRST_PAUSE * 2;
        assert!(breaker.pass(HOST, object(1), now).is_ok());
    }

    /// A probe whose asker went away used to keep the circuit open for ever.
    #[test]
    fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let now = Instant::now();
        let breaker = broken(now);
        let later = now + FIRST_PAUSE;
        drop(breaker.pass(HOST, object(1), later).expect("the probe"));
        assert!(breaker.pass(HOST, object(1), later).is_ok());
    }

    /// "Not for a day" for one file used to stop every crate for ten minutes.
    #[test]
    fn a_wish_to_be_left_alone_is_for_its_object_until_others_have_the_same() {
        let (now, breaker) = (Instant::now(), Arc::new(Breaker::default()));
        let wait = Duration::from_secs(7);
        let wish = |n| {
            let pass = breaker.pass(HOST, object(n), now).expect("closed");
            pass.failed(Failure::Object, &unavailable(Some(wait)), now);
        };
        let refused = |n| breaker.pass(HOST, object(n), now).err().map(|e| e.kind());
        let resting = Some(Kind::CircuitOpen { retry_after: wait });
        wish(1);
        assert_eq!(refused(1), resting);
        assert_eq!(refused(9), None);
        wish(2);
        assert_eq!(refused(9), None);
        wish(3);
        assert_eq!(refused(9), resting);
        let later = now + wait;
        assert!(breaker.pass(HOST, object(1), later).is_ok());
    }

    #[test]
    fn what_does_not_pass_is_told_as_what_it_is_while_the_circuit_is_open() {
        let (now, breaker) = (Instant::now(), Arc::new(Breaker::default()));
        let distrusted = Error::upstream_refused("nobody knows its certificate");
        for n in 0..FAILURES as u64 {
            let pass = breaker.pass(HOST, object(n), now).expect("closed");
            pass.failed(Failure::Host, &distrusted, now);
        }
        let told = breaker.pass(HOST, object(0), now).err().expect("open");
        assert_eq!(told.kind(), Kind::UpstreamRefused);
        assert_eq!(told.message(), distrusted.message());
    }

    #[test]
    fn a_success_between_failures_keeps_the_circuit_closed() {
        let (now, breaker) = (Instant::now(), Arc::new(Breaker::default()));
        for n in 0..3 * FAILURES as u64 {
            fail(&breaker, Failure::Host, n, now);
            breaker
                .pass(HOST, object(n), now)
                .expect("closed")
                .succeeded();
        }
    }

    /// A registry whose redirects lead to a new host each time could have filled memory with them.
    #[test]
    fn only_so_many_hosts_are_remembered_and_those_that_fail_longest() {
        let now = Instant::now();
        let breaker = broken(now);
        for n in 0..10 * HOSTS {
            let pass = breaker.pass(&format!("host{n}.test"), object(1), now);
            pass.expect("closed").succeeded();
        }
        assert_eq!(breaker.circuits().len(), HOSTS);
        assert!(breaker.pass(HOST, object(1), now).is_err());
    }
}
