//! `token`: who may ask a mirror, made, listed and ended; also beside a running one, which follows the file.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};

use super::say::{self, Lines};
use crate::{
    access::{Grant, TokenDigest, TokenName, new_token, storable, token_file},
    config::{self, Config, Flags},
    domain::RegistryName,
    error::{Error, Result},
};

/// What to do with tokens.
#[derive(Args, Clone, Debug)]
pub struct TokenOptions {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Make a token and print it, this once: only its SHA-256 is kept.
    New {
        /// What it is called in logs.
        name: String,
        /// How long it is good, such as 90d; for ever if not said.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// A registry, a view or "toolchains" that it is good for; can be given several times. For all if not said.
        #[arg(long = "registry", value_name = "NAME")]
        registries: Vec<String>,
    },
    /// Print the tokens there are, those that have expired too.
    List,
    /// End a token. A running mirror refuses it within five seconds.
    Revoke {
        /// What it is called.
        name: String,
    },
}

/// Does what was asked for, in the file that `access.tokens` names.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when no file is named, when it can't be understood, or when a name or a time can't; [`Kind::Store`](crate::error::Kind::Store) when it can't be written.
pub fn run(flags: &Flags, options: &TokenOptions) -> Result<ExitCode> {
    let config = config::load(flags)?;
    let Some(path) = config.access.tokens.as_ref().map(|path| path.0.clone()) else {
        return Err(Error::config(
            "`access.tokens` names no file to keep tokens in; put `tokens = \"tokens.toml\"` below `[access]`",
        ));
    };
    match &options.action {
        Action::New {
            name,
            expires,
            registries,
        } => {
            let name = TokenName::parse(name)?;
            let terms = Terms::parse(expires.as_deref(), registries, SystemTime::now())?;
            terms.warn(&config);
            add(&path, &name, terms)
        }
        Action::List => list(&path, SystemTime::now()),
        Action::Revoke { name } => revoke(&path, &TokenName::parse(name)?),
    }
}

/// What a new token is to be good for.
struct Terms {
    expires: Option<SystemTime>,
    registries: Vec<RegistryName>,
}

impl Terms {
    fn parse(expires: Option<&str>, registries: &[String], now: SystemTime) -> Result<Self> {
        let registries = registries.iter().map(|name| {
            let said =
                |e: Error| Error::config(format!("--registry: {}", e.message())).with_source(e);
            RegistryName::parse(name).map_err(said)
        });
        Ok(Self {
            expires: expires.map(|text| end(text, now)).transpose()?,
            registries: registries.collect::<Result<_>>()?,
        })
    }

    /// Says which of the names mean nothing to the mirror as it is.
    fn warn(&self, config: &Config) {
        let is_view = |name: &RegistryName| {
            let mut views = config.views.keys();
            views.any(|view| view.as_registry() == *name)
        };
        let is_unknown = |name: &&RegistryName| {
            let is_theirs = **name == RegistryName::toolchains() && config.toolchains.enabled;
            !config.registries.contains_key(name) && !is_view(name) && !is_theirs
        };
        for name in self.registries.iter().filter(is_unknown) {
            say::aside(format_args!(
                "crate-mirror: warning: {name} is not configured, so that the token is of no use there yet"
            ));
        }
    }
}

/// When a token ends that is good for so long.
fn end(text: &str, now: SystemTime) -> Result<SystemTime> {
    let span = humantime::parse_duration(text).ok();
    let span = span.filter(|span| *span >= Duration::from_secs(1));
    let span = span.ok_or_else(|| {
        Error::config(format!(
            "--expires {text:?} is no time to be good for; allowed is one such as 90d or 12h, from 1s"
        ))
    })?;
    // The file has whole seconds: it is good for no less than was asked for.
    let end = now
        .checked_add(span)
        .and_then(|end| end.checked_add(Duration::from_millis(999)));
    Ok(storable(end.unwrap_or(
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX >> 2),
    )))
}

fn add(path: &Path, name: &TokenName, terms: Terms) -> Result<ExitCode> {
    let token = new_token()?;
    token_file::change(path, |tokens| {
        if tokens.tokens.contains_key(name) {
            return Err(Error::bad_request(format!(
                "there is a token called {name}; choose another name, or `crate-mirror token revoke {name}` first"
            )));
        }
        let grant = Grant {
            sha256: TokenDigest::of(token.expose()),
            expires: terms.expires,
            registries: terms.registries,
        };
        tokens.tokens.insert(name.clone(), grant);
        Ok(())
    })?;
    let mut lines = Lines::default();
    lines.say(token.expose());
    Ok(lines.end(ExitCode::SUCCESS))
}

fn list(path: &Path, now: SystemTime) -> Result<ExitCode> {
    let tokens = token_file::read(path)?.unwrap_or_default().tokens;
    let width = tokens.keys().map(|name| name.as_str().len()).max();
    let width = width.unwrap_or_default();
    let mut lines = Lines::default();
    for (name, grant) in &tokens {
        let expires = grant.expires.map(humantime::format_rfc3339_seconds);
        let expires = match expires {
            None => "never expires".to_owned(),
            Some(time) if grant.is_expired(now) => format!("expired {time}"),
            Some(time) => format!("expires {time}"),
        };
        let registries: Vec<_> = grant.registries.iter().map(RegistryName::as_str).collect();
        let registries = match registries.is_empty() {
            true => "all registries".to_owned(),
            false => registries.join(", "),
        };
        lines.say(format_args!(
            "{:width$}  {expires:28}  {registries}",
            name.as_str()
        ));
    }
    Ok(lines.end(ExitCode::SUCCESS))
}

fn revoke(path: &Path, name: &TokenName) -> Result<ExitCode> {
    let unknown = || Error::not_found(format!("there is no token called {name}"));
    if token_file::read(path)?.is_none() {
        return Err(unknown());
    }
    token_file::change(path, |tokens| {
        tokens.tokens.remove(name).map(drop).ok_or_else(unknown)
    })?;
    let mut lines = Lines::default();
    lines.say(format_args!("{name} is no token any more"));
    Ok(lines.end(ExitCode::SUCCESS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn any_time_from_a_second_on_can_be_asked_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (text, expected) in [
            ("1s", 1_002),
            ("1500ms", 1_002),
            ("90d", 1_001 + 90 * 86_400),
        ] {
            assert_eq!(end(text, now).expect(text), after(expected), "{text}");
        }
        let latest = after(253_402_300_799);
        for text in ["9000y", "999999999999y"] {
            let end = end(text, now);
            assert!(
                end.is_ok_and(|end| end == latest) || text.len() > 6,
                "{text}"
            );
        }
        for text in ["", "0s", "999ms", "soon", "90", "-1d"] {
            let error = end(text, now).expect_err(text);
            assert_eq!(error.kind(), Kind::Config, "{text}");
        }
    }
}
