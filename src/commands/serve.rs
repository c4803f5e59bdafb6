//! `serve`: be a mirror until told to stop.

use std::{io::Write, process::ExitCode};

use super::interrupt::{Hangups, Signals};
use crate::{
    app::App,
    config::{
        self, Config, Flags,
        policy::{PolicySettings, Views},
    },
    error::Result,
    http::snippet,
};

/// Serves until Ctrl-C or SIGTERM. A second one ends the process at once. SIGHUP has files read again that have changed, and the rules (`[policy]`, `[views]`) of the settings.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings can't be understood or used.
pub async fn run(flags: &Flags) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = config.store.path.0.clone();
    let manner = match config.offline.enabled {
        true => "It is offline: it asks nobody, and serves what is in",
        false => "It keeps crates in",
    };
    let mut signals = Signals::listen()?;
    let mut hangups = Hangups::listen()?;
    allow_files(config.server.max_connections.get());
    let rest = Rest::of(&config);
    let app = App::start(config).await?;
    let tls = app.tls_address().map_or(String::new(), |address| {
        format!("It speaks TLS on https://{address}\n")
    });
    let pages = app.admin_address().map_or(String::new(), |address| {
        format!("Its pages are on http://{address}\n")
    });
    // Whoever started it may have stopped reading; that is no reason not to serve.
    let _ = writeln!(
        std::io::stdout(),
        "crate-mirror {} listens on {}://{}\n{tls}{pages}{manner} {}\nTo use it, put this into .cargo/config.toml:\n\n{}",
        env!("CARGO_PKG_VERSION"),
        app.scheme(),
        app.address(),
        store.display(),
        snippet(app.mirror(), app.base_url(), app.authentication())
    );
    tokio::select! {
        () = signals.next() => {}
        () = reread(&app, flags, &rest, &mut hangups) => {}
    }
    tracing::info!("stopping: requests in flight may finish");
    tokio::select! {
        () = app.stop() => Ok(ExitCode::SUCCESS),
        () = signals.next() => Ok(ExitCode::FAILURE),
    }
}

/// All settings but the rules, to be compared: what of them changes has no effect on a mirror that runs.
#[derive(PartialEq, Eq)]
struct Rest(String);

impl Rest {
    fn of(config: &Config) -> Self {
        let mut rest = config.clone();
        rest.policy = PolicySettings::default();
        rest.views = Views::default();
        Self(format!("{rest:?}"))
    }
}

/// What SIGHUP does, each time one comes.
async fn reread(app: &App, flags: &Flags, rest: &Rest, hangups: &mut Hangups) {
    loop {
        hangups.next().await;
        tracing::info!(
            "SIGHUP: files that have changed are read again, and the rules of the settings"
        );
        app.reread();
        let enforced = match config::load(flags) {
            Ok(config) => {
                if *rest != Rest::of(&config) {
                    tracing::warn!(
                        "other settings than `[policy]` and `[views]` have changed; they count when the mirror is started again"
                    );
                }
                app.enforce(&config).await
            }
            Err(e) => Err(e),
        };
        if let Err(e) = enforced {
            tracing::error!("{e}; the rules about what may come in stay as they were");
        }
    }
}

/// Files and sockets beside those of clients that are served: upstream connections, the store, the log, clients that are refused.
const OTHER_FILES: u64 = 768;

/// Raises the number of files this process may have open as far as the system lets it: the usual 1024 is fewer than `max_connections`.
fn allow_files(max_connections: u32) {
    let wanted = u64::from(max_connections) + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => tracing::warn!(
            allowed,
            wanted,
            "the system allows fewer open files than `server.max_connections` needs; raise the limit (ulimit -n) or lower the setting"
        ),
        Err(e) => tracing::warn!("the limit of open files can't be raised: {e}"),
    }
}
