//! A fault: one thing that goes wrong, as a test words it.

use std::time::Duration;

use bytes::Bytes;

use super::gate::Gate;
use super::rules::{Rule, Rules, Scope, Written};

/// What a rule does to a request.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// The request waits.
    Hold(Gate),
    /// The answer is another one.
    Answer(Lie),
    /// The answer doesn't get through as it should.
    Deliver(Delivery),
}

#[derive(Clone, Debug)]
pub(super) enum Lie {
    Instead {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    BodyOf(String),
    Corrupt,
}

#[derive(Clone, Debug)]
pub(super) enum Delivery {
    Whole,
    Nothing,
    Garbage,
    Reset,
    Lose,
    HangAfter(usize),
    CutAfter(usize),
    CutUnframedAfter(usize),
    CutBeforeEnd,
    ResetAfter(usize),
    HoldAfter(usize, Gate),
    Trickle { step: usize, pause: Duration },
    Endless,
}

/// A rule in the making: which requests; its last word says what happens to them.
#[must_use = "say what happens to these requests"]
pub struct When<'a> {
    rules: &'a Rules,
    scope: Scope,
    after: usize,
    times: Option<usize>,
    delay: Duration,
}

impl<'a> When<'a> {
    pub(super) fn new(rules: &'a Rules, scope: Scope) -> When<'a> {
        When {
            rules,
            scope,
            after: 0,
            times: None,
            delay: Duration::ZERO,
        }
    }

    /// Only the next `n` of them. (Without it: all of them, until `heal` or `lift`.)
    pub fn times(mut self, n: usize) -> Self {
        self.times = Some(n);
        self
    }

    /// The first `n` of them go well. (Those an earlier rule meets don't count.)
    pub fn after(mut self, n: usize) -> Self {
        self.after = n;
        self
    }

    /// What happens happens that much later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// This status with one plain sentence.
    pub fn fail(self, status: u16) -> Rule {
        let body = format!("made to fail with {status}\n");
        self.fail_with(status, &[("content-type", "text/plain")], body)
    }

    /// This status, these headers and this body. Content-Length comes by itself.
    pub fn fail_with(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Rule {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.effect(Effect::Answer(Lie::Instead {
            status,
            headers: headers.collect(),
            body: body.into(),
        }))
    }

    /// A redirect to there.
    pub fn redirect(self, location: &str) -> Rule {
        self.fail_with(302, &[("location", location)], "moved\n")
    }

    /// The whole answer another path has, validators included.
    pub fn body_of(self, other_path: &str) -> Rule {
        self.effect(Effect::Answer(Lie::BodyOf(other_path.to_owned())))
    }

    /// The byte in the middle of the body flipped, the length right. Text is no UTF-8 then.
    pub fn corrupt(self) -> Rule {
        self.effect(Effect::Answer(Lie::Corrupt))
    }

    /// The right answer, its first byte that much later.
    pub fn slow(self, delay: Duration) -> Rule {
        self.delay(delay).deliver(Delivery::Whole)
    }

    /// No answer ever; the connection stays open.
    pub fn hang(self) -> Rule {
        self.deliver(Delivery::Nothing)
    }

    /// `n` bytes of the body, then nothing; the connection stays open.
    pub fn hang_after(self, n: usize) -> Rule {
        self.deliver(Delivery::HangAfter(n))
    }

    /// `n` bytes of the body, then the connection closes, whatever was announced.
    pub fn truncate(self, n: usize) -> Rule {
        self.deliver(Delivery::CutAfter(n))
    }

    /// `n` bytes of a body that ends where the connection does, so that the cut can't be seen.
    pub fn truncate_unframed(self, n: usize) -> Rule {
        self.deliver(Delivery::CutUnframedAfter(n))
    }

    /// All of a chunked body, then the connection closes in place of the last chunk, which says that this was all.
    pub fn lose_end(self) -> Rule {
        self.deliver(Delivery::CutBeforeEnd)
    }

    /// The connection is reset before the answer.
    pub fn reset(self) -> Rule {
        self.deliver(Delivery::Reset)
    }

    /// The request is heeded, and the connection is reset in place of the answer.
    pub fn lose_answer(self) -> Rule {
        self.deliver(Delivery::Lose)
    }

    /// `n` bytes of the body, then the connection is reset.
    pub fn reset_after(self, n: usize) -> Rule {
        self.deliver(Delivery::ResetAfter(n))
    }

    /// Bytes that aren't HTTP, then the connection closes.
    pub fn garbage(self) -> Rule {
        self.deliver(Delivery::Garbage)
    }

    /// The right answer, `step` bytes of the body at a time with a pause after each.
    pub fn trickle(self, step: usize, pause: Duration) -> Rule {
        assert!(step > 0, "trickle needs bytes to send");
        self.deliver(Delivery::Trickle { step, pause })
    }

    /// The right head without a length, and a body that goes on for 800 MB and is cut off there.
    pub fn endless(self) -> Rule {
        self.deliver(Delivery::Endless)
    }

    /// Held before the answer, until the gate opens. A fault may follow.
    pub fn gate(self) -> Gate {
        let gate = Gate::default();
        self.effect(Effect::Hold(gate.clone()));
        gate
    }

    /// `n` bytes of the body, the rest when the gate opens.
    pub fn gate_after(self, n: usize) -> Gate {
        let gate = Gate::default();
        self.deliver(Delivery::HoldAfter(n, gate.clone()));
        gate
    }

    fn deliver(self, delivery: Delivery) -> Rule {
        self.effect(Effect::Deliver(delivery))
    }

    fn effect(self, effect: Effect) -> Rule {
        self.rules.add(Written {
            scope: self.scope,
            after: self.after,
            times: self.times.unwrap_or(usize::MAX),
            delay: self.delay,
            effect,
        })
    }
}
