//! What must hold of what clients show to say who they are: see `checks.rs`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate_mirror::{
    access::{
        Presented, TrustedProxies,
        jwt::{Issuer, Judged, KeySet, KeySource, Unverified, judge},
        token_in_path,
    },
    domain::loggable_path,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whatever stands in `Authorization`, it is refused or a token that could be sent in another form; a token in a path is never logged; and no forwarded
/// header makes a client of a peer that isn't trusted.
///
/// Each line of the input is one header's value, and the first one a path too.
pub fn authorization(input: &[u8]) {
    let lines = || input.split(|b| *b == b'\n');
    let mut headers = HeaderMap::new();
    for value in lines().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(header::AUTHORIZATION, value.clone());
        headers.append(header::FORWARDED, value.clone());
        headers.append(HeaderName::from_static("x-forwarded-for"), value.clone());
        headers.append(HeaderName::from_static("x-forwarded-host"), value);
    }
    if let Ok(Some(token)) = Presented::of(&headers) {
        let token = token.expose();
        assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let again = HeaderMap::from_iter([(header::AUTHORIZATION, bearer.expect("a value"))]);
        // The same but for its length, which the scheme adds to.
        if let Ok(again) = Presented::of(&again) {
            assert_eq!(again.expect("a token").expose(), token);
        }
    }
    forwarded(&headers);
    if let Some(Ok(path)) = lines().next().map(std::str::from_utf8) {
        in_path(path);
    }
}

fn in_path(path: &str) {
    let (prefix, rest) = loggable_path(path);
    match token_in_path(path) {
        Some((token, after)) => {
            assert_eq!(path, format!("/t/{token}{after}"));
            assert!(after.starts_with('/'));
            assert_eq!((prefix, rest), ("/t/-", after));
        }
        None if prefix.is_empty() => assert_eq!(rest, path),
        None => assert!(path.starts_with("/t/")),
    }
}

fn forwarded(headers: &HeaderMap) {
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
    let (stranger, proxy) = ([192, 0, 2, 1].into(), [10, 0, 0, 1].into());
    let seen = proxies.see(stranger, headers);
    assert_eq!(
        (seen.address, seen.scheme, seen.host),
        (stranger, None, None)
    );
    let seen = proxies.see(proxy, headers);
    assert!(seen.host.is_none_or(|host| !host.as_str().contains('@')));
}

/// The latest time that the seeds' tokens are good for, in seconds since 1970.
const NOW: u64 = 2_000_000_000;

/// What isn't signed by a key of the set is never accepted, and neither sets nor tokens do any harm.
///
/// The first line of the input is a set of keys, and each further line a token.
pub fn jwt(input: &[u8]) {
    let mut lines = input.split(|b| *b == b'\n');
    let keys = KeySet::parse(lines.next().unwrap_or_default());
    let issuers: Vec<_> = keys.into_iter().map(issuer).collect();
    for token in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
        let unverified = Unverified::parse(token);
        match judge(
            &issuers,
            token,
            SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
        ) {
            Judged::Right(verified) => {
                let claims = unverified.expect("it can be read").claims;
                assert_eq!(claims.iss, "https://ci.example");
                assert!(claims.aud.iter().any(|aud| aud == "crate-mirror"));
                assert!(claims.sub.starts_with("repo:acme/"));
                assert!(claims.exp + 60.0 >= NOW as f64);
                assert!(verified.principal.as_str().starts_with("jwt:ci:repo:acme/"));
                forged(&issuers, token);
            }
            Judged::Wrong(_) => {}
            Judged::Later(_) | Judged::NoKeys(_) => panic!("the keys are there"),
        }
    }
}

/// How many of an input's tokens are accepted.
pub fn accepted(input: &[u8]) -> usize {
    let mut lines = input.split(|b| *b == b'\n');
    let keys = KeySet::parse(lines.next().unwrap_or_default());
    let issuers: Vec<_> = keys.into_iter().map(issuer).collect();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let tokens = lines.filter_map(|line| std::str::from_utf8(line).ok());
    let right = tokens.filter(|token| matches!(judge(&issuers, token, now), Judged::Right(_)));
    right.count()
}

fn issuer(keys: KeySet) -> Issuer {
    Issuer {
        name: "ci".to_owned(),
        issuer: "https://ci.example".to_owned(),
        audience: "crate-mirror".to_owned(),
        subjects: vec!["repo:acme/*".to_owned()],
        keys: Arc::new(KeySource::known(keys)),
    }
}

/// A token that was accepted is not, once one character of what is signed is another.
fn forged(issuers: &[Issuer], token: &str) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let end = token.rfind('.').unwrap_or_default();
    for at in 0..end {
        let mut forged = token.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        assert!(
            !matches!(judge(issuers, &forged, now), Judged::Right(_)),
            "{at}"
        );
    }
}
