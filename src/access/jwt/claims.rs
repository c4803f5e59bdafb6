//! [`Unverified`]: a JSON web token cut into its parts, of which nothing is proved yet.

use std::{borrow::Cow, str};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de};

use super::keys::Algorithm;

/// The longest token, in bytes. The largest of build services have some 4 KB.
const LONGEST: usize = 8 << 10;
/// The longest name of a key, in bytes.
const KEY_ID: usize = 256;

/// A token as it says of itself.
#[derive(Clone, Debug)]
pub struct Unverified<'a> {
    /// How it is signed, one of the ways that are known here.
    pub algorithm: Algorithm,
    /// The name of the key that it is signed with.
    pub key_id: Option<String>,
    /// What it says.
    pub claims: Claims,
    /// What is signed.
    pub message: &'a [u8],
    /// Over `message`.
    pub signature: Vec<u8>,
}

/// What a token says (RFC 7519, section 4.1). Times are seconds since 1970.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// Whom it is about.
    pub sub: String,
    /// For whom it is meant.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// Until when it is good.
    #[serde(deserialize_with = "seconds")]
    pub exp: f64,
    /// From when on.
    #[serde(default, deserialize_with = "maybe_seconds")]
    pub nbf: Option<f64>,
}

/// The head of a token (RFC 7515, section 4.1).
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<de::IgnoredAny>,
}

impl<'a> Unverified<'a> {
    /// Reads a token in the compact form (RFC 7515, section 3.1): three parts, with dots between. None when it isn't one, is signed in a way that isn't
    /// known here, lacks what every token here has to have, or asks for what isn't understood (`crit`).
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (head, claims) = message.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let head = URL_SAFE_NO_PAD.decode(head).ok()?;
        let head: Head<'_> = serde_json::from_slice(&head).ok()?;
        let algorithm = Algorithm::parse(&head.alg)?;
        let has_long_id = head.kid.as_ref().is_some_and(|id| id.len() > KEY_ID);
        if has_long_id || head.crit.is_some() {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        Some(Self {
            algorithm,
            key_id: head.kid.map(Cow::into_owned),
            claims: serde_json::from_slice(&claims).ok()?,
            message: message.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

/// Whether a token looks like one: three parts. Ours have no dots.
pub fn looks_like_one(token: &str) -> bool {
    token.bytes().filter(|b| *b == b'.').count() == 2
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    match seconds.is_finite() {
        true => Ok(seconds),
        false => Err(de::Error::custom("not a number of seconds")),
    }
}

fn maybe_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    seconds(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn token(head: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(head), part(claims))
    }

    fn right_claims() -> Value {
        json!({"iss": "https://i.example", "sub": "s", "aud": "a", "exp": 2})
    }

    #[test]
    fn a_token_is_read_with_what_it_must_have() {
        let head = json!({"alg": "RS256", "kid": "k", "typ": "JWT"});
        let token = token(
            &head,
            &json!({"iss": "https://i.example", "sub": "s", "aud": ["a", "b"], "exp": 2.5, "nbf": 1, "more": {}}),
        );
        let read = Unverified::parse(&token).expect("a token");
        assert_eq!(read.key_id.as_deref(), Some("k"));
        assert_eq!(read.claims.aud, ["a", "b"]);
        assert_eq!((read.claims.exp, read.claims.nbf), (2.5, Some(1.0)));
        assert_eq!(read.signature, b"sig");
        assert!(token.as_bytes().starts_with(read.message));
    }

    #[test]
    fn what_is_no_token_of_a_known_kind_is_none() {
        for head in [
            json!({"alg": "none"}),
            json!({"alg": "None"}),
            json!({"alg": "HS256"}),
            json!({"alg": "RS384"}),
            json!({"alg": "rs256"}),
            json!({"alg": 1}),
            json!({"kid": "k"}),
            json!({"alg": "RS256", "crit": ["exp"]}),
            json!({"alg": "RS256", "kid": "k".repeat(KEY_ID + 1)}),
            json!({"alg": "RS256", "kid": 1}),
            json!([]),
            json!(null),
        ] {
            let token = token(&head, &right_claims());
            assert!(Unverified::parse(&token).is_none(), "{head}");
        }
        let head = json!({"alg": "ES256"});
        for (claim, value) in [
            ("iss", Value::Null),
            ("sub", Value::Null),
            ("aud", json!(1)),
            ("exp", Value::Null),
            ("exp", json!("2")),
            ("nbf", json!("1")),
        ] {
            let mut claims = right_claims();
            claims[claim] = value;
            assert!(
                Unverified::parse(&token(&head, &claims)).is_none(),
                "{claims}"
            );
        }
        let mut without = right_claims();
        without.as_object_mut().expect("a map").remove("exp");
        assert!(
            Unverified::parse(&token(&head, &without)).is_none(),
            "exp is required"
        );
        for text in [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "e30.e30",
            "e30.e30.",
            "e30.e30.e30.e30",
        ] {
            assert!(Unverified::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn one_that_says_something_twice_is_none() {
        let twice = |head: &str, claims: &str| {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.", part(head), part(claims))
        };
        let claims = right_claims().to_string();
        let doubled = claims.replace('{', "{\"exp\":9,");
        assert!(Unverified::parse(&twice("{\"alg\":\"RS256\"}", &claims)).is_some());
        assert!(Unverified::parse(&twice("{\"alg\":\"RS256\"}", &doubled)).is_none());
        let head = "{\"alg\":\"RS256\",\"alg\":\"ES256\"}";
        assert!(Unverified::parse(&twice(head, &claims)).is_none());
    }

    #[test]
    fn a_long_one_is_not_looked_at() {
        let long = json!({"alg": "RS256", "kid": "k".repeat(1 << 20)});
        assert!(Unverified::parse(&token(&long, &right_claims())).is_none());
        let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
        let deep = URL_SAFE_NO_PAD.encode(deep);
        assert!(Unverified::parse(&format!("{deep}.e30.e30")).is_none());
    }

    proptest! {
        #[test]
        fn nothing_at_all_makes_it_panic(head: Vec<u8>, claims: Vec<u8>, rest: String) {
            let _ = Unverified::parse(&rest);
            let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            let _ = Unverified::parse(&format!("{head}.{claims}.{rest}"));
        }
    }
}
