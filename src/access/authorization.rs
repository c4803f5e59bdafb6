//! [`Presented`]: the token that a request carries, in whichever form its client can send it.

use std::str;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::{domain::TOKEN_IN_PATH, secret::Secret};

/// The longest `Authorization` that is read, in bytes: the identity tokens of build services have up to some 4 KB.
const LONGEST: usize = 8 << 10;

/// Base64 with or without its `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The token that a request carries.
pub enum Presented<'a> {
    /// As it stands in the request.
    AsIs(&'a str),
    /// Out of a Basic header.
    Decoded(Secret),
}

impl Presented<'_> {
    /// The token, to be looked up or checked.
    pub fn expose(&self) -> &str {
        match self {
            Self::AsIs(token) => token,
            Self::Decoded(token) => token.expose(),
        }
    }
}

/// A header that carries no token that could be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// There is more than one.
    Doubled,
    /// It is longer than any that means something.
    TooLong,
    /// It has bytes in it that no token has.
    NotText,
    /// It is of a scheme that isn't known here, or not of the form of its scheme.
    Form,
}

impl Malformed {
    /// What is wrong with it, to go on after "the Authorization header".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Doubled => "came more than once",
            Self::TooLong => "is longer than any token",
            Self::NotText => "has characters in it that no token has",
            Self::Form => {
                "is neither a token, nor `Bearer` and a token, nor `Basic` with a token as the password"
            }
        }
    }
}

/// The value of the `Authorization` header, if there is one.
///
/// # Errors
/// [`Malformed::Doubled`] when there are several.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Malformed> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value)),
        (Some(_), Some(_)) => Err(Malformed::Doubled),
    }
}

impl<'a> Presented<'a> {
    /// What the `Authorization` header carries: a token as it is, which is what cargo sends; `Bearer` and a token (RFC 6750, section 2.1); or `Basic` with the
    /// token as the password of any user (RFC 7617). None when there is no such header, or nothing in it.
    ///
    /// # Errors
    /// [`Malformed`] when it can't carry a token.
    pub fn of(headers: &'a HeaderMap) -> Result<Option<Self>, Malformed> {
        authorization(headers)?.map_or(Ok(None), Self::parse)
    }

    /// The same of the header's value.
    ///
    /// # Errors
    /// [`Malformed`] when it can't carry a token.
    pub fn parse(value: &'a HeaderValue) -> Result<Option<Self>, Malformed> {
        if value.len() > LONGEST {
            return Err(Malformed::TooLong);
        }
        let text = value.to_str().map_err(|_| Malformed::NotText)?.trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        let Some((scheme, rest)) = text.split_once(' ') else {
            let is_scheme = ["bearer", "basic"].iter();
            let mut is_scheme = is_scheme.map(|scheme| text.eq_ignore_ascii_case(scheme));
            return match is_scheme.any(|is| is) {
                true => Err(Malformed::Form),
                false => Ok(Some(Self::AsIs(text))),
            };
        };
        let token = rest.trim_ascii_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            return match is_token(token) {
                true => Ok(Some(Self::AsIs(token))),
                false => Err(Malformed::Form),
            };
        }
        match scheme.eq_ignore_ascii_case("basic") {
            true => password(token).map(Self::Decoded).map(Some),
            false => Err(Malformed::Form),
        }
    }
}

/// Whether it can be a token: characters that can be seen, and no spaces.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The password in what follows `Basic`. The user's name ends at the first colon.
fn password(encoded: &str) -> Result<Secret, Malformed> {
    // Asked for once and wiped, as the password itself is.
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let length = BASE64.decode_slice(encoded, &mut decoded);
    let pair = &decoded[..length.map_err(|_| Malformed::Form)?];
    let pair = str::from_utf8(pair).map_err(|_| Malformed::NotText)?;
    match pair.split_once(':') {
        Some((_, password)) if is_token(password) => Ok(Secret::new(password.to_owned())),
        Some(_) | None => Err(Malformed::Form),
    }
}

