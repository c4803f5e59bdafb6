//! `export --format git`: the index as this mirror shows it, as a bare repository.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytesize::ByteSize;

use super::say;
use crate::{
    app::{self, PolicySource},
    bundle,
    config::{BaseUrl, Config},
    domain::{RegistryName, View},
    error::{Error, Result},
    git::FetchRequest,
    http,
    metrics::Metrics,
    mirror::{GitPatience, GzipVariants, PackPlan, PackSource},
};

/// What is to be made.
pub(super) struct GitExport {
    /// The repository.
    pub(super) folder: PathBuf,
    /// The registry whose index it is; the default one, if that isn't said.
    pub(super) registry: Option<RegistryName>,
    /// Where the crates are downloaded.
    pub(super) url: Option<BaseUrl>,
}

/// Writes the repository. Exit code 1 when no index file is stored.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings or the store can't be used, nobody says where crates are downloaded, or something else is in the folder,
/// [`Kind::Store`](crate::error::Kind::Store) when something can't be read or written.
pub(super) async fn run(config: Config, export: GitExport) -> Result<ExitCode> {
    let started = Instant::now();
    let GitExport {
        folder,
        registry,
        url,
    } = export;
    let url = url.or_else(|| config.server.public_url.clone());
    let url = url.ok_or_else(|| {
        Error::config(
            "--format git needs --url, the URL of the mirror from which crates will be downloaded, or `server.public_url`: cargo is told where they are",
        )
    })?;
    let store = app::existing_store(&config).await?;
    let metrics = Arc::new(Metrics::new());
    let rules = PolicySource::open(&config, &metrics)?;
    let mirror = app::mirror_under(&rules, config, store, metrics, GzipVariants::Never)?;
    let place = mirror.registry(registry)?.clone();
    let text = http::config_json(&url, registry);
    let repository = mirror
        .git_index(
            &place,
            View::Usual,
            &text,
            GitPatience::Endless,
            SystemTime::now(),
        )
        .await?;
    let request = FetchRequest {
        wants: [repository.tip()].into(),
        ..FetchRequest::default()
    };
    let files = repository.files();
    let tip = repository.tip();
    let written = tokio::task::spawn_blocking(move || {
        let plan = PackPlan::new(&repository, &request);
        let pack = |out: &mut dyn Write| {
            let mut source = PackSource::new(plan).indexed();
            while let Some(chunk) = source.next_chunk()? {
                out.write_all(&chunk).map_err(|e| unwritten(&folder, &e))?;
            }
            Ok(source.index())
        };
        let bytes = bundle::bare_repository(&folder, &tip, pack)?;
        Ok((bytes, folder))
    });
    let written: Result<(u64, PathBuf)> = written
        .await
        .map_err(|e| Error::ended_early("writing the repository", e))?;
    let (bytes, folder) = written?;
    let seconds = started.elapsed().as_secs_f64();
    let size = ByteSize(bytes).display().iec();
    // Whoever started it may have stopped reading.
    let _ = writeln!(
        io::stdout(),
        "{files} index files in a repository of {size} in {}, in {seconds:.1} s\nTo use it, have it served, and put this into .cargo/config.toml:\n\n[source.crates-io]\nreplace-with = \"mirror\"\n\n[source.mirror]\nregistry = \"http://HOST/PATH\"",
        folder.display()
    );
    if files > 0 {
        return Ok(ExitCode::SUCCESS);
    }
    say::aside(
        "no index file is stored: what was written is empty; does `store.path` (`--store`) name the right folder?",
    );
    Ok(ExitCode::FAILURE)
}

fn unwritten(folder: &Path, e: &io::Error) -> Error {
    Error::store(format!("{} can't be written: {e}", folder.display())).with_io_source(e)
}
