//! `[registries.NAME.credential]`: what this mirror shows to a registry that wants to know who asks.

use std::{fmt, path::PathBuf, time::Duration};

use http::HeaderName;
use serde::{Deserialize, Deserializer};

use super::{
    access::{FilePath, Text},
    units::{Origin, Span, parse_with},
};

/// How long what a command has printed is good, where nothing is said.
const TTL: Duration = Duration::from_secs(12 * 3600);

/// What is shown to a registry, where it comes from and who may see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Keys")]
pub struct CredentialSettings {
    /// How it is written into a request.
    pub form: CredentialForm,
    /// Where it comes from.
    pub source: CredentialSource,
    /// The origins, beside that of the index, that it may be shown to.
    pub also: Vec<Origin>,
}

/// How a credential is written into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialForm {
    /// `Authorization: TOKEN`, as cargo sends it.
    Raw,
    /// `Authorization: Bearer TOKEN` (RFC 6750).
    Bearer,
    /// `Authorization: Basic …` with this user and the credential as the password (RFC 7617).
    Basic {
        /// The user.
        user: String,
    },
    /// A header of the registry's own.
    Header(HeaderName),
}

/// Where a credential comes from.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    /// From a file, read again when it may have changed.
    File(PathBuf),
    /// From an environment variable.
    Env(String),
    /// From what a command prints.
    Command {
        /// The command.
        command: CommandLine,
        /// How long what it has printed is good.
        ttl: Duration,
    },
}

/// A program and its arguments, which may be secrets.
#[derive(Clone)]
pub struct CommandLine {
    /// The program, looked for in `PATH`.
    pub program: String,
    /// What it is given. No shell reads it.
    pub arguments: Vec<String>,
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)
    }
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    kind: Kind,
    file: Option<FilePath>,
    env: Option<Text>,
    command: Option<Vec<String>>,
    ttl: Option<Span<1_000, { 365 * 24 * 3_600_000 }>>,
    user: Option<User>,
    header: Option<OwnHeader>,
    #[serde(default)]
    also: Vec<Origin>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Raw,
    Bearer,
    Basic,
    Header,
}

/// The user of Basic credentials, which a colon would end.
struct User(String);

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a user's name without `:`, at most 256 bytes";
        parse_with(deserializer, expected, |text| {
            let is_user = text.len() <= 256 && !text.chars().any(|c| c == ':' || c.is_control());
            is_user.then(|| Self(text.to_owned()))
        })
    }
}

/// A header that carries nothing else.
struct OwnHeader(HeaderName);

/// What requests carry for other reasons.
const TAKEN: [&str; 16] = [
    "accept",
    "accept-encoding",
    "cargo-protocol",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "proxy-authorization",
];

impl<'de> Deserialize<'de> for OwnHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the name of a header that is there for this, such as \"X-Api-Key\"";
        parse_with(deserializer, expected, |text| {
            let name = HeaderName::from_bytes(text.as_bytes()).ok()?;
            (!TAKEN.contains(&name.as_str())).then_some(Self(name))
        })
    }
}

impl TryFrom<Keys> for CredentialSettings {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let form = match (keys.kind, keys.user, keys.header) {
            (Kind::Raw, None, None) => CredentialForm::Raw,
            (Kind::Bearer, None, None) => CredentialForm::Bearer,
            (Kind::Basic, Some(User(user)), None) => CredentialForm::Basic { user },
            (Kind::Basic, None, None) => {
                return Err("the kind \"basic\" takes `user`, the user's name, too".to_owned());
            }
            (Kind::Header, None, Some(OwnHeader(name))) => CredentialForm::Header(name),
            (Kind::Header, None, None) => {
                return Err("the kind \"header\" takes `header`, the header's name, too".to_owned());
            }
            (Kind::Raw | Kind::Bearer | Kind::Header, Some(_), _) => {
                return Err("`user` is for the kind \"basic\" only".to_owned());
            }
            (Kind::Raw | Kind::Bearer | Kind::Basic, _, Some(_)) => {
                return Err("`header` is for the kind \"header\" only".to_owned());
            }
        };
        let source = match (keys.file, keys.env, keys.command, keys.ttl) {
            (Some(file), None, None, None) => CredentialSource::File(file.0),
            (None, Some(env), None, None) => CredentialSource::Env(variable(env.0)?),
            (None, None, Some(words), ttl) => CredentialSource::Command {
                command: command_line(words)?,
                ttl: ttl.map_or(TTL, |ttl| *ttl),
            },
            (Some(_), None, None, Some(_)) | (None, Some(_), None, Some(_)) => {
                return Err("`ttl` is for `command` only".to_owned());
            }
            _ => {
                return Err(
                    "exactly one of `file`, `env` and `command` says where it comes from"
                        .to_owned(),
                );
            }
        };
        let also = keys.also;
        match also.iter().find(|origin| !origin.is_safe()) {
            Some(origin) => Err(format!(
                "`also` names {origin}, and a credential doesn't go over plain http to other machines; allowed are https origins"
            )),
            None => Ok(Self { form, source, also }),
        }
    }
}

