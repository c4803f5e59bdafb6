//! Bad tokens: whatever stands where a token should is told apart from one, cheaply, and nobody who shares the mirror notices.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD, prelude::BASE64_STANDARD};

use crate::support::{Mirror, TokenFile, Upstream, client};

const INDEX: &str = "/index/1/a";
const JWT: &str =
    "[access.jwt.ci]\nissuer = \"https://ci.example\"\naudience = \"a\"\nsubjects = [\"*\"]\n";
const KEYS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// A mirror that takes tokens and identities, and a token that it takes.
async fn guarded(upstream: &Upstream, tokens: &TokenFile) -> (Mirror, String) {
    let token = tokens.add("ci");
    let keys = tokens.path().with_file_name("jwks.json");
    std::fs::write(&keys, KEYS).expect("written");
    let settings = tokens.settings("token_in_path = true");
    let settings = format!("{settings}\n{JWT}keys = {keys:?}\n");
    (
        Mirror::of(upstream).settings(&settings).start().await,
        token,
    )
}

/// The status that a head with these bytes after its first lines gets, if the connection says anything.
async fn status(mirror: &Mirror, path: &str, lines: &[u8]) -> Option<u16> {
    let mut head =
        format!("GET {path} HTTP/1.1\r\nhost: mirror\r\nconnection: close\r\n").into_bytes();
    head.extend_from_slice(lines);
    head.extend_from_slice(b"\r\n\r\n");
    let answer = client::raw(mirror.addr(), &head).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// A JSON web token with this head, and nothing that was signed.
fn jwt(head: &str) -> String {
    let claims = r#"{"iss": "https://ci.example", "aud": "a", "sub": "x", "exp": 9999999999}"#;
    let [head, claims, signature] =
        [head.as_bytes(), claims.as_bytes(), &[7; 64]].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{head}.{claims}.{signature}")
}

#[tokio::test]
async fn whatever_is_shown_in_place_of_one_is_refused_and_the_next_is_answered() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (mirror, token) = guarded(&upstream, &tokens).await;
    let right = format!("authorization: {token}");
    assert_eq!(status(&mirror, INDEX, right.as_bytes()).await, Some(200));
    let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
    let none = jwt(r#"{"alg": "none", "kid": "k"}"#);
    let values = [
        token[..token.len() - 1].to_owned(),
        format!("{token}{token}"),
        format!("{token} {token}"),
        format!("{token}\u{e4}"),
        token.to_uppercase(),
        "t\u{f6}ken".to_owned(),
        "Bearer".to_owned(),
        "Basic".to_owned(),
        "Basic !!!!".to_owned(),
        basic("no colon"),
        basic(&format!("{token}:")),
        format!("Digest {token}"),
        "x".repeat(8_000),
        "x".repeat(15_000),
        "..".to_owned(),
        "....".to_owned(),
        "e30.e30.".to_owned(),
        none.clone(),
        format!("{}.", none.rsplit_once('.').expect("a signature").0),
        jwt(r#"{"alg": "HS256", "kid": "k"}"#),
        jwt(r#"{"alg": "ES256", "kid": "k"}"#),
        jwt(r#"{"alg": "ES256", "kid": "other"}"#),
        jwt(r#"{"alg": ["ES256"], "kid": {"a": 1}}"#),
        jwt(&format!(
            r#"{{"alg": "ES256", "kid": "{}"}}"#,
            "k".repeat(8_000)
        )),
        jwt(&"[".repeat(8_000)),
    ];
    // More than thirty wrong ones a minute are told to wait, which is another test's.
    for (n, value) in values.iter().enumerate() {
        let line = format!("authorization: {value}");
        let got = status(&mirror, INDEX, line.as_bytes()).await;
        assert!(
            matches!(got, Some(401 | 429)),
            "{n}: {got:?} for {value:.80}"
        );
        assert!(got == Some(401) || n >= 30, "{n}: {got:?} for {value:.80}");
    }
    let answered = status(&mirror, INDEX, right.as_bytes()).await;
    assert_eq!(answered, Some(200), "the right one, afterwards");
}

/// A proxy and this mirror could take one each.
#[tokio::test]
async fn two_of_them_are_refused_even_if_both_are_right() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (mirror, token) = guarded(&upstream, &tokens).await;
    for other in [token.as_str(), "wrong", ""] {
        for lines in [
            format!("authorization: {token}\r\nauthorization: {other}"),
            format!("Authorization: {other}\r\nAUTHORIZATION: {token}"),
        ] {
            let got = status(&mirror, INDEX, lines.as_bytes()).await;
            assert_eq!(got, Some(401), "{other:?}");
        }
    }
}

/// What is larger than a head may be isn't read to its end, wherever the token is.
#[tokio::test]
async fn one_of_a_megabyte_is_too_large_before_it_is_a_token() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (mirror, token) = guarded(&upstream, &tokens).await;
    let key_id = format!(r#"{{"alg": "ES256", "kid": "{}"}}"#, "k".repeat(1 << 20));
    for value in [
        "x".repeat(1 << 20),
        jwt(&key_id),
        format!("Bearer {}", jwt(&key_id)),
    ] {
        let line = format!("authorization: {value}");
        let got = status(&mirror, INDEX, line.as_bytes()).await;
        assert!(matches!(got, Some(431) | None), "{got:?}");
        let got = status(
            &mirror,
            &format!("/t/{}{INDEX}", value.replace(' ', "")),
            b"x: y",
        )
        .await;
        assert!(matches!(got, Some(414 | 431) | None), "{got:?}");
    }
    let right = format!("authorization: {token}");
    assert_eq!(status(&mirror, INDEX, right.as_bytes()).await, Some(200));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_no_token() {
    let (upstream, tokens) = (Upstream::with_one_crate().await, TokenFile::new());
    let (mirror, token) = guarded(&upstream, &tokens).await;
    for value in [
        &b"\xff\xfe"[..],
        b"Bearer \xc3\x28",
        b"Basic \xff",
        b"a\tb",
        b"a\x7fb",
        b"a\0b",
    ] {
        let line = [b"authorization: ", value].concat();
        let got = status(&mirror, INDEX, &line).await;
        assert!(
            matches!(got, Some(400 | 401) | None),
            "{got:?} for {value:?}"
        );
    }
    for path in [
        "/t/",
        "/t//index/1/a",
        "/t/%00/index/1/a",
        "/t/%ff%fe/index/1/a",
        "/t/../index/1/a",
        "/t/a%2fb/index/1/a",
    ] {
        let got = status(&mirror, path, b"x: y").await;
        assert!(matches!(got, Some(400 | 401 | 404)), "{path}: {got:?}");
    }
    let right = format!("authorization: {token}");
    assert_eq!(status(&mirror, INDEX, right.as_bytes()).await, Some(200));
}