/// The token in a path of the form `/t/TOKEN/…`, and the path without it, which begins with `/`. A token in a path has letters, digits and `-._~` only (the
/// unreserved characters of RFC 3986, section 2.3), which are never percent-encoded.
pub fn token_in_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(TOKEN_IN_PATH)?;
    let (token, rest) = rest.split_at(rest.find('/')?);
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let is_token = !token.is_empty() && token.bytes().all(unreserved);
    is_token.then_some((token, rest))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::loggable_path;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header's value");
            headers.append(header::AUTHORIZATION, value);
        }
        headers
    }

    fn read(values: &[&[u8]]) -> Result<Option<String>, Malformed> {
        let headers = headers(values);
        Presented::of(&headers).map(|token| token.map(|token| token.expose().to_owned()))
    }

    fn basic(pair: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    #[test]
    fn a_token_comes_in_three_forms() {
        let token = || Ok(Some("cm_1".to_owned()));
        for value in [
            &b"cm_1"[..],
            b" cm_1 ",
            b"Bearer cm_1",
            b"bearer  cm_1",
            b"BEARER cm_1",
            &basic("user:cm_1"),
            &basic(":cm_1"),
            b"basic dTpjbV8x",
        ] {
            assert_eq!(read(&[value]), token(), "{}", value.escape_ascii());
        }
        let with_colon = read(&[&basic("user:a:b")]);
        assert_eq!(with_colon, Ok(Some("a:b".to_owned())));
    }

    #[test]
    fn no_token_is_no_wrong_one() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b""]), Ok(None));
        assert_eq!(read(&[b"  "]), Ok(None));
    }

    #[test]
    fn what_carries_no_token_is_refused() {
        for (values, why) in [
            (&[&b"a"[..], b"a"][..], Malformed::Doubled),
            (&[b"", b""], Malformed::Doubled),
            (&[b"Bearer"], Malformed::Form),
            (&[b"Bearer "], Malformed::Form),
            (&[b"Bearer a b"], Malformed::Form),
            (&[b"Digest a"], Malformed::Form),
            (&[b"two words"], Malformed::Form),
            (&[b"Basic"], Malformed::Form),
            (&[b"Basic !"], Malformed::Form),
            (&[&basic("no colon")], Malformed::Form),
            (&[&basic("no password:")], Malformed::Form),
            (&[&basic("a:b\u{e4}")], Malformed::Form),
            (&[b"Basic //8="], Malformed::NotText),
            (&[b"t\xc3\xb6ken"], Malformed::NotText),
            (&[b"\xff"], Malformed::NotText),
            (&[&[b'a'; LONGEST + 1]], Malformed::TooLong),
        ] {
            assert_eq!(read(values), Err(why), "{values:?}");
        }
        assert!(read(&[&[b'a'; LONGEST]]).is_ok_and(|token| token.is_some()));
    }

    #[test]
    fn a_path_may_carry_one() {
        for (path, expected) in [
            (
                "/t/cm_1/index/config.json",
                Some(("cm_1", "/index/config.json")),
            ),
            ("/t/a.b-c_d~/", Some(("a.b-c_d~", "/"))),
            ("/t/a//t/b/", Some(("a", "//t/b/"))),
            ("/t/a", None),
            ("/t//index", None),
            ("/t/a%20b/index", None),
            ("/t", None),
            ("/T/a/", None),
            ("/index/t/a/", None),
        ] {
            assert_eq!(token_in_path(path), expected, "{path}");
        }
    }

    proptest! {
        /// In whichever form it is sent, it is the same token.
        #[test]
        fn every_form_means_the_same(
            token in "[!-~]{1,200}", user in "[ -9;-~]{0,20}",
            scheme in prop_oneof![Just("Basic"), Just("basic"), Just("BASIC")], pads: bool,
        ) {
            prop_assume!(!["bearer", "basic"].contains(&&*token.to_ascii_lowercase()));
            let pair = format!("{user}:{token}");
            let encoded = if pads { STANDARD.encode(pair) } else { STANDARD_NO_PAD.encode(pair) };
            for value in [token.clone(), format!("Bearer {token}"), format!("{scheme} {encoded}")] {
                prop_assert_eq!(read(&[value.as_bytes()]), Ok(Some(token.clone())), "{}", value);
            }
        }

        #[test]
        fn nothing_at_all_makes_it_panic_or_gives_what_is_no_token(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..3)) {
            let mut headers = HeaderMap::new();
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
                headers.append(header::AUTHORIZATION, value);
            }
            if let Ok(Some(token)) = Presented::of(&headers) {
                prop_assert!(is_token(token.expose()));
            }
        }

        /// Whatever stands there, a log line has nothing of it.
        #[test]
        fn no_token_of_a_path_is_logged(token in "[^/]{1,80}", rest in "(/[a-z/]{0,20})?") {
            let path = format!("/t/{token}{rest}");
            prop_assert_eq!(loggable_path(&path), ("/t/-", &*rest));
            if let Some((found, after)) = token_in_path(&path) {
                prop_assert_eq!((found, after), (&*token, &*rest));
            }
        }
    }
}