/// The name of a variable of the environment.
fn variable(name: String) -> Result<String, String> {
    match name.contains(['=', '\0']) {
        false => Ok(name),
        true => {
            Err("`env` is the name of an environment variable, such as \"CRATES_TOKEN\"".to_owned())
        }
    }
}

fn command_line(words: Vec<String>) -> Result<CommandLine, String> {
    let mut words = words.into_iter();
    let program = words.next().filter(|program| !program.is_empty());
    let arguments: Vec<_> = words.collect();
    let has_nul = |word: &String| word.contains('\0');
    match program {
        Some(program) if !has_nul(&program) && !arguments.iter().any(has_nul) => {
            Ok(CommandLine { program, arguments })
        }
        Some(_) | None => Err(
            "`command` is a list of a program and its arguments, such as [\"get-token\", \"crates\"]"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::parse, error::Result};

    fn read(keys: &str) -> Result<CredentialSettings> {
        let index = "index = \"https://crates.example/index/\"";
        let toml = format!("[registries.inner]\n{index}\n[registries.inner.credential]\n{keys}");
        let config = parse(&toml)?;
        let mut all = config.registries.into_values();
        Ok(all.find_map(|r| r.credential).expect("a credential"))
    }

    #[test]
    fn every_kind_and_every_source_can_be_said() {
        let forms = [
            ("raw\"", CredentialForm::Raw),
            ("bearer\"", CredentialForm::Bearer),
            (
                "basic\"\nuser = \"ci\"",
                CredentialForm::Basic { user: "ci".into() },
            ),
            (
                "header\"\nheader = \"X-Api-Key\"",
                CredentialForm::Header(HeaderName::from_static("x-api-key")),
            ),
        ];
        for (kind, form) in forms {
            for (source, shown) in [
                ("file = \"token\"", "File(\"token\")"),
                ("env = \"TOKEN\"", "Env(\"TOKEN\")"),
                (
                    "command = [\"get\", \"--password\", \"hunter2\"]",
                    "Command { command: get, ttl: 43200s }",
                ),
                (
                    "command = [\"get\"]\nttl = \"15m\"",
                    "Command { command: get, ttl: 900s }",
                ),
            ] {
                let credential = read(&format!("kind = \"{kind}\n{source}")).expect(source);
                assert_eq!(credential.form, form);
                assert_eq!(format!("{:?}", credential.source), shown);
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (keys, words) in [
            (
                "file = \"t\"",
                "`registries.inner.credential.kind` is missing",
            ),
            (
                "kind = \"raw\"",
                "exactly one of `file`, `env` and `command`",
            ),
            (
                "kind = \"raw\"\nfile = \"t\"\nenv = \"T\"",
                "exactly one of",
            ),
            (
                "kind = \"raw\"\ncommand = [\"a\"]\nenv = \"T\"",
                "exactly one of",
            ),
            (
                "kind = \"raw\"\nfile = \"t\"\nttl = \"1h\"",
                "`ttl` is for `command`",
            ),
            (
                "kind = \"raw\"\ncommand = []",
                "a program and its arguments",
            ),
            (
                "kind = \"raw\"\ncommand = [\"\"]",
                "a program and its arguments",
            ),
            ("kind = \"raw\"\nenv = \"A=B\"", "environment variable"),
            ("kind = \"basic\"\nfile = \"t\"", "takes `user`"),
            (
                "kind = \"basic\"\nuser = \"a:b\"\nfile = \"t\"",
                "without `:`",
            ),
            (
                "kind = \"raw\"\nuser = \"a\"\nfile = \"t\"",
                "`user` is for",
            ),
            ("kind = \"header\"\nfile = \"t\"", "takes `header`"),
            (
                "kind = \"header\"\nheader = \"a b\"\nfile = \"t\"",
                "the name of a header",
            ),
            (
                "kind = \"header\"\nheader = \"Host\"\nfile = \"t\"",
                "the name of a header",
            ),
            (
                "kind = \"bearer\"\nheader = \"X-A\"\nfile = \"t\"",
                "`header` is for",
            ),
            (
                "kind = \"raw\"\nfile = \"t\"\nalso = [\"http://cdn.example\"]",
                "plain http",
            ),
            (
                "kind = \"raw\"\nfile = \"t\"\nalso = [\"https://cdn.example/x\"]",
                "an origin",
            ),
            (
                "kind = \"digest\"\nfile = \"t\"",
                "`registries.inner.credential.kind`",
            ),
        ] {
            let said = read(keys).expect_err(keys).to_string();
            assert!(said.contains(words), "{keys}: {said}");
        }
        let also = "kind = \"raw\"\nfile = \"t\"\nalso = [\"https://cdn.example\", \"http://127.0.0.1:1\"]";
        assert_eq!(read(also).expect("valid").also.len(), 2);
    }
}
