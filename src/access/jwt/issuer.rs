//! [`Issuer`]: whose JSON web tokens are accepted, and for whom: `[access.jwt.NAME]`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    claims::{Claims, Unverified},
    keys::KeyLookup,
    source::{KeyFetch, KeySource},
};
use crate::domain::Principal;

/// How much later or earlier than ours a clock may be that a token's times come from (RFC 7519, section 4.1.4).
const LEEWAY: Duration = Duration::from_secs(60);

/// One table of the settings.
pub struct Issuer {
    /// The table's name.
    pub name: String,
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or to have in it.
    pub audience: String,
    /// What `sub` may be; `*` stands for any text.
    pub subjects: Vec<String>,
    /// The issuer's public keys.
    pub keys: Arc<KeySource>,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtFault {
    /// It can't be read, or is signed in a way that isn't accepted.
    Form,
    /// Nobody knows who made it.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// Whom it is about may not ask.
    Subject,
    /// It is no longer good.
    Expired,
    /// It isn't good yet.
    Early,
    /// It names a key that its issuer doesn't have, or not for this way of signing.
    Key,
    /// Its key hasn't signed it.
    Signature,
}

impl JwtFault {
    /// What is wrong, to go on after "the token".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => {
                "is no JSON web token that is signed with RS256 or ES256 and has iss, sub, aud and exp"
            }
            Self::Issuer => "comes from an issuer that isn't known here",
            Self::Audience => "is meant for another audience",
            Self::Subject => "is about a subject that may not ask",
            Self::Expired => "has expired",
            Self::Early => "isn't valid yet",
            Self::Key => "names a key that its issuer doesn't have",
            Self::Signature => "isn't signed by its issuer",
        }
    }
}

/// What is found of a token.
pub enum Judged {
    /// It is good.
    Right(Verified),
    /// It isn't.
    Wrong(JwtFault),
    /// Its issuer's keys are being fetched; to be judged again then.
    Later(KeyFetch),
    /// Its issuer's keys could never be fetched. The table's name.
    NoKeys(String),
}

/// A token that was found to be good.
#[derive(Clone)]
pub struct Verified {
    /// Who asks.
    pub principal: Principal,
    until: SystemTime,
    keys: Arc<KeySource>,
    generation: u64,
}

impl Verified {
    /// Whether it still is: it hasn't expired, and its issuer's keys are those that it was checked with.
    pub fn holds(&self, now: SystemTime) -> bool {
        now <= self.until && self.keys.generation() == self.generation
    }
}

/// Judges a token by the first of these that it fits.
pub fn judge(issuers: &[Issuer], token: &str, now: SystemTime) -> Judged {
    let Some(token) = Unverified::parse(token) else {
        return Judged::Wrong(JwtFault::Form);
    };
    let mut fault = JwtFault::Issuer;
    for issuer in issuers.iter().filter(|i| i.issuer == token.claims.iss) {
        // What costs little first: a signature takes longer than all the rest.
        match issuer.fits(&token.claims, now) {
            Err(why) => fault = why,
            Ok(()) => match issuer.check(&token, now) {
                Judged::Wrong(why) => fault = why,
                judged @ (Judged::Right(_) | Judged::Later(_) | Judged::NoKeys(_)) => {
                    return judged;
                }
            },
        }
    }
    Judged::Wrong(fault)
}

