//! [`Principal`]: who asks, as logs name them.

use std::{fmt, sync::Arc};

/// The longest subject that is written out, in bytes. What a token says of itself may be longer.
const MAX_SUBJECT: usize = 256;

/// Who asks. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Somebody who needn't say.
    Anonymous,
    /// Somebody who has shown who it is: a token's name, `jwt:NAME:SUBJECT` or `cert:NAME`.
    Named(Arc<str>),
}

impl Principal {
    /// Who has the token of that name.
    pub fn token(name: &str) -> Self {
        Self::Named(name.into())
    }

    /// The subject of a JSON web token that the table `[access.jwt.NAME]` accepts.
    pub fn jwt(table: &str, subject: &str) -> Self {
        Self::Named(format!("jwt:{table}:{}", printable(subject)).into())
    }

    /// Who has a client certificate for that name.
    pub fn certificate(name: &str) -> Self {
        Self::Named(format!("cert:{}", printable(name)).into())
    }

    /// The same, in memory that is shared with no clone of this one.
    pub fn apart(&self) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::Named(name) => Self::Named(Arc::from(&**name)),
        }
    }

    /// The word or words for it in logs.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Named(name) => name,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As much of `text` as is written out, on one line.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_SUBJECT));
    for c in text.chars() {
        let c = if c.is_control() { '?' } else { c };
        if line.len() + c.len_utf8() > MAX_SUBJECT {
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_told_from_the_others() {
        for (principal, text) in [
            (Principal::Anonymous, "anonymous"),
            (Principal::token("ci"), "ci"),
            (
                Principal::jwt("github", "repo:acme/app:ref:refs/heads/main"),
                "jwt:github:repo:acme/app:ref:refs/heads/main",
            ),
            (
                Principal::certificate("mirror.example"),
                "cert:mirror.example",
            ),
            (Principal::jwt("a", "b\nlevel=ERROR"), "jwt:a:b?level=ERROR"),
        ] {
            assert_eq!(principal.as_str(), text);
        }
    }

    proptest! {
        /// Whatever a token says of itself, a log line stays one.
        #[test]
        fn a_name_is_one_short_line(subject: String) {
            let principal = Principal::jwt("a", &subject);
            prop_assert!(!principal.as_str().chars().any(char::is_control));
            prop_assert!(principal.as_str().len() <= MAX_SUBJECT + "jwt:a:".len());
        }
    }
}
