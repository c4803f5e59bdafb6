//! [`Peer`]: who a client is by its certificate.

use std::sync::Arc;

/// Who a client is by its certificate, which is one that counts here. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(Arc<str>);

impl Peer {
    /// The holder of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name, as the certificate has it.
    pub fn name(&self) -> &str {
        &self.0
    }
}
