//! [`Fault`] and [`Stall`]: what a test makes a store do instead of what it was asked: fail as a broken disk would, panic, or hang as a dead mount does.

use std::{io, sync::Arc};

/// What a store is about to do.
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

/// Called before each; with an error the storage is not touched, and the error is what it would have said.
pub type Fault = Arc<dyn Fn(Touch) -> io::Result<()> + Send + Sync>;

/// Called before each on the thread that is about to wait for the storage, which it may hold for as long as it likes.
pub type Stall = Arc<dyn Fn(Touch) + Send + Sync>;
