//! TLS as a server speaks it: the certificate and its key read from files, found to belong together, and read again when they change.
//!
//! How a connection speaks it is the business of [`transport`](crate::transport).

mod files;
mod lifetime;
mod open;
mod server;

pub use files::{NAMES_NOBODY, TlsIdentity, mistakes, read};
pub use lifetime::Lifetime;
pub use open::{OpenedTls, TlsFollower, open};
