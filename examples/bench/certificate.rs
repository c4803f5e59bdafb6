//! [`Certificate`]: one certificate of P-256 for all servers, so that none has a cheaper one than the others.

use std::{fs, path::Path, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use crate::Result;

/// A certificate and its key, as the files that servers take.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    _folder: TempDir,
}

impl Certificate {
    /// A new one. Whoever asks here trusts anybody.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.map_err(|e| format!("no certificate: {e}"))?;
        let file = |name: &str, label, der: &[u8]| write(folder.path(), name, label, der);
        Ok(Self {
            certificate: file("cert.pem", "CERTIFICATE", made.cert.der())?,
            key: file("key.pem", "PRIVATE KEY", &made.signing_key.serialize_der())?,
            _folder: folder,
        })
    }
}

fn write(folder: &Path, name: &str, label: &str, der: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    let text = BASE64_STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    let pem = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    );
    fs::write(&path, pem).map_err(|e| format!("{} can't be written: {e}", path.display()))?;
    Ok(path)
}
