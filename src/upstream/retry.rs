//! [`Attempts`]: how often and how fast a failed request is tried again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use tokio::time::Instant;

use crate::error::{Class, Error, Kind, Outlook};

/// Cargo gives up after 30 s without a byte; an answer has to be ready well before.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(24);
/// The wait before the first repetition; it doubles with each one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The attempts left for one thing to fetch.
pub struct Attempts {
    left: u32,
    /// Whether upstream was really asked; before that, an open circuit is an answer.
    tried: bool,
    wait: Duration,
    /// After this no attempt begins, because it couldn't end in time for the client.
    last_start: Instant,
}

impl Attempts {
    pub(super) fn new(retries: u32, first_byte_timeout: Duration) -> Self {
        Self {
            left: retries,
            tried: false,
            wait: FIRST_WAIT,
            last_start: Instant::now() + ANSWER_WITHIN.saturating_sub(first_byte_timeout),
        }
    }

    /// Waits for the next attempt after `error`; false when there is to be none.
    pub async fn again(&mut self, error: &Error) -> bool {
        let kind = error.kind();
        // Whoever was on the way when the circuit opened waits for it to close again; whoever comes later is told so at once.
        let told_at_once = matches!(kind, Kind::CircuitOpen { .. }) && !self.tried;
        if kind.class() != Class::Upstream(Outlook::Passing) || told_at_once {
            return false;
        }
        let asked_for = kind.retry_after().unwrap_or_default();
        self.tried = true;
        // Jitter, so that a farm of mirrors doesn't come back in step.
        let wait = self.wait.mul_f64(0.5 + fastrand::f64()).max(asked_for);
        if self.left == 0 || Instant::now() + wait > self.last_start {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.left -= 1;
        self.wait *= 2;
        true
    }
}

/// The longest `Retry-After` that is heeded: a minute, after which it can be said again. One that names a day would make an outage of a slip.
const LONGEST: Duration = Duration::from_secs(60);

/// `Retry-After` in either of its forms (RFC 9110, section 10.2.3); `now` is what a date is counted from. The crate headers reads both, but what it has
/// read can't be asked for (0.4).
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match httpdate::parse_http_date(value) {
        Ok(at) => at.duration_since(now).unwrap_or_default(),
        Err(_) if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) => return None,
        // More digits than fit are a long time too.
        Err(_) => Duration::from_secs(value.parse().unwrap_or(u64::MAX)),
    };
    Some(wait.min(LONGEST))
}
