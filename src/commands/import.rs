//! `import`: what is in bundles, added to the store.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytesize::ByteSize;

use super::bar;
use crate::{
    app,
    bundle::{self, Imported, PublicKey, Watch},
    config::{self, Config, Flags},
    error::{Error, Result},
    metrics::Metrics,
    store::Store,
};

/// What `import` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The bundles, in the order in which they were made; `-` is standard input.
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<PathBuf>,
    /// Take only what this minisign key has signed: a file, or the key itself.
    #[arg(long, value_name = "PUBKEY")]
    require_signature: Option<String>,
}

/// Imports one bundle after the other. A running mirror is told, also when one of them is refused half-way: what came before is kept.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings, the store or the key can't be used,
/// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when a bundle is refused, [`Kind::Store`](crate::error::Kind::Store) when the store can't be written.
pub async fn run(flags: &Flags, options: &Options) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let key = options.require_signature.as_deref();
    let key = key.map(PublicKey::parse).transpose()?;
    let store = app::open_store(&config, &Arc::new(Metrics::new()))?;
    let started = Instant::now();
    let (bundles, importing) = (options.bundles.clone(), store.clone());
    let (done, ended) = tokio::task::spawn_blocking(move || {
        let mut done = Imported::default();
        let ended = import_all(&bundles, key.as_ref(), &importing, &mut done);
        (done, ended)
    })
    .await
    .map_err(|e| Error::internal(format!("the import ended early: {e}")))?;
    let told = match done.written {
        0 => Ok(()),
        _ => store.announce_change().await,
    };
    warn_of_unknown(&config, &done);
    let summary = format!(
        "{} entries of {} written, {} were there, in {:.1} s",
        done.written,
        ByteSize(done.bytes).display().iec(),
        done.skipped,
        started.elapsed().as_secs_f64()
    );
    // Whoever started it may have stopped reading.
    let _ = match ended {
        Ok(()) => writeln!(io::stdout(), "{summary}"),
        Err(_) => writeln!(io::stderr(), "{summary}, and then something was wrong"),
    };
    match (ended, told) {
        (Err(wrong), Err(e)) => {
            tracing::error!("a running mirror isn't told of what was imported: {e}");
            Err(wrong)
        }
        (ended, told) => ended.and(told).map(|()| ExitCode::SUCCESS),
    }
}

fn import_all(
    bundles: &[PathBuf],
    key: Option<&PublicKey>,
    store: &Store,
    done: &mut Imported,
) -> Result<()> {
    for path in bundles {
        let progress = bar::unknown("reading");
        let watch = Watch {
            total: &|bytes| bar::know(&progress, bytes),
            bytes: &|bytes| progress.inc(bytes),
            say: &|line| progress.suspend(|| eprintln!("{line}")),
        };
        let source = open(path)?;
        let imported = bundle::import(source, key, store, SystemTime::now(), &watch, done);
        progress.finish_and_clear();
        imported
            .map_err(|e| Error::new(e.kind(), format!("the bundle {}: {e}", path.display())))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(e) => Err(Error::bad_request(format!(
            "the bundle {} can't be read: {e}",
            path.display()
        ))),
    }
}

/// Entries of a registry that has no settings here are stored all the same: the settings may come later.
fn warn_of_unknown(config: &Config, done: &Imported) {
    let known = |name: &str| config.registries.keys().any(|known| known.as_str() == name);
    for name in done.registries.iter().filter(|name| !known(name)) {
        tracing::warn!(
            "the bundle has crates of the registry {name}, which are not served until the settings have [registries.{name}]"
        );
    }
}
