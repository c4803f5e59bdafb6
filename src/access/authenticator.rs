//! [`Authenticator`]: who asks, and whether they may.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use moka::{policy::EvictionPolicy, sync::Cache};

use super::{
    authorization::{Malformed, Presented, authorization},
    jwt::{self, Issuer, Judged, KeyFetch, Verified},
    last_admitted::LastAdmitted,
    tokens::{TokenEntry, TokenTable, Tokens},
    wrong_tokens::WrongTokens,
};
use crate::domain::{Principal, RegistryName, Sha256};

/// So many JSON web tokens that were found to be good are remembered, by their SHA-256.
const REMEMBERED: u64 = 10_000;

/// Whoever knows who may ask.
pub struct Authenticator {
    tokens: ArcSwap<TokenTable>,
    /// How often they were replaced: by it who was admitted before is known to have been admitted by these.
    generation: AtomicU64,
    issuers: Vec<Issuer>,
    /// Checking a signature takes longer than answering.
    verified: Cache<Sha256, Arc<Verified>>,
    wrong: WrongTokens,
    /// What may be read without a token.
    anonymous: Vec<RegistryName>,
}

/// Where a request has its token.
#[derive(Clone, Copy)]
pub enum TokenSource<'a> {
    /// In its path.
    InPath(&'a str),
    /// In its headers, if at all. This is who was admitted last on its connection.
    InHeaders(&'a HeaderMap, &'a LastAdmitted),
}

/// Whether somebody may ask.
pub enum AccessDecision {
    /// Yes, and this is who it is.
    Known(Principal),
    /// A token is needed, and there is none.
    Missing,
    /// There is one, and it is no good here.
    Wrong(TokenFault),
    /// The same, and there were so many from this address that more aren't looked into before this time has passed.
    TooMany(Duration),
    /// It can't be said before an issuer's keys are here; to be asked again then.
    Later(KeyFetch),
    /// It can't be said, because the keys of the issuer of this table can't be fetched.
    NoKeys(String),
}

/// Why a token is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// What carries it can't carry one.
    Malformed(Malformed),
    /// Nobody has it, or nobody any more.
    Unknown,
    /// It has expired.
    Expired,
    /// It is for other registries.
    Elsewhere,
    /// It is a JSON web token, and something is wrong with it.
    Jwt(jwt::JwtFault),
}

impl TokenFault {
    /// What is wrong, as the beginning of a sentence.
    pub fn sentence(self) -> String {
        match self {
            Self::Malformed(why) => format!("the Authorization header {}", why.as_str()),
            Self::Unknown => "this mirror doesn't know the token that was sent".to_owned(),
            Self::Expired => "the token that was sent has expired".to_owned(),
            Self::Elsewhere => "the token that was sent is for other registries".to_owned(),
            Self::Jwt(why) => format!("the token that was sent {}", why.as_str()),
        }
    }

    /// Whether it may be a guess. Somebody whose own token has expired, or is for something else, guesses nothing.
    fn is_guess(self) -> bool {
        match self {
            Self::Malformed(_) | Self::Unknown => true,
            Self::Expired | Self::Elsewhere => false,
            Self::Jwt(why) => why != jwt::JwtFault::Expired,
        }
    }
}

impl Authenticator {
    /// One who knows these tokens and issuers, and lets anybody read what belongs to `anonymous`.
    pub fn new(tokens: Tokens, issuers: Vec<Issuer>, anonymous: Vec<RegistryName>) -> Self {
        let verified = Cache::builder().max_capacity(REMEMBERED);
        Self {
            tokens: ArcSwap::from_pointee(TokenTable::new(tokens)),
            generation: AtomicU64::new(0),
            issuers,
            verified: verified.eviction_policy(EvictionPolicy::lru()).build(),
            wrong: WrongTokens::new(),
            anonymous,
        }
    }

