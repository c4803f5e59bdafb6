//! `wanted`: what clients of an offline mirror asked for and didn't find, as `prefetch` takes it.

use std::{io::Write, process::ExitCode};

use crate::{
    app,
    config::{self, Flags},
    error::Result,
};

/// Prints one line for each thing that was asked for in vain and still isn't here: `serde@1.0.200`, or `serde` where the crate as a whole is missing.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used, [`Kind::Store`](crate::error::Kind::Store) when the
/// store can't be read.
pub async fn run(flags: &Flags) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = app::existing_store(&config)?;
    let mut out = std::io::stdout().lock();
    for wish in store.wishes().await? {
        // A reader that has seen enough (`head`) is no failure.
        if writeln!(out, "{wish}").is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
