//! [`RunProgress`]: how far a run is; and [`Report`]: what it came to.

use std::sync::atomic::AtomicU64;

use super::missing::Missing;
use crate::domain::CrateKey;

/// How far a run is; may be looked at while it goes on.
#[derive(Debug, Default)]
pub struct RunProgress {
    /// How many things there are to do.
    pub total: AtomicU64,
    /// How many are done, one way or another.
    pub done: AtomicU64,
    /// How many bytes have come from upstream.
    pub bytes: AtomicU64,
    /// Of large files, which are told by their bytes: how many they have that are begun.
    pub expected: AtomicU64,
    /// How many of these are done.
    pub passed: AtomicU64,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many things came from upstream.
    pub fetched: u64,
    /// How many were here already.
    pub here: u64,
    /// What couldn't be had.
    pub missing: Vec<Missing>,
    /// What the rules keep out, of what nobody has asked for by name.
    pub left_out: Vec<Missing>,
    /// The files that are here now.
    pub kept: Vec<CrateKey>,
}

impl Report {
    /// Adds what another run came to.
    pub fn add(&mut self, other: Self) {
        self.fetched += other.fetched;
        self.here += other.here;
        self.missing.extend(other.missing);
        self.left_out.extend(other.left_out);
        self.kept.extend(other.kept);
    }
}
