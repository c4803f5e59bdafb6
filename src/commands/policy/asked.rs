//! What the questions have in common: the mirror that is asked, how it is looked at, and how the answer looks.

use std::sync::Arc;

use clap::ValueEnum;

use crate::{
    app,
    config::{Config, policy::Mode, units::Span},
    domain::{Day, View, ViewName},
    error::{Error, Result},
    metrics::Metrics,
    mirror::{GzipVariants, Mirror},
};

/// How the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table, for people.
    Human,
    /// One JSON object.
    Json,
}

/// What is said beside an answer where the rules are only tried; nothing where they are enforced.
pub(super) fn note_on(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Enforce => None,
        Mode::Report => Some(
            "`policy.mode` is \"report\": nothing is refused, it is only counted and written down",
        ),
    }
}

/// A mirror that nobody is served by.
pub(super) async fn mirror(mut config: Config) -> Result<Mirror> {
    // Nobody here would rather have an old copy soon.
    config.freshness.patience = Span::millis(u64::MAX);
    config.read_ahead.enabled = false;
    let metrics = Arc::new(Metrics::new());
    let store = app::store_to_serve(&config, &metrics).await?;
    app::mirror(config, store, metrics, GzipVariants::Never)
}

/// The view that is meant: a day, or one of the settings.
pub(super) fn view(text: Option<&str>, mirror: &Mirror) -> Result<View> {
    let Some(text) = text else {
        return Ok(View::Usual);
    };
    if let Some(day) = Day::parse(text) {
        return Ok(View::AsOf(day));
    }
    let said = |e: Error| Error::config(format!("--view: {}", e.message())).with_source(e);
    let name = ViewName::parse(text).map_err(said)?;
    match mirror.policy().registry_of(name) {
        Some(_) => Ok(View::Named(name)),
        None => Err(Error::config(format!(
            "--view {name}: there is no table [views.{name}]; allowed are those of the settings, and days such as 2026-11-01"
        ))),
    }
}
