//! The parts of a mirror, tried one by one without serving.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{guards, verdicts::Verdicts};
use crate::{
    advisories::Database,
    app,
    config::{self, Config, Flags},
    domain::{Validators, toolchain::ToolchainPath},
    error::{Kind, Result},
    metrics::Metrics,
    store::Store,
    tls::{self, Lifetime, NAMES_NOBODY},
};

/// Says for each part whether it can be used; exit code 1 when one can't, and 2 when a mirror wouldn't start with these settings.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings can't be understood.
pub(super) async fn parts(flags: &Flags) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let mut verdicts = Verdicts::default();
    match config::file(flags)? {
        Some(file) => verdicts.ok(format_args!("settings {}", file.display())),
        None => verdicts.ok(format_args!(
            "settings, without a file: there is no {} here",
            config::DEFAULT_FILE
        )),
    }
    certificate(&config, &mut verdicts);
    guards::tokens(&config, &mut verdicts);
    guards::keys(&config, &mut verdicts).await;
    guards::audit(&config, &mut verdicts);
    known_faults(&config, &mut verdicts);
    let metrics = Arc::new(Metrics::new());
    store(&config, &metrics, &mut verdicts).await;
    registries(&config, &metrics, &mut verdicts).await;
    toolchains(&config, &metrics, &mut verdicts).await;
    Ok(verdicts.end())
}

/// The distribution host, where toolchains are served.
async fn toolchains(config: &Config, metrics: &Arc<Metrics>, verdicts: &mut Verdicts) {
    if !config.toolchains.enabled {
        return;
    }
    if config.offline.enabled {
        return verdicts.ok("toolchains: offline, what is stored is served");
    }
    let upstream = match app::toolchain_upstream(config, metrics) {
        Ok(upstream) => upstream,
        Err(e) => return verdicts.refused(&e),
    };
    let host = upstream.shown_index();
    let (path, none) = (ToolchainPath::RustupRelease, Validators::default());
    match upstream.fetch_text(&path, &none).await {
        Ok(_) => verdicts.ok(format_args!("toolchains: {host}")),
        Err(e) => verdicts.failed(format_args!("toolchains: {host}: {e}")),
    }
}

/// What the mirror shows to its clients.
fn certificate(config: &Config, verdicts: &mut Verdicts) {
    let Some(files) = config.tls.files() else {
        return;
    };
    let identity = match tls::read(files) {
        Ok(identity) => identity,
        Err(first) => {
            let all = tls::mistakes(files);
            // One that is mended meanwhile was one all the same.
            let all = if all.is_empty() { vec![first] } else { all };
            return all.iter().for_each(|why| verdicts.refused(why));
        }
    };
    let certificate = identity.certificate();
    let lifetime = Lifetime::of(certificate.validity(), SystemTime::now());
    let (path, names) = (files.certificate.display(), certificate.names());
    if names.is_empty() {
        return verdicts.failed(format_args!("tls {path}: {NAMES_NOBODY}"));
    }
    let line = format!("tls {path} for {}: {lifetime}", names.join(", "));
    match lifetime.is_good() {
        true => verdicts.ok(line),
        false => verdicts.failed(line),
    }
}

/// The database of advisories, and how old it is.
fn known_faults(config: &Config, verdicts: &mut Verdicts) {
    let Some(path) = &config.policy.advisories.path else {
        return;
    };
    let now = SystemTime::now();
    match Database::read(&path.0, now) {
        Ok(database) => {
            let mut line = format!(
                "advisories {}: {} about {} crates, written {} ago",
                path.0.display(),
                database.advisories.len(),
                database.advisories.crates(),
                in_words(database.age(now))
            );
            match database.unreadable {
                0 => {}
                1 => line += "; 1 file can't be read and is passed over",
                more => line += &format!("; {more} files can't be read and are passed over"),
            }
            verdicts.ok(line);
        }
        Err(e) => verdicts.failed(e),
    }
}

/// A span of time in the largest unit of which it has two.
fn in_words(span: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 3_600, "days"), (3_600, "hours"), (60, "minutes")];
    let seconds = span.as_secs();
    let unit = UNITS.iter().find(|(size, _)| seconds >= 2 * size);
    let (size, name) = unit.unwrap_or(&(1, "seconds"));
    format!("{} {name}", seconds / size)
}

/// The folder and the bucket, whichever there is.
async fn store(config: &Config, metrics: &Arc<Metrics>, verdicts: &mut Verdicts) {
    if config.store.has_folder() {
        folder(config, metrics, verdicts);
    }
    let bucket = match app::bucket(config) {
        Ok(Some(bucket)) => bucket,
        Ok(None) => return,
        Err(e) => return verdicts.refused(&e),
    };
    let at = &bucket.at;
    match Store::try_bucket(&bucket, metrics.clone()).await {
        Ok(()) => verdicts.ok(format_args!(
            "bucket {at}: read, listed, written and removed"
        )),
        Err(e) if e.kind() == Kind::Config => verdicts.refused(&e),
        Err(e) => verdicts.failed(format_args!("bucket {at}: {e}")),
    }
}

fn folder(config: &Config, metrics: &Arc<Metrics>, verdicts: &mut Verdicts) {
    let now = SystemTime::now();
    let opened = Store::to_serve(app::folder(config), metrics.clone(), now);
    let unwritable = match opened {
        Ok((_, unwritable)) => unwritable,
        Err(e) => return verdicts.refused(&e),
    };
    let store = config.store.path.0.display();
    match unwritable {
        None => verdicts.ok(format_args!("store {store}")),
        Some(why) if config.offline.enabled => {
            verdicts.ok(format_args!("store {store}, to be read only: {why}"));
        }
        Some(why) => verdicts.failed(format_args!("store {store}: {why}")),
    }
}

/// Every upstream, and every credential with it.
async fn registries(config: &Config, metrics: &Arc<Metrics>, verdicts: &mut Verdicts) {
    if config.offline.enabled {
        for name in config.registries.keys() {
            verdicts.ok(format_args!("registry {name}: offline, so it isn't asked"));
        }
        return;
    }
    for upstream in app::upstreams(config, metrics) {
        let upstream = match upstream {
            Ok(upstream) => upstream,
            Err(e) => {
                verdicts.refused(&e);
                continue;
            }
        };
        let (name, index) = (upstream.registry(), upstream.shown_index());
        if let Some(validity) = upstream.client_certificate() {
            let lifetime = Lifetime::of(validity, SystemTime::now());
            let line = format!(
                "client certificate for {name}, read at the start of `serve` only: {lifetime}"
            );
            match lifetime.is_good() {
                true => verdicts.ok(line),
                false => verdicts.failed(line),
            }
        }
        let dl = match upstream.dl().await {
            Ok(dl) => dl,
            Err(e) => {
                verdicts.failed(format_args!("registry {name}: {index}: {e}"));
                continue;
            }
        };
        verdicts.ok(format_args!("registry {name}: {index}, its crates at {dl}"));
        if let Some(credential) = upstream.credential() {
            let (taken, shown) = (upstream.tried_without().await, upstream.shown_to(&dl));
            verdicts.ok(format_args!(
                "credential of {name}: {credential}; {taken}, and {shown}"
            ));
        }
    }
}
