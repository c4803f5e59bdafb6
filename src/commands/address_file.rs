//! [`AddressFile`]: where `serve` writes down on which addresses it really listens (`server.address_file`), for `health` and for whoever else has to find it on this machine.
//!
//! Settings don't say it where the system chooses a port, or where a service manager has opened the sockets. PostgreSQL's postmaster.pid is such a file.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use url::Url;

use crate::{
    app::{self, App},
    error::{Error, Result},
    transport::Scheme,
};

/// It names addresses that anybody can find by trying, and no secret.
const READABLE_BY_ALL: u32 = 0o644;
const HEAD: &str =
    "# Where the mirror that runs listens. It is written at each start, and removed at the end.\n";

/// What is in it: as URLs by which the mirror can be asked from this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addresses {
    /// The process.
    pub process: u32,
    /// What `server.listen` has come to.
    pub listen: Url,
    /// What `tls.listen` has come to, where that is a port of its own.
    pub tls: Option<Url>,
    /// What `server.admin_listen` has come to.
    pub admin: Option<Url>,
}

impl Addresses {
    fn of(app: &App) -> Result<Self> {
        let tls = app.tls_address().map(|at| url(Scheme::Https, at));
        let admin = app.admin_address().map(|at| url(Scheme::Http, at));
        Ok(Self {
            process: process::id(),
            listen: url(app.scheme(), app.address())?,
            tls: tls.transpose()?,
            admin: admin.transpose()?,
        })
    }

    /// Where it says how it is.
    pub(super) fn own(self) -> Url {
        self.admin.unwrap_or(self.listen)
    }

    /// What the file says; `None` where there is none.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it can't be read, or isn't what a mirror has written.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let failed = |what: &str| {
            Error::config(format!(
                "`server.address_file`: {} {what}; remove it, and start the mirror again, or say its URL with --url",
                path.display()
            ))
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("can't be read").caused_by(e)),
        };
        let read = toml::from_str(&text);
        read.map(Some)
            .map_err(|e| failed("isn't what a mirror has written").with_source(e))
    }
}

/// The URL for an address, as it can be reached from this machine.
pub(super) fn url(scheme: Scheme, at: SocketAddr) -> Result<Url> {
    let url = format!("{scheme}://{}/", app::reachable(at));
    Url::parse(&url).map_err(|e| Error::internal(format!("{url} is no URL")).with_source(e))
}

/// The file of a mirror that runs. It is removed when this is dropped.
pub(super) struct AddressFile {
    path: PathBuf,
    addresses: Addresses,
}

impl AddressFile {
    /// Writes it, in one step. Where that can't be, the mirror is as good without, and the log says so.
    pub(super) fn write(path: &Path, app: &App) -> Option<Self> {
        let written = Addresses::of(app).and_then(|addresses| {
            let file = Self {
                path: path.to_owned(),
                addresses,
            };
            file.put().map(|()| file)
        });
        let why = match written {
            Ok(file) => return Some(file),
            Err(e) => e,
        };
        tracing::warn!(
            path = %path.display(),
            "`server.address_file` can't be written, so that `crate-mirror health` goes by what the settings say: {why}"
        );
        None
    }

    fn put(&self) -> Result<()> {
        let text = toml::to_string(&self.addresses);
        let text = text.map_err(|e| Error::internal("addresses are no TOML").with_source(e))?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        };
        let put = || {
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            let readable = Permissions::from_mode(READABLE_BY_ALL);
            file.as_file().set_permissions(readable)?;
            file.persist(&self.path).map_err(|e| e.error)?;
            io::Result::Ok(())
        };
        put().map_err(|e| Error::internal("it isn't to be had").caused_by(e))
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        // Another one may have been started since.
        if let Ok(Some(found)) = Addresses::read(&self.path)
            && found == self.addresses
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("addresses.toml");
        assert_eq!(Addresses::read(&path).expect("nothing"), None);
        for text in ["", "process = 1", "process = 1\nlisten = \"127.0.0.1:80\""] {
            fs::write(&path, text).expect("written");
            let said = Addresses::read(&path).expect_err(text).to_string();
            assert!(said.contains("server.address_file"), "{said}");
            assert!(said.contains("--url"), "{said}");
        }
    }
}
