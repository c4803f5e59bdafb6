//! Who may ask, and where it is written down: the files and URLs that settings name for it.

use std::{fs::OpenOptions, io, path::Path, time::SystemTime};

use super::verdicts::Verdicts;
use crate::{
    access::{self, jwt::KeySet, token_file},
    app,
    config::{
        Config,
        access::{IssuerSettings, KeysAt},
    },
    domain::loggable_url,
    error::Result,
};

/// The file with the tokens.
pub(super) fn tokens(config: &Config, verdicts: &mut Verdicts) {
    let Some(path) = &config.access.tokens else {
        return;
    };
    let path = path.0.as_path();
    let shown = path.display();
    match token_file::read(path) {
        Err(e) => verdicts.failed(format_args!("tokens: {e}")),
        Ok(None) => verdicts.ok(format_args!(
            "tokens: there is no {shown} yet, so that nobody has one"
        )),
        Ok(Some(tokens)) => {
            let now = SystemTime::now();
            let all = tokens.tokens.len();
            let expired = tokens.tokens.values().filter(|t| t.is_expired(now)).count();
            verdicts.ok(format_args!(
                "tokens {shown}: {all}, of which {expired} have expired"
            ));
        }
    }
}

/// The keys of the issuers of JSON web tokens.
pub(super) async fn keys(config: &Config, verdicts: &mut Verdicts) {
    for (name, issuer) in &config.access.jwt {
        let at = match &issuer.keys {
            KeysAt::File(path) => path.display().to_string(),
            KeysAt::Url(url) => loggable_url(url),
        };
        match keys_of(name.as_str(), issuer, config).await {
            Ok(keys) => verdicts.ok(format_args!(
                "keys of access.jwt.{name}: {} at {at}",
                keys.count()
            )),
            Err(e) => verdicts.failed(format_args!("keys of access.jwt.{name} at {at}: {e}")),
        }
    }
}

async fn keys_of(name: &str, issuer: &IssuerSettings, config: &Config) -> Result<KeySet> {
    match &issuer.keys {
        KeysAt::File(path) => access::read_keys(name, path),
        KeysAt::Url(url) => access::jwt::fetched(app::keys_at(url, config)?).await,
    }
}

/// The audit log.
pub(super) fn audit(config: &Config, verdicts: &mut Verdicts) {
    let Some(path) = &config.audit.path else {
        return;
    };
    let path = path.0.as_path();
    let shown = path.display();
    match can_be_written(path) {
        Ok(()) => verdicts.ok(format_args!("audit {shown}")),
        Err(e) => verdicts.failed(format_args!("audit {shown}: it can't be written: {e}")),
    }
}

/// Opens the file as it would be opened, or makes another one where it would be made: a mirror that runs may be writing to it.
fn can_be_written(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop)
        }
        Err(e) => Err(e),
    }
}
