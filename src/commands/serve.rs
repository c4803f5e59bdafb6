//! `serve`: be a mirror until told to stop.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::App,
    config::{self, Flags},
    error::{Error, Result},
    http::snippet,
};

/// Serves until Ctrl-C or SIGTERM. A second one ends the process at once.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings can't be understood or used.
pub async fn run(flags: &Flags) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = config.store.path.0.clone();
    let no_signals = |e| Error::internal(format!("signals can't be received: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let app = App::start(config).await?;
    println!(
        "crate-mirror {} listens on http://{}",
        env!("CARGO_PKG_VERSION"),
        app.address()
    );
    println!("It keeps crates in {}", store.display());
    println!(
        "To use it, put this into .cargo/config.toml:\n\n{}",
        snippet(app.mirror(), app.base_url())
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping: requests in flight may finish");
    tokio::select! {
        () = app.stop() => Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
    }
}
