//! What git writes and reads: objects, packs, and the packets of `git-upload-pack` over HTTP. Pure, and knows nothing of crates.
//!
//! gitoxide's crates were looked at first. `gix-object` and `gix-pack` bring some sixty packages, and what they are good at is reading: deltas, a repository on a disk, references.
//! Here nothing is read but requests, and what is written is three kinds of objects and packs without deltas, which is less than what would have to be written around those
//! crates (`gix-pack` wants to look its objects up in a repository). `gix-packetline` reads from streams; here a whole request is at hand. `sha1` and `flate2` do.

mod id;
mod kind;
mod object;
mod pack;
mod pack_index;
mod packet;
mod refs;
mod request;
mod sideband;

pub use id::{IdHasher, ObjectId};
pub use kind::ObjectKind;
pub use object::{COMMIT_IDENTITY, Commit, EntryMode, TreeWriter};
pub use pack::{PackTrailer, entry, header};
pub use pack_index::{IndexedObject, pack_index};
pub use packet::{Packet, PacketError, Packets, data, flush};
pub use refs::{MASTER, advertisement, packed_refs};
pub use request::{Acks, FetchRequest, Haves, RequestError, RequestReader, SideBand, acknowledged};
pub use sideband::{Band, framed};
