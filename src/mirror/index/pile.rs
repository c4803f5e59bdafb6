//! [`Pile`]: bytes that arrive, in memory as long as there is a lease for them.

use std::io::{BufRead, Read, Result};

use crate::allowance::{Allowance, Lease};

/// Blocks double in size from the first one on.
const FIRST_BLOCK: usize = 4 << 10;
/// Of a size that the allocator gives back to the system at once: see the settings in `main.rs`.
const LARGEST_BLOCK: usize = 128 << 10;
/// What a block takes beside its bytes.
const OVERHEAD: usize = 64;

/// Bytes in blocks that are never moved, so that growing takes nothing twice.
pub(super) struct Pile {
    blocks: Vec<Vec<u8>>,
    length: usize,
    lease: Lease,
}

impl Pile {
    /// Nothing yet.
    pub(super) fn new(allowance: &Allowance) -> Self {
        Self {
            blocks: Vec::new(),
            length: 0,
            lease: allowance.nothing(),
        }
    }

    /// Adds `bytes` at the end; false, and nothing is added, when there is no memory for them.
    #[must_use]
    pub(super) fn try_add(&mut self, bytes: &[u8]) -> bool {
        let room = self.blocks.last().map_or(0, |b| b.capacity() - b.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        let size = self.length.next_power_of_two();
        let size = size.clamp(FIRST_BLOCK, LARGEST_BLOCK);
        let count = rest.len().div_ceil(size);
        if !self
            .lease
            .try_grow_needed((count * (size + OVERHEAD)) as u64)
        {
            return false;
        }
        if let Some(last) = self.blocks.last_mut() {
            last.extend_from_slice(first);
        }
        for chunk in rest.chunks(size) {
            let mut block = Vec::with_capacity(size);
            block.extend_from_slice(chunk);
            self.blocks.push(block);
        }
        self.length += bytes.len();
        true
    }

    /// How many bytes are in it.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The bytes from the start on.
    pub(super) fn reader(&self) -> impl BufRead {
        PileReader {
            rest: &self.blocks,
            at: 0,
        }
    }

    /// Its blocks in their order, and the lease that has to be held for as long as any of them.
    pub(super) fn into_blocks(self) -> (Vec<Vec<u8>>, Lease) {
        (self.blocks, self.lease)
    }
}

struct PileReader<'a> {
    rest: &'a [Vec<u8>],
    /// So much of the first block has been read.
    at: usize,
}

impl Read for PileReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for PileReader<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        while let Some((first, rest)) = self.rest.split_first() {
            if self.at < first.len() {
                break;
            }
            (self.rest, self.at) = (rest, 0);
        }
        Ok(self.rest.first().map_or(&[], |first| &first[self.at..]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_added_is_read_and_no_more_than_is_leased(
            pieces in proptest::collection::vec(0_usize..100_000, 0..20),
            room in 0_u64..1 << 20,
        ) {
            let allowance = Allowance::new(room, 0);
            let (mut pile, mut added) = (Pile::new(&allowance), Vec::new());
            for (number, size) in pieces.into_iter().enumerate() {
                let piece = vec![number as u8; size];
                if pile.try_add(&piece) {
                    added.extend(piece);
                }
            }
            let held: usize = pile.blocks.iter().map(|b| b.capacity() + OVERHEAD).sum();
            prop_assert!(held as u64 <= pile.lease.bytes() && pile.lease.bytes() <= room);
            prop_assert_eq!(pile.length(), added.len());
            let mut read = Vec::new();
            pile.reader().read_to_end(&mut read).expect("memory");
            prop_assert!(read == added);
            prop_assert!(pile.into_blocks().0.concat() == added);
            prop_assert!(room == 0 || allowance.try_take(room).is_some(), "all is given back");
        }
    }
}