impl Issuer {
    /// Whether what a token says is what it has to say.
    fn fits(&self, claims: &Claims, now: SystemTime) -> Result<(), JwtFault> {
        if !claims.aud.contains(&self.audience) {
            return Err(JwtFault::Audience);
        }
        if !self.subjects.iter().any(|s| matches(s, &claims.sub)) {
            return Err(JwtFault::Subject);
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64();
        if now > claims.exp + LEEWAY.as_secs_f64() {
            return Err(JwtFault::Expired);
        }
        match claims
            .nbf
            .is_some_and(|nbf| now + LEEWAY.as_secs_f64() < nbf)
        {
            true => Err(JwtFault::Early),
            false => Ok(()),
        }
    }

    /// Whether a token is signed with one of the issuer's keys.
    fn check(&self, token: &Unverified<'_>, now: SystemTime) -> Judged {
        let generation = self.keys.generation();
        let Some(keys) = self.keys.current(now) else {
            return match self.keys.fetch(now) {
                Some(awaited) => Judged::Later(awaited),
                None => Judged::NoKeys(self.name.clone()),
            };
        };
        match keys.find(token.key_id.as_deref(), token.algorithm) {
            KeyLookup::Key(key) if key.has_signed(token.message, &token.signature) => {
                Judged::Right(Verified {
                    principal: Principal::jwt(&self.name, &token.claims.sub),
                    until: end(token.claims.exp),
                    keys: self.keys.clone(),
                    generation,
                })
            }
            KeyLookup::Key(_) => Judged::Wrong(JwtFault::Signature),
            KeyLookup::Unfit => Judged::Wrong(JwtFault::Key),
            // It may have been made since the keys were fetched.
            KeyLookup::Unknown => match self.keys.fetch(now) {
                Some(awaited) => Judged::Later(awaited),
                None => Judged::Wrong(JwtFault::Key),
            },
        }
    }
}

/// The last moment at which a token that expires then is accepted.
fn end(exp: f64) -> SystemTime {
    let since = Duration::try_from_secs_f64(exp.max(0.0)).unwrap_or(Duration::MAX);
    let end = SystemTime::UNIX_EPOCH.checked_add(since);
    let end = end.and_then(|end| end.checked_add(LEEWAY));
    // Later than a clock can show: good enough for a day, then it is checked again.
    end.unwrap_or_else(|| SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799))
}

