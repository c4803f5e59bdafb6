//! A folder in front of a bucket, or no folder: read from the nearer one that has it, written to both.
//!
//! Nobody waits for the bucket's write. Whatever was good when it was read from the bucket is kept in the folder, and what was wrong is removed where it came
//! from: the check stands above, and its verdict comes down.

mod backend;
mod copying;
mod journal;
mod lent;
mod queue;
mod tier;
mod turns;
mod uploads;
mod vouched;

pub(super) use backend::{Tiers, TiersParts};
pub(super) use journal::Journal;
