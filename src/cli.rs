//! The command line: what was asked for, parsed; and the process around it.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::{
    commands::{
        self,
        live_line::{AboveLine, LiveLine},
        say,
        serve::Launch,
        terminal::Terminal,
    },
    config::Flags,
    error::{Error, Kind, Result},
    store,
    transport::Inherited,
};

/// A caching pull-through mirror of crates.io.
#[derive(Debug, Parser)]
#[command(name = "crate-mirror", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve cargo (what happens when no command is given).
    Serve,
    /// Check the settings, the store and every upstream, without serving; or whether Cargo.lock files can be built from the store alone.
    Check(commands::check::CheckOptions),
    /// Fill the store before anyone asks.
    Prefetch(commands::prefetch::PrefetchOptions),
    /// Read everything stored and check it.
    Verify {
        /// Drop what is bad, so that it is fetched again when asked for.
        #[arg(long)]
        repair: bool,
    },
    /// Print what clients of an offline mirror asked for and didn't find, as a list for `prefetch`.
    Wanted(commands::wanted::WantedOptions),
    /// Make, list and end the tokens of those who may ask; also beside a running mirror.
    Token(commands::token::TokenOptions),
    /// Ask the audit log who got what.
    Audit(commands::audit::AuditOptions),
    /// Ask the rules about what may come in what they say, before they are switched on and after.
    Policy(commands::policy::PolicyOptions),
    /// Make the store smaller, least recently used first; also beside a running mirror.
    Evict {
        /// How small, such as 10GiB; `store.max_size` if not said.
        #[arg(long, value_name = "SIZE")]
        to: Option<String>,
    },
    /// Make a bundle of what is stored, to be carried where no network leads.
    Export(commands::export::ExportOptions),
    /// Ask the mirror that runs with these settings whether it is well.
    Health(commands::health::HealthOptions),
    /// Ask three questions and write a mirror.toml.
    Init(commands::init::InitOptions),
    /// Print what a shell needs to complete this command line.
    Completions {
        /// For which shell.
        shell: commands::completions::Shell,
    },
    /// Print the manual, for man(1): `crate-mirror man | man -l -`.
    Man(commands::manual::ManualOptions),
    /// Add what is in bundles to the store; also beside a running mirror: offline it sees it at once, online as soon as an index file is due.
    Import(commands::import::ImportOptions),
}

#[derive(Args, Clone, Debug)]
struct Settings {
    /// The settings file; without this, mirror.toml in the current folder if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The folder to keep crates in.
    #[arg(long, global = true, value_name = "FOLDER")]
    store: Option<String>,
    /// Never contact any upstream; serve what is stored.
    #[arg(long, global = true)]
    offline: bool,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,
    /// What to log: a level (error, warn, info, debug, trace), or directives such as `warn,access=info`; `info` if not said, `error` while
    /// prefetching.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One line of words.
    Human,
    /// One JSON object a line.
    Json,
}

/// Runs the program. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = || {
        let mut launch = launch(&cli)?;
        // The guard writes out what is still to be written when it is dropped.
        let _guard = start_logging(&cli, launch.live_line.clone())?;
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            // Who has a line for each request needs none about all of them.
            launch.live_line = None;
        }
        block_on(&cli, launch)
    };
    // A panic has been logged; it has an exit code like every other failure.
    match catch_unwind(AssertUnwindSafe(done)) {
        Err(_) => ExitCode::FAILURE,
        Ok(Ok(code)) => code,
        Ok(Err(e)) => {
            say::aside(format_args!("crate-mirror: {e}"));
            match e.kind() {
                Kind::Config => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// How long what is under way may take to end.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Threads for what takes long beside the store: looking names up, gzip, parsing. More at once gain nothing and cost memory.
const OTHER_THREADS: usize = 32;

/// What `serve` finds around it. Before there are other threads: it changes the environment.
fn launch(cli: &Cli) -> Result<Launch> {
    if !matches!(cli.command, None | Some(Command::Serve)) {
        return Ok(Launch::default());
    }
    Ok(Launch {
        sockets: Inherited::take()?,
        live_line: LiveLine::on_a_terminal(),
        terminal: Terminal::of_process(),
    })
}

fn block_on(cli: &Cli, launch: Launch) -> Result<ExitCode> {
    let flags = Flags {
        config: cli.settings.config.clone(),
        listen: cli.settings.listen,
        store: cli.settings.store.clone(),
        offline: cli.settings.offline,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Those of the store may all be stuck with a disk that hangs; names are looked up and index files made ready all the same.
        .max_blocking_threads(store::THREADS + OTHER_THREADS)
        .build()
        .map_err(|e| Error::internal("no runtime").caused_by(e))?;
    let done = runtime.block_on(async {
        // A terminal that goes away ends no work that comes to an end by itself. `serve`, which doesn't, looks after that itself.
        let _hangup = signal(SignalKind::hangup());
        match cli.command.as_ref().unwrap_or(&Command::Serve) {
            Command::Serve => commands::serve::run(&flags, launch).await,
            Command::Check(options) => commands::check::run(&flags, options).await,
            Command::Prefetch(options) => commands::prefetch::run(&flags, options).await,
            Command::Verify { repair } => commands::verify::run(&flags, *repair).await,
            Command::Wanted(options) => commands::wanted::run(&flags, options).await,
            Command::Token(options) => commands::token::run(&flags, options),
            Command::Audit(options) => commands::audit::run(&flags, options).await,
            Command::Policy(options) => commands::policy::run(&flags, options).await,
            Command::Evict { to } => commands::evict::run(&flags, to.as_deref()).await,
            Command::Export(options) => commands::export::run(&flags, options).await,
            Command::Import(options) => commands::import::run(&flags, options).await,
            Command::Health(options) => commands::health::run(&flags, options).await,
            Command::Init(options) => commands::init::run(&flags, options),
            Command::Completions { shell } => {
                Ok(commands::completions::run(Cli::command(), *shell))
            }
            Command::Man(options) => commands::manual::run(Cli::command(), options),
        }
    });
    // What is under way ends here, so that it leaves no temporary files; what hangs is not waited for.
    runtime.shutdown_timeout(END_WITHIN);
    done
}

/// Log lines waiting to be written; beyond this they are dropped.
const LOG_BACKLOG: usize = 16_384;

/// Log lines go to standard error; standard output is for what a command was asked to say. They are written by a thread of their own: a terminal
/// that is stopped or a pipe that nobody reads must not hold up an answer.
fn start_logging(cli: &Cli, live_line: Option<LiveLine>) -> Result<WorkerGuard> {
    let Cli { command, settings } = cli;
    let usual = match command {
        // It says itself what came of each thing.
        Some(Command::Prefetch(_) | Command::Policy(_)) => "error",
        // The line says how many requests there are.
        _ if live_line.is_some() => "info,access=off",
        _ => "info",
    };
    let filter = settings.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| Error::config(format!("--log {filter:?} can't be understood")).caused_by(e))?;
    let writer = NonBlockingBuilder::default().buffered_lines_limit(LOG_BACKLOG);
    let (writer, guard) = match live_line {
        Some(line) => writer.finish(AboveLine(line)),
        None => writer.finish(std::io::stderr()),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    let started = match settings.log_format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    log_panics();
    match started {
        Ok(()) => Ok(guard),
        Err(e) => Err(Error::internal("logging can't start").because(e.to_string())),
    }
}

/// Has a panic logged where everything else is, with its place, once and for all threads; what it takes down is contained elsewhere.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}
