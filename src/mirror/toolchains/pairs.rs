//! [`Pairs`]: who was given which checksum a moment ago. Rustup asks for a manifest's `.sha256` first and for the manifest then; when the channel has moved in between, it is
//! given the manifest of that checksum, and not the new one, which it would take for a broken one.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;

use crate::{domain::toolchain::ToolchainDocument, mirror::kept::DocumentContent};

/// So long somebody who was given a checksum may take until he asks for what it is of.
const WITHIN: Duration = Duration::from_secs(30);
/// So many connections and addresses are remembered.
const MOST: u64 = 4_096;

/// Who asks: by the connection, which nobody else has, and by the address, for who makes a connection for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ToolchainAsker {
    /// A number that no other connection of this process has.
    pub connection: u64,
    /// Where it comes from.
    pub address: IpAddr,
}

impl ToolchainAsker {
    /// Nobody in particular.
    pub(in crate::mirror) fn nobody() -> Self {
        Self {
            connection: u64::MAX,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// Checksums that were given out, with what they are of: the last on each connection, and the last to each address.
pub(super) struct Pairs {
    connections: Cache<(u64, ToolchainDocument), Arc<DocumentContent>>,
    addresses: Cache<(IpAddr, ToolchainDocument), Arc<DocumentContent>>,
}

impl Default for Pairs {
    fn default() -> Self {
        Self {
            connections: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(WITHIN)
                .build(),
            addresses: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(WITHIN)
                .build(),
        }
    }
}

impl Pairs {
    /// Notes that somebody is given the checksum of this.
    pub(super) fn gave(
        &self,
        asker: &ToolchainAsker,
        document: &ToolchainDocument,
        content: &Arc<DocumentContent>,
    ) {
        let slot = (asker.connection, *document);
        self.connections.insert(slot, content.clone());
        let slot = (asker.address, *document);
        self.addresses.insert(slot, content.clone());
    }

    /// What somebody is given who asks for a document: that of which he has the checksum, if he was given one, or else what there is now.
    pub(super) fn to_give(
        &self,
        asker: &ToolchainAsker,
        document: &ToolchainDocument,
        now: &Arc<DocumentContent>,
    ) -> Arc<DocumentContent> {
        let given = self.connections.get(&(asker.connection, *document));
        let given = given.or_else(|| self.addresses.get(&(asker.address, *document)));
        given.unwrap_or_else(|| now.clone())
    }
}
