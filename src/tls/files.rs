//! [`read`]: the files that TLS takes, read, and found to belong together.

use std::{path::Path, sync::Arc};

use rustls::{
    InconsistentKeys, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SigningKey},
};
use zeroize::Zeroizing;

use crate::{
    certificate::Certificate,
    config::tls::TlsFiles,
    error::{Error, Result},
    follow::read_bounded,
};

/// The largest file that is read, in bytes. The certificates of all authorities that browsers trust have 250 KB.
const LARGEST: u64 = 1 << 20;
/// The largest certificate with its chain that is shown, in bytes. Each client gets it with each handshake, and some take no more.
const LARGEST_CHAIN: usize = 64 << 10;

/// What to say of a certificate that no client takes.
pub const NAMES_NOBODY: &str = "it names no host and no address in its subjectAltName, so that no client takes it, whatever its common name is; have one issued for the names by which clients ask";

const WANTED_CERTIFICATE: &str = "wanted is PEM with the server's certificate first (-----BEGIN CERTIFICATE-----) and its chain after it";
const WANTED_KEY: &str = "wanted is PEM with the certificate's private key (-----BEGIN PRIVATE KEY-----): P-256, P-384, Ed25519, or RSA of 2048 bits or more";
const WANTED_AUTHORITIES: &str =
    "wanted is PEM with the certificates of authorities (-----BEGIN CERTIFICATE-----)";

/// What a server shows, and whom it knows.
pub struct TlsIdentity {
    pub(super) pair: Arc<CertifiedKey>,
    pub(super) client_authorities: Option<Arc<RootCertStore>>,
    certificate: Certificate,
}

impl TlsIdentity {
    /// What its certificate says.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Reads the files.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) with the key, the file and what is wanted, when one can't be read or understood, or the certificate
/// and the key don't belong together.
pub fn read(files: TlsFiles<'_>) -> Result<TlsIdentity> {
    let (chain, certificate) = chain(files.certificate)?;
    let pair = pair(chain, signing_key(files.key)?, files)?;
    let client_authorities = files.client_ca.map(authorities).transpose()?;
    Ok(TlsIdentity {
        pair: Arc::new(pair),
        client_authorities: client_authorities.map(Arc::new),
        certificate,
    })
}

/// All that is wrong with the files, where [`read`] stops at the first mistake. Only of a certificate and a key that are good can be said whether they belong
/// together.
pub fn mistakes(files: TlsFiles<'_>) -> Vec<Error> {
    let mut all = Vec::new();
    match (chain(files.certificate), signing_key(files.key)) {
        (Ok((chain, _)), Ok(key)) => all.extend(pair(chain, key, files).err()),
        (chain, key) => {
            all.extend(chain.err());
            all.extend(key.err());
        }
    }
    all.extend(files.client_ca.and_then(|path| authorities(path).err()));
    all
}

/// The server's certificate with its chain, and what the first one says.
fn chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Certificate)> {
    let wrong = |why: Error| refusal("tls.certificate", path, why, WANTED_CERTIFICATE);
    let chain = certificates(path).map_err(wrong)?;
    let length: usize = chain.iter().map(|der| der.len()).sum();
    if length > LARGEST_CHAIN {
        let why = format!(
            "it has {} KB, and clients take {} at most",
            length >> 10,
            LARGEST_CHAIN >> 10
        );
        return Err(wrong(Error::config(why)));
    }
    let first = chain.first().and_then(|der| Certificate::parse(der));
    let certificate = first.ok_or_else(|| {
        let why = "its first certificate is none of X.509";
        wrong(Error::config(why))
    })?;
    Ok((chain, certificate))
}

/// The certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = content(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| Error::config(format!("it is no PEM: {e}")).with_source(e))?;
    match found.is_empty() {
        false => Ok(found),
        true if PrivateKeyDer::from_pem_slice(&pem).is_ok() => Err(Error::config(
            "it has a private key in it and no certificate",
        )),
        true => Err(Error::config("it has no certificate in it")),
    }
}

/// What is in a file, wiped when it is dropped: there may be a key in it.
fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let read = read_bounded(path, LARGEST).map(Zeroizing::new);
    read.map_err(|e| Error::config(e.to_string()).with_source(e))
}

/// The key, made ready to sign with.
fn signing_key(path: &Path) -> Result<Arc<dyn SigningKey>> {
    let wrong = |why: Error| refusal("tls.key", path, why, WANTED_KEY);
    let key = private_key(path).map_err(wrong)?;
    let key = default_provider().key_provider.load_private_key(key);
    key.map_err(|e| {
        let why = "its key is of a kind that can't be used";
        wrong(Error::config(why).with_source(e))
    })
}

/// The chain with its key, if they belong together.
fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    files: TlsFiles<'_>,
) -> Result<CertifiedKey> {
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(e @ rustls::Error::InconsistentKeys(_)) => {
            let certificate = files.certificate.display();
            let why =
                format!("it isn't the key of the certificate in {certificate} (`tls.certificate`)");
            let why = Error::config(why).with_source(e);
            Err(refusal("tls.key", files.key, why, WANTED_KEY))
        }
        Err(e) => Err(refusal(
            "tls.certificate",
            files.certificate,
            Error::config(e.to_string()).with_source(e),
            WANTED_CERTIFICATE,
        )),
    }
}

