//! `check`: would it serve? The settings, the store and every upstream, tried without starting; or, of Cargo.lock files, whether the store alone is
//! enough to build from them.

mod guards;
mod parts;
mod verdicts;

use std::{io::Write, process::ExitCode, sync::Arc, time::SystemTime};

use clap::Args;

use self::parts::parts;
use super::interrupt;
use crate::{
    app,
    config::{self, Flags},
    error::{Error, Result},
    metrics::Metrics,
    policy::Gate,
    prefetch::{
        Aside, List, Missing, lacking_toolchains,
        readiness::{CheckDepth, lacking},
        this_machine,
    },
};

/// What to check.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckOptions {
    /// Cargo.lock files, or folders to search for them: can they be built from the store with no network at all? Of a rust-toolchain.toml: can rustup
    /// install it from here so? Without any, the settings, the store and the upstreams are checked.
    #[arg(value_name = "CARGO.LOCK")]
    lockfiles: Vec<String>,
    /// Also read every .crate file that is needed and check it.
    #[arg(long, requires = "lockfiles")]
    verify: bool,
}

/// Checks what `options` name.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings, the store or a Cargo.lock can't be used.
pub async fn run(flags: &Flags, options: &CheckOptions) -> Result<ExitCode> {
    let (flags, options) = (flags.clone(), options.clone());
    let check = async move {
        match options.lockfiles.is_empty() {
            true => parts(&flags).await,
            false => lockfiles(&flags, &options).await,
        }
    };
    let code = interrupt::until_told(check).await?;
    Ok(code.unwrap_or_else(|| interrupt::told("not everything is checked; run it again")))
}

/// Lists on standard output what the store lacks, each line beginning with what `prefetch` takes, and says the rest on standard error. No
/// upstream is asked or even made ready. Exit code 1 when a build without network would lack something: also what comes from git or from a registry
/// that isn't this mirror's.
async fn lockfiles(flags: &Flags, options: &CheckOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let list = List::read(&options.lockfiles, std::io::stdin())?;
    if let Some(request) = list.requests.first() {
        return Err(Error::config(format!(
            "{request} is no Cargo.lock and no folder; check takes nothing else"
        )));
    }
    let store = app::existing_store(&config).await?;
    let depth = match options.verify {
        true => CheckDepth::Whole,
        false => CheckDepth::Glance,
    };
    let (selected, aside) = list.selected(config.origins());
    let rules = app::PolicySource::open(&config, &Arc::new(Metrics::new()))?;
    let gate = Gate::new(rules.policy(), SystemTime::now());
    let mut missing = lacking(&store, &selected, depth, &gate).await?;
    let mut looked = selected.len();
    if !list.toolchains.is_empty() {
        let host = this_machine()?;
        let (files, lacking) = lacking_toolchains(&store, &list.toolchains, &host, depth).await?;
        looked += files;
        missing.extend(lacking);
    }
    let things = match list.toolchains.is_empty() {
        true => "packages",
        false => "packages and files of toolchains",
    };
    tell(looked, things, &missing, &aside);
    let all_ours = aside.strange.is_empty() && aside.named.is_empty();
    Ok(match missing.is_empty() && all_ours {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The table, and what is to be said of it. Whoever started it may have stopped reading; the exit code says what matters.
fn tell(packages: usize, things: &str, missing: &[Missing], aside: &Aside) {
    let width = |column: fn(&Missing) -> &str| {
        let widths = missing.iter().map(|m| column(m).chars().count());
        widths.max().unwrap_or(0)
    };
    let (what, why) = (width(|m| &m.what), width(|m| &m.why));
    let rows = missing.iter().map(|row| {
        let by = row.by.join(", ");
        format!("{:what$}  {:why$}  {by}\n", row.what, row.why)
    });
    let _ = std::io::stdout().write_all(rows.collect::<String>().as_bytes());
    let strange = aside.strange.iter().map(|m| (&m.what, &m.why));
    let elsewhere = strange.chain(aside.named.iter().map(|(what, why)| (what, why)));
    let mut said: String = elsewhere
        .map(|(what, why)| format!("not of this mirror  {what}: {why}\n"))
        .collect();
    said.push_str(&match missing.len() {
        0 => format!("all {packages} {things} are here"),
        lacking => format!(
            "{lacking} of {packages} {things} are missing; the first column is what `crate-mirror prefetch` takes"
        ),
    });
    said.push_str(&match aside.strange.len() + aside.named.len() {
        0 => "\n".to_owned(),
        1 => ", and 1 comes from elsewhere\n".to_owned(),
        more => format!(", and {more} come from elsewhere\n"),
    });
    let _ = std::io::stderr().write_all(said.as_bytes());
}
