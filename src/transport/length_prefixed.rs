//! [`LengthPrefixed`]: where in a sequence of units we are that each begin with a head, which says how long the rest of the unit is: HTTP/2's frames, TLS's records.

/// Where in a sequence of units we are, each with a head of `HEAD` bytes.
#[derive(Clone, Copy)]
pub(super) struct LengthPrefixed<const HEAD: usize> {
    head: [u8; HEAD],
    /// How much of `head` has come.
    known: usize,
    /// How many bytes of the rest are still to come.
    left: usize,
}

impl<const HEAD: usize> Default for LengthPrefixed<HEAD> {
    fn default() -> Self {
        Self {
            head: [0; HEAD],
            known: 0,
            left: 0,
        }
    }
}

impl<const HEAD: usize> LengthPrefixed<HEAD> {
    /// Takes a part of `bytes`, which come next and are more than none: no more than is left of a head, or of the rest of a unit, whose length `length` reads
    /// out of its head. Returns how many bytes that are, and the head of the unit if it is whole with them.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        length: impl Fn(&[u8; HEAD]) -> usize,
    ) -> (usize, Option<[u8; HEAD]>) {
        let count = match self.known < HEAD {
            true => {
                let count = bytes.len().min(HEAD - self.known);
                self.head[self.known..self.known + count].copy_from_slice(&bytes[..count]);
                self.known += count;
                if self.known == HEAD {
                    self.left = length(&self.head);
                }
                count
            }
            false => {
                let count = bytes.len().min(self.left);
                self.left -= count;
                count
            }
        };
        let is_whole = self.known == HEAD && self.left == 0;
        if is_whole {
            self.known = 0;
        }
        (count, is_whole.then_some(self.head))
    }
}
