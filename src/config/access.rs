//! `[access]` and `[audit]`: who may ask, and what is written down of who got what.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::units::{Count, Size, is_this_machine, parse_with};
use crate::{
    domain::RegistryName,
    error::{Error, Result},
};

/// `[access]`: who may ask. Everybody, when it names no tokens and no issuers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// The file with the tokens, which `crate-mirror token` writes.
    pub tokens: Option<FilePath>,
    /// The registries that may be read without a token all the same.
    pub anonymous: Vec<RegistryName>,
    /// How to get a token: a sentence or a URL, for who has none.
    pub help: Option<Help>,
    /// Whether a token may also stand in the path: `/t/TOKEN/index/`.
    pub token_in_path: bool,
    /// Whose JSON web tokens are accepted.
    pub jwt: BTreeMap<IssuerName, IssuerSettings>,
}

impl AccessSettings {
    /// Whether a token is needed at all.
    pub fn is_restricted(&self) -> bool {
        self.tokens.is_some() || !self.jwt.is_empty()
    }

    /// Whether it makes sense as a whole, with these registries.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it doesn't.
    pub(super) fn check(&self, has: impl Fn(&RegistryName) -> bool) -> Result<()> {
        if let Some(unknown) = self.anonymous.iter().find(|name| !has(name)) {
            return Err(Error::config(format!(
                "`access.anonymous` names {unknown}, and there is no such registry; allowed are those of `[registries]`"
            )));
        }
        let idle = [
            ("anonymous", !self.anonymous.is_empty()),
            ("help", self.help.is_some()),
            ("token_in_path", self.token_in_path),
        ];
        match idle.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) if !self.is_restricted() => Err(Error::config(format!(
                "`access.{key}` is set, and everybody may ask; name a file in `access.tokens` or an issuer in `[access.jwt.NAME]`"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// `[access.jwt.NAME]`: whose JSON web tokens are accepted, and for whom. All of it has to be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// What a token's `iss` has to be.
    pub issuer: Text,
    /// What its `aud` has to be, or to have in it.
    pub audience: Text,
    /// Where the issuer's public keys are.
    pub keys: KeysAt,
    /// What its `sub` may be; `*` is any text.
    pub subjects: Subjects,
}

/// The name of a table `[access.jwt.NAME]`, which logs name who asks by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IssuerName(String);

impl IssuerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for IssuerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        match is_name {
            true => Ok(Self(text)),
            false => Err(de::Error::custom(
                "the name of a table `[access.jwt.NAME]` takes letters, digits, `-`, `_` and `.`, at most 64 in all",
            )),
        }
    }
}

/// Text of some length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_with(deserializer, "a text that isn't empty", |text| {
            (!text.is_empty()).then(|| Self(text.to_owned()))
        })
    }
}

/// What is said to who has no token: one line of at most 512 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help(pub String);

impl<'de> Deserialize<'de> for Help {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "one line of at most 512 characters: a sentence or a URL";
        parse_with(deserializer, expected, |text| {
            let text = text.trim();
            let is_line = !text.is_empty()
                && text.chars().count() <= 512
                && !text.chars().any(char::is_control);
            is_line.then(|| Self(text.to_owned()))
        })
    }
}

/// At least one subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Text>")]
pub struct Subjects(pub Vec<String>);

impl TryFrom<Vec<Text>> for Subjects {
    type Error = &'static str;

    fn try_from(subjects: Vec<Text>) -> Result<Self, &'static str> {
        match subjects.is_empty() {
            true => Err(
                "allowed is a list of at least one subject, such as [\"repo:acme/*\"]; [\"*\"] is everybody for whom that issuer makes tokens",
            ),
            false => Ok(Self(subjects.into_iter().map(|s| s.0).collect())),
        }
    }
}

/// Where an issuer's public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// In a file.
    File(PathBuf),
    /// Under a URL.
    Url(Url),
}

impl<'de> Deserialize<'de> for KeysAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a file such as \"jwks.json\", or an https URL (http only to this machine)";
        parse_with(deserializer, expected, |text| match text.contains("://") {
            true => Url::parse(text).ok().filter(is_safe).map(Self::Url),
            false => FilePath::parse(text).map(|path| Self::File(path.0)),
        })
    }
}

/// Whoever could change the keys on their way could make tokens. A password would be in logs.
fn is_safe(url: &Url) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    match url.scheme() {
        "https" => url.has_host(),
        "http" => url.host().is_some_and(|host| is_this_machine(&host)),
        _ => false,
    }
}

/// A file's path. Where it begins with `${CREDENTIALS_DIRECTORY}/`, that is the folder into which systemd has put what the unit loads by `LoadCredential=`
/// (systemd.exec(5), "Credentials").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

/// The variable that says where credentials of a unit are.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

impl FilePath {
    fn parse(text: &str) -> Option<Self> {
        Self::with_credentials(text, || std::env::var_os(CREDENTIALS))
    }

