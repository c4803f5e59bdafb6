//! [`TokenDigest`]: what is kept of a token, and how a new one is made.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::same::same;
use crate::{
    domain::Sha256,
    error::{Error, Result},
    secret::Secret,
};

/// What a token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "cm_";
/// How much of a token is random, in bytes: 192 bits. Written in hexadecimal with the prefix it is 51 characters, one block of SHA-256.
const RANDOM: usize = 24;

/// A token's SHA-256. A token is random, so that one round of it is enough: there is nothing to guess.
///
/// It can't be compared with `==`, only in a time that says nothing of where two differ.
#[derive(Clone, Copy)]
pub struct TokenDigest(Sha256);

impl TokenDigest {
    /// That of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::of(token.as_bytes()))
    }

    /// Whether both are of the same token. It takes the same time wherever they differ.
    pub fn is(&self, other: &Self) -> bool {
        same(self.0.as_bytes(), other.0.as_bytes())
    }

    /// Its beginning, by which it is looked up. How long that takes tells nothing: nobody can choose what a token's digest begins with.
    pub(super) fn beginning(&self) -> u64 {
        let bytes = self.0.as_bytes();
        u64::from_be_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ])
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for TokenDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sha256::deserialize(deserializer).map(Self)
    }
}

/// A new token of the system's randomness.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) when the system gives no random bytes.
pub fn new_token() -> Result<Secret> {
    let mut random = Zeroizing::new([0; RANDOM]);
    let filled = SystemRandom::new().fill(&mut random[..]);
    filled.map_err(|_| Error::internal("the system gives no random bytes to make a token of"))?;
    // With room for all of it, so that nothing is left behind where it was while it grew.
    let mut token = String::with_capacity(PREFIX.len() + 2 * RANDOM);
    token.push_str(PREFIX);
    for byte in random.iter() {
        for digit in [byte >> 4, byte & 0xf] {
            token.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_can_be_sent_in_every_form_and_is_never_the_same() {
        let tokens: Vec<_> = (0..100).map(|_| new_token().expect("random")).collect();
        for (at, token) in tokens.iter().enumerate() {
            let text = token.expose();
            assert_eq!(text.len(), 51);
            let digits = text.strip_prefix("cm_").expect("its beginning");
            assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()), "{digits}");
            let others = tokens.iter().skip(at + 1);
            let same = others.filter(|other| other.expose() == text).count();
            assert_eq!(same, 0);
        }
    }

    #[test]
    fn digests_are_the_same_only_when_the_tokens_are() {
        let digest = TokenDigest::of("cm_1");
        assert!(digest.is(&TokenDigest::of("cm_1")));
        assert!(!digest.is(&TokenDigest::of("cm_2")));
        let written = serde_json::to_string(&digest).expect("text");
        let read: TokenDigest = serde_json::from_str(&written).expect("a digest");
        assert!(read.is(&digest));
    }
}
