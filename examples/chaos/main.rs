//! Chaos, the long version: a mirror under load, with an upstream that fails in every way there is, killed every few seconds.
//!
//! `cargo run --release --example chaos -- --seconds 600 --seed 7`
//!
//! It prints its figures and ends with 1 when a promise was broken. The engine is the one of the test, `tests/it/chaos`.

#[path = "../../tests/it/chaos/engine/mod.rs"]
mod engine;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use clap::Parser;

/// Load, faults and kills, and a judge who knows what is right.
#[derive(Parser)]
struct Options {
    /// How long the load lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides what every actor does; one is drawn if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients ask at once.
    #[arg(long, default_value_t = 24)]
    clients: u64,
    /// The program to test; without it, this source's, built like this example.
    #[arg(long, value_name = "FILE")]
    mirror: Option<PathBuf>,
    /// So many mirrors over one bucket, whose way is as bad as upstream's; without it, one with a folder.
    #[arg(long, value_name = "COUNT")]
    mirrors: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mirror = match options.mirror.map_or_else(build, Ok) {
        Ok(mirror) => mirror,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let report = engine::run(engine::Plan {
        seed: options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        length: Duration::from_secs(options.seconds),
        clients: options.clients,
        mirror,
        fleet: options
            .mirrors
            .map_or(engine::Fleet::Alone, engine::Fleet::OverBucket),
    })
    .await;
    println!("{report}");
    match (report.is_clean(), report.is_lively()) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
        (true, false) => {
            println!("too little happened for this to show anything; give it more --seconds");
            ExitCode::SUCCESS
        }
    }
}

/// Cargo builds no program for an example, and an old one would pass for the new.
fn build() -> Result<PathBuf, String> {
    let me = std::env::current_exe().map_err(|e| format!("where this program is: {e}"))?;
    // …/target/release/examples/chaos
    let profile = me.ancestors().nth(2).unwrap_or(Path::new("."));
    let target = profile.parent().unwrap_or(Path::new("."));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--bin", "crate-mirror", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let built = command.status().is_ok_and(|status| status.success());
    let mirror = profile.join(format!("crate-mirror{}", std::env::consts::EXE_SUFFIX));
    match built && mirror.exists() {
        true => Ok(mirror),
        false => {
            Err("crate-mirror can't be built; name one that is there with --mirror".to_owned())
        }
    }
}
