//! `check`: would it serve? The settings, the store and every upstream, tried without starting.

use std::{process::ExitCode, sync::Arc};

use crate::{
    allowance::Allowance,
    app,
    config::{self, Flags},
    error::Result,
    metrics::Metrics,
};

/// Says for each part whether it can be used; exit code 1 when an upstream can't.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used.
pub async fn run(flags: &Flags) -> Result<ExitCode> {
    let config = config::load(flags)?;
    match config::file(flags)? {
        Some(file) => println!("ok      settings {}", file.display()),
        None => println!(
            "ok      settings, without a file: there is no {} here",
            config::DEFAULT_FILE
        ),
    }
    let metrics = Arc::new(Metrics::new());
    app::open_store(&config, &metrics)?;
    println!("ok      store {}", config.store.path.0.display());
    let allowance = Allowance::new(config.memory.budget.get());
    let mut code = ExitCode::SUCCESS;
    for upstream in app::upstreams(&config, &allowance, &metrics)? {
        let name = upstream.registry();
        let mut index = upstream.index_url().clone();
        // Never a password on a screen or in a CI's log.
        let _ = (index.set_password(None), index.set_username(""));
        match upstream.dl().await {
            Ok(dl) => println!("ok      registry {name}: {index}, its crates at {dl}"),
            Err(e) => {
                println!("failed  registry {name}: {index}: {e}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
