//! [`Found`]: something, and where it came from.

use crate::domain::Outcome;

/// Something found, and where.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// What was found.
    pub value: T,
    /// Where it came from.
    pub outcome: Outcome,
}

impl<T> Found<T> {
    /// What was found here, with no upstream contact.
    pub(in crate::mirror) fn here(value: T) -> Self {
        Self {
            value,
            outcome: Outcome::Hit,
        }
    }
}
