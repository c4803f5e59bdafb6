//! [`Form`]: how a credential is written into a request.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use crate::{config::credential as settings, secret::Secret};

/// The longest credential that is taken, in bytes. Servers take heads of 8 or 16 KiB.
pub(super) const LONGEST: usize = 16 << 10;

/// How a credential is written into a request.
pub(super) struct Form(settings::CredentialForm);

impl Form {
    /// The one that the settings say.
    pub(super) fn new(said: &settings::CredentialForm) -> Self {
        Self(said.clone())
    }

    /// User and password out of a URL, which has neither afterwards.
    pub(super) fn of_url(url: &mut Url) -> Option<(Self, Secret)> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (plain(url.username()), plain(url.password().unwrap_or("")));
        // Fails for URLs without a host, which have neither.
        let _ = (url.set_username(""), url.set_password(None));
        let form = Self(settings::CredentialForm::Basic { user });
        Some((form, Secret::new(password)))
    }

    /// The header that it is in.
    pub(super) fn header(&self) -> HeaderName {
        match &self.0 {
            settings::CredentialForm::Raw
            | settings::CredentialForm::Bearer
            | settings::CredentialForm::Basic { .. } => header::AUTHORIZATION,
            settings::CredentialForm::Header(name) => name.clone(),
        }
    }

    /// The value of that header; `None` for what doesn't fit into one.
    pub(super) fn value(&self, secret: &Secret) -> Option<HeaderValue> {
        let secret = secret.expose();
        let text: Zeroizing<String> = match &self.0 {
            settings::CredentialForm::Raw | settings::CredentialForm::Header(_) => {
                secret.to_owned().into()
            }
            settings::CredentialForm::Bearer => format!("Bearer {secret}").into(),
            settings::CredentialForm::Basic { user } => {
                let both = Zeroizing::new(format!("{user}:{secret}"));
                format!("Basic {}", BASE64_STANDARD.encode(both.as_bytes())).into()
            }
        };
        if !text.is_ascii() {
            return None;
        }
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The credential in what a file, a variable or a command gives: one line without the white space around it.
    pub(super) fn read(&self, given: &[u8]) -> Result<Secret, &'static str> {
        if given.len() > LONGEST {
            return Err("is longer than 16 KiB");
        }
        let text = std::str::from_utf8(given)
            .map_err(|_| "isn't UTF-8")?
            .trim();
        if text.is_empty() {
            return Err("is empty");
        }
        if text.chars().any(char::is_control) {
            return Err("isn't one line of text");
        }
        let secret = Secret::new(text.to_owned());
        match self.value(&secret) {
            Some(_) => Ok(secret),
            None => Err("has characters that a header can't carry"),
        }
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match &self.0 {
            settings::CredentialForm::Raw => "raw".into(),
            settings::CredentialForm::Bearer => "bearer".into(),
            settings::CredentialForm::Basic { .. } => "basic".into(),
            settings::CredentialForm::Header(name) => format!("header {name}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(form: settings::CredentialForm, given: &str) -> String {
        let form = Form(form);
        let secret = form.read(given.as_bytes()).expect("a credential");
        let value = form.value(&secret).expect("a value");
        assert!(value.is_sensitive());
        value.to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn each_form_is_what_registries_want() {
        let basic = |user: &str| settings::CredentialForm::Basic { user: user.into() };
        assert_eq!(value(settings::CredentialForm::Raw, "token\n"), "token");
        assert_eq!(
            value(settings::CredentialForm::Bearer, " token\r\n"),
            "Bearer token"
        );
        // RFC 7617, sections 2 and 2.1.
        let aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(value(basic("Aladdin"), "open sesame"), aladdin);
        assert_eq!(value(basic("test"), "123\u{a3}"), "Basic dGVzdDoxMjPCow==");
    }

    #[test]
    fn what_can_be_no_credential_is_told_apart() {
        let raw = Form(settings::CredentialForm::Raw);
        for (given, why) in [
            (&b"\n"[..], "is empty"),
            (b"one\ntwo", "isn't one line of text"),
            (b"\xff", "isn't UTF-8"),
            (
                "\u{e4}".as_bytes(),
                "has characters that a header can't carry",
            ),
            (&[b'x'; LONGEST + 1], "is longer than 16 KiB"),
        ] {
            assert_eq!(raw.read(given).err(), Some(why));
        }
    }

    #[test]
    fn user_and_password_are_taken_out_of_a_url() {
        let mut url = Url::parse("https://us%40er:p%3Aw@a.test/index/").expect("a URL");
        let (form, password) = Form::of_url(&mut url).expect("both");
        assert_eq!(url.as_str(), "https://a.test/index/");
        let value = form.value(&password).expect("a value");
        assert_eq!(value, "Basic dXNAZXI6cDp3");
        assert!(Form::of_url(&mut url).is_none());
    }
}
