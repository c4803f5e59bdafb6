//! [`same`]: whether two secrets are the same, found out in a time that says nothing of where they differ.

use std::hint::black_box;

use subtle::ConstantTimeEq;

/// Whether both are the same bytes. It takes the same time wherever they differ; that their lengths differ may be seen.
///
/// Eight bytes at a time: `subtle` alone goes byte by byte, and takes as long for 32 of them as hashing a token does.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((words, rest), (others, other_rest)) = (one.as_chunks(), other.as_chunks());
    let word = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    let byte = |(a, b): (&u8, &u8)| u64::from(a ^ b);
    let words = words.iter().zip(others).map(word);
    let differences = words.chain(rest.iter().zip(other_rest).map(byte));
    // Each on its own: a compiler that knew them could stop at the first.
    let differ = differences.fold(0, |all, difference| all | black_box(difference));
    differ.ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_the_same_only_as_themselves(bytes in prop::collection::vec(any::<u8>(), 1..100), at: prop::sample::Index, flip in 1..=255_u8) {
            let mut other = bytes.clone();
            prop_assert!(same(&bytes, &other));
            other[at.index(bytes.len())] ^= flip;
            prop_assert!(!same(&bytes, &other));
            prop_assert!(!same(&bytes, &bytes[1..]));
            prop_assert!(!same(&bytes[1..], &bytes));
        }
    }
}
