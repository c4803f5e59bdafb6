//! A bundle: stored objects on their way to a store that no network leads to, as one file.
//!
//! It is a tar archive compressed with zstd, which standard tools open: `manifest.json` first, then `manifest.json.minisig` if it is signed, then the
//! objects under the paths they have in a store, in the manifest's order. That order is: by registry, then by the path of a crate's index file, a
//! crate's index record before its .crate files. So whoever reads one needs only one crate's index in memory, and two manifests can be compared
//! side by side without either being held.
//!
//! The same objects make the same bytes: no clock, no owner, no list in an order of chance. Only a signature differs each time.
//!
//! Everything here blocks, and takes the same little memory however large the bundle: lists of entries are in scratch files.

mod entry;
mod export;
mod import;
mod manifest;
mod pick;
mod read;
mod select;
mod sign;
mod since;
mod survey;
mod tree;
mod watch;
mod write;

use crate::store::IndexRecord;

pub use entry::Entry;
pub use export::{Output, Written, export};
pub use import::{Imported, import, import_archive};
pub use manifest::Head;
pub use pick::{Order, Picked, pick};
pub use read::{Content, Sink, read, read_archive};
pub use select::{Pick, Picks, Selection};
pub use sign::{PublicKey, SigningKey};
pub use since::Since;
pub use survey::Trouble;
pub use tree::{Layout, Planted, Tree, plant};
pub use watch::Watch;

/// The version of the format; bundles of another one are refused.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.minisig";

/// The largest .crate file that is carried; crates.io's are at most a few hundred MB.
pub const MAX_CRATE: u64 = 2 << 30;
/// The largest index record.
pub const MAX_RECORD: u64 = IndexRecord::MAX_SIZE;
/// The largest manifest, enough for two million entries.
const MAX_MANIFEST: u64 = 512 << 20;
/// No line of a manifest is longer: what makes one entry takes a few hundred bytes.
const MAX_LINE: usize = 16 << 10;
/// The largest signature file; they have about 300 bytes.
const MAX_SIGNATURE: u64 = 4 << 10;