/// Whether `text` is what `pattern` says, in which `*` stands for any text, also none.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
pub(in crate::access) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{
        super::{
            keys::{
                KeySet,
                tests::{Signer, set},
            },
            source::FetchKeys,
        },
        *,
    };

    pub(in crate::access) fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    pub(in crate::access) fn claims() -> Value {
        json!({"iss": "https://ci.example", "sub": "repo:acme/app", "aud": "crate-mirror", "exp": 2_000})
    }

    pub(in crate::access) fn signed(signer: &Signer, head: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(head), part(claims));
        let signature = signer.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(in crate::access) fn issuer(keys: KeySource) -> Issuer {
        Issuer {
            name: "ci".to_owned(),
            issuer: "https://ci.example".to_owned(),
            audience: "crate-mirror".to_owned(),
            subjects: vec!["repo:acme/*".to_owned(), "user:me".to_owned()],
            keys: Arc::new(keys),
        }
    }

    pub(in crate::access) fn of_keys(keys: &[Value]) -> Issuer {
        issuer(KeySource::known(KeySet::parse(&set(keys)).expect("a set")))
    }

    fn fault(issuer: &Issuer, token: &str, now: u64) -> Option<JwtFault> {
        match judge(std::slice::from_ref(issuer), token, at(now)) {
            Judged::Right(_) => None,
            Judged::Wrong(fault) => Some(fault),
            Judged::Later(_) | Judged::NoKeys(_) => panic!("its keys are known"),
        }
    }

    fn es256() -> Value {
        json!({"alg": "ES256", "kid": "k"})
    }

    #[test]
    fn a_token_of_either_kind_is_accepted_with_its_subject() {
        for (signer, alg) in [(Signer::rsa(), "RS256"), (Signer::p256(), "ES256")] {
            let issuers = [of_keys(&[signer.jwk("k")])];
            let token = signed(&signer, &json!({"alg": alg, "kid": "k"}), &claims());
            let Judged::Right(verified) = judge(&issuers, &token, at(1_000)) else {
                panic!("{alg} isn't accepted");
            };
            assert_eq!(verified.principal.as_str(), "jwt:ci:repo:acme/app");
            assert!(verified.holds(at(2_060)) && !verified.holds(at(2_061)));
            issuers[0].keys.replace(KeySet::default());
            assert!(!verified.holds(at(1_000)), "its keys are others now");
        }
    }

    #[test]
    fn each_claim_has_to_fit() {
        let signer = Signer::p256();
        let issuer = of_keys(&[signer.jwk("k")]);
        for (claim, value, expected) in [
            ("iss", json!("https://ci.example/"), Some(JwtFault::Issuer)),
            ("iss", json!(""), Some(JwtFault::Issuer)),
            ("aud", json!("another"), Some(JwtFault::Audience)),
            ("aud", json!([]), Some(JwtFault::Audience)),
            ("aud", json!(["another", "crate-mirror"]), None),
            ("aud", json!("crate-mirror2"), Some(JwtFault::Audience)),
            ("sub", json!("repo:evil/app"), Some(JwtFault::Subject)),
            ("sub", json!("user:me2"), Some(JwtFault::Subject)),
            ("sub", json!("user:me"), None),
            ("exp", json!(940), None),
            ("exp", json!(939), Some(JwtFault::Expired)),
            ("exp", json!(-1e300), Some(JwtFault::Expired)),
            ("exp", json!(1e300), None),
            ("nbf", json!(1_060), None),
            ("nbf", json!(1_061), Some(JwtFault::Early)),
            ("nbf", json!(1e300), Some(JwtFault::Early)),
        ] {
            let mut claims = claims();
            claims[claim] = value;
            let token = signed(&signer, &es256(), &claims);
            assert_eq!(fault(&issuer, &token, 1_000), expected, "{claims}");
        }
    }

    #[test]
    fn nobody_elses_signature_will_do() {
        let (signer, other) = (Signer::p256(), Signer::p256());
        let rsa = Signer::rsa();
        let issuer = of_keys(&[signer.jwk("k"), rsa.jwk("r")]);
        let right = signed(&signer, &es256(), &claims());
        assert_eq!(fault(&issuer, &right, 1_000), None);
        let forged = signed(&other, &es256(), &claims());
        assert_eq!(fault(&issuer, &forged, 1_000), Some(JwtFault::Signature));
        // A key of one kind, named in a token that claims to be signed in the other way.
        let crossed = signed(&signer, &json!({"alg": "ES256", "kid": "r"}), &claims());
        assert_eq!(fault(&issuer, &crossed, 1_000), Some(JwtFault::Key));
        let unknown = signed(&signer, &json!({"alg": "ES256", "kid": "x"}), &claims());
        assert_eq!(fault(&issuer, &unknown, 1_000), Some(JwtFault::Key));
        let none = json!({"alg": "none", "kid": "k"});
        assert_eq!(
            fault(&issuer, &signed(&signer, &none, &claims()), 1_000),
            Some(JwtFault::Form)
        );
        let message = right.rsplit_once('.').expect("three parts").0;
        assert_eq!(
            fault(&issuer, &format!("{message}."), 1_000),
            Some(JwtFault::Signature)
        );
    }

    #[test]
    fn of_two_tables_for_one_issuer_each_has_its_own_rules() {
        let signer = Signer::p256();
        let mut second = of_keys(&[signer.jwk("k")]);
        second.name = "other".to_owned();
        second.subjects = vec!["*".to_owned()];
        let issuers = [of_keys(&[signer.jwk("k")]), second];
        let mut claims = claims();
        for (subject, name) in [("repo:acme/x", "jwt:ci:repo:acme/x"), ("z", "jwt:other:z")] {
            claims["sub"] = json!(subject);
            match judge(&issuers, &signed(&signer, &es256(), &claims), at(1_000)) {
                Judged::Right(verified) => assert_eq!(verified.principal.as_str(), name),
                Judged::Wrong(_) | Judged::Later(_) | Judged::NoKeys(_) => panic!("{subject}"),
            }
        }
    }

    /// An issuer whose keys are fetched; each time they are the next of these, and the last one from then on.
    fn fetching(sets: Vec<Option<Vec<u8>>>) -> (Issuer, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let fetch: FetchKeys = Arc::new(move || {
            let at = count.fetch_add(1, Ordering::Relaxed) as usize;
            let set = sets[at.min(sets.len() - 1)].clone();
            let set = set.ok_or_else(|| crate::error::Error::upstream_timeout("it is slow"));
            Box::pin(async move {
                tokio::task::yield_now().await;
                set
            })
        });
        (issuer(KeySource::fetched("ci", fetch)), asked)
    }

    async fn judged(issuer: &Issuer, token: &str, now: u64) -> Judged {
        loop {
            match judge(std::slice::from_ref(issuer), token, at(now)) {
                Judged::Later(awaited) => awaited.done().await,
                judged @ (Judged::Right(_) | Judged::Wrong(_) | Judged::NoKeys(_)) => {
                    return judged;
                }
            }
        }
    }

    #[tokio::test]
    async fn keys_are_fetched_once_and_anew_for_one_that_is_unknown() {
        let (old, new) = (Signer::p256(), Signer::p256());
        let first = set(&[old.jwk("old")]);
        let (issuer, asked) = fetching(vec![Some(first), Some(set(&[new.jwk("new")]))]);
        let token = |signer, kid| signed(signer, &json!({"alg": "ES256", "kid": kid}), &claims());
        let (of_old, of_new) = (token(&old, "old"), token(&new, "new"));
        let all = (0..20).map(|_| judged(&issuer, &of_old, 1_000));
        for judged in futures_util::future::join_all(all).await {
            assert!(matches!(judged, Judged::Right(_)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        // Not within a minute.
        let early = judged(&issuer, &of_new, 1_059).await;
        assert!(matches!(early, Judged::Wrong(JwtFault::Key)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(matches!(
            judged(&issuer, &of_new, 1_060).await,
            Judged::Right(_)
        ));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let gone = judged(&issuer, &of_old, 1_061).await;
        assert!(matches!(gone, Judged::Wrong(JwtFault::Key)));
    }

    #[tokio::test]
    async fn keys_are_kept_when_they_cannot_be_fetched_again() {
        let signer = Signer::p256();
        let keys = set(&[signer.jwk("k")]);
        let (issuer, asked) = fetching(vec![None, Some(keys), Some(b"<html>".to_vec()), None]);
        let right = signed(&signer, &es256(), &claims());
        let unknown = signed(&signer, &json!({"alg": "ES256", "kid": "x"}), &claims());
        // Without any keys yet it isn't the token's fault, and soon tried again.
        assert!(matches!(
            judged(&issuer, &right, 1_000).await,
            Judged::NoKeys(_)
        ));
        assert!(matches!(
            judged(&issuer, &right, 1_001).await,
            Judged::NoKeys(_)
        ));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(matches!(
            judged(&issuer, &right, 1_005).await,
            Judged::Right(_)
        ));
        for now in [1_100, 1_200] {
            let wrong = judged(&issuer, &unknown, now).await;
            assert!(matches!(wrong, Judged::Wrong(JwtFault::Key)));
            assert!(matches!(
                judged(&issuer, &right, now).await,
                Judged::Right(_)
            ));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    /// Otherwise a key that its issuer has taken back would be good until another one is asked for.
    #[tokio::test]
    async fn keys_that_are_old_are_fetched_anew_beside_what_asks() {
        let signer = Signer::p256();
        let (issuer, asked) = fetching(vec![
            Some(set(&[signer.jwk("k")])),
            Some(set(&[Signer::p256().jwk("n")])),
        ]);
        let mut claims = claims();
        claims["exp"] = json!(1_000_000);
        let token = signed(&signer, &es256(), &claims);
        assert!(matches!(
            judged(&issuer, &token, 1_000).await,
            Judged::Right(_)
        ));
        assert!(matches!(
            judged(&issuer, &token, 4_599).await,
            Judged::Right(_)
        ));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(matches!(
            judged(&issuer, &token, 4_600).await,
            Judged::Right(_)
        ));
        while asked.load(Ordering::Relaxed) == 1 || issuer.keys.generation() == 1 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(
            judged(&issuer, &token, 4_601).await,
            Judged::Wrong(JwtFault::Key)
        ));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("a**b", "axb", true),
            (
                "repo:acme/*:ref:refs/heads/main",
                "repo:acme/x:ref:refs/heads/main",
                true,
            ),
            ("repo:acme/*", "repo:acme-evil/x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_is_made_from_it(parts in prop::collection::vec("[ab*]{0,4}", 1..5), fill in "[ab]{0,4}") {
            let pattern: String = parts.concat();
            let text = pattern.replace('*', &fill);
            prop_assert!(matches(&pattern, &text), "{} {}", pattern, text);
            if !pattern.contains('*') {
                let longer = text + "x";
                prop_assert!(!matches(&pattern, &longer));
            }
        }
    }
}
