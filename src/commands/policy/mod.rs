//! `policy`: questions to the rules about what may come in, before they are switched on and after.

mod test;
mod why;

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand, ValueEnum};

use super::interrupt;
use crate::{
    app,
    config::{self, Config, Flags, units::Span},
    domain::{View, ViewName},
    error::{Error, Result},
    metrics::Metrics,
    mirror::{GzipVariants, Mirror},
};

/// What to ask.
#[derive(Args, Clone, Debug)]
pub struct PolicyOptions {
    #[command(subcommand)]
    question: Question,
}

#[derive(Clone, Debug, Subcommand)]
enum Question {
    /// Print what would be refused of what Cargo.lock files need; exit code 1 if anything would be.
    Test(test::TestOptions),
    /// Print what holds for a crate or a version, and which rule decided.
    Why(why::WhyOptions),
}

/// How the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, for people.
    Human,
    /// One JSON object.
    Json,
}

/// Answers the question by the settings, whether the rules are enforced or only tried (`policy.mode`). Index files come from the store, and from upstream when
/// they are due.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the question can't be understood.
pub async fn run(flags: &Flags, options: &PolicyOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let question = options.question.clone();
    let answer = async move {
        match question {
            Question::Test(options) => test::run(config, &options).await,
            Question::Why(options) => why::run(config, &options).await,
        }
    };
    let code = interrupt::until_told(answer).await?;
    Ok(code.unwrap_or_else(|| interrupt::told("nothing has changed")))
}

/// A mirror that nobody is served by.
fn mirror(mut config: Config) -> Result<Mirror> {
    // Nobody here would rather have an old copy soon.
    config.freshness.patience = Span::millis(u64::MAX);
    config.read_ahead.enabled = false;
    let metrics = Arc::new(Metrics::new());
    let store = app::store_to_serve(&config, &metrics)?;
    app::mirror(config, store, metrics, GzipVariants::Never)
}

/// The view that is meant: a day, or one of the settings.
fn view(text: Option<&str>, mirror: &Mirror) -> Result<View> {
    let Some(text) = text else {
        return Ok(View::Usual);
    };
    if let Some(day) = crate::domain::Day::parse(text) {
        return Ok(View::AsOf(day));
    }
    let name =
        ViewName::parse(text).map_err(|e| Error::config(format!("--view: {}", e.message())))?;
    match mirror.policy().registry_of(name) {
        Some(_) => Ok(View::Named(name)),
        None => Err(Error::config(format!(
            "--view {name}: there is no table [views.{name}]; allowed are those of the settings, and days such as 2026-11-01"
        ))),
    }
}
