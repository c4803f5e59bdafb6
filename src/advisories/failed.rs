//! What to say of a database that can't be used.

use std::{error::Error as StdError, path::Path};

use crate::error::Error;

/// What the system or a library says of it.
pub(super) fn failed(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::config(error.to_string()).with_source(error)
}

/// The same of the database at `path`, which the settings name.
pub(super) fn unusable(path: &Path, why: &Error) -> Error {
    let said = format!(
        "`policy.advisories.path`: {}: {}",
        path.display(),
        why.message()
    );
    why.clone().reworded(said)
}
