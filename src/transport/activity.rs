//! [`Activity`]: what moves on one connection: bytes, requests, and chunks of answers.
//!
//! It notes that something has moved, and not when. A look at the clock with every read and every write would cost each hit two. Whoever waits for a
//! connection to stall looks from time to time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    arriving::Came, connection_memory::ConnectionMemory, handover::Handover, unsent::UnsentChunks,
};
use crate::metrics::Metrics;

/// How many refusals may be on their way at the end of a turn. HTTP/2 tidies up after one when it has written it.
const REFUSALS: usize = 8;

/// What moves on one connection. A clone is another handle on the same.
#[derive(Clone)]
pub(super) struct Activity(Arc<Moves>);

struct Moves {
    /// Whether bytes have moved since somebody looked.
    lately: AtomicBool,
    /// Whether bytes have come since a request began: over HTTP/1.1, of the head of another one.
    heard: AtomicBool,
    /// Whether a request has ever begun.
    asked: AtomicBool,
    /// Whether a request has begun since somebody looked; over HTTP/2, whether a head or another frame has become whole.
    begun: AtomicBool,
    /// Bytes that have come of what isn't whole: see [`Arriving`](super::arriving::Arriving).
    open: AtomicUsize,
    /// Requests whose answers aren't out yet.
    in_flight: AtomicUsize,
    /// The same of those for which there was no memory.
    refused: AtomicUsize,
    /// Whether the client has been sent more than it has taken so far.
    full: AtomicBool,
    /// What the stream below holds itself, in bytes.
    held: AtomicUsize,
    unsent: UnsentChunks,
    memory: ConnectionMemory,
    handover: Handover,
    /// Reached from here, because what all connections share costs each request a trip to the same place in memory.
    metrics: Arc<Metrics>,
}

/// Whether there was memory for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There was.
    Admitted,
    /// There wasn't, and it is told so.
    Refused,
}

impl Activity {
    /// That of a new connection.
    pub(super) fn new(handover: Handover, memory: ConnectionMemory, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Moves {
            lately: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            unsent: UnsentChunks::default(),
            memory,
            handover,
            metrics,
        }))
    }

    /// Notes that bytes have moved.
    pub(super) fn moved(&self) {
        self.0.lately.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have moved since this was asked last.
    pub(super) fn has_moved(&self) -> bool {
        self.0.lately.swap(false, Ordering::Relaxed)
    }

    /// Notes that the client has sent something.
    pub(super) fn heard(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
    }

    /// Whether the client has sent something since its last request began.
    pub(super) fn has_been_heard(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed)
    }

    /// Whether the client has ever asked for something.
    pub(super) fn has_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Notes what the client has sent.
    pub(super) fn came(&self, came: Came) {
        match came {
            Came::More(bytes) => drop(self.0.open.fetch_add(bytes, Ordering::Relaxed)),
            Came::Still(open) => self.0.open.store(open, Ordering::Relaxed),
            Came::Anew(open) => {
                self.0.open.store(open, Ordering::Relaxed);
                self.0.begun.store(true, Ordering::Relaxed);
            }
        }
    }

    /// How many bytes are here of what isn't whole.
    pub(super) fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Whether a request has begun, or a frame become whole, since this was asked last.
    pub(super) fn has_begun(&self) -> bool {
        self.0.begun.swap(false, Ordering::Relaxed)
    }

    /// Notes whether the client has been sent more than it has taken.
    pub(super) fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::Relaxed);
    }

    /// Whether the client has been sent more than it has taken.
    pub(super) fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// Notes what the stream below holds itself, in bytes.
    pub(super) fn set_held(&self, held: usize) {
        self.0.held.store(held, Ordering::Relaxed);
    }

    /// Notes that a request begins, and says whether there is memory for it. It is to be counted with [`count`](Self::count).
    pub(super) fn begin(&self) -> Standing {
        self.0.handover.clear();
        self.0.heard.store(false, Ordering::Relaxed);
        self.0.asked.store(true, Ordering::Relaxed);
        self.0.begun.store(true, Ordering::Relaxed);
        self.0.open.store(0, Ordering::Relaxed);
        match self.0.memory.covers(self.in_flight() + 1) {
            true => Standing::Admitted,
            false => Standing::Refused,
        }
    }

    /// Counts a request whose answer isn't out yet.
    pub(super) fn count(&self, standing: Standing) {
        self.counter(standing).fetch_add(1, Ordering::Relaxed);
    }

    /// Takes that back, when its answer is out or its client gone.
    pub(super) fn discount(&self, standing: Standing) {
        self.counter(standing).fetch_sub(1, Ordering::Relaxed);
    }

    fn counter(&self, standing: Standing) -> &AtomicUsize {
        match standing {
            Standing::Admitted => &self.0.in_flight,
            Standing::Refused => &self.0.refused,
        }
    }

    /// How many requests there are whose answers aren't out yet.
    pub(super) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Whether there is memory for what the connection holds at the end of its turn, with `untaken` bytes that are written and that the client hasn't
    /// taken. For a client that doesn't take refusals there is none.
    pub(super) fn settles(&self, untaken: usize) -> bool {
        let untaken = untaken + self.0.held.load(Ordering::Relaxed);
        self.0.refused.load(Ordering::Relaxed) <= REFUSALS
            && self
                .0
                .memory
                .settles(self.in_flight(), untaken, self.open())
    }

    /// The chunks of answers that HTTP/2 has and hasn't sent.
    pub(super) fn unsent(&self) -> &UnsentChunks {
        &self.0.unsent
    }

    /// Where the next answer leaves a body that can be lent.
    pub(super) fn handover(&self) -> &Handover {
        &self.0.handover
    }

    /// Where to count what clients do.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}
