//! [`Data`]: bytes of an answer as hyper is given them. They say by being dropped that they are out.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::stall::Out;

/// Bytes of an answer.
pub(crate) struct Data {
    bytes: Bytes,
    /// What notes that they are out, where that isn't plain to see.
    _out: Option<Out>,
}

impl Data {
    pub(crate) fn new(bytes: Bytes, out: Option<Out>) -> Self {
        Self { bytes, _out: out }
    }
}

impl Buf for Data {
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
