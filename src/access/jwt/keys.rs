//! [`KeySet`]: the public keys of an issuer, as it publishes them (RFC 7517), and whether one of them has signed something.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use crate::error::{Error, Result};

/// The largest set that is read, in bytes. Those of large issuers have some 20 KB.
pub const LARGEST: usize = 1 << 20;
/// So many keys of a set are kept, more than any issuer is known to have.
const MOST: usize = 256;
/// How large an RSA key may be, in bytes: 2048 to 8192 bits, which is what ring checks with.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// How a token is signed (RFC 7518, section 3.1). Which way is right is the key's to say: each key is good for one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Reads its name; none for all others, `none` among them.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// An issuer's keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Clone, Debug)]
struct PublicKey {
    id: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point: 4, x and y.
    P256([u8; 65]),
}

/// Which key of a set is meant.
pub enum KeyLookup<'a> {
    /// This one.
    Key(VerifyingKey<'a>),
    /// The set has none of that name.
    Unknown,
    /// There are some, and none of them is meant beyond doubt, or for this way of signing.
    Unfit,
}

/// A key of a set.
#[derive(Clone, Copy)]
pub struct VerifyingKey<'a>(&'a PublicKey);

/// A set as issuers write it. What isn't understood of it is passed over.
#[derive(Deserialize)]
struct Written {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys of a kind that isn't known here, or that can't be used, are passed over.
    ///
    /// # Errors
    /// [`Kind::UpstreamFault`](crate::error::Kind::UpstreamFault) when it is no set, or has no key that can be used.
    pub fn parse(json: &[u8]) -> Result<Self> {
        if json.len() > LARGEST {
            return Err(Error::upstream_fault(
                "the set of keys is larger than 1 MiB",
            ));
        }
        let written: Written = serde_json::from_slice(json)
            .map_err(|e| Error::upstream_fault("it is no set of keys (JWKS)").caused_by(e))?;
        let listed = written.keys.len();
        let keys = written.keys.into_iter().filter_map(PublicKey::read);
        let keys: Vec<_> = keys.take(MOST).collect();
        match keys.is_empty() {
            true => Err(Error::upstream_fault(format!(
                "none of the {listed} keys in it can be used: RSA keys of 2048 to 8192 bits and P-256 keys can"
            ))),
            false => Ok(Self(keys)),
        }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The key of that name that signs this way. A token that names none means the only one there is of its kind.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> KeyLookup<'_> {
        let mut is_known = id.is_none();
        let mut fit = None;
        for key in &self.0 {
            if id.is_some() && key.id.as_deref() != id {
                continue;
            }
            is_known = true;
            if key.algorithm() == algorithm && fit.replace(key).is_some() {
                return KeyLookup::Unfit;
            }
        }
        match fit {
            Some(key) => KeyLookup::Key(VerifyingKey(key)),
            None if is_known => KeyLookup::Unfit,
            None => KeyLookup::Unknown,
        }
    }
}

impl VerifyingKey<'_> {
    /// Whether it has signed `message`.
    pub fn has_signed(self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.0.material {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

impl PublicKey {
    fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
        }
    }

    /// A key that can be used, and may be used for this.
    fn read(written: serde_json::Value) -> Option<Self> {
        let written: WrittenKey = serde_json::from_value(written).ok()?;
        if written.used_for.as_ref().is_some_and(|used| used != "sig") {
            return None;
        }
        let decoded = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let material = match (&*written.kty, written.crv.as_deref()) {
            ("RSA", _) => {
                let n = decoded(&written.n)?;
                let leading = n.iter().take_while(|b| **b == 0).count();
                let n = n[leading..].to_vec();
                let e = decoded(&written.e)?;
                MODULUS
                    .contains(&n.len())
                    .then_some(Material::Rsa { n, e })?
            }
            ("EC", Some("P-256")) => {
                let mut point = [4; 65];
                let (x, y) = (decoded(&written.x)?, decoded(&written.y)?);
                if (x.len(), y.len()) != (32, 32) {
                    return None;
                }
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                Material::P256(point)
            }
            _ => return None,
        };
        let key = Self {
            id: written.kid,
            material,
        };
        let is_for_another = |alg: &String| Algorithm::parse(alg) != Some(key.algorithm());
        match written.alg.as_ref().is_some_and(is_for_another) {
            true => None,
            false => Some(key),
        }
    }
}

