//! [`Touch`]: what is done with a disk.

/// What a disk is asked to do.
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "what tests name is public")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Look an object up.
    Load,
    /// Read on in a large one.
    Read,
    /// Write one.
    Save,
    /// List what there is of a crate.
    List,
    /// Look whether something is there.
    Look,
    /// Remove something.
    Remove,
}
