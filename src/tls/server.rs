//! [`RustlsSettings`]: what rustls is told of how to speak with clients.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::{Ticketer, default_provider},
    server::{ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use super::files::TlsIdentity;
use crate::{
    error::{Error, Result},
    transport::{InForce, TlsTerms},
};

/// What is spoken within TLS, most preferred first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The settings that one identity after the other is served with.
pub(super) struct RustlsSettings {
    /// What sessions are resumed with: tickets under keys that change every six hours.
    tickets: Arc<dyn ProducesTickets>,
    /// By whom clients are known; then tickets say who a client is.
    authorities: Option<Arc<RootCertStore>>,
    in_force: InForce,
}

impl RustlsSettings {
    /// Those to begin with.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the system gives no random bytes.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            tickets: tickets()?,
            authorities: None,
            in_force: InForce::default(),
        })
    }

    /// What `identity` is served with. Sessions are resumed across a change, but not where a client's certificate counts or counted: who resumes one isn't
    /// asked for it again, and it may not count any more. For the same reason none that is connected counts when an authority is no longer among them.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the authorities can't be used, [`Kind::Internal`](crate::error::Kind::Internal) when the system
    /// gives no random bytes.
    pub(super) fn of(&mut self, identity: &TlsIdentity) -> Result<TlsTerms> {
        let authorities = identity.client_authorities.clone();
        if authorities.is_some() || self.authorities.is_some() {
            self.tickets = tickets()?;
        }
        if !keeps(self.authorities.as_deref(), authorities.as_deref()) {
            self.in_force = InForce::default();
        }
        self.authorities = authorities;
        let broken = |e| Error::internal("TLS can't be set up").caused_by(e);
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(broken)?;
        let builder = match &identity.client_authorities {
            None => builder.with_no_client_auth(),
            Some(roots) => builder.with_client_cert_verifier(verifier(roots.clone())?),
        };
        let pair = SingleCertAndKey::from(identity.pair.clone());
        let mut config = builder.with_cert_resolver(Arc::new(pair));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        config.ticketer = self.tickets.clone();
        Ok(TlsTerms {
            config: Arc::new(config),
            authorities: self.in_force.clone(),
        })
    }
}

/// Whether all authorities that there were are there still.
fn keeps(former: Option<&RootCertStore>, next: Option<&RootCertStore>) -> bool {
    let former = former.into_iter().flat_map(|all| &all.roots);
    let next = next.map_or(&[][..], |all| &all.roots);
    former.into_iter().all(|one| next.contains(one))
}

fn tickets() -> Result<Arc<dyn ProducesTickets>> {
    Ticketer::new().map_err(|e| Error::internal("TLS can't be set up").caused_by(e))
}

/// What judges clients' certificates. Who shows none comes in as well, and strangers aren't told which authorities there are.
fn verifier(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
    let builder = builder.allow_unauthenticated().clear_root_hint_subjects();
    builder
        .build()
        .map_err(|e| Error::config("`tls.client_ca` can't be used").caused_by(e))
}
