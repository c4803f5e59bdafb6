//! What to say when the storage fails.

use std::{io, path::Path};

use crate::error::Error;

/// An error of kind store that says what was tried with which file.
pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let said = format!("{what} {} failed: {error}", path.display());
    Error::store(said).with_source(error)
}

/// The same for a file that has no name to be told by.
pub(super) fn failed_at(what: &str, error: io::Error) -> Error {
    Error::store(format!("{what} failed: {error}")).with_source(error)
}
