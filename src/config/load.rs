//! Loading: the operator's words from file, environment and flags, and the message when they can't be understood.

use std::{net::SocketAddr, path::PathBuf};

use figment::{
    Figment, Metadata, Profile, Provider, Source,
    error::{Actual, Kind},
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Map},
};

use super::{policy_file, settings::Config};
use crate::{
    domain::may_hold_secret,
    error::{Error, Result},
};

/// The file read when no other is named, if it is there.
pub const DEFAULT_FILE: &str = "mirror.toml";
const ENV_PREFIX: &str = "CRATE_MIRROR_";
/// What `export --sign` reads by itself.
const SIGN_PASSWORD: &str = "sign_password";

/// What the command line said; it wins over everything else.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`; it must exist.
    pub config: Option<PathBuf>,
    /// `--listen ADDRESS:PORT`.
    pub listen: Option<SocketAddr>,
    /// `--store FOLDER`.
    pub store: Option<String>,
    /// `--offline`.
    pub offline: bool,
}

/// Reads all settings: defaults, then the file, then the environment, then `flags`.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) with the file, the key and what is allowed.
pub fn load(flags: &Flags) -> Result<Config> {
    extract(&with_policy_file(said(flags)?)?)
}

/// The same with this text in place of the file with rules that the settings name.
///
/// # Errors
/// Those of [`load`].
pub fn load_with_policy(flags: &Flags, text: &str) -> Result<Config> {
    policy_file::check(text)?;
    extract(&said(flags)?.join(Toml::string(text)))
}

/// The rules that the settings have, as a file with rules; `None` when they have none. What is about this machine, such as paths, isn't in it.
///
/// # Errors
/// Those of [`load`].
pub fn policy_text(flags: &Flags) -> Result<Option<String>> {
    policy_file::text_of(&with_policy_file(said(flags)?)?)
}

/// All that was said, but for what is in the file with rules.
fn said(flags: &Flags) -> Result<Figment> {
    let mut figment = Figment::new();
    if let Some(file) = file(flags)? {
        figment = figment.merge(Toml::file_exact(file));
    }
    figment = figment.merge(environment()).merge(FolderVariable);
    if let Some(listen) = flags.listen {
        figment = figment.merge(Serialized::global("server.listen", listen.to_string()));
    }
    if let Some(store) = &flags.store {
        figment = figment.merge(Serialized::global("store.path", store));
    }
    if flags.offline {
        figment = figment.merge(Serialized::global("offline.enabled", true));
    }
    Ok(figment)
}

/// With the rules from the file that is named; what was said elsewhere wins.
fn with_policy_file(figment: Figment) -> Result<Figment> {
    let Some(path) = policy_file::named(&figment) else {
        return Ok(figment);
    };
    policy_file::read(&path)?;
    Ok(figment.join(Toml::file_exact(path)))
}

fn extract(figment: &Figment) -> Result<Config> {
    let config: Config = figment.extract().map_err(|errors| explain(&errors))?;
    config.complete()
}

/// Reads settings from the text of a mirror.toml, and nothing else: for programs that start a mirror of their own.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) with the key and what is allowed.
pub fn parse(text: &str) -> Result<Config> {
    let figment = Figment::from(Toml::string(text));
    let config: Config = figment.extract().map_err(|errors| explain(&errors))?;
    config.complete()
}

/// The file that [`load`] reads: the named one, which must be readable, or the usual one if it is there.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the named one can't be read.
pub fn file(flags: &Flags) -> Result<Option<PathBuf>> {
    let Some(named) = &flags.config else {
        let usual = PathBuf::from(DEFAULT_FILE);
        return Ok(usual.exists().then_some(usual));
    };
    match std::fs::File::open(named).and_then(|f| f.metadata()) {
        Ok(meta) if meta.is_file() => Ok(Some(named.clone())),
        Ok(_) => Err(Error::config(format!(
            "{} is not a file; --config takes the path of a mirror.toml",
            named.display()
        ))),
        Err(e) => Err(Error::config(format!(
            "{} can't be read: {e}; --config takes the path of a mirror.toml",
            named.display()
        ))
        .with_source(e)),
    }
}

/// `CRATE_MIRROR_SERVER__LISTEN` and so on. The tests' own switches and the password of a signing key share the prefix and are no settings.
fn environment() -> Env {
    Env::prefixed(ENV_PREFIX)
        .filter(|key| !key.starts_with("test_") && key != SIGN_PASSWORD)
        .map(|key| key.as_str().replace("__", ".").into())
}

/// A folder's path as the environment has it, to the letter: figment reads `2026` as a number and `"a"` without its quotes.
struct FolderVariable;

impl Provider for FolderVariable {
    fn metadata(&self) -> Metadata {
        environment().metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let variables = environment();
        let path = variables.iter().find(|(key, _)| key == "store.path");
        let store = path.map(|(_, path)| Dict::from([("path".to_owned(), path.into())]));
        let data = store.map(|store| Dict::from([("store".to_owned(), store.into())]));
        Ok(Map::from([(Profile::Default, data.unwrap_or_default())]))
    }
}

