//! `serve`: be a mirror until told to stop.

use std::{io::Write, process::ExitCode, time::Duration};

use super::{
    address_file::AddressFile,
    interrupt::{Hangup, Hangups, Signals},
    live_line::{self, LiveLine},
    service_manager::ServiceManager,
    terminal::Terminal,
};
use crate::{
    app::App,
    config::{
        self, Config, Flags, ServiceUrl,
        policy::{PolicySettings, Views},
    },
    error::Result,
    http::snippet,
    mirror::Mirror,
    traces::TraceExport,
    transport::Inherited,
};

/// What the process around it has for `serve`.
#[derive(Default)]
pub struct Launch {
    /// Sockets that a service manager has handed over.
    pub sockets: Inherited,
    /// The line that is kept current, where somebody can see it.
    pub live_line: Option<LiveLine>,
    /// The terminal that it was started on, if it was on one.
    pub terminal: Terminal,
}

/// Where crates are kept, in words.
fn kept_in(config: &Config) -> String {
    let folder = config.store.path.0.display();
    match &config.store.bucket {
        None => folder.to_string(),
        Some(bucket) if config.store.has_folder() => {
            format!("{}, with {folder} in front of it", bucket.0)
        }
        Some(bucket) => bucket.0.to_string(),
    }
}

/// Serves until Ctrl-C or SIGTERM, or until the terminal is closed that it was started on. A second signal ends the process at once. SIGHUP has files read again that have changed, and the
/// rules (`[policy]`, `[views]`) of the settings.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings can't be understood or used.
pub async fn run(flags: &Flags, launch: Launch) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let store = kept_in(&config);
    let manner = match config.offline.enabled {
        true => "It is offline: it asks nobody, and serves what is in",
        false => "It keeps crates in",
    };
    let Launch {
        sockets,
        live_line,
        terminal,
    } = launch;
    let mut signals = Signals::listen()?;
    let hangups = Hangups::listen(terminal)?;
    allow_files(config.server.max_connections.get());
    let rest = Rest::of(&config);
    let grace = *config.server.shutdown_grace;
    let address_file = config.server.address_file.clone();
    let manager = ServiceManager::of_environment();
    let traces = traces(&config)?;
    let app = App::start_on(config, sockets).await?;
    // Until the end, whichever comes.
    let _addresses = address_file.and_then(|path| AddressFile::write(&path.0, &app));
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
        store,
        snippet(app.mirror(), app.base_url(), app.authentication())
    );
    manager.ready();
    let mirror = app.mirror().clone();
    let beside = async {
        tokio::join!(
            manager.reassure(),
            follow(live_line.as_ref(), &mirror),
            report(&manager, &mirror)
        )
    };
    tokio::pin!(beside);
    tokio::select! {
        () = signals.next() => {}
        () = reread(&app, flags, &rest, hangups, &manager) => {
            tracing::info!("the terminal that it was started on has been closed");
        }
        _ = &mut beside => {}
    }
    manager.stopping(grace + STOP_WITHIN);
    if let Some(line) = &live_line {
        line.clear();
    }
    tracing::info!("stopping: requests in flight may finish");
    let stopped = async {
        app.stop().await;
        if let Some(traces) = traces {
            // Their own thread sends them; waiting for it would hold up this one.
            let _ = tokio::task::spawn_blocking(|| traces.end()).await;
        }
    };
    tokio::select! {
        () = stopped => Ok(ExitCode::SUCCESS),
        () = signals.next() => Ok(ExitCode::FAILURE),
        // A watchdog isn't over before the end is.
        _ = &mut beside => Ok(ExitCode::FAILURE),
    }
}

/// Begins to send traces, if the settings say where.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when they can't be sent, or this program has none.
fn traces(config: &Config) -> Result<Option<TraceExport>> {
    let settings = &config.traces;
    let endpoint = settings.endpoint.as_ref();
    let start = |at: &ServiceUrl| TraceExport::start(at.as_str(), settings.sampled.get());
    endpoint.map(start).transpose()
}

/// How long the end may take beside what `server.shutdown_grace` leaves to clients.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often a service manager is told how it goes.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// Keeps the line current; for ever.
async fn follow(line: Option<&LiveLine>, mirror: &Mirror) {
    match line {
        Some(line) => line.follow(mirror).await,
        None => std::future::pending().await,
    }
}

/// Tells the service manager how it goes; for ever.
async fn report(manager: &ServiceManager, mirror: &Mirror) {
    if !manager.listens() {
        return std::future::pending().await;
    }
    let mut before = mirror.metrics().counts();
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        let counts = mirror.metrics().counts();
        manager.status(&live_line::summary(mirror, &counts, &before, REPORT_EVERY));
        before = counts;
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

/// What SIGHUP does, each time one comes, until it says that the terminal is closed.
async fn reread(
    app: &App,
    flags: &Flags,
    rest: &Rest,
    mut hangups: Hangups,
    manager: &ServiceManager,
) {
    while hangups.next().await == Hangup::Told {
        manager.reloading();
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
        manager.ready();
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
