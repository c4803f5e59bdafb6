//! [`UnsentChunk`]: bytes of an answer as hyper is given them. They say by being dropped that they are sent.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::{
    activity::Activity,
    in_flight::InFlight,
    unsent::{CHUNK, Tick},
};
use crate::metrics::Protocol;

/// Bytes of an answer.
pub struct UnsentChunk {
    bytes: Bytes,
    /// What notes that they are sent, where that can't be seen from the socket.
    _mark: Option<Mark>,
}

/// A chunk that HTTP/2 has and hasn't sent, until this is dropped.
struct Mark {
    activity: Activity,
    since: Tick,
    /// The request, if this is the last chunk of its answer: it goes on until that is sent.
    _last: Option<InFlight>,
}

impl UnsentChunk {
    /// The next bytes of the answer to a request, taken off the front of `waiting`, in the size that the protocol is to be given them. There are `left`
    /// bytes to come, these included, if that is known.
    pub fn next(in_flight: &InFlight, waiting: &mut Bytes, left: Option<u64>) -> Self {
        match in_flight.protocol() {
            Protocol::Http1 => std::mem::take(waiting).into(),
            Protocol::Http2 => {
                let bytes = match waiting.len() {
                    0..=CHUNK => std::mem::take(waiting),
                    _ => waiting.split_to(CHUNK),
                };
                let is_last = left == Some(bytes.len() as u64);
                Self {
                    bytes,
                    _mark: Some(Mark::new(in_flight, is_last)),
                }
            }
        }
    }
}

impl From<Bytes> for UnsentChunk {
    /// Bytes whose way isn't followed.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, _mark: None }
    }
}

impl Mark {
    fn new(in_flight: &InFlight, is_last: bool) -> Self {
        let activity = in_flight.activity().clone();
        Self {
            since: activity.unsent().handed_over(),
            _last: is_last.then(|| in_flight.again()),
            activity,
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.activity.unsent().sent(self.since);
    }
}

impl Buf for UnsentChunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}