#[cfg(test)]
pub(in crate::access) mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ring::{
        rand::SystemRandom,
        rsa::{KeyPair as RsaPair, PublicKeyComponents},
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256},
    };
    use serde_json::{Value, json};

    use super::*;

    /// Something that signs, as an issuer has it.
    pub(in crate::access) enum Signer {
        Rsa(RsaPair),
        P256(EcdsaKeyPair),
    }

    /// An RSA key of 2048 bits, made for these tests with openssl: ring makes none.
    const RSA: &str = "\
        MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQC1N/SZfalN/LMgfZDngc7lw3iCGLnstMH+fbAOP3Fi7zpdm/pwdSY0v0+mwHsDEgNrwvnq\
        UmER/h5mHYZ/Aoutbf0DZfqedASRoBjZpbNnBlCwc10VMVPUDY+6/rYN4UiH4B9BT7vvwD8zziW+Alny/WHK7Cjp1+UxTtu7kf2DoXn+pzNa090w5Rq5egUZ\
        gaA73dDuKU7uPJFddReBgAeQPXYGeL25VGtmyRXfFUg5CQqGFKeRR+/ORmMnXKt33A8LOda3P1R6Ic8GHEkVbsfP4lRE91Jz2J+oLbNEk0Ca+XcfWwTg03aC\
        HYxB22/KjuvyDRWgd9Li2iokODCPOYwxAgMBAAECgf9/8VHRYcVioovpihLbmRhsyCZFo2ZLqz6MqpwS0JFiuP/GSifEuf1Cf2HCDSE+Fuhpv/J3V8BDN9Rx\
        UlDOebV/T9Xrs9xQ1ByKPkAQRWGoP84wAtFEZSR78OJbihn8uM9rR6FDY+ZliFaU9K5t4NueteaVWPfvZnjhIVD3d0jVpC2Zw5GjzFqufRUWWK6KNqQSs6HX\
        2j6hH14Xe9fjrFaIM9oKsOpRxILhzzt43J4RMBlC51lOCjlLvYS8o+W3UGVQRJiyGl0DBhpveAggEDTrZ5unEQULeKAyDd0qJGhZqfxIDuqV8iQ18NERMuE7\
        ks6AED1Qo033O/lb5kkNno0CgYEA2ALdp2sBs3tZoNOeIPNz5rv8lk1DlT3/NXtiMLV5PshUyR5UVt3xuNJ8VYzCti6bs4hPXeW4fu1iiCD1t1gnE5kvR0Vi\
        25HutptEjcFRvOriAo5u/tR6VDJCbHSXiCzwtcfWk6IljpOdExq/ILfJnbd8zxf+gYf/aYuIPLYBnpUCgYEA1sQ1d/w0qonjPniOMvyDpYXek+GjzQx/ktRu\
        A1UcemAkBk3rrwEtfF7X8hM0hnv9sa2RQP0nfL7hV4k5/AWe0y3KDR8dHukw9aZnIX7GGZU3ggIP1g8M+IpR3nLxZPD7XolTolmiTcHE+jCat6sCFj0yuuTH\
        pTOrSw5qNd3+/C0CgYBBhzUIeaytbuj0od2hb1kkkLiCO/QZjRIjfkd+MT8TraAS1tGM/I08nRW8uhPDQoZXQy2YdXyvfIHce+sucF6CUoEGJOVlaHK7EIUO\
        X6vVHIftcJn5Uim96vU9g20IkWGAM5xDcvfjtaH7zqxWV4qg/q2tAUFiuAfiU8LDcA8ztQKBgQCeWxBdxz4CHSfM0VFwcNaU/s9uVOrVb4jFeBMiK+iSpz8I\
        0v2cDY8/bCNoIBcTrmsSTruSotcx2QEI7Wsu0+oXJmUcJbvwJdtu1eKnRPXGuUqzdte8a16SCFNzZWdumW2PeEyNoe/Vy7F1FM+P6+ze/wLf4X7/5chA0IEp\
        9OVlhQKBgQC0BD+Ji0/6OtZZOzo60TdiGTfyOp7ouMiyjAcI+fs4z77vVdaPcMe3HVA8vHYKNZXl6FUgdlvlFnD6ebX26Rps6jKfD0SaTKj5DZT9ZIbaTqzP\
        wSiFYWi+cuf9SnTfo7JJJ6+9N7HUJAhQa9BRERnyQCmSD7q6Ry0aZ4X6a+mz6g==\
    ";

    impl Signer {
        pub(in crate::access) fn rsa() -> Self {
            let key = STANDARD.decode(RSA).expect("base64");
            Self::Rsa(RsaPair::from_pkcs8(&key).expect("a key"))
        }

        /// A new one.
        pub(in crate::access) fn p256() -> Self {
            let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
            let made = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
            let pair = EcdsaKeyPair::from_pkcs8(kind, made.as_ref(), &random);
            Self::P256(pair.expect("a key"))
        }

        pub(in crate::access) fn sign(&self, message: &[u8]) -> Vec<u8> {
            let random = SystemRandom::new();
            match self {
                Self::Rsa(pair) => {
                    let mut signature = vec![0; pair.public().modulus_len()];
                    let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                    signed.expect("signed");
                    signature
                }
                Self::P256(pair) => {
                    let signed = pair.sign(&random, message).expect("signed");
                    signed.as_ref().to_vec()
                }
            }
        }

        /// The public half as a JWK.
        pub(in crate::access) fn jwk(&self, id: &str) -> Value {
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            match self {
                Self::Rsa(pair) => {
                    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                    json!({"kty": "RSA", "kid": id, "n": text(&public.n), "e": text(&public.e), "use": "sig", "alg": "RS256"})
                }
                Self::P256(pair) => {
                    let point = pair.public_key().as_ref();
                    json!({"kty": "EC", "crv": "P-256", "kid": id, "x": text(&point[1..33]), "y": text(&point[33..])})
                }
            }
        }
    }

    /// The keys of these signers as a set.
    pub(in crate::access) fn set(keys: &[Value]) -> Vec<u8> {
        json!({ "keys": keys }).to_string().into_bytes()
    }

    #[test]
    fn what_a_key_has_signed_is_told_from_everything_else() {
        for (signer, algorithm) in [
            (Signer::rsa(), Algorithm::Rs256),
            (Signer::p256(), Algorithm::Es256),
        ] {
            let keys = KeySet::parse(&set(&[signer.jwk("k")])).expect("a set");
            let KeyLookup::Key(key) = keys.find(Some("k"), algorithm) else {
                panic!("{algorithm:?} has no key");
            };
            let signature = signer.sign(b"message");
            assert!(key.has_signed(b"message", &signature));
            assert!(!key.has_signed(b"another", &signature));
            assert!(!key.has_signed(b"message", &[]));
            for at in 0..signature.len() {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                assert!(!key.has_signed(b"message", &changed), "{at}");
            }
            assert!(!key.has_signed(b"message", &signature[1..]));
            let other = Signer::p256().sign(b"message");
            assert!(!key.has_signed(b"message", &other));
        }
    }

    #[test]
    fn a_key_is_for_one_way_of_signing() {
        let (rsa, p256) = (Signer::rsa(), Signer::p256());
        let keys = KeySet::parse(&set(&[rsa.jwk("r"), p256.jwk("e")])).expect("a set");
        let found = |id, algorithm| match keys.find(id, algorithm) {
            KeyLookup::Key(_) => "key",
            KeyLookup::Unknown => "unknown",
            KeyLookup::Unfit => "unfit",
        };
        assert_eq!(found(Some("r"), Algorithm::Rs256), "key");
        assert_eq!(found(Some("r"), Algorithm::Es256), "unfit");
        assert_eq!(found(Some("e"), Algorithm::Rs256), "unfit");
        assert_eq!(found(Some("x"), Algorithm::Rs256), "unknown");
        assert_eq!(found(None, Algorithm::Rs256), "key", "the only one");
        let two = KeySet::parse(&set(&[p256.jwk("a"), Signer::p256().jwk("b")]));
        let two = two.expect("a set");
        assert!(matches!(two.find(None, Algorithm::Es256), KeyLookup::Unfit));
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let usable = Signer::p256().jwk("k");
        let changed = |field: &str, value: Value| {
            let mut key = usable.clone();
            key[field] = value;
            key
        };
        let small = URL_SAFE_NO_PAD.encode([0xff; 128]);
        for key in [
            changed("kty", json!("oct")),
            changed("kty", json!("RSA")),
            changed("crv", json!("P-384")),
            changed("use", json!("enc")),
            changed("alg", json!("RS256")),
            changed("alg", json!("none")),
            changed("x", json!("AAAA")),
            changed("y", json!("not base64!")),
            json!({"kty": "RSA", "n": small, "e": "AQAB"}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!(1),
            json!(null),
        ] {
            let alone = KeySet::parse(&set(std::slice::from_ref(&key)));
            let error = alone.expect_err("none can be used").to_string();
            assert!(error.contains("none of the 1 keys"), "{error}");
            let both = KeySet::parse(&set(&[key, usable.clone()])).expect("one can be used");
            assert_eq!(both.0.len(), 1);
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for json in [
            &b""[..],
            b"<html>",
            b"[]",
            b"{}",
            b"{\"keys\":1}",
            b"\xff",
            b"{\"keys\":[]}",
        ] {
            assert!(KeySet::parse(json).is_err(), "{}", json.escape_ascii());
        }
        assert!(KeySet::parse(&vec![b' '; LARGEST + 1]).is_err());
        let many: Vec<_> = (0..2 * MOST)
            .map(|n| Signer::p256().jwk(&n.to_string()))
            .collect();
        assert_eq!(KeySet::parse(&set(&many)).expect("a set").0.len(), MOST);
    }
}
