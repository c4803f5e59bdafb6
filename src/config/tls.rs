//! `[tls]`: what clients are shown, and which of their certificates count.

use std::path::Path;

use serde::Deserialize;

use super::{access::FilePath, units::Listen};
use crate::error::{Error, Result};

/// `[tls]`. Everything is plain when it names no certificate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The file with the server's certificate, as PEM, its chain after it.
    pub certificate: Option<FilePath>,
    /// The file with its private key, as PEM.
    pub key: Option<FilePath>,
    /// Where TLS is spoken beside plain HTTP on `server.listen`; without it `server.listen` speaks TLS.
    pub listen: Option<Listen>,
    /// The file with the authorities whose client certificates count instead of a token, as PEM.
    pub client_ca: Option<FilePath>,
}

/// The files that are needed to speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFiles<'a> {
    /// The server's certificate and its chain.
    pub certificate: &'a Path,
    /// Its private key.
    pub key: &'a Path,
    /// The authorities of clients, if there are any.
    pub client_ca: Option<&'a Path>,
}

impl TlsSettings {
    /// The files to speak TLS with; none where it isn't spoken.
    pub fn files(&self) -> Option<TlsFiles<'_>> {
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: &certificate.0,
                key: &key.0,
                client_ca: self.client_ca.as_ref().map(|path| path.0.as_path()),
            }),
            (Some(_) | None, None) | (None, Some(_)) => None,
        }
    }

    /// Whether it makes sense as a whole.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it doesn't.
    pub(super) fn check(&self) -> Result<()> {
        let lacking = match (&self.certificate, &self.key) {
            (Some(_), None) => {
                "`tls.certificate` is set, and there is no `tls.key`; name the file with its private key"
            }
            (None, Some(_)) => {
                "`tls.key` is set, and there is no `tls.certificate`; name the file with the certificate and its chain"
            }
            (None, None) if self.listen.is_some() => {
                "`tls.listen` is set, and there is nothing to speak TLS with; name files in `tls.certificate` and `tls.key`"
            }
            (None, None) if self.client_ca.is_some() => {
                "`tls.client_ca` is set, and there is nothing to speak TLS with; name files in `tls.certificate` and `tls.key`"
            }
            (Some(_), Some(_)) | (None, None) => return Ok(()),
        };
        Err(Error::config(lacking))
    }
}

impl<'a> TlsFiles<'a> {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &'a Path> + use<'a> {
        [self.certificate, self.key]
            .into_iter()
            .chain(self.client_ca)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_part_of_it_is_refused_with_what_is_missing() {
        for (toml, word) in [
            ("certificate = \"c\"", "no `tls.key`"),
            ("key = \"k\"", "no `tls.certificate`"),
            ("listen = \"127.0.0.1:0\"", "`tls.listen` is set"),
            ("client_ca = \"a\"", "`tls.client_ca` is set"),
            ("certificate = \"\"\nkey = \"k\"", "path of a file"),
            ("cert = \"c\"", "unknown key `tls.cert`"),
        ] {
            let toml = format!("[tls]\n{toml}");
            let error = parse(&toml).expect_err(&toml).to_string();
            assert!(error.contains(word), "{toml}: {error}");
        }
        let whole = "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"a\"";
        let config = parse(whole).expect("settings");
        let files = config.tls.files().expect("files");
        assert_eq!(files.paths().count(), 3);
        assert!(parse("").expect("settings").tls.files().is_none());
    }
}
