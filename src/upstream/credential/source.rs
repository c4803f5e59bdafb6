//! [`Source`]: where a credential comes from.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    command,
    form::{Form, LONGEST},
};
use crate::{
    config::credential::{self as settings, CommandLine},
    domain::RegistryName,
    error::{Error, Result},
    secret::Secret,
};

/// A file may have changed after so long.
const FILE_GOOD_FOR: Duration = Duration::from_secs(2);

/// Where a credential comes from.
pub(super) enum Source {
    /// It was there from the beginning and doesn't change: from the environment or a URL.
    Fixed(Secret),
    /// A file, with what was in it at the beginning.
    File(PathBuf, Secret),
    /// What a command prints.
    Command(CommandLine, Duration),
}

impl Source {
    /// The one that the settings of the registry `name` say. No command is run yet.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the file or the variable has none.
    pub(super) fn of(
        name: RegistryName,
        said: &settings::CredentialSource,
        form: &Form,
    ) -> Result<Self> {
        let key = key(name, said);
        match said {
            settings::CredentialSource::File(path) => {
                let secret = read(path, form)
                    .map_err(|e| e.clone().reworded(format!("{key}: {}", e.message())))?;
                Ok(Self::File(path.clone(), secret))
            }
            settings::CredentialSource::Env(variable) => {
                let given = std::env::var_os(variable).ok_or_else(|| {
                    Error::config(format!("{key}: the environment has no variable {variable}"))
                })?;
                let read = form.read(given.as_encoded_bytes());
                let secret = read.map_err(|why| {
                    Error::config(format!("{key}: what the variable {variable} has {why}"))
                })?;
                Ok(Self::Fixed(secret))
            }
            settings::CredentialSource::Command { command, ttl } => {
                Ok(Self::Command(command.clone(), *ttl))
            }
        }
    }

    /// How long what it gives is good; `None` for ever.
    pub(super) fn good_for(&self) -> Option<Duration> {
        match self {
            Self::Fixed(_) => None,
            Self::File(..) => Some(FILE_GOOD_FOR),
            Self::Command(_, ttl) => Some(*ttl),
        }
    }

    /// What was there from the beginning.
    pub(super) fn first(&self) -> Option<Secret> {
        match self {
            Self::Fixed(secret) | Self::File(_, secret) => Some(secret.clone()),
            Self::Command(..) => None,
        }
    }

    /// What it gives now.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config), for the log: it says what was tried, and has nothing in it of what came.
    pub(super) async fn obtain(&self, form: &Arc<Form>) -> Result<Secret> {
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::File(path, _) => {
                let (path, form) = (path.clone(), form.clone());
                let reading = tokio::task::spawn_blocking(move || read(&path, &form));
                let read = reading.await;
                read.map_err(|e| Error::ended_early("reading a credential", e))?
            }
            Self::Command(command, _) => {
                let printed = command::run(command).await?;
                let read = form.read(&printed);
                read.map_err(|why| {
                    Error::config(format!(
                        "what the command {} printed {why}",
                        command.program
                    ))
                })
            }
        }
    }

    /// Where that is, for people.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Fixed(_) => "from the environment or the URL".to_owned(),
            Self::File(path, _) => format!("from the file {}", path.display()),
            Self::Command(command, _) => format!("from the command {}", command.program),
        }
    }
}

/// The setting that says where, for errors.
fn key(name: RegistryName, source: &settings::CredentialSource) -> String {
    let word = match source {
        settings::CredentialSource::File(_) => "file",
        settings::CredentialSource::Env(_) => "env",
        settings::CredentialSource::Command { .. } => "command",
    };
    format!("`registries.{name}.credential.{word}`")
}

/// The credential in a file.
fn read(path: &Path, form: &Form) -> Result<Secret> {
    let read = || {
        let mut given = Zeroizing::new(Vec::new());
        let file = File::open(path)?;
        file.take(LONGEST as u64 + 1).read_to_end(&mut given)?;
        io::Result::Ok(given)
    };
    let shown = path.display();
    let given = read().map_err(|e| Error::config(format!("{shown} can't be read")).caused_by(e))?;
    form.read(&given)
        .map_err(|why| Error::config(format!("{shown} {why}")))
}
