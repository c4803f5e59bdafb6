//! `policy`: questions to the rules about what may come in, before they are switched on and after.

mod asked;
mod test;
mod why;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::interrupt;
use crate::{
    config::{self, Flags},
    error::Result,
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
    /// Print what holds for a crate or a version, and which rule decided; exit code 1 if it, or any version of the crate, may not come in.
    Why(why::WhyOptions),
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
