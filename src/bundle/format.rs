//! The format of a bundle: its version, the names of its own files, and how large its parts may be.

use crate::store::StoreRecord;

/// The version of the format; bundles of another one are refused.
pub const FORMAT: u32 = 1;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const SIGNATURE: &str = "manifest.json.minisig";

/// The largest .crate file that is carried; crates.io's are at most a few hundred MB.
pub const MAX_FILE: u64 = 2 << 30;
/// The largest index record.
pub const MAX_RECORD: u64 = StoreRecord::MAX_SIZE;
/// The largest manifest, enough for two million entries.
pub const MAX_MANIFEST: u64 = 512 << 20;
/// No line of a manifest is longer: what makes one entry takes a few hundred bytes.
pub(super) const MAX_LINE: usize = 16 << 10;
/// The largest signature file; they have about 300 bytes.
pub(super) const MAX_SIGNATURE: u64 = 4 << 10;
