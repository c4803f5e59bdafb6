//! [`Breaker`]: stops asking a host that keeps failing, and finds out with one request at a time whether it is back.
//!
//! Without it, every request during an outage would wait for its own timeouts, and a host that is overloaded would be asked the more the worse it
//! gets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::error::{Error, Kind, Result};

/// So many failures in a row, with no success between them, open the circuit.
const FAILURES: u32 = 5;
/// How long a host is left alone after that; doubled with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// When to ask again while a probe is on its way.
const PROBE_TAKES: Duration = Duration::from_millis(250);

/// Whether a host is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It is; so many requests in a row have failed lately.
    Closed {
        /// How many.
        failures: u32,
    },
    /// It isn't, until then.
    Open {
        /// When the next probe may start.
        until: Instant,
        /// How long this pause is.
        pause: Duration,
    },
    /// One request is on its way to find out.
    Probing {
        /// How long the pause before it was.
        pause: Duration,
    },
}

/// The circuits of an upstream's hosts: that of its index, and those its crates are on.
#[derive(Default)]
pub(super) struct Breaker(Mutex<HashMap<String, Circuit>>);

/// Leave to send one request. Dropped without a word, it counts as neither success nor failure.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    host: String,
    probe: bool,
}

impl Breaker {
    /// Leave to ask `host`.
    ///
    /// # Errors
    /// [`Kind::UpstreamResting`] with the time until the next probe while the circuit is open.
    pub(super) fn pass(self: &Arc<Self>, host: &str, now: Instant) -> Result<Pass> {
        let mut circuits = self.lock();
        let circuit = circuits
            .entry(host.to_owned())
            .or_insert(Circuit::Closed { failures: 0 });
        let probe = match *circuit {
            Circuit::Closed { .. } => false,
            Circuit::Open { until, pause } if until <= now => {
                *circuit = Circuit::Probing { pause };
                true
            }
            Circuit::Open { until, .. } => return Err(resting(host, until - now)),
            Circuit::Probing { .. } => return Err(resting(host, PROBE_TAKES)),
        };
        Ok(Pass {
            breaker: self.clone(),
            host: host.to_owned(),
            probe,
        })
    }

    /// Every host asked so far and its circuit.
    pub(super) fn circuits(&self) -> Vec<(String, Circuit)> {
        let circuits = self.lock();
        circuits
            .iter()
            .map(|(host, circuit)| (host.clone(), *circuit))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn resting(host: &str, wait: Duration) -> Error {
    Error::new(
        Kind::UpstreamResting { retry_after: wait },
        format!("upstream {host} has failed too often lately and isn't asked at the moment"),
    )
}

impl Pass {
    /// Whether the others wait for what becomes of this request.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// The host has answered.
    pub(super) fn succeeded(mut self) {
        self.probe = false;
        self.change(|_| Circuit::Closed { failures: 0 });
    }

    /// The host has failed, and may have said for how long it wants to be left alone.
    pub(super) fn failed(mut self, asked_for: Option<Duration>, now: Instant) {
        let open = |pause: Duration| Circuit::Open {
            until: now + pause,
            pause,
        };
        let asked_for = asked_for.filter(|wait| !wait.is_zero());
        let probe = std::mem::take(&mut self.probe);
        self.change(|circuit| match circuit {
            Circuit::Probing { pause } if probe => {
                open(asked_for.unwrap_or((pause * 2).min(LONGEST_PAUSE)))
            }
            Circuit::Closed { failures } => match asked_for {
                Some(wait) => open(wait),
                None if failures + 1 < FAILURES => Circuit::Closed {
                    failures: failures + 1,
                },
                None => open(FIRST_PAUSE),
            },
            // Sent before the circuit opened; it knows nothing newer.
            unchanged @ (Circuit::Open { .. } | Circuit::Probing { .. }) => unchanged,
        });
    }

    /// Changes the circuit in one step: read and written apart, a late failure could undo what a probe has found out meanwhile.
    fn change(&self, change: impl FnOnce(Circuit) -> Circuit) {
        let host = self.host.as_str();
        let mut circuits = self.breaker.lock();
        let circuit = circuits
            .entry(self.host.clone())
            .or_insert(Circuit::Closed { failures: 0 });
        let before = std::mem::replace(circuit, change(*circuit));
        match (before, *circuit) {
            (Circuit::Closed { .. }, Circuit::Open { pause, .. }) => {
                let pause_s = pause.as_secs_f64();
                tracing::warn!(
                    host,
                    pause_s,
                    "an upstream host keeps failing; it is left alone for a while"
                );
            }
            (Circuit::Open { .. } | Circuit::Probing { .. }, Circuit::Closed { .. }) => {
                tracing::info!(host, "an upstream host is back");
            }
            _ => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A probe that nobody waited for told nothing; the next request is the next probe.
        if self.probe {
            let until = Instant::now();
            self.change(|circuit| match circuit {
                Circuit::Probing { pause } => Circuit::Open { until, pause },
                other @ (Circuit::Closed { .. } | Circuit::Open { .. }) => other,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "index.test";

    fn broken(now: Instant) -> Arc<Breaker> {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..FAILURES {
            breaker.pass(HOST, now).expect("closed").failed(None, now);
        }
        breaker
    }

    #[test]
    fn a_host_that_keeps_failing_is_left_alone_and_then_probed_once_at_a_time() {
        let now = Instant::now();
        let breaker = broken(now);
        assert!(breaker.pass(HOST, now).is_err());
        assert!(breaker.pass("other.test", now).is_ok());
        let later = now + FIRST_PAUSE;
        let probe = breaker.pass(HOST, later).expect("the probe");
        assert!(breaker.pass(HOST, later).is_err(), "a second probe");
        probe.succeeded();
        assert!(breaker.pass(HOST, later).is_ok());
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut now = Instant::now();
        let breaker = broken(now);
        for expected in [2, 4, 8, 16, 30, 30] {
            now += LONGEST_PAUSE;
            breaker
                .pass(HOST, now)
                .expect("the probe")
                .failed(None, now);
            let pause = Duration::from_secs(expected);
            assert!(
                breaker
                    .pass(HOST, now + pause - Duration::from_millis(1))
                    .is_err()
            );
            drop(breaker.pass(HOST, now + pause).expect("the pause is over"));
        }
    }

    /// A probe whose asker went away used to keep the circuit open for ever.
    #[test]
    fn a_probe_that_is_given_up_makes_room_for_the_next() {
        let now = Instant::now();
        let breaker = broken(now);
        let later = now + FIRST_PAUSE;
        drop(breaker.pass(HOST, later).expect("the probe"));
        assert!(breaker.pass(HOST, Instant::now().max(later)).is_ok());
    }

    #[test]
    fn a_host_that_asks_to_be_left_alone_is_at_once() {
        let (now, breaker) = (Instant::now(), Arc::new(Breaker::default()));
        let asked = Duration::from_secs(7);
        breaker
            .pass(HOST, now)
            .expect("closed")
            .failed(Some(asked), now);
        let refused = breaker.pass(HOST, now).err().expect("open");
        assert_eq!(refused.kind(), Kind::UpstreamResting { retry_after: asked });
    }

    #[test]
    fn a_success_between_failures_keeps_the_circuit_closed() {
        let (now, breaker) = (Instant::now(), Arc::new(Breaker::default()));
        for _ in 0..3 * FAILURES {
            breaker.pass(HOST, now).expect("closed").failed(None, now);
            breaker.pass(HOST, now).expect("closed").succeeded();
        }
    }
}
