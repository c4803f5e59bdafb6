//! Certificates from files: those of authorities, and this mirror's own.

use std::{fs, path::Path};

use reqwest::{Certificate, Identity};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use crate::{
    certificate::{self, Validity},
    config::ClientCertificate,
    error::{Error, Result},
};

/// The authorities in the file that the setting `key` names.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it can't be read, or has no certificate or a broken one in it.
pub(super) fn authorities(key: &str, path: &Path) -> Result<Vec<Certificate>> {
    let all = certificates(key, path)?;
    let mut store = RootCertStore::empty();
    let unusable = || {
        let path = path.display();
        Error::config(format!(
            "`{key}`: {path} has a certificate that can't be used"
        ))
    };
    let read = |der: &CertificateDer<'static>| {
        let added = store.add(der.clone());
        added.map_err(|e| unusable().caused_by(e))?;
        Certificate::from_der(der).map_err(|e| unusable().caused_by(e))
    };
    all.iter().map(read).collect()
}

/// What is shown to a registry's servers, and how long that is good.
pub(super) struct ClientIdentity {
    pub(super) identity: Identity,
    /// None when the certificate can't be understood here; those who are shown it may.
    pub(super) validity: Option<Validity>,
}

/// What is shown to the servers of the registry `name`.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the certificate or its key can't be read, or they don't belong together.
pub(super) fn identity(name: &str, files: &ClientCertificate) -> Result<ClientIdentity> {
    let (certificate, key) = (
        format!("registries.{name}.client_certificate"),
        format!("registries.{name}.client_key"),
    );
    let (certificate_path, key_path) = (files.certificate.0.as_path(), files.key.0.as_path());
    let chain = certificates(&certificate, certificate_path)?;
    let mut pem = read(&key, key_path)?;
    // What the library says of one that isn't there is left out: it may quote the file.
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        Error::config(format!(
            "`{key}`: {} has no private key in PEM that isn't encrypted",
            key_path.display()
        ))
    })?;
    let first = chain
        .first()
        .and_then(|der| certificate::Certificate::parse(der));
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|e| {
        Error::config(format!(
            "`{certificate}` and `{key}`: {} and {} can't be used together",
            certificate_path.display(),
            key_path.display()
        ))
        .caused_by(e)
    })?;
    pem.push(b'\n');
    pem.extend_from_slice(&read(&certificate, certificate_path)?);
    let identity = Identity::from_pem(&pem).map_err(|e| {
        let said = format!("`{certificate}` and `{key}` can't be used");
        Error::config(said).caused_by(e)
    })?;
    Ok(ClientIdentity {
        identity,
        validity: first.map(|certificate| certificate.validity()),
    })
}

/// The certificates in a file: at least one.
fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(key, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let none = |why: &str| {
        let path = path.display();
        Error::config(format!("`{key}`: {path} has no certificates in PEM{why}"))
    };
    let all = all.map_err(|e| none(" that can be read").caused_by(e))?;
    match all.is_empty() {
        true => Err(none("")),
        false => Ok(all),
    }
}

/// The file's bytes, wiped when they are dropped: there may be a key in them.
fn read(key: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let read = fs::read(path).map(Zeroizing::new);
    read.map_err(|e| {
        let path = path.display();
        Error::config(format!("`{key}`: {path} can't be read")).caused_by(e)
    })
}
