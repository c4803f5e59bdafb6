//! [`TokenFile`]: a tokens.toml of a test's own, written as `crate-mirror token` writes it.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate_mirror::{
    access::{Grant, TokenDigest, TokenName, new_token, token_file},
    domain::RegistryName,
};
use tempfile::TempDir;

/// A tokens.toml, and what is in it.
pub struct TokenFile {
    folder: TempDir,
}

impl TokenFile {
    /// One without tokens, which isn't there yet.
    pub fn new() -> TokenFile {
        TokenFile {
            folder: TempDir::new().expect("a folder"),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// `[access]` with this file, and what more there is to say.
    pub fn settings(&self, more: &str) -> String {
        format!("[access]\ntokens = {:?}\n{more}\n", self.path())
    }

    /// A new token of that name for all registries, for ever.
    pub fn add(&self, name: &str) -> String {
        self.grant(name, None, &[])
    }

    /// A new token that is good for so long, for these registries.
    pub fn grant(&self, name: &str, good_for: Option<Duration>, registries: &[&str]) -> String {
        let token = new_token().expect("random");
        let registry = |name: &&str| RegistryName::parse(name).expect("a name");
        let grant = Grant {
            sha256: TokenDigest::of(token.expose()),
            expires: good_for.map(|time| SystemTime::now() + time),
            registries: registries.iter().map(registry).collect(),
        };
        let name = TokenName::parse(name).expect("a name");
        let added = token_file::change(&self.path(), |tokens| {
            tokens.tokens.insert(name, grant);
            Ok(())
        });
        added.expect("written");
        token.expose().to_owned()
    }

    /// Ends a token.
    pub fn revoke(&self, name: &str) {
        let name = TokenName::parse(name).expect("a name");
        let ended = token_file::change(&self.path(), |tokens| {
            tokens.tokens.remove(&name).expect("a token of that name");
            Ok(())
        });
        ended.expect("written");
    }

    /// Writes something else into it.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("written");
    }
}
