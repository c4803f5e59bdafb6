//! [`Fault`]: what a test makes a store do instead of what it was asked: fail as a broken disk would, or panic.

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
}

/// Called before each; with an error the storage is not touched, and the error is what it would have said.
pub type Fault = Arc<dyn Fn(Touch) -> io::Result<()> + Send + Sync>;
