//! [`NamePattern`]: which crates a rule is about, by their names.

use serde::{Deserialize, Deserializer, de};

use super::name::CrateName;

/// The longest pattern, in bytes: room for a name with wildcards around it.
const MAX_LEN: usize = 2 * CrateName::MAX_LEN;

/// A crate's name in which `*` stands for any text, also none, and `?` for any one character. Case and the difference of `-` and `_` don't count, as crates.io
/// doesn't have two crates whose names differ only in these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    written: Box<str>,
    folded: Box<[u8]>,
}

impl NamePattern {
    /// Reads a pattern; `None` for what no crate's name could match.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_*?".contains(&b);
        let fits = !text.is_empty() && text.len() <= MAX_LEN && text.bytes().all(allowed);
        fits.then(|| Self {
            written: text.into(),
            folded: text.bytes().map(fold).collect(),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it is this crate's name.
    pub fn matches(&self, name: &CrateName) -> bool {
        let (pattern, text) = (&self.folded, name.as_str().as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where the last `*` stands, and up to where of the text it stands for. Only the last one is ever tried again, so this ends after `pattern * text` steps.
        let mut star = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(b'?') => (p, t) = (p + 1, t + 1),
                Some(&b) if b == fold(text[t]) => (p, t) = (p + 1, t + 1),
                Some(_) | None => match star {
                    Some((at, until)) => {
                        star = Some((at, until + 1));
                        (p, t) = (at + 1, until + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&b| b == b'*')
    }
}

fn fold(b: u8) -> u8 {
    match b {
        b'_' => b'-',
        b => b.to_ascii_lowercase(),
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is not a crate's name or a pattern; allowed are letters, digits, `-`, `_`, `*` for any text and `?` for any character, at most {MAX_LEN} in all"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let name = CrateName::parse(name).expect("a name");
        NamePattern::parse(pattern).expect(pattern).matches(&name)
    }

    #[test]
    fn stars_stand_for_any_text_and_question_marks_for_one_character() {
        for (pattern, yes, no) in [
            ("serde", "Serde", "serde_json"),
            ("serde-json", "serde_json", "serdejson"),
            ("serde*", "serde", "aserde"),
            ("*-sys", "openssl_sys", "sys"),
            ("a*b*c", "axxbyyc", "axxbyyd"),
            ("a*b*c", "abbcbc", "acb"),
            ("se?de", "serde", "sede"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        assert!(matches("*", "a") && matches("**", "a1"));
        for nothing in ["", "a b", "a/b", "ä", &"a".repeat(MAX_LEN + 1)] {
            assert!(NamePattern::parse(nothing).is_none(), "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_whatever_has_a_part_of_it_starred(name in "[a-zA-Z][a-zA-Z0-9_-]{0,20}", from in 0_usize..20, length in 0_usize..20) {
            prop_assert!(matches(&name, &name));
            let from = from.min(name.len());
            let to = (from + length).min(name.len());
            let starred = format!("{}*{}", &name[..from], &name[to..]);
            prop_assert!(matches(&starred, &name), "{}", starred);
            prop_assert!(matches(&"?".repeat(name.len()), &name));
            let other = format!("{name}x");
            prop_assert!(!matches(&name, &other));
        }

        /// Time that grows with the number of stars would be a way to keep a core busy.
        #[test]
        fn many_stars_take_no_time(stars in 1_usize..60) {
            let pattern = "a*".repeat(stars) + "b";
            let name = "a".repeat(CrateName::MAX_LEN);
            prop_assert!(!matches(&pattern[pattern.len().saturating_sub(MAX_LEN)..], &name));
        }
    }
}
