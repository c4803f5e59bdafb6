//! Signatures in minisign's format: Ed25519 over a manifest's exact bytes, so that the standard tool verifies them, too.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use minisign::{PError, SecretKey, SecretKeyBox, SignatureBox};

use crate::error::{Error, Result};

/// What is written beside a signature, for people; this program doesn't go by it.
const TRUSTED_COMMENT: &str = "file:manifest.json\thashed";
const COMMENT: &str = "signature of a crate-mirror bundle's manifest.json";

/// A key that signs.
pub struct SigningKey(SecretKey);

/// A key that verifies.
#[derive(Clone)]
pub struct PublicKey(minisign::PublicKey);

/// Why there is no key to sign with.
#[derive(Debug)]
pub enum SecretKeyError {
    /// The file is no key that can be used. What is wrong with it, as the end of a sentence that begins with its name.
    Unusable(Error),
    /// The key is encrypted, and its password couldn't be had.
    Password(Error),
}

/// A text that is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPublicKey {
    /// It names a file that has none.
    File,
    /// It names no file, either.
    Text,
}

impl SigningKey {
    /// Reads a key made by `minisign -G`; `password` is asked if the key is encrypted. Decrypting takes as much memory and time as whoever made the
    /// key chose: minisign's own choice is 1 GiB and a second.
    ///
    /// # Errors
    /// When there is no such key or the password is wrong, and those of `password`.
    pub fn load(
        file: &Path,
        password: impl FnOnce() -> Result<String>,
    ) -> Result<Self, SecretKeyError> {
        let wrong = |why: String| Error::config(why);
        let text = fs::read_to_string(file);
        let text = text.map_err(|e| {
            SecretKeyError::Unusable(wrong(format!("can't be read: {e}")).with_source(e))
        })?;
        let written = text.lines().nth(1).unwrap_or_default().trim();
        let key = STANDARD.decode(written).ok();
        let key = key.and_then(|bytes| SecretKey::from_bytes(&bytes).ok());
        let key =
            key.ok_or_else(|| SecretKeyError::Unusable(wrong("is not a secret key".into())))?;
        let opened = match key.is_encrypted() {
            true => {
                let password = password().map_err(SecretKeyError::Password)?;
                SecretKeyBox::from(text).into_secret_key(Some(password))
            }
            // The standard tool writes no checksum into these; a signature tells whether the halves of the key belong together.
            false => minisign::PublicKey::from_secret_key(&key)
                .and_then(|public| minisign::sign(Some(&public), &key, io::empty(), None, None))
                .map(|_| key),
        };
        let unusable = |e: PError| wrong(format!("can't be used: {}", sentence(&e))).with_source(e);
        opened
            .map(Self)
            .map_err(|e| SecretKeyError::Unusable(unusable(e)))
    }

    /// The text of a `.minisig` file for `data`.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when `data` can't be read.
    pub fn sign(&self, data: impl Read) -> Result<String> {
        let signed = minisign::sign(None, &self.0, data, Some(TRUSTED_COMMENT), Some(COMMENT));
        let signed = signed.map_err(|e| {
            Error::store(format!("signing failed: {}", sentence(&e))).with_source(e)
        })?;
        Ok(signed.into_string())
    }
}

impl PublicKey {
    /// Reads a key from a `.pub` file of that name, or else takes the text for the key itself.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, NotPublicKey> {
        let file = fs::read_to_string(text);
        let (found, what) = match &file {
            Ok(content) => {
                let mut lines = content.lines();
                let key = lines.rfind(|line| !line.trim().is_empty());
                (key.unwrap_or_default().trim(), NotPublicKey::File)
            }
            Err(_) => (text.trim(), NotPublicKey::Text),
        };
        let bytes = STANDARD
            .decode(found)
            .ok()
            .filter(|bytes| bytes.len() == 42);
        let bytes = bytes.filter(|bytes| bytes.starts_with(b"Ed"));
        let key = bytes.and_then(|bytes| minisign::PublicKey::from_bytes(&bytes).ok());
        key.map(Self).ok_or(what)
    }

    /// Checks that `signature`, the text of a `.minisig` file, is this key's for all of `data`.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) when it isn't.
    pub fn verify(&self, data: File, signature: &[u8]) -> Result<()> {
        let wrong = |why: &str| Error::bad_request(format!("its signature is not right: {why}"));
        let text =
            std::str::from_utf8(signature).map_err(|e| wrong("it is not text").with_source(e))?;
        // The library takes signatures of any length and trusts them to be whole.
        let lengths = [(1, 74), (3, 64)].map(|(line, length)| {
            let line = text.lines().nth(line).unwrap_or_default().trim();
            STANDARD
                .decode(line)
                .is_ok_and(|bytes| bytes.len() == length)
        });
        if lengths != [true, true] || text.lines().count() != 4 {
            return Err(wrong("it is not one of minisign's"));
        }
        let said = |e: PError| wrong(&sentence(&e)).with_source(e);
        let signature = SignatureBox::from_string(text).map_err(said)?;
        // The library would read all of what is signed into memory for it.
        if !signature.is_prehashed() {
            return Err(wrong("it is of minisign's legacy kind"));
        }
        minisign::verify(&self.0, &signature, data, true, false, false).map_err(said)
    }
}

/// The library's words as the end of a sentence of ours.
fn sentence(e: &PError) -> String {
    e.to_string().trim_end_matches('.').to_owned()
}
