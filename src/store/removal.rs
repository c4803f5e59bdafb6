//! [`Removal`]: what comes of removing exactly one object, the one that was looked at.

/// What became of an attempt to remove an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Removed,
    /// There was nothing any more.
    Gone,
    /// What is there stays: another object has taken its place.
    Replaced,
    /// It stays: it is being written into, or has been since it was looked at.
    Written,
}
