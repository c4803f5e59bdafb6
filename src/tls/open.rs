//! [`open`]: what the settings say of TLS, made ready; and [`TlsFollower`], which keeps it so while its files change.

use std::{sync::Arc, time::SystemTime};

use super::{
    files::{NAMES_NOBODY, TlsIdentity, read},
    lifetime::Lifetime,
    server::RustlsSettings,
};
use crate::{
    certificate::Certificate,
    config::tls::TlsSettings,
    error::{Error, Result},
    follow::{Followed, Look, Looks},
    metrics::Metrics,
    transport::TlsInUse,
};

/// TLS, made ready.
pub struct OpenedTls {
    /// What connections speak it with.
    pub settings: Arc<TlsInUse>,
    /// The certificate that it begins with.
    pub certificate: Certificate,
    /// What keeps it up to date.
    pub follower: TlsFollower,
}

/// Reads the files that the settings name; `None` where TLS isn't spoken.
///
/// # Errors
/// Those of [`read`](super::read).
pub fn open(
    settings: &TlsSettings,
    metrics: Arc<Metrics>,
    now: SystemTime,
) -> Result<Option<OpenedTls>> {
    let Some(files) = settings.files() else {
        return Ok(None);
    };
    let followed = Followed::all(files.paths(), now);
    let identity = read(files)?;
    let mut server = RustlsSettings::new()?;
    let in_use = Arc::new(TlsInUse::new(server.of(&identity)?));
    let certificate = identity.certificate().clone();
    if certificate.names().is_empty() {
        let path = files.certificate.display();
        tracing::warn!("the certificate in {path} (`tls.certificate`): {NAMES_NOBODY}");
    }
    let mut follower = TlsFollower {
        files: settings.clone(),
        followed,
        server,
        in_use: in_use.clone(),
        certificate: certificate.clone(),
        reminded: None,
        trouble: None,
        looks: Looks::default(),
        metrics,
    };
    follower.remind(now);
    Ok(Some(OpenedTls {
        settings: in_use,
        certificate,
        follower,
    }))
}

/// The files that TLS takes, looked at again and again.
pub struct TlsFollower {
    files: TlsSettings,
    followed: Followed,
    server: RustlsSettings,
    in_use: Arc<TlsInUse>,
    certificate: Certificate,
    /// What was said last of how long the certificate is good.
    reminded: Option<Lifetime>,
    /// What was wrong with the files at the last look, if that isn't said yet: one of them may be written after the other.
    trouble: Option<Error>,
    looks: Looks,
    metrics: Arc<Metrics>,
}

impl TlsFollower {
    /// By what it is told to look now.
    pub fn looks(&self) -> Looks {
        self.looks.clone()
    }

    /// Follows the files until it is dropped. What can't be read, or doesn't fit, leaves in use what was there.
    pub async fn run(self) {
        let looks = self.looks();
        looks
            .have_look("the files of `tls` are", self, Self::look)
            .await;
    }

    fn look(&mut self, now: SystemTime) {
        let Some(files) = self.files.files() else {
            return;
        };
        let look = self.followed.look(now, |_| read(files));
        match look {
            Look::Changed(identity) => {
                self.trouble = None;
                match self.take(&identity) {
                    Ok(()) => self.metrics.tls_files_unusable.set(0),
                    Err(e) => self.complain(&e),
                }
            }
            Look::Broken(e) => match self.trouble.take() {
                None => self.trouble = Some(e),
                Some(_) => self.complain(&e),
            },
            Look::Same => {
                if let Some(e) = self.trouble.take() {
                    self.complain(&e);
                }
            }
        }
        self.remind(now);
    }

    /// Puts `identity` in the place of the one in use, if it isn't the same.
    fn take(&mut self, identity: &TlsIdentity) -> Result<()> {
        self.in_use.replace(self.server.of(identity)?);
        if *identity.certificate() != self.certificate {
            self.certificate = identity.certificate().clone();
            self.reminded = None;
            let path = self.followed.path().display();
            tracing::info!("{path} has changed: new connections are shown another certificate");
        }
        Ok(())
    }

    fn complain(&self, why: &Error) {
        self.metrics.tls_reloads_failed.inc();
        self.metrics.tls_files_unusable.set(1);
        tracing::error!("{why}; the certificate and key from before stay in use");
    }

    /// Says how long the certificate is good: each day anew when that isn't long.
    fn remind(&mut self, now: SystemTime) {
        let validity = self.certificate.validity();
        let lifetime = Lifetime::of(validity, now);
        let path = self.followed.path().display().to_string();
        self.metrics.tls_expiry(&path, validity.until);
        if self.reminded.replace(lifetime) == Some(lifetime) {
            return;
        }
        match lifetime {
            Lifetime::Good(_) => {}
            Lifetime::Future | Lifetime::Ending(_) | Lifetime::Ended(_) => {
                tracing::warn!("the certificate in {path} (`tls.certificate`): {lifetime}");
            }
        }
    }
}
