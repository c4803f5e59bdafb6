//! [`Pairs`]: who was given which checksum a moment ago. Rustup asks for a manifest's `.sha256` first and for the manifest then; when the channel has moved in between, it is
//! given the manifest of that checksum, and not the new one, which it would take for a broken one.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use moka::sync::Cache;

use super::former::{FormerContents, WITHIN};
use crate::{
    domain::{Sha256, toolchain::ToolchainDocument},
    mirror::kept::DocumentContent,
};

/// So many connections and addresses are remembered, of 300 bytes each.
const MOST: u64 = 4_096;

/// Who asks: by the connection, and by the address, for who makes a connection for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ToolchainAsker {
    /// A number that no other connection of this process has; none on a connection that several share, that of a reverse proxy.
    pub connection: Option<u64>,
    /// Where it comes from.
    pub address: IpAddr,
}

impl ToolchainAsker {
    /// Nobody in particular.
    pub(in crate::mirror) fn nobody() -> Self {
        Self {
            connection: None,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// Checksums that were given out: the last on each connection, and the last to each address. What they are of is kept elsewhere, once for all, and only when it was
/// replaced: a stranger who asks for many checksums makes nobody hold that many manifests.
pub(super) struct Pairs {
    connections: Cache<(u64, ToolchainDocument), Sha256>,
    addresses: Cache<(IpAddr, ToolchainDocument), Sha256>,
    former: Arc<FormerContents>,
}

impl Pairs {
    /// Nobody was given anything yet.
    pub(super) fn of(former: Arc<FormerContents>) -> Self {
        Self {
            connections: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(WITHIN)
                .build(),
            addresses: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(WITHIN)
                .build(),
            former,
        }
    }

    /// Notes that somebody is given the checksum of this.
    pub(super) fn gave(
        &self,
        asker: &ToolchainAsker,
        document: &ToolchainDocument,
        content: &DocumentContent,
    ) {
        if let Some(connection) = asker.connection {
            let slot = (connection, *document);
            self.connections.insert(slot, content.sha256);
        }
        let slot = (asker.address, *document);
        self.addresses.insert(slot, content.sha256);
    }

    /// What somebody is given who asks for a document: that of which he has the checksum, if he was given one, or else what there is now.
    pub(super) fn to_give(
        &self,
        asker: &ToolchainAsker,
        document: &ToolchainDocument,
        now: &Arc<DocumentContent>,
    ) -> Arc<DocumentContent> {
        let given = asker.connection;
        let given = given.and_then(|number| self.connections.get(&(number, *document)));
        let given = given.or_else(|| self.addresses.get(&(asker.address, *document)));
        let former = given.filter(|sha256| *sha256 != now.sha256);
        let former = former.and_then(|sha256| self.former.find(document, &sha256));
        former.unwrap_or_else(|| now.clone())
    }
}
