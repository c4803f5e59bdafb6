//! The benchmark: the mirror beside nginx and beside bare hyper, on this machine, in one run.
//!
//! `cargo run --release --example bench` (`-- --quick` takes under a minute, `-- --only stampede` runs a part)
//!
//! It starts everything itself on loopback: an origin that serves recorded index files and crates, the mirror, nginx as `proxy_cache` in front of the
//! same origin, nginx serving the same files, and a server that is hardly more than hyper. Everything that is measured is a process of its own, so
//! that its CPU time and memory can be told apart. What counts are ratios: the servers take turns within each round. Nothing is asserted.

mod bodies;
mod buckets;
mod certificate;
mod child;
mod clients;
mod component;
mod floor;
mod handshakes;
mod hits;
mod idle;
mod load;
mod nginx;
mod origin;
mod proc;
mod real_cargo;
mod record;
mod report;
mod rows;
mod rules;
mod servers;
mod site;
mod stampede;
mod stats;
mod targets;
mod tokens;
mod tools;
mod wire;

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};

use report::Report;
use tools::{Bench, Pace};

/// The mirror's, so that bare hyper differs from it in nothing but what it does.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What went wrong, in one sentence.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// The mirror beside nginx and beside bare hyper.
#[derive(Parser)]
struct Options {
    /// Fewer rows, one round, short runs: under a minute in all.
    #[arg(long)]
    quick: bool,
    /// Only what has this in its name, such as `stampede`, `bucket`, `TLS`, `tokens`, `rules`, `cargo: 80 ms` or `hits: serde, gzip, HTTP/2`.
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// How many rounds; three, or one with `--quick`.
    #[arg(long)]
    rounds: Option<usize>,
    /// Gives the servers half of the cores and the load generators the other half, so that neither takes time from the other. Real cargo runs on all of them.
    #[arg(long)]
    apart: bool,
    /// Where the recorded index files and crates are, or will be: the first run fetches them from crates.io.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench-data")]
    data: PathBuf,
    /// Where results.md and results.json go.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// The program to measure; without it, this source's, built like this example.
    #[arg(long, value_name = "FILE")]
    mirror: Option<PathBuf>,
    /// A database of advisories for `rules`, RustSec's or OSV files; without it, one that is made up and as large.
    #[arg(long, value_name = "FOLDER")]
    advisories: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it is started by itself.
#[derive(Subcommand)]
enum Role {
    /// The upstream, with files, delays and counts of its own.
    #[command(hide = true)]
    Origin { www: PathBuf },
    /// Bare hyper.
    #[command(hide = true)]
    Floor { www: PathBuf },
    /// What is between two machines.
    #[command(hide = true)]
    Wire { to: SocketAddr, delay_ms: u64 },
    /// Many clients that ask at once.
    #[command(hide = true)]
    Clients(clients::Crowd),
    /// Clients that connect over TLS again and again.
    #[command(hide = true)]
    Handshakes(handshakes::Shakers),
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.role {
        Some(Role::Origin { www }) => origin::run(www).await,
        Some(Role::Floor { www }) => floor::run(www).await,
        Some(Role::Wire { to, delay_ms }) => wire::run(*to, Duration::from_millis(*delay_ms)).await,
        Some(Role::Clients(crowd)) => clients::run(crowd).await,
        Some(Role::Handshakes(wanted)) => handshakes::shakers(wanted).await,
        None => bench(&options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: &Options) -> Result<()> {
    let pace = match options.quick {
        true => Pace::Quick,
        false => Pace::Full,
    };
    let mirror = match &options.mirror {
        Some(mirror) => mirror.clone(),
        None => tools::build_mirror()?,
    };
    let bench = Bench::new(
        pace,
        options.rounds,
        options.only.clone(),
        options.apart,
        mirror,
    )
    .await?;
    let recording = record::recording(&bench, &options.data).await?;
    let mut report = Report::new(&bench, &recording);
    println!("{}", report.preamble());
    hits::run(&bench, &recording, &mut report).await?;
    handshakes::run(&bench, &recording, &mut report).await?;
    tokens::run(&bench, &recording, &mut report).await?;
    let advisories = options.advisories.as_deref();
    rules::run(&bench, advisories, &recording, &mut report).await?;
    real_cargo::run(&bench, &recording, &mut report).await?;
    stampede::run(&bench, &recording, &mut report).await?;
    idle::run(&bench, &mut report).await?;
    buckets::run(&bench, &recording, &mut report).await?;
    let targets = targets::judge(&report);
    report.targets(targets);
    save(&report, &options.out)
}

/// Writes the results down and prints them.
fn save(report: &Report, out: &Path) -> Result<()> {
    let markdown = report.markdown();
    println!("\n{markdown}");
    let json = serde_json::to_string_pretty(&report.json()).map_err(|e| format!("JSON: {e}"))?;
    let written = std::fs::create_dir_all(out)
        .and_then(|()| std::fs::write(out.join("results.md"), markdown))
        .and_then(|()| std::fs::write(out.join("results.json"), json));
    written.map_err(|e| format!("{} can't be written: {e}", out.display()))?;
    println!(
        "written to {0}/results.md and {0}/results.json",
        out.display()
    );
    Ok(())
}
