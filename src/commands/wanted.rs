//! `wanted`: what clients of an offline mirror asked for and didn't find, as `prefetch` takes it.

use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
    time::SystemTime,
};

use clap::Args;

use super::interrupt;
use crate::{
    app,
    config::{self, Flags},
    error::{Error, Result},
    store::Store,
};

/// What becomes of what is printed.
#[derive(Args, Clone, Debug, Default)]
pub struct WantedOptions {
    /// Forget what was printed; what is asked for again is noted again.
    #[arg(long)]
    forget: bool,
}

/// Prints one line for each thing that was asked for in vain and still isn't here: `serde@1.0.200`, or `serde` where the crate as a whole is missing.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used, [`Kind::Store`](crate::error::Kind::Store) when the
/// store can't be read, or written if something is to be forgotten.
pub async fn run(flags: &Flags, options: &WantedOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = app::existing_store(&config).await?;
    let print = print(store, options.clone());
    let code = interrupt::until_told(print).await?;
    Ok(code.unwrap_or_else(|| interrupt::told("nothing is forgotten; run it again")))
}

async fn print(store: Store, options: WantedOptions) -> Result<ExitCode> {
    let now = SystemTime::now();
    store.tidy_missed(now).await?;
    let missed = store.missed(now).await?;
    let lines: String = missed
        .iter()
        .map(|request| format!("{request}\n"))
        .collect();
    let mut out = std::io::stdout();
    let printed = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    match printed {
        Ok(()) if options.forget => store.forget_missed(&missed).await?,
        Ok(()) => {}
        // A reader that has seen enough (`head`) is no failure, but it hasn't seen all that would be forgotten.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
        Err(e) => {
            return Err(Error::internal(format!(
                "standard output can't be written: {e}; nothing is forgotten"
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}
