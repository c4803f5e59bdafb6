//! A build job's identity token, signed by whoever runs the job, is its token here.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Cargo, Mirror, Reply, Upstream};

const INDEX: &str = "/index/1/a";

/// A key of an issuer.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Key {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(kind, made.as_ref(), &random).expect("a key");
        Key { id, pair }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": text(&point[1..33]), "y": text(&point[33..])})
    }

    /// A token for a subject that is good for a minute, with other claims where these say so.
    fn token(&self, subject: &str, other: &Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let exp = now.expect("a clock").as_secs() + 60;
        let mut claims =
            json!({"iss": "https://ci.example", "sub": subject, "aud": "crate-mirror", "exp": exp});
        for (name, value) in other.as_object().expect("a map") {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": "ES256", "kid": self.id});
        let message = format!("{}.{}", part(&head), part(&claims));
        let signed = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signed.expect("signed"));
        format!("{message}.{signature}")
    }
}

fn set(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn table(keys: &str) -> String {
    format!(
        "[access.jwt.ci]\nissuer = \"https://ci.example\"\naudience = \"crate-mirror\"\nkeys = \"{keys}\"\nsubjects = [\"repo:acme/*\"]\n"
    )
}

async fn get(mirror: &Mirror, token: &str) -> Reply {
    mirror.get_with(INDEX, &[("authorization", token)]).await
}

/// A mirror with the keys in a file.
async fn with_file(upstream: &Upstream, keys: &[&Key]) -> (TempDir, Mirror) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jwks.json");
    fs::write(&path, set(keys)).expect("a file");
    let table = table(path.to_str().expect("UTF-8"));
    let mirror = Mirror::of(upstream).settings(&table).start().await;
    (folder, mirror)
}

#[tokio::test]
async fn cargo_builds_with_a_jobs_own_token() {
    let (upstream, key) = (Upstream::with_one_crate().await, Key::new("k"));
    let (_folder, mirror) = with_file(&upstream, &[&key]).await;
    let token = key.token("repo:acme/app", &json!({}));
    let provider = "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n";
    let cargo = Cargo::new(&mirror.index_url()).config(provider);
    let cargo = cargo
        .project(&[("a", "1")])
        .env("CARGO_REGISTRIES_MIRROR_TOKEN", &token);
    cargo.run(&["build"]).await.success();
}

#[tokio::test]
async fn a_token_that_is_not_right_in_everything_is_refused() {
    let (upstream, key) = (Upstream::with_one_crate().await, Key::new("k"));
    let (_folder, mirror) = with_file(&upstream, &[&key]).await;
    let right = key.token("repo:acme/app", &json!({}));
    assert_eq!(get(&mirror, &right).await.status, 200);
    assert_eq!(get(&mirror, &format!("Bearer {right}")).await.status, 200);
    let (message, signature) = right.rsplit_once('.').expect("three parts");
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": "k"}).to_string());
    let (_, claims) = message.split_once('.').expect("three parts");
    for (token, why) in [
        (key.token("repo:evil/app", &json!({})), "subject"),
        (
            key.token("repo:acme/app", &json!({"aud": "other"})),
            "audience",
        ),
        (
            key.token("repo:acme/app", &json!({"iss": "https://other.example"})),
            "issuer",
        ),
        (key.token("repo:acme/app", &json!({"exp": 1})), "expired"),
        (
            key.token("repo:acme/app", &json!({"nbf": 9e9})),
            "isn't valid yet",
        ),
        (
            Key::new("k").token("repo:acme/app", &json!({})),
            "isn't signed",
        ),
        (
            Key::new("x").token("repo:acme/app", &json!({})),
            "names a key",
        ),
        (
            format!("{none}.{claims}.{signature}"),
            "is no JSON web token",
        ),
        (format!("{message}."), "isn't signed"),
    ] {
        let reply = get(&mirror, &token).await;
        assert_eq!(reply.status, 401, "{why}: {}", reply.text());
        assert!(reply.text().contains(why), "{why}: {}", reply.text());
    }
}

#[tokio::test]
async fn keys_in_a_file_are_followed() {
    let (upstream, old, new) = (
        Upstream::with_one_crate().await,
        Key::new("old"),
        Key::new("new"),
    );
    let (folder, mirror) = with_file(&upstream, &[&old]).await;
    let of = |key: &Key| key.token("repo:acme/app", &json!({}));
    let (of_old, of_new) = (of(&old), of(&new));
    assert_eq!(get(&mirror, &of_old).await.status, 200);
    let path = folder.path().join("jwks.json");
    fs::write(&path, "<html>").expect("written");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(get(&mirror, &of_old).await.status, 200, "the old ones stay");
    fs::write(&path, set(&[&new])).expect("written");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(get(&mirror, &of_new).await.status, 200);
    assert_eq!(
        get(&mirror, &of_old).await.status,
        401,
        "a key that is gone"
    );
}

#[tokio::test]
async fn keys_under_a_url_are_fetched_once_for_all_who_wait() {
    let (upstream, key) = (Upstream::with_one_crate().await, Key::new("k"));
    upstream.page("/jwks", "application/json", &set(&[&key]));
    let table = table(&format!("{}/jwks", upstream.url()));
    let mirror = Mirror::of(&upstream).settings(&table).start().await;
    let token = key.token("repo:acme/app", &json!({}));
    let gate = upstream.gate("/jwks");
    let asking = (0..20).map(|_| get(&mirror, &token));
    let opened = async {
        upstream.await_requests(1, "/jwks").await;
        gate.open();
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(asking), opened);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(upstream.count("/jwks"), 1);
    // Another key isn't asked for twice within a minute.
    for _ in 0..3 {
        let other = Key::new("other").token("repo:acme/app", &json!({}));
        assert_eq!(get(&mirror, &other).await.status, 401);
    }
    assert_eq!(upstream.count("/jwks"), 1);
}

/// It isn't the token's fault, and whoever retries gets in.
#[tokio::test]
async fn while_keys_cannot_be_fetched_it_is_a_failure_and_no_refusal() {
    let (upstream, key) = (Upstream::with_one_crate().await, Key::new("k"));
    upstream.page("/jwks", "text/html", "<html>sign in</html>");
    let table = table(&format!("{}/jwks", upstream.url()));
    let mirror = Mirror::of(&upstream).settings(&table).start().await;
    let token = key.token("repo:acme/app", &json!({}));
    let reply = get(&mirror, &token).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.text().contains("access.jwt.ci"), "{}", reply.text());
}