    fn with_credentials(text: &str, folder: impl FnOnce() -> Option<OsString>) -> Option<Self> {
        let is_path = !text.is_empty() && !text.contains('\0') && !text.ends_with('/');
        let named = text.strip_prefix("${").and_then(|t| t.split_once("}/"));
        match named {
            _ if !is_path => None,
            Some((CREDENTIALS, name)) => folder().map(|folder| Self(Path::new(&folder).join(name))),
            Some(_) | None => Some(Self(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "the path of a file; one that begins with ${CREDENTIALS_DIRECTORY}/ only where systemd has set that variable (LoadCredential=)";
        parse_with(deserializer, expected, Self::parse)
    }
}

/// `[audit]`: what is written down of who got what.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// The file that gets a JSON line for each crate handed out or refused; none when not set.
    pub path: Option<FilePath>,
    /// How large it may become before it is put aside.
    pub max_size: Size<1024>,
    /// How many full files are kept.
    pub keep: Count<1, 10_000>,
    /// Whether what can't be written down isn't handed out.
    pub required: bool,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            path: None,
            max_size: Size::bytes(100 << 20),
            keep: Count::new(10),
            required: false,
        }
    }
}

impl AuditSettings {
    /// Whether it makes sense as a whole.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it doesn't.
    pub(super) fn check(&self) -> Result<()> {
        match (self.required, &self.path) {
            (true, None) => Err(Error::config(
                "`audit.required` is true, and there is no `audit.path` to write to",
            )),
            (true, Some(_)) | (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const JWT: &str = "[access.jwt.ci]\nissuer = \"https://i.example\"\naudience = \"a\"\nkeys = \"jwks.json\"\nsubjects = [\"repo:a/*\"]\n";

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        let without = |key: &str| {
            let lines = JWT.lines().filter(|line| !line.starts_with(key));
            lines.fold(String::new(), |text, line| text + line + "\n")
        };
        let with = |key: &str, value: &str| format!("{}{key} = {value}\n", without(key));
        for (toml, word) in [
            (
                "[access]\nanonymous = [\"crates-io\"]".to_owned(),
                "everybody may ask",
            ),
            ("[access]\nhelp = \"x\"".to_owned(), "everybody may ask"),
            (
                "[access]\ntoken_in_path = true".to_owned(),
                "everybody may ask",
            ),
            (
                format!("[access]\nanonymous = [\"other\"]\n{JWT}"),
                "no such registry",
            ),
            (format!("[access]\nhelp = \"a\\nb\"\n{JWT}"), "one line"),
            ("[access]\ntokens = \"\"".to_owned(), "path of a file"),
            (without("issuer"), "`access.jwt.ci.issuer` is missing"),
            (without("audience"), "`access.jwt.ci.audience` is missing"),
            (without("keys"), "`access.jwt.ci.keys` is missing"),
            (without("subjects"), "`access.jwt.ci.subjects` is missing"),
            (with("subjects", "[]"), "at least one"),
            (with("issuer", "\"\""), "isn't empty"),
            (with("keys", "\"http://keys.example/\""), "https"),
            (with("keys", "\"ftp://keys.example/\""), "https"),
            (JWT.replace("jwt.ci", "jwt.\"a b\""), "letters, digits"),
            ("[audit]\nrequired = true".to_owned(), "audit.path"),
            ("[audit]\nkeep = 0".to_owned(), "from 1"),
        ] {
            let error = parse(&toml).expect_err(&toml).to_string();
            assert!(error.contains(word), "{toml}: {error}");
        }
        for toml in [
            JWT.to_owned(),
            with("keys", "\"https://keys.example/jwks\""),
            with("keys", "\"http://127.0.0.1:1/jwks\""),
            "[access]\ntokens = \"t\"\nanonymous = [\"crates-io\"]\ntoken_in_path = true"
                .to_owned(),
            "[audit]\npath = \"a\"\nrequired = true".to_owned(),
        ] {
            assert!(parse(&toml).is_ok(), "{toml}: {:?}", parse(&toml).err());
        }
    }

    #[test]
    fn a_path_may_be_that_of_a_credential_of_the_unit() {
        let folder = || Some(OsString::from("/run/credentials/unit"));
        let read = |text| FilePath::with_credentials(text, folder).map(|path| path.0);
        let inside = |name: &str| Some(PathBuf::from(format!("/run/credentials/unit/{name}")));
        assert_eq!(read("${CREDENTIALS_DIRECTORY}/key"), inside("key"));
        for plain in [
            "key.pem",
            "/etc/key",
            "${OTHER}/key",
            "a/${CREDENTIALS_DIRECTORY}/b",
        ] {
            assert_eq!(read(plain), Some(plain.into()));
        }
        for none in ["", "${CREDENTIALS_DIRECTORY}/", "a\0"] {
            assert_eq!(read(none), None, "{none:?}");
        }
        let unset = FilePath::with_credentials("${CREDENTIALS_DIRECTORY}/key", || None);
        assert_eq!(unset, None);
    }
}