    /// Puts these tokens in place of those there are: what is no longer among them ends at once.
    pub fn replace(&self, tokens: Tokens) {
        self.tokens.store(Arc::new(TokenTable::new(tokens)));
        // After them: who still finds the former number beside the new tokens looks them up.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether what belongs to `registry` may be read without a token.
    pub fn is_anonymous(&self, registry: Option<RegistryName>) -> bool {
        registry.is_some_and(|registry| self.anonymous.contains(&registry))
    }

    /// Who shows the token of `source`, if there is one, from `address`, and whether they may ask for what belongs to `registry`, or to none. Who needs no
    /// token isn't refused for a wrong one, and waits for nothing: everybody for what is anonymous, and who is `certified` by a client certificate for
    /// everything.
    pub fn judge(
        &self,
        source: TokenSource<'_>,
        certified: Option<Principal>,
        registry: Option<RegistryName>,
        address: IpAddr,
        now: SystemTime,
    ) -> AccessDecision {
        let decision = match source {
            TokenSource::InPath(token) => self.look_up(token, registry, now, |_| {}),
            TokenSource::InHeaders(headers, last) => {
                let decision = self.look_into(headers, last, registry, now);
                let malformed = |why| AccessDecision::Wrong(TokenFault::Malformed(why));
                decision.unwrap_or_else(malformed)
            }
        };
        let is_known = matches!(decision, AccessDecision::Known(_));
        if let Some(certified) = certified.filter(|_| !is_known) {
            return AccessDecision::Known(certified);
        }
        match decision {
            AccessDecision::Missing
            | AccessDecision::Wrong(_)
            | AccessDecision::Later(_)
            | AccessDecision::NoKeys(_)
                if self.is_anonymous(registry) =>
            {
                AccessDecision::Known(Principal::Anonymous)
            }
            AccessDecision::Wrong(fault) if fault.is_guess() => match self.wrong.count(address) {
                Ok(()) => AccessDecision::Wrong(fault),
                Err(wait) => AccessDecision::TooMany(wait),
            },
            decision @ (AccessDecision::Known(_)
            | AccessDecision::Missing
            | AccessDecision::Wrong(_)
            | AccessDecision::TooMany(_)
            | AccessDecision::Later(_)
            | AccessDecision::NoKeys(_)) => decision,
        }
    }

    fn look_into(
        &self,
        headers: &HeaderMap,
        last: &LastAdmitted,
        registry: Option<RegistryName>,
        now: SystemTime,
    ) -> Result<AccessDecision, Malformed> {
        let Some(header) = authorization(headers)? else {
            return Ok(AccessDecision::Missing);
        };
        // Before the tokens: with others in their place what is remembered now counts for nothing.
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(who) = last.recall(header.as_bytes(), generation, registry, now) {
            return Ok(AccessDecision::Known(who));
        }
        let Some(token) = Presented::parse(header)? else {
            return Ok(AccessDecision::Missing);
        };
        let remember = |entry: &_| last.remember(header.as_bytes(), generation, entry);
        Ok(self.look_up(token.expose(), registry, now, remember))
    }

    /// Calls `admitted` with the entry of a token that is good.
    fn look_up(
        &self,
        token: &str,
        registry: Option<RegistryName>,
        now: SystemTime,
        admitted: impl FnOnce(&Arc<TokenEntry>),
    ) -> AccessDecision {
        if let Some(entry) = self.tokens.load().find(token) {
            return match (entry.grant.is_expired(now), entry.grant.includes(registry)) {
                (true, _) => AccessDecision::Wrong(TokenFault::Expired),
                (false, false) => AccessDecision::Wrong(TokenFault::Elsewhere),
                (false, true) => {
                    admitted(entry);
                    AccessDecision::Known(entry.principal.clone())
                }
            };
        }
        match !self.issuers.is_empty() && jwt::looks_like_one(token) {
            true => self.verify(token, now),
            false => AccessDecision::Wrong(TokenFault::Unknown),
        }
    }

    fn verify(&self, token: &str, now: SystemTime) -> AccessDecision {
        let digest = Sha256::of(token.as_bytes());
        let known = self.verified.get(&digest);
        if let Some(verified) = known.filter(|verified| verified.holds(now)) {
            return AccessDecision::Known(verified.principal.clone());
        }
        match jwt::judge(&self.issuers, token, now) {
            Judged::Right(verified) => {
                let principal = verified.principal.clone();
                self.verified.insert(digest, Arc::new(verified));
                AccessDecision::Known(principal)
            }
            Judged::Wrong(why) => AccessDecision::Wrong(TokenFault::Jwt(why)),
            Judged::Later(awaited) => AccessDecision::Later(awaited),
            Judged::NoKeys(table) => AccessDecision::NoKeys(table),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::{
        digest::TokenDigest,
        jwt::test_kit::{Signer, at, claims, of_keys, signed},
        tokens::{Grant, TokenName},
    };

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn registry(name: &str) -> RegistryName {
        RegistryName::parse(name).expect("a name")
    }

    fn tokens(all: &[(&str, Option<u64>, &[&str])]) -> Tokens {
        let grant = |(token, expires, registries): &(&str, Option<u64>, &[&str])| {
            let grant = Grant {
                sha256: TokenDigest::of(token),
                expires: expires.map(at),
                registries: registries.iter().map(|name| registry(name)).collect(),
            };
            (
                TokenName::parse(&format!("of-{token}")).expect("a name"),
                grant,
            )
        };
        Tokens {
            tokens: all.iter().map(grant).collect(),
        }
    }

    fn said(decision: &AccessDecision) -> String {
        match decision {
            AccessDecision::Known(who) => who.to_string(),
            AccessDecision::Missing => "missing".to_owned(),
            AccessDecision::Wrong(fault) => format!("{fault:?}"),
            AccessDecision::TooMany(_) => "too many".to_owned(),
            AccessDecision::Later(_) => "later".to_owned(),
            AccessDecision::NoKeys(_) => "no keys".to_owned(),
        }
    }

    fn judged(all: &Authenticator, token: Option<&str>, of: Option<&str>, now: u64) -> String {
        let last = LastAdmitted::default();
        judged_on(all, &last, &headers(token), of, now)
    }

    fn headers(tokens: impl IntoIterator<Item: AsRef<str>>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for token in tokens {
            let value = token.as_ref().parse().expect("a header's value");
            headers.append(http::header::AUTHORIZATION, value);
        }
        headers
    }

    fn judged_on(
        all: &Authenticator,
        last: &LastAdmitted,
        headers: &HeaderMap,
        of: Option<&str>,
        now: u64,
    ) -> String {
        let source = TokenSource::InHeaders(headers, last);
        said(&all.judge(source, None, of.map(registry), HERE, at(now)))
    }

    #[test]
    fn who_may_is_known_and_who_may_not_is_told_why() {
        let grants: [(&str, Option<u64>, &[&str]); 3] = [
            ("all", None, &[]),
            ("short", Some(100), &[]),
            ("inner", None, &["inner"]),
        ];
        let open = vec![registry("open")];
        let all = Authenticator::new(tokens(&grants), Vec::new(), open);
        for (token, of, now, expected) in [
            (Some("all"), Some("inner"), 0, "of-all"),
            (Some("all"), None, 0, "of-all"),
            (Some("short"), None, 99, "of-short"),
            (Some("short"), None, 100, "Expired"),
            (Some("inner"), Some("inner"), 0, "of-inner"),
            (Some("inner"), Some("crates-io"), 0, "Elsewhere"),
            (Some("inner"), None, 0, "of-inner"),
            (Some("wrong"), Some("inner"), 0, "Unknown"),
            (Some("al"), None, 0, "Unknown"),
            (Some("a.b.c"), None, 0, "Unknown"),
            (None, Some("inner"), 0, "missing"),
            (None, None, 0, "missing"),
            // Who needs none is let in with any.
            (None, Some("open"), 0, "anonymous"),
            (Some("wrong"), Some("open"), 0, "anonymous"),
            (Some("inner"), Some("open"), 0, "anonymous"),
            (Some("all"), Some("open"), 0, "of-all"),
        ] {
            assert_eq!(judged(&all, token, of, now), expected, "{token:?} {of:?}");
        }
        all.replace(tokens(&[("new", None, &[])]));
        assert_eq!(judged(&all, Some("all"), None, 0), "Unknown");
        assert_eq!(judged(&all, Some("new"), None, 0), "of-new");
    }

    #[test]
    fn who_has_a_certificate_needs_no_token_and_is_known_by_a_right_one() {
        let grants: [(&str, Option<u64>, &[&str]); 3] = [
            ("right", None, &[]),
            ("old", Some(1), &[]),
            ("inner", None, &["inner"]),
        ];
        let all = Authenticator::new(tokens(&grants), Vec::new(), vec![registry("open")]);
        for (token, of, expected) in [
            (None, None, "cert:a"),
            (None, Some("other"), "cert:a"),
            (None, Some("open"), "cert:a"),
            (Some("wrong"), Some("other"), "cert:a"),
            (Some("old"), None, "cert:a"),
            (Some("inner"), Some("other"), "cert:a"),
            (Some("right"), Some("other"), "of-right"),
        ] {
            let (headers, last) = (headers(token), LastAdmitted::default());
            let source = TokenSource::InHeaders(&headers, &last);
            let certified = Some(Principal::certificate("a"));
            let verdict = all.judge(source, certified, of.map(registry), HERE, at(9));
            assert_eq!(said(&verdict), expected, "{token:?} {of:?}");
        }
    }

    #[test]
    fn wrong_tokens_hold_up_wrong_ones_only() {
        let all = Authenticator::new(
            tokens(&[("right", None, &[]), ("old", Some(1), &[])]),
            Vec::new(),
            Vec::new(),
        );
        for _ in 0..100 {
            assert_eq!(judged(&all, None, None, 9), "missing");
            assert_eq!(judged(&all, Some("old"), None, 9), "Expired");
        }
        for n in 0..40 {
            let expected = if n < 30 { "Unknown" } else { "too many" };
            assert_eq!(judged(&all, Some("wrong"), None, 9), expected);
            assert_eq!(judged(&all, Some("right"), None, 9), "of-right");
            assert_eq!(judged(&all, None, None, 9), "missing");
        }
        let (doubled, last) = (headers(["right", "right"]), LastAdmitted::default());
        assert_eq!(judged_on(&all, &last, &doubled, None, 9), "too many");
    }

    #[test]
    fn whom_a_connection_knows_is_refused_when_a_new_one_would_be() {
        let grants: [(&str, Option<u64>, &[&str]); 2] =
            [("inner", None, &["inner"]), ("short", Some(100), &[])];
        let all = Authenticator::new(tokens(&grants), Vec::new(), Vec::new());
        let last = LastAdmitted::default();
        let on = |tokens: &[&str], of, now| judged_on(&all, &last, &headers(tokens), of, now);
        let inner = Some("inner");
        assert_eq!(on(&["inner"], inner, 9), "of-inner");
        assert_eq!(on(&["inner"], inner, 9), "of-inner");
        // Another registry, another token, none, and two of the same.
        assert_eq!(on(&["inner"], Some("other"), 9), "Elsewhere");
        assert_eq!(on(&["inner_"], inner, 9), "Unknown");
        assert_eq!(on(&[], inner, 9), "missing");
        assert_eq!(on(&["inner", "inner"], inner, 9), "Malformed(Doubled)");
        assert_eq!(on(&["inner"], inner, 9), "of-inner");
        assert_eq!(on(&["short"], inner, 99), "of-short");
        assert_eq!(on(&["short"], inner, 100), "Expired");
        // Revoked; and given anew to somebody else.
        assert_eq!(on(&["inner"], inner, 9), "of-inner");
        all.replace(tokens(&[("short", None, &[])]));
        assert_eq!(on(&["inner"], inner, 9), "Unknown");
        assert_eq!(on(&["short"], inner, 100), "of-short");
        all.replace(tokens(&[("short", None, &["other"])]));
        assert_eq!(on(&["short"], inner, 100), "Elsewhere");
    }

    /// Behind a proxy they come on the same connections.
    #[test]
    fn many_who_share_a_connection_are_each_who_they_are() {
        let grants: [(&str, Option<u64>, &[&str]); 3] =
            [("a", None, &[]), ("b", None, &["inner"]), ("c", None, &[])];
        let all = Authenticator::new(tokens(&grants), Vec::new(), Vec::new());
        let last = LastAdmitted::default();
        for (token, of, expected) in [
            ("a", "inner", "of-a"),
            ("b", "inner", "of-b"),
            ("b", "other", "Elsewhere"),
            ("a", "other", "of-a"),
            ("b", "inner", "of-b"),
            ("Bearer c", "other", "of-c"),
            ("c", "other", "of-c"),
            ("Basic dTph", "other", "of-a"),
            ("Basic dTpi", "other", "Elsewhere"),
            ("Basic dTph", "other", "of-a"),
            ("wrong", "inner", "Unknown"),
        ]
        .repeat(3)
        {
            assert_eq!(
                judged_on(&all, &last, &headers([token]), Some(of), 9),
                expected,
                "{token} {of}"
            );
        }
    }

    /// Those who go on guessing on a connection that knows somebody are counted as everywhere.
    #[test]
    fn guesses_count_on_a_connection_that_knows_somebody() {
        let all = Authenticator::new(tokens(&[("right", None, &[])]), Vec::new(), Vec::new());
        let last = LastAdmitted::default();
        let on = |token: &str| judged_on(&all, &last, &headers([token]), None, 9);
        for n in 0..40 {
            assert_eq!(on("right"), "of-right");
            let expected = if n < 30 { "Unknown" } else { "too many" };
            assert_eq!(on("wrong"), expected);
        }
    }

    #[test]
    fn a_web_token_is_checked_once_and_ends_when_it_expires() {
        let signer = Signer::p256();
        let all = Authenticator::new(
            Tokens::default(),
            vec![of_keys(&[signer.jwk("k")])],
            Vec::new(),
        );
        let token = signed(&signer, &json!({"alg": "ES256", "kid": "k"}), &claims());
        for _ in 0..3 {
            assert_eq!(
                judged(&all, Some(&token), None, 1_000),
                "jwt:ci:repo:acme/app"
            );
        }
        all.verified.run_pending_tasks();
        assert_eq!(all.verified.entry_count(), 1);
        assert_eq!(judged(&all, Some(&token), None, 2_061), "Jwt(Expired)");
        let cut = &token[..token.len() - 2];
        assert!(judged(&all, Some(cut), None, 1_000).starts_with("Jwt("));
        assert_eq!(judged(&all, Some("cm_1"), None, 1_000), "Unknown");
    }
}
