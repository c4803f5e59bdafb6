//! [`CrateName`]: a crate's name as crates.io allows it.

use std::fmt;

use arrayvec::ArrayString;

use crate::error::{Error, Result};

/// A crate's name: an ASCII letter first, then letters, digits, `-` and `_`, at most 64 bytes; its case is kept.
///
/// The rule is crates.io's (`crates_io_database::models::krate::Crate::validate_crate_name`). The text lives inline, so that a
/// request costs no allocation for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CrateName(ArrayString<{ CrateName::MAX_LEN }>);

impl CrateName {
    /// The longest name crates.io accepts, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) with what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let well_formed = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match ArrayString::from(text) {
            Ok(name) if well_formed => Ok(Self(name)),
            _ => Err(Error::bad_request(format!(
                "{:?} is not a crate name: it takes a letter, then letters, digits, `-` and `_`, at most {} in all",
                shorten(text),
                Self::MAX_LEN
            ))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether no letter is a capital one, as in index paths.
    pub fn is_lowercase(&self) -> bool {
        !self.0.bytes().any(|b| b.is_ascii_uppercase())
    }

    /// The same name in lower case, the form index paths and stored paths use.
    pub fn to_lowercase(mut self) -> Self {
        self.0.make_ascii_lowercase();
        self
    }

    /// Whether crates.io would take both for the same crate: equal but for case and `-`/`_`.
    pub fn is_same_crate(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.bytes().map(fold).eq(other.0.bytes().map(fold))
    }

    /// The name in lower case with `-` for each `_`: the same for all names that crates.io would take for the same crate.
    #[must_use]
    pub fn folded(self) -> Self {
        let mut text = ArrayString::new();
        for b in self.0.bytes() {
            text.push(char::from(fold(b)));
        }
        Self(text)
    }

    /// The names one might have meant: every `-` as `_` and every `_` as `-`, where that makes a difference.
    pub fn separator_variants(self) -> impl Iterator<Item = Self> {
        [(b'-', b'_'), (b'_', b'-')]
            .into_iter()
            .filter_map(move |(from, to)| self.with_separator(from, to))
    }

    /// Every other way to write the `-` and `_` of this name, the likelier ones first; beyond six of them, only the likeliest.
    pub fn spellings(self) -> impl Iterator<Item = Self> {
        const MOST: usize = 6;
        let is_separator = |b: &u8| matches!(b, b'-' | b'_');
        let count = self.0.bytes().filter(|b| is_separator(b)).count();
        let all = if count > MOST { 0 } else { 1_u32 << count };
        let mixed = (1..all.saturating_sub(1)).filter_map(move |choice| {
            let mut place = 0;
            let mut text = ArrayString::new();
            for b in self.0.bytes() {
                if is_separator(&b) {
                    text.push(if choice >> place & 1 == 1 { '_' } else { '-' });
                    place += 1;
                } else {
                    text.push(char::from(b));
                }
            }
            (text != self.0).then_some(Self(text))
        });
        self.separator_variants().chain(mixed)
    }

    fn with_separator(&self, from: u8, to: u8) -> Option<Self> {
        let mut text = ArrayString::new();
        for b in self.0.bytes() {
            text.push(char::from(if b == from { to } else { b }));
        }
        (text != self.0).then_some(Self(text))
    }
}

/// A byte of a name as it counts when crates.io looks for the same name.
fn fold(b: u8) -> u8 {
    match b {
        b'_' => b'-',
        _ => b.to_ascii_lowercase(),
    }
}

/// The start of `text`, short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_crate_is_folded_alike() {
        let name = |text| CrateName::parse(text).expect("a name");
        assert_eq!(name("Serde_JSON").folded(), name("serde-json"));
        assert!(name("Serde_JSON").is_same_crate(&name("serde-json").folded()));
        assert_ne!(name("serdejson").folded(), name("serde-json").folded());
    }

    #[test]
    fn every_spelling_comes_once() {
        let spellings = |text| {
            let all = CrateName::parse(text).expect("a name").spellings();
            all.map(|name| name.to_string()).collect::<Vec<_>>()
        };
        assert!(spellings("abc").is_empty());
        assert_eq!(spellings("a-b"), ["a_b"]);
        assert_eq!(spellings("a-b_c"), ["a_b_c", "a-b-c", "a_b-c"]);
        assert_eq!(spellings("a_b_c"), ["a-b-c", "a_b-c", "a-b_c"]);
        assert_eq!(spellings("a-b-c-d-e-f-g-h"), ["a_b_c_d_e_f_g_h"]);
    }
}
