//! What a repository says of its references: one branch, and `HEAD`, which is that branch.

use super::{
    id::ObjectId,
    packet::{data, flush},
};

/// The one branch.
pub const MASTER: &str = "refs/heads/master";

/// The answer to `info/refs?service=git-upload-pack` of a repository whose branch is at `tip` (gitprotocol-http(5), "Smart Clients"; gitprotocol-pack(5),
/// "Reference Discovery"). It is that of version 0, which clients that ask for a later one take as well.
pub fn advertisement(tip: &ObjectId, agent: &str) -> Vec<u8> {
    // No deltas are made, so that nothing is said of them; what is named here is what a request may then ask for.
    let capabilities = format!(
        "multi_ack multi_ack_detailed no-done side-band side-band-64k no-progress shallow include-tag symref=HEAD:{MASTER} object-format=sha1 agent={agent}"
    );
    let mut out = Vec::with_capacity(512);
    data(&mut out, b"# service=git-upload-pack\n");
    flush(&mut out);
    data(&mut out, format!("{tip} HEAD\0{capabilities}\n").as_bytes());
    data(&mut out, format!("{tip} {MASTER}\n").as_bytes());
    flush(&mut out);
    out
}

/// The same as a file, for servers that know nothing of git (gitrepository-layout(5), `info/refs`).
pub fn packed_refs(tip: &ObjectId) -> String {
    format!("{tip}\t{MASTER}\n")
}
