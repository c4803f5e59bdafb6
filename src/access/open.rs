//! [`open`]: what the settings say of who may ask, made ready; and [`AccessFollower`], which keeps it so while its files change.

use std::{fmt::Display, path::Path, sync::Arc, time::SystemTime};

use url::Url;

use super::{
    authenticator::Authenticator,
    jwt::{FetchKeys, Issuer, KEYS_LARGEST, KeySet, KeySource},
    token_file,
    tokens::Tokens,
};
use crate::{
    config::access::{AccessSettings, KeysAt},
    error::{Error, Result},
    follow::{Followed, Look, Looks, read_bounded},
    metrics::Metrics,
};

/// Reads the files that the settings name. `fetch` makes what fetches the keys under a URL.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when a file can't be understood. A file of tokens that isn't there is no error: there are none yet.
pub fn open(
    settings: &AccessSettings,
    fetch: impl Fn(&Url) -> Result<FetchKeys>,
    metrics: Arc<Metrics>,
    now: SystemTime,
) -> Result<(Arc<Authenticator>, AccessFollower)> {
    let mut files = Vec::new();
    let mut issuers = Vec::new();
    for (name, issuer) in &settings.jwt {
        let name = name.as_str();
        let keys = match &issuer.keys {
            KeysAt::Url(url) => Arc::new(KeySource::fetched(name, fetch(url)?)),
            KeysAt::File(path) => {
                let file = Followed::new(path, now);
                let keys = Arc::new(KeySource::known(read_keys(name, path)?));
                files.push(KeyFile {
                    name: name.to_owned(),
                    file,
                    keys: keys.clone(),
                });
                keys
            }
        };
        issuers.push(Issuer {
            name: name.to_owned(),
            issuer: issuer.issuer.0.clone(),
            audience: issuer.audience.0.clone(),
            subjects: issuer.subjects.0.clone(),
            keys,
        });
    }
    let path = settings.tokens.as_ref().map(|path| path.0.as_path());
    let followed = path.map(|path| Followed::new(path, now));
    let tokens = path.map(first_tokens).transpose()?.unwrap_or_default();
    let authenticator = Authenticator::new(tokens, issuers, settings.anonymous.clone());
    let authenticator = Arc::new(authenticator);
    let follower = AccessFollower {
        authenticator: authenticator.clone(),
        tokens: followed,
        keys: files,
        looks: Looks::default(),
        metrics,
    };
    Ok((authenticator, follower))
}

/// The tokens there are when a mirror starts.
fn first_tokens(path: &Path) -> Result<Tokens> {
    let tokens = token_file::read(path)?;
    if tokens.is_none() {
        tracing::warn!(
            "there is no {} yet, so that nobody has a token; `crate-mirror token new NAME` makes one",
            path.display()
        );
    }
    Ok(tokens.unwrap_or_default())
}

fn read_tokens(path: &Path) -> Result<Tokens> {
    let gone = || {
        let path = path.display();
        Error::config(format!("`access.tokens`: {path} is gone"))
    };
    token_file::read(path)?.ok_or_else(gone)
}

/// Reads the keys of the table `[access.jwt.NAME]` from a file.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it can't be read, or is no set of keys.
pub fn read_keys(name: &str, path: &Path) -> Result<KeySet> {
    let wrong = |why: &dyn Display| {
        let path = path.display();
        Error::config(format!("`access.jwt.{name}.keys`: {path}: {why}"))
    };
    let read = read_bounded(path, KEYS_LARGEST as u64);
    let json = read.map_err(|e| wrong(&e).with_source(e))?;
    KeySet::parse(&json).map_err(|e| wrong(&e).with_source(e))
}

/// The files that say who may ask, looked at again and again.
pub struct AccessFollower {
    authenticator: Arc<Authenticator>,
    tokens: Option<Followed>,
    keys: Vec<KeyFile>,
    looks: Looks,
    metrics: Arc<Metrics>,
}

struct KeyFile {
    name: String,
    file: Followed,
    keys: Arc<KeySource>,
}

impl AccessFollower {
    /// By what it is told to look now.
    pub fn looks(&self) -> Looks {
        self.looks.clone()
    }

    /// Follows the files until it is dropped. What can't be read or understood leaves what was there in force.
    pub async fn run(self) {
        let looks = self.looks();
        looks
            .have_look("the files that say who may ask are", self, Self::look)
            .await;
    }

    fn look(&mut self, now: SystemTime) {
        if let Some(file) = &mut self.tokens {
            match file.look(now, read_tokens) {
                Look::Same => {}
                Look::Changed(tokens) => {
                    let (count, path) = (tokens.tokens.len(), file.path().display());
                    tracing::info!("{path} has changed: {count} tokens are in force");
                    self.authenticator.replace(tokens);
                }
                Look::Broken(e) => complain(&e),
            }
        }
        for KeyFile { name, file, keys } in &mut self.keys {
            match file.look(now, |path| read_keys(name, path)) {
                Look::Same => {}
                Look::Changed(changed) => {
                    tracing::info!("the keys of `access.jwt.{name}` have changed");
                    keys.replace(changed);
                }
                Look::Broken(e) => complain(&e),
            }
        }
        let files = self
            .tokens
            .iter()
            .chain(self.keys.iter().map(|key| &key.file));
        let broken = files.filter(|file| file.is_broken()).count();
        self.metrics.access_files_unreadable.set(broken as i64);
    }
}

fn complain(why: &Error) {
    tracing::error!("{why}; what it said before stays in force");
}
