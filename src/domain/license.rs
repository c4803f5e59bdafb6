//! [`License`]: under which licence a crate says it comes; and [`AllowedLicense`], one under which crates may come in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};
use spdx::{LicenseItem, LicenseReq, Licensee, ParseMode};

use super::name::shorten;
use crate::error::{Error, Result};

/// How crates.io's crates write licences: `/` for `OR`, names that aren't quite SPDX's, and ones that nobody knows.
const AS_ON_CRATES_IO: ParseMode = ParseMode {
    allow_unknown: true,
    ..ParseMode::LAX
};

/// Under which licence a crate says it comes, as its Cargo.toml has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum License {
    /// `license`: an expression, in theory; at most [`License::MAX_LEN`] bytes of it.
    Expression(Box<str>),
    /// `license-file` alone: what is in that file, nobody reads.
    File(Box<str>),
    /// Neither, or none that can be read.
    None,
}

impl License {
    /// The longest text that is kept, in bytes. What is longer ends in `…`, and so is no expression any more.
    pub const MAX_LEN: usize = 1024;

    /// What a manifest's `license` and `license-file` come to.
    pub fn of_manifest(license: Option<&str>, file: Option<&str>) -> Self {
        let text = |text: &str| {
            let text = text.trim();
            (!text.is_empty()).then(|| keep(text))
        };
        let expression = license.and_then(text).map(Self::Expression);
        let file = || file.and_then(text).map(Self::File);
        expression.or_else(file).unwrap_or(Self::None)
    }

    /// The expression, when there is one that can be read.
    pub fn expression(&self) -> Option<spdx::Expression> {
        match self {
            Self::Expression(text) => spdx::Expression::parse_mode(text, AS_ON_CRATES_IO).ok(),
            Self::File(_) | Self::None => None,
        }
    }
}

fn keep(text: &str) -> Box<str> {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut kept = String::new();
    for c in text.chars().map(plain) {
        if kept.len() + c.len_utf8() + '…'.len_utf8() > License::MAX_LEN {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept.into()
}

impl fmt::Display for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(text) => f.write_str(text),
            Self::File(name) => write!(f, "the one in its file {name}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A licence under which crates may come in: one of SPDX's, with an exception if need be, such as `Apache-2.0 WITH LLVM-exception`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedLicense(Licensee);

impl AllowedLicense {
    /// What may be written, for messages.
    pub const ALLOWED: &str = "one identifier of https://spdx.org/licenses such as \"MIT\" or \"Apache-2.0 WITH LLVM-exception\"";

    /// Whether a crate that asks for `wanted` may be used under this licence.
    pub fn satisfies(&self, wanted: &LicenseReq) -> bool {
        match current(wanted) {
            Some(wanted) => self.0.satisfies(&wanted),
            None => self.0.satisfies(wanted),
        }
    }
}

/// The same under the name that SPDX has for it today, if it has given it another one: `GPL-3.0` has become `GPL-3.0-only`.
fn current(wanted: &LicenseReq) -> Option<LicenseReq> {
    let LicenseItem::Spdx { id, or_later } = wanted.license else {
        return None;
    };
    let suffix = if or_later { "-or-later" } else { "-only" };
    let is_old = id.is_gnu() && !id.name.ends_with("-only") && !id.name.ends_with("-or-later");
    let id = spdx::license_id(&format!("{}{suffix}", id.name)).filter(|_| is_old)?;
    Some(LicenseReq {
        license: LicenseItem::Spdx {
            id,
            or_later: false,
        },
        addition: wanted.addition.clone(),
    })
}

impl FromStr for AllowedLicense {
    type Err = Error;

    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) with what is allowed.
    fn from_str(text: &str) -> Result<Self> {
        let licensee = Licensee::parse_mode(text.trim(), ParseMode::LAX).map_err(|_| {
            let (text, allowed) = (shorten(text), Self::ALLOWED);
            Error::config(format!(
                "{text:?} is no licence that is known: what is allowed is {allowed}"
            ))
        })?;
        let wanted = licensee.clone().into_req();
        Ok(Self(match current(&wanted) {
            Some(wanted) => Licensee::new(wanted.license, wanted.addition),
            None => licensee,
        }))
    }
}

impl<'de> Deserialize<'de> for AllowedLicense {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|e: Error| de::Error::custom(e.message()))
    }
}

impl fmt::Display for AllowedLicense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_s_words_come_to_one_licence() {
        let of = License::of_manifest;
        assert_eq!(
            of(Some(" MIT "), Some("x")),
            License::Expression("MIT".into())
        );
        assert_eq!(
            of(Some(" "), Some("LICENSE")),
            License::File("LICENSE".into())
        );
        assert_eq!(of(None, None), License::None);
        let License::Expression(long) = of(Some(&"MIT OR ".repeat(1_000)), None) else {
            panic!("an expression");
        };
        assert!(long.len() <= License::MAX_LEN && long.ends_with('…'));
        assert!(License::Expression(long).expression().is_none());
    }

    #[test]
    fn what_is_no_licence_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "MIT OR Apache-2.0",
            "Apache-2.0+",
            "MIT WITH",
            "Foo",
            "MIT\n\nX",
        ] {
            let error = text.parse::<AllowedLicense>().expect_err(text).to_string();
            assert!(error.contains("spdx.org"), "{error}");
        }
        for text in [
            "MIT",
            "Apache-2.0 WITH LLVM-exception",
            "LicenseRef-Acme",
            "GPL-3.0-only",
        ] {
            assert_eq!(
                text.parse::<AllowedLicense>().expect(text).to_string(),
                text
            );
        }
        let old: AllowedLicense = "GPL-3.0".parse().expect("a licence");
        assert_eq!(old.to_string(), "GPL-3.0-only");
    }
}