/// The flag that sets `key`.
fn flag(key: &str) -> &str {
    match key {
        "store.path" => "store",
        "offline.enabled" => "offline",
        _ => key.rsplit('.').next().unwrap_or(key),
    }
}

/// The first error as one message: where it was written, which key, what was found and what is allowed.
fn explain(errors: &figment::Error) -> Error {
    let key = errors.path.join(".");
    let place = errors
        .metadata
        .as_ref()
        .and_then(|m| m.source.as_ref())
        .map_or_else(
            || match &errors.metadata {
                Some(m) if m.name.contains("environment") => {
                    let variable = key.replace('.', "__").to_uppercase();
                    format!("the environment variable {ENV_PREFIX}{variable}")
                }
                Some(m) if m.name.contains("TOML") => "the settings".to_owned(),
                _ => "the command line".to_owned(),
            },
            |source| match source {
                Source::File(path) => path.display().to_string(),
                Source::Code(_) => format!("the command line (--{})", flag(&key)),
                other => other.to_string(),
            },
        );
    let below = |name: &str| match key.is_empty() {
        true => name.to_owned(),
        false => format!("{key}.{name}"),
    };
    let said = match &errors.kind {
        // The path ends in the unknown key already.
        Kind::UnknownField(_, allowed) => format!(
            "{place}: unknown key `{key}`; allowed here: {}",
            allowed.join(", ")
        ),
        Kind::MissingField(name) => format!("{place}: the key `{}` is missing", below(name)),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            let expected = expected.to_string();
            let expected = match expected.starts_with("struct ") {
                true => "a table",
                false if expected == "a boolean" => "true or false",
                false => &expected,
            };
            let found = match may_be_secret(&errors.path) {
                true => kind_of(found),
                false => in_words(found),
            };
            format!("{place}: `{key}` is {found}, allowed is {expected}")
        }
        Kind::UnknownVariant(_, allowed) if may_be_secret(&errors.path) => {
            let allowed = allowed.join(", ");
            format!("{place}: `{key}` isn't one of those that are allowed: {allowed}")
        }
        Kind::Message(why) if key.is_empty() => format!("{place}: {}", without_source(why)),
        Kind::Message(why) => format!("{place}: `{key}`: {}", why.trim_end()),
        other => format!("{place}: `{key}`: {other}"),
    };
    let error = Error::config(said);
    match cause(errors) {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

/// The library's error, where the message has all that is in it: what a message leaves out may be a secret. Nor is anything in it of what else was wrong.
fn cause(errors: &figment::Error) -> Option<figment::Error> {
    let is_told = match &errors.kind {
        Kind::Message(_) => !errors.path.is_empty(),
        Kind::InvalidType(Actual::Str(text), _) | Kind::InvalidValue(Actual::Str(text), _) => {
            !may_be_secret(&errors.path) && !may_hold_secret(text)
        }
        Kind::InvalidType(..) | Kind::InvalidValue(..) | Kind::UnknownVariant(..) => {
            !may_be_secret(&errors.path)
        }
        Kind::UnknownField(..)
        | Kind::MissingField(_)
        | Kind::DuplicateField(_)
        | Kind::InvalidLength(..)
        | Kind::ISizeOutOfRange(_)
        | Kind::USizeOutOfRange(_)
        | Kind::Unsupported(_)
        | Kind::UnsupportedKey(..) => true,
    };
    let bare = || figment::Error::from(errors.kind.clone()).with_path(&errors.path.join("."));
    is_told.then(bare)
}

/// What the parser of TOML says, without the line that it quotes and the one that points into it: there may be a secret in that.
fn without_source(why: &str) -> String {
    let is_quoted = |line: &str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit())
            .starts_with('|')
    };
    let said: Vec<_> = why
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_quoted(line))
        .collect();
    said.join(": ")
}

/// Whether what is written there may be a secret by mistake: a token in place of the table that says where to get one, or an argument of a command.
fn may_be_secret(path: &[String]) -> bool {
    matches!(path, [registries, _, credential, ..] if registries == "registries" && credential == "credential")
}

/// The kind of what was found, with nothing of it.
fn kind_of(found: &Actual) -> String {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "a text",
    }
    .to_owned()
}

/// What was found, in the operator's words and not a library's.
fn in_words(found: &Actual) -> String {
    match found {
        Actual::Bool(truth) => truth.to_string(),
        Actual::Unsigned(number) => format!("the number {number}"),
        Actual::Signed(number) => format!("the number {number}"),
        Actual::Float(number) => format!("the number {number}"),
        Actual::Str(text) if may_hold_secret(text) => kind_of(found),
        Actual::Str(text) => format!("{text:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}
