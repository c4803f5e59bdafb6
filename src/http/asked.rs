//! [`Asked`]: a request as it is understood here: for which path, by which URL, and from where.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use http::{request::Parts as Head, uri::Authority};

use crate::{
    access::LastAdmitted,
    transport::{Peer, Scheme},
};

/// A request as it is understood here.
pub(super) struct Asked<'a> {
    pub(super) head: &'a Head,
    /// Its path, without a token that stood in it.
    pub(super) path: &'a str,
    /// The token that stood in the path.
    pub(super) token: Option<&'a str>,
    /// The client's address, behind proxies that are trusted.
    pub(super) client: IpAddr,
    /// Who the client is by its certificate.
    pub(super) peer: Option<&'a Peer>,
    /// How the client asked, also through such a proxy.
    pub(super) scheme: Scheme,
    /// What the client calls this server, if such a proxy says so.
    pub(super) host: Option<&'a Authority>,
    /// On which connection it came; none if that is a trusted proxy's, which many share.
    pub(super) connection: Option<ConnectionNumber>,
}

/// A number that no other connection of this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionNumber(pub(super) u64);

impl Default for ConnectionNumber {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What is remembered of a connection from one request to the next.
#[derive(Default)]
pub struct ConnectionNotes {
    /// Who was admitted last.
    pub(super) admitted: LastAdmitted,
    pub(super) number: ConnectionNumber,
}
