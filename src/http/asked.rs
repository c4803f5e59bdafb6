//! [`Asked`]: a request as it is understood here: for which path, by which URL, and from where.

use std::net::IpAddr;

use http::{request::Parts as Head, uri::Authority};

use crate::transport::{Peer, Scheme};

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
}
