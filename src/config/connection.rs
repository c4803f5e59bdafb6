//! How servers outside are reached: through which proxy, and by what name this mirror goes there.

use std::fmt;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::{access::FilePath, units::parse_with};
use crate::secret::Secret;

/// `proxy`: what stands between this mirror and the others, in place of what the environment says.
#[derive(Clone, Debug)]
pub enum ProxySetting {
    /// `"none"`: nothing, whatever the environment says.
    None,
    /// This proxy, for everything.
    Through(ProxyUrl),
}

impl ProxySetting {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            url => ProxyUrl::parse(url).map(Self::Through),
        }
    }
}

impl<'de> Deserialize<'de> for ProxySetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"none\", or the URL of an HTTP proxy such as \"http://proxy:3128\", with nothing after the port";
        parse_with(deserializer, expected, Self::parse)
    }
}

/// The URL of an HTTP proxy, which may have a user and a password in it.
#[derive(Clone)]
pub struct ProxyUrl {
    url: Secret,
    /// Without user and password.
    shown: String,
}

impl ProxyUrl {
    fn parse(text: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return None;
        }
        let whole = Secret::new(url.as_str().to_owned());
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(Self {
            url: whole,
            shown: url.as_str().trim_end_matches('/').to_owned(),
        })
    }

    /// All of it, for whoever connects there.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whom to ask about this mirror's requests: part of the comment in its `User-Agent` (RFC 9110, sections 5.6.5 and 10.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact(pub String);

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an address or a URL such as \"ops@example.com\": at most 200 characters of ASCII, without parentheses and `\\`";
        parse_with(deserializer, expected, |text| {
            let is_comment = |b: u8| matches!(b, b' '..=b'~') && !b"()\\".contains(&b);
            let text = text.trim();
            let fits = (1..=200).contains(&text.len()) && text.bytes().all(is_comment);
            fits.then(|| Self(text.to_owned()))
        })
    }
}

/// What this mirror shows to a server that asks its clients for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file with the certificate and its chain, in PEM.
    pub certificate: FilePath,
    /// The file with its key, in PEM.
    pub key: FilePath,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_proxy_is_a_url_or_none_and_its_password_is_in_no_message() {
        for (value, shown) in [
            ("none", "None"),
            ("http://proxy:3128", "Through(http://proxy:3128)"),
            ("https://proxy/", "Through(https://proxy)"),
            ("http://me:hunter2@proxy:1", "Through(http://proxy:1)"),
        ] {
            let config = parse(&format!("[upstream]\nproxy = \"{value}\"")).expect(value);
            let proxy = config.upstream.proxy.expect("a proxy");
            assert_eq!(format!("{proxy:?}"), shown);
        }
        for value in [
            "proxy:3128",
            "me:hunter2@proxy:3128",
            "socks5://me:hunter2@proxy:1080",
            "http://me:hunter2@proxy/path",
            "http://me:hunter2@proxy/?q",
            "",
        ] {
            let refused = parse(&format!("[upstream]\nproxy = \"{value}\""));
            let said = refused.expect_err(value).to_string();
            assert!(said.contains("`upstream.proxy`"), "{said}");
            assert!(said.contains("\"none\", or the URL"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_contact_fits_into_a_comment() {
        for value in ["ops@example.com", "https://wiki.example.com/mirror?a=b"] {
            let config = parse(&format!("[upstream]\ncontact = \" {value} \"")).expect(value);
            assert_eq!(config.upstream.contact, Some(Contact(value.to_owned())));
        }
        let long = "x".repeat(201);
        for value in ["", " ", "a (b)", "a\\\\b", "a\\nb", "\u{fc}", &long] {
            let refused = parse(&format!("[upstream]\ncontact = \"{value}\""));
            let said = refused.expect_err(value).to_string();
            assert!(said.contains("`upstream.contact`"), "{said}");
        }
    }
}
