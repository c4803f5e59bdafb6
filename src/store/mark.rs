//! [`Mark`]: how one process tells another that it has put objects into a store that both have open.

/// The state of a store as far as announced changes go: two equal ones have no announced change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// That of a store in which no change was ever announced.
    pub(super) const NONE: Self = Self(0);

    /// That of an announcement, of which this number is all that is known. It is never that of a store without one.
    pub(super) fn of(number: u64) -> Self {
        Self(number.max(1))
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The mark with this [`number`](Self::number).
    pub(super) fn numbered(number: u64) -> Self {
        Self(number)
    }
}