/// The key in a file. What the library says of one that isn't there is left out: it may quote the file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let pem = content(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let has = |words: &[u8]| memchr::memmem::find(&pem, words).is_some();
        let why = match () {
            () if has(b"ENCRYPTED") => "its key is encrypted, and nobody is asked for its password",
            () if has(b"BEGIN CERTIFICATE") => "it has a certificate in it and no private key",
            () => "it has no private key in it that can be read",
        };
        Error::config(why)
    })
}

/// The authorities of clients.
fn authorities(path: &Path) -> Result<RootCertStore> {
    let wrong = |why: Error| refusal("tls.client_ca", path, why, WANTED_AUTHORITIES);
    let found = certificates(path).map_err(wrong)?;
    let mut roots = RootCertStore::empty();
    for (n, der) in found.into_iter().enumerate() {
        let added = roots.add(der);
        added.map_err(|e| {
            let why = format!("certificate {} of it: {e}", n + 1);
            wrong(Error::config(why).with_source(e))
        })?;
    }
    Ok(roots)
}

fn refusal(key: &str, path: &Path, why: Error, wanted: &str) -> Error {
    let said = format!("`{key}`: {}: {}; {wanted}", path.display(), why.message());
    why.reworded(said)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::{Engine, prelude::BASE64_STANDARD};
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    /// A certificate for so many names, and its key.
    fn made(names: usize) -> (String, String) {
        let names: Vec<_> = (0..names).map(|n| format!("host-{n}.example")).collect();
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        (
            pem("CERTIFICATE", certificate.der()),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
    }

    struct Folder(TempDir);

    impl Folder {
        fn of(certificate: &[u8], key: &[u8], authorities: &[u8]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, content) in [
                ("c.pem", certificate),
                ("k.pem", key),
                ("a.pem", authorities),
            ] {
                fs::write(folder.path().join(name), content).expect("a file");
            }
            Self(folder)
        }

        fn read(&self) -> Result<TlsIdentity> {
            let [certificate, key, authorities] =
                ["c.pem", "k.pem", "a.pem"].map(|name| self.0.path().join(name));
            read(TlsFiles {
                certificate: &certificate,
                key: &key,
                client_ca: Some(&authorities),
            })
        }
    }

    /// Each message names the key, the file, what is wrong with it, and what is wanted.
    #[test]
    fn what_does_not_fit_is_named() {
        let ((certificate, key), (other, _)) = (made(1), made(2));
        let (large, of_large) = made(4_000);
        let cut = &certificate[..certificate.len() / 2];
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let huge = "x".repeat(2 << 20);
        for (certificate, key, authorities, words) in [
            ("", &*key, "", ["`tls.certificate`", "no certificate"]),
            (&key, &key, "", ["`tls.certificate`", "private key in it"]),
            (cut, &key, "", ["`tls.certificate`", "no PEM"]),
            (&huge, &key, "", ["`tls.certificate`", "larger than"]),
            (
                &large,
                &of_large,
                "",
                ["`tls.certificate`", "clients take 64"],
            ),
            (
                &pem("CERTIFICATE", b"none"),
                &key,
                "",
                ["`tls.certificate`", "X.509"],
            ),
            (&certificate, "", "", ["`tls.key`", "no private key"]),
            (
                &certificate,
                &certificate,
                "",
                ["`tls.key`", "a certificate in it"],
            ),
            (&certificate, encrypted, "", ["`tls.key`", "encrypted"]),
            (
                &certificate,
                &pem("PRIVATE KEY", b"none"),
                "",
                ["`tls.key`", "can't be used"],
            ),
            (&other, &key, "", ["`tls.key`", "isn't the key of"]),
            (
                &certificate,
                &key,
                "",
                ["`tls.client_ca`", "no certificate"],
            ),
            (
                &certificate,
                &key,
                &pem("CERTIFICATE", b"none"),
                ["`tls.client_ca`", "certificate 1"],
            ),
        ] {
            let folder = Folder::of(
                certificate.as_bytes(),
                key.as_bytes(),
                authorities.as_bytes(),
            );
            let error = folder.read().err().expect("a refusal").to_string();
            for word in words.iter().chain(&[".pem", "wanted is PEM"]) {
                assert!(error.contains(word), "no {word}: {error}");
            }
        }
    }

    #[test]
    fn what_fits_is_read_with_what_else_there_is_in_its_files() {
        let ((certificate, key), (chain, _)) = (made(1), made(1));
        let parameters = pem("EC PARAMETERS", &[6, 8, 42, 134, 72, 206, 61, 3, 1, 7]);
        let words = "subject=/CN=a\n";
        let folder = Folder::of(
            format!("{words}{certificate}{words}{chain}").as_bytes(),
            format!("{parameters}{key}{certificate}").as_bytes(),
            chain.as_bytes(),
        );
        let read = folder.read().expect("they fit");
        assert_eq!(read.pair.cert.len(), 2);
        assert_eq!(read.certificate().host(), Some("host-0.example"));
        assert_eq!(read.client_authorities.expect("some").len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is in the files, it is read or refused.
        #[test]
        fn any_files_are_read_or_refused(noise: Vec<u8>, which in 0..3usize, at: usize) {
            let (certificate, key) = made(1);
            let mut files = [certificate.clone().into_bytes(), key.into_bytes(), certificate.into_bytes()];
            let at = at % files[which].len();
            files[which].splice(at..at, noise);
            let [certificate, key, authorities] = &files;
            let _ = Folder::of(certificate, key, authorities).read();
        }
    }
}
